"""The worker against a real broker: nothing missing, nothing twice, whatever happens to it."""

import asyncio
import errno
import random
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stream.config import Settings
from stream.core.shard import Shard
from stream.errors import FailedError, UsageError
from stream.kafka import client, fetched, membership
from stream.kafka.codecs import UnknownCodecError
from stream.kafka.health import STUCK
from stream.kafka.inputs import Inputs
from stream.kafka.retries import BackoffPolicy
from stream.kafka.shard_context import ShardContext
from stream.kafka.shard_loop import ShardLoop
from stream.model.names import DEAD_LETTERS, INPUTS, SESSION_WINDOWS, SESSIONS, STATE, Kind, Outcome
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.kafka.tools import (
    Memory,
    everything,
    headers,
    make_topics,
    newest,
    producer,
    send,
    send_views,
    settings,
    stopped,
    until,
    view,
    views,
    worker,
)
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _quick_rejoin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "BACKOFF", BackoffPolicy(0.1, 0.5))


async def totals(kafka: EmbeddedKafka, config: Settings, partitions: int = 1) -> dict[bytes, int]:
    """Views by session, by the newest value of live.sessions."""
    found: dict[bytes, int] = {}
    for partition in range(partitions):
        records = await everything(kafka, config.topic(SESSIONS), partition)
        found |= {key: value["counts"]["views"] for key, value in newest(records).items()}
    return found


def test_it_counts_and_goes_on_where_it_stopped(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        await send_views(kafka, config, range(100))
        async with worker(config) as first:
            await until(lambda: first.counted == 100, "all are counted")
        await send_views(kafka, config, range(80, 200))
        async with worker(config) as second:
            await until(lambda: second.read == 120, "the rest is read")
            assert second.outcomes[Kind.VIEWS, Outcome.DUPLICATE] == 20
            assert second.recoveries[0][1] > 0

            async def settled() -> bool:
                """Totals may be written a checkpoint before the silence that closes the windows."""
                windows = newest(await everything(kafka, config.topic(SESSION_WINDOWS)))
                views = sum(value["counts"]["views"] for value in windows.values() if value["window"] == "1m")
                return await totals(kafka, config) == {b"s1": 200} and views == 200

            await eventually(settled)

    asyncio.run(main())


async def eventually(condition: Callable[[], Any], deadline: float = PATIENCE) -> None:
    end = asyncio.get_running_loop().time() + deadline
    while not await condition():
        assert asyncio.get_running_loop().time() < end, f"not within {deadline:g} s"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), RuntimeError("a slip"), MemoryError()])
def test_what_no_broker_can_mend_ends_it(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """With its own traceback, and at once: a shard that is started again meets it again."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        memory = Memory()
        with pytest.raises(type(error)) as raised:
            await asyncio.wait_for(make_worker(config, memory, memory, rebuild=False).run(), PATIENCE)
        assert raised.value is error

    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("stream.kafka.task.recover", fail)
    asyncio.run(main())


def test_missing_topics_end_it_at_once(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        memory = Memory()
        with pytest.raises(UsageError, match="missing topics"):
            await make_worker(settings(kafka, prefix), memory, memory, rebuild=False).run()

    asyncio.run(main())


def test_it_ends_when_every_state_there_is_is_refused(kafka: EmbeddedKafka, prefix: str) -> None:
    """tests/hostile/test_state.py: what becomes of one that is, beside others."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        for partition in (0, 1):
            await send(kafka, config.topic(STATE), [(b"0/0", b"\xff")], partition=partition)
        memory = Memory()
        with pytest.raises(UsageError, match=r"partition [01] .*cannot be read"):
            await asyncio.wait_for(make_worker(config, memory, memory, rebuild=False).run(), PATIENCE)

    asyncio.run(main())


def test_a_rebuild_counts_everything_anew_once(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        await send_views(kafka, config, range(50))
        async with worker(config) as first:
            await until(lambda: first.counted == 50, "all are counted")
        async with worker(config, rebuild=True) as second:
            await until(lambda: second.counted == 50, "all are counted again")
            fence = client.make_producer(config, ShardContext(config, 0, 1, WORKER).transactional_id)
            await client.start(fence, config)
            await client.end(fence)
            await send_views(kafka, config, range(50, 60))
            await until(lambda: len(second.recoveries) == 2, "it has come back after a fence")
            await until(lambda: second.counted == 60, "and counts only what is new")
            assert second.recoveries[1][1] > 0

            async def written() -> bool:
                sessions = newest(await everything(kafka, config.topic(SESSIONS)))
                return b"s1" in sessions and sessions[b"s1"]["generation"] == 1

            await eventually(written)

    asyncio.run(main())


def test_a_fenced_shard_leaves_the_group_and_comes_back(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        await send_views(kafka, config, range(10), partition=0)
        async with worker(config) as memory:
            await until(lambda: memory.counted == 10, "all are counted")
            fence = client.make_producer(config, ShardContext(config, 0, 2, WORKER).transactional_id)
            await client.start(fence, config)
            await send_views(kafka, config, range(10, 30), partition=0)
            await until(lambda: memory.counted == 30, "it has recovered, and counted each once")
            assert memory.failures == ["ProducerFenced"]
            assert [number for number, _ in memory.recoveries].count(0) == 2
            assert [number for number, _ in memory.recoveries].count(1) == 1, "the other shard was only paused"
            await client.end(fence)

    asyncio.run(main())


def test_a_rebalance_reloads_only_what_has_moved(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 4)
        for partition in range(4):
            await send_views(kafka, config, range(20), partition)
        async with worker(config) as first:
            await until(lambda: first.counted == 80, "all are counted")
            async with worker(config) as second:
                await until(lambda: len(second.owned) == 2, "they share")
                await until(lambda: len(second.recoveries) == 2, "two shards have moved")
                for partition in range(4):
                    await send_views(kafka, config, range(20, 40), partition)
                await until(lambda: first.counted + second.counted == 160, "each event is counted once")
                assert len(first.recoveries) == 4
            await until(lambda: len(first.owned) == 4, "it owns all again")
            await until(lambda: len(first.recoveries) == 6, "it has loaded those two")
            for partition in range(4):
                await send_views(kafka, config, range(40, 50), partition)
            await until(lambda: first.counted + second.counted == 200, "each event is counted once")
            await until(lambda: first.rebalances > 0, "the rebalance was measured")

    asyncio.run(main())


def test_a_shard_that_moves_away_gives_its_memory_back(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though somebody holds it for longer than it takes to be looked for: the watchdog did, who knows who will."""
    made: list[weakref.ref[Shard]] = []
    holding: list[ShardLoop] = []
    looks: list[None] = []
    begin = ShardLoop.__init__

    def noted(shard_loop: ShardLoop, context: ShardContext, shard: Shard, *rest: Any) -> None:
        begin(shard_loop, context, shard, *rest)
        made.append(weakref.ref(shard))
        holding.append(shard_loop)

    monkeypatch.setattr(ShardLoop, "__init__", noted)
    monkeypatch.setattr("stream.kafka.gc_tuning.RECLAIM_AFTER", 0.1)
    monkeypatch.setattr("stream.kafka.gc_tuning.trim_memory", lambda: looks.append(None))

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        async with worker(config) as first:
            await until(lambda: len(first.recoveries) == 2, "both shards run")
            async with worker(config) as second:
                await until(lambda: len(second.recoveries) == 1, "one has moved")
                before = len(looks)
                await until(lambda: len(looks) > before, "it was looked for")
                assert all(shard() for shard in made), "it is still held"
                holding.clear()
                await until(lambda: not all(shard() for shard in made), "the first worker has let go of it")

    asyncio.run(main())


def test_a_start_at_the_latest_is_kept_though_nothing_came(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix, start_at="latest")
        await make_topics(config)
        await send_views(kafka, config, range(5))
        async with worker(config) as first:
            await until(lambda: first.recoveries, "it has begun")
            await until(lambda: first.checkpoints, "its beginning is in the state")
        await send_views(kafka, config, range(5, 8))
        async with worker(config) as second:
            await until(lambda: second.counted == 3, "what came in between is counted")

    asyncio.run(main())


def test_a_worker_without_a_partition_is_ready(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        async with worker(config) as first, worker(config) as second:
            told = first, second
            await until(lambda: sorted(len(each.owned or ()) for each in told if each.told) == [0, 1], "one has none")

    asyncio.run(main())


def test_a_broker_that_restarts_costs_nothing(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        await send_views(kafka, config, range(50))
        async with worker(config) as memory:
            await until(lambda: memory.counted == 50, "all are counted")
            kafka.restart()  # in this thread, or it would die with another; so the event loop stands still as well
            await send_views(kafka, config, range(50, 100), partition=0)
            await send_views(kafka, config, range(30), partition=1)
            await until(lambda: memory.counted == 130, "each is counted once")

    asyncio.run(main())


def test_a_broker_that_stands_still_costs_nothing(kafka: EmbeddedKafka, prefix: str) -> None:
    """For longer than transaction and session timeout."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        await send_views(kafka, config, range(50))
        async with worker(config) as memory:
            await until(lambda: memory.counted > 0, "it counts")
            with stopped(kafka):
                await asyncio.sleep(9)
            await send_views(kafka, config, range(50, 100))
            await until(lambda: memory.counted == 100, "each is counted once")

    asyncio.run(main())


def test_bad_and_huge_records_become_dead_letters_while_the_rest_goes_on(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        topic = config.topic(INPUTS[Kind.VIEWS])
        async with producer(kafka, compression_type="lz4", max_request_size=60_000_000) as sender:
            for huge in (b"[" * 25_000_000, b" " * 3_000_000, b"[" * 100_000, b"", b"\xff", b'{"a":NaN}'):
                await sender.send_and_wait(topic, huge, key=b"s1", partition=0)
            await sender.send_and_wait(topic, views([1])[0][1], key=b"k" * 100_000, partition=0)
            await sender.send_and_wait(topic, None, key=b"s1", partition=0)
        await send_views(kafka, config, range(10))
        async with worker(config) as memory:
            await until(lambda: memory.read == 18, "all are read")
            assert memory.counted == 10
            assert memory.outcomes[Kind.VIEWS, Outcome.TOMBSTONE] == 1
        letters = await everything(kafka, config.topic(DEAD_LETTERS))
        reasons = [headers(letter)["liveshop-reason"].decode() for letter in letters]
        assert reasons == ["too_large"] * 2 + ["invalid_json"] * 2 + ["not_utf8", "invalid_json", "key_mismatch"]
        assert headers(letters[0])["liveshop-size"] == b"25000000"
        assert len(letters[0].value) == 65_536
        assert len(letters[6].key) == 65_536

    asyncio.run(main())


def test_a_gap_while_it_runs_is_jumped(kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention overtakes a shard that is held up."""
    from tests.kafka.test_recovery import delete_records

    held = asyncio.Event()
    fetch = Inputs.fetch

    async def held_up(self: Inputs, *arguments: Any) -> Any:
        if not held.is_set():
            await asyncio.sleep(0.05)
            return {}
        return await fetch(self, *arguments)

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        async with worker(config) as memory:
            await until(lambda: memory.recoveries, "it runs")
            for piece in range(20):  # a batch each
                await send_views(kafka, config, range(piece * 10, piece * 10 + 10))
            await delete_records(kafka, config.topic(INPUTS[Kind.VIEWS]), 55)
            held.set()
            await until(lambda: memory.counted >= 145, "it goes on behind the gap")
            assert memory.lost + memory.counted >= 200

    monkeypatch.setattr(Inputs, "fetch", held_up)
    asyncio.run(main())


@pytest.mark.parametrize(
    ("raised", "ends_with"),
    [
        (MemoryError("no room"), MemoryError),
        (UnknownCodecError("codec 5"), FailedError),
        (RuntimeError("nobody has thought of it"), RuntimeError),
    ],
)
def test_what_says_nothing_about_a_batch_ends_the_worker(
    kafka: EmbeddedKafka,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    ends_with: type[Exception],
) -> None:
    """No dead letter, and no shard that tries again for ever: nothing of it is lost, and somebody is told."""

    def unpack(*_: Any) -> bytes:
        raise raised

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        await send_views(kafka, config, range(3))
        memory = Memory()
        with monkeypatch.context() as patch:
            patch.setattr(fetched, "unpack", unpack)
            with pytest.raises(ends_with):
                await asyncio.wait_for(make_worker(config, memory, memory, rebuild=False).run(), PATIENCE)
        async with worker(config) as second:
            await until(lambda: second.counted == 3, "another one counts them")
        assert await everything(kafka, config.topic(DEAD_LETTERS)) == []

    asyncio.run(main())


def test_a_shard_that_does_not_move_ends_the_worker(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any) -> dict[Kind, Any]:
        await asyncio.sleep(0.05)
        return {}

    async def main() -> None:
        config = settings(kafka, prefix, stuck_after=timedelta(seconds=1))
        await make_topics(config)
        await send_views(kafka, config, range(10))
        memory = Memory()
        with pytest.raises(FailedError, match="partition 0 has records of views to read and has not moved"):
            await asyncio.wait_for(make_worker(config, memory, memory, rebuild=False).run(), PATIENCE)
        assert STUCK in memory.reasons
        assert memory.stuck_seconds[0] > 1

    monkeypatch.setattr(Inputs, "fetch", nothing)
    asyncio.run(main())


def test_a_transaction_that_hangs_upstream_is_no_reason_to_end(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix, stuck_after=timedelta(seconds=1))
        await make_topics(config)
        await send_views(kafka, config, range(10))
        async with producer(kafka, transactional_id=prefix + "upstream") as upstream, worker(config) as memory:
            await upstream.begin_transaction()
            for key, value in views(range(10, 20)):
                await upstream.send_and_wait(config.topic(INPUTS[Kind.VIEWS]), value, key=key, partition=0)
            await until(lambda: memory.counted == 10, "what is committed is counted")
            await until(lambda: memory.hides[0, Kind.VIEWS] > 2.5, "it is told for longer than stuck_after")
            assert memory.hides[0, Kind.COMMENTS] == 0
            await upstream.commit_transaction()
            await until(lambda: memory.counted == 20, "the rest is counted when it is committed")
            await until(lambda: memory.hides[0, Kind.VIEWS] == 0, "nothing hides it any more")

    asyncio.run(main())


def test_catching_up_reads_all_topics_and_fetches_nothing_twice(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        kinds = random.Random(7).choices([Kind.VIEWS, Kind.COMMENTS], [9, 1], k=30_000)
        async with producer(kafka, linger_ms=20, compression_type="lz4") as sender:
            for number, kind in enumerate(kinds):
                value = view(number) if kind is Kind.VIEWS else view(number, text="hi")
                await sender.send(config.topic(INPUTS[kind]), value, key=b"s1", partition=0)
        async with worker(config) as memory:
            await until(lambda: memory.read == 30_000, "all are read")
            assert memory.counted == 30_000, "in step: none is late"

    asyncio.run(main())
