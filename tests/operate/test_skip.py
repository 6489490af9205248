"""Skipping: exactly the named records, only forward, exactly once, beside a running worker."""

import asyncio
import shlex
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from stream.errors import FailedError, UsageError
from stream.kafka import membership
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.inputs import Inputs
from stream.kafka.memory import ENOUGH, Memory
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.retries import BackoffPolicy
from stream.kafka.shard_context import FencedError, ShardContext
from stream.model.names import DEAD_LETTERS, INPUTS, Kind
from stream.operate import fencing
from stream.operate import skip as skipping
from stream.operate.shards import contexts
from stream.operate.skip import Skip
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.kafka.tools import damage, everything, headers, producer, send, send_batches, send_views, until, view, views
from tests.operate.tools import count, eventually, make, totals, worker
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

ONE = Skip(Kind.VIEWS, 10, 10, "test", "ops@here")


@pytest.fixture(autouse=True)
def _quick_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "BACKOFF", BackoffPolicy(0.1, 0.5))
    monkeypatch.setattr("stream.kafka.worker.AGAIN", BackoffPolicy(0.2, 0.5))


def reasons(letters: list[Any]) -> list[tuple[str, str, bytes | None]]:
    """(reason, original offset or offsets, value)"""
    found = []
    for letter in letters:
        told = headers(letter)
        found.append((told["liveshop-reason"].decode(), told["liveshop-origin"].split(b"/")[2].decode(), letter.value))
    return found


def run_as_printed(way_out: str) -> str:
    """The command that a log line names, word for word."""
    program, *words = shlex.split(way_out.partition(", or: ")[2])
    assert program == "liveshop"
    command = [sys.executable, "-P", "-m", "stream.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_damaged_batch_stops_one_shard_which_says_how_to_get_over_it(kafka: EmbeddedKafka, prefix: str) -> None:
    """What lies before it and what other shards have is counted; after the skip, what lies behind, each once."""

    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send_batches(kafka, config, [range(10), range(10, 15), range(15, 30)])
        damage(kafka, topic, 10)
        context = ShardContext(config, 0, 2, WORKER)
        with capture_logs() as logs:
            async with worker(config) as memory:
                await until(lambda: [each for each in logs if "way_out" in each], "it says what is wrong")
                await send_views(kafka, config, range(7), partition=1)
                await until(lambda: memory.counted == 17, "all else is counted")
                plan = await skipping.plan(context, replace(ONE, last=14))
                assert plan.checkpoint is None
                told = next(each for each in logs if "way_out" in each)
                shown = await asyncio.to_thread(run_as_printed, told["way_out"])
                assert "partition 0: skipped 5, goes on at 15" in shown
                await until(lambda: memory.counted == 32, "it goes on behind the damage")

                async def written() -> bool:
                    return await totals(kafka, config) == {"s1": 25}

                await eventually(written, "each is counted once")
                assert memory.running is not None
                assert not memory.running.done()
        assert f"{topic}, partition 0: offsets 10 to 14 cannot be read" in told["detail"]
        assert plan.position == 15
        ((item,),) = [plan.items]
        assert (item.offset, item.last, item.records, item.size) == (10, 14, 5, None)
        assert item.batch is not None
        assert item.batch.damaged
        (letter,) = await everything(kafka, config.topic(DEAD_LETTERS))
        assert reasons([letter]) == [("skipped", "10-14", letter.value)]
        assert len(letter.value) == item.batch.size == int(headers(letter)["liveshop-size"])
        assert headers(letter)["liveshop-records"] == b"5"
        assert headers(letter)["liveshop-detail"].endswith(b": damaged on disk")

    asyncio.run(main())


def test_a_damaged_batch_of_any_size_is_skipped_at_once(kafka: EmbeddedKafka, prefix: str) -> None:
    """One dead letter for all of it; it is the last batch, and its header does not say any more where it ends."""

    async def main() -> None:
        config = await make(kafka, prefix)
        await send_batches(kafka, config, [range(10)])
        await count(kafka, config)
        await send_batches(kafka, config, [range(10, 3010)])
        damage(kafka, config.topic(INPUTS[Kind.VIEWS]), 10, at=23)
        context = ShardContext(config, 0, 1, WORKER)
        with pytest.raises(UnreadableError, match="offsets 10 to 3009 cannot be read"):
            await recovery_of(context)
        done = await skipping.execute(context, replace(ONE, last=3009))
        assert (done.position, [item.records for item in done.items]) == (3010, [3000])
        (letter,) = await everything(kafka, config.topic(DEAD_LETTERS))
        assert reasons([letter]) == [("skipped", "10-3009", letter.value)]
        assert len(letter.value) == min(65_536, int(headers(letter)["liveshop-size"]))

    asyncio.run(main())


async def recovery_of(context: ShardContext) -> None:
    """Reads the views from where the damage begins, as a shard would."""
    inputs = Inputs(context, Memory(ENOUGH))
    try:
        await inputs.start({Kind.VIEWS: 10, Kind.COMMENTS: 0, Kind.CHECKOUTS: 0})
        await inputs.fetch({Kind.VIEWS}, 20.0, 100)
    finally:
        await inputs.stop()


def test_a_readable_record_keeps_its_bytes_and_is_counted_nowhere(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send_views(kafka, config, range(10))
        await count(kafka, config)
        poison = view(10, padding="x" * 2_000_000)
        await send(kafka, topic, [(None, view(10)), (b"s1", None), (b"s1", poison)], compression_type="lz4")
        await send_views(kafka, config, range(13, 20))
        context = ShardContext(config, 0, 1, WORKER)
        plan = await skipping.plan(context, replace(ONE, last=12))
        assert [(item.size, item.tombstone) for item in plan.items] == [
            (len(view(10)), False),
            (2, True),
            (len(poison) + 2, False),
        ]
        assert plan.items[1].key == plan.items[2].key != plan.items[0].key
        assert "3 of them can be read" in plan.notes[0]
        await skipping.execute(context, replace(ONE, last=12))
        await count(kafka, config)
        letters = await everything(kafka, config.topic(DEAD_LETTERS))
        assert reasons(letters) == [
            ("skipped", "10", view(10)),
            ("skipped", "11", None),
            ("skipped", "12", poison[:65536]),
        ]
        assert headers(letters[2])["liveshop-size"] == b"%d" % len(poison)
        assert await totals(kafka, config) == {"s1": 17}

    asyncio.run(main())


def test_only_what_the_shard_reads_next_is_skipped(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(skipping, "MOST", 3)
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        await count(kafka, config)
        await send_views(kafka, config, range(10, 20))
        context = ShardContext(config, 0, 1, WORKER)
        refused = {
            (9, 9): "stands at 10, what is before it was read: going back is a replay",
            (11, 11): "stands at 10, and the next record is 10. .*name 10, not 11",
            (10, 20): "committed records end at 20",
            (10, 9): "--to 9 must not be below --offset 10",
            (10, 14): "at most 3 records of 64 MB .* from 10 that is --to 12",
        }
        for (first, last), message in refused.items():
            with pytest.raises(UsageError, match=message):
                await skipping.execute(context, replace(ONE, first=first, last=last))
        monkeypatch.undo()
        for reason in (" ", "x" * 501, "a\nb"):
            with pytest.raises(UsageError, match="--reason: say why"):
                await skipping.plan(context, replace(ONE, reason=reason))
        other = config.model_copy(update={"group": "someone-else"})
        with pytest.raises(UsageError, match="another's: its group is"):
            await skipping.execute(ShardContext(other, 0, 1, WORKER), ONE)
        for factor, text in ((0.5, "150s"), (2, "10m")):
            other = config.model_copy(update={"lateness": config.lateness * factor})
            with pytest.raises(UsageError, match=f"--lateness is 5m, not {text}. Give those of the worker"):
                await skipping.execute(ShardContext(other, 0, 1, WORKER), ONE)
        with pytest.raises(UsageError, match="there is no partition 1: the topics have 1"):
            await contexts(WORKER, config, [1])
        assert await everything(kafka, config.topic(DEAD_LETTERS)) == []

    asyncio.run(main())


def test_a_shard_that_has_read_nothing_has_nothing_to_skip(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(3))
        with pytest.raises(UsageError, match="no state yet"):
            await skipping.execute(ShardContext(config, 0, 1, WORKER), replace(ONE, first=0, last=0))

    asyncio.run(main())


def test_ends_of_transactions_before_the_record_are_no_records(kafka: EmbeddedKafka, prefix: str) -> None:
    """The state may stand before them: what was aborted, and markers."""

    async def main() -> None:
        config = await make(kafka, prefix)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send_views(kafka, config, range(10))
        await count(kafka, config)
        async with producer(kafka, transactional_id=prefix + "up") as upstream:
            await upstream.begin_transaction()
            await upstream.send_and_wait(topic, b"x", key=b"x", partition=0)  # 10, and its marker 11
            await upstream.abort_transaction()
        await send(kafka, topic, views(range(12, 14)))
        with pytest.raises(UsageError, match="name 12, not 10"):
            await skipping.plan(ShardContext(config, 0, 1, WORKER), ONE)
        done = await skipping.execute(ShardContext(config, 0, 1, WORKER), replace(ONE, first=12, last=12))
        assert done.position == 13
        await count(kafka, config)
        assert await totals(kafka, config) == {"s1": 11}

    asyncio.run(main())


def test_a_part_of_a_damaged_batch_is_no_way_over_it(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_batches(kafka, config, [range(10)])
        await count(kafka, config)
        await send_batches(kafka, config, [range(10, 15)])
        damage(kafka, config.topic(INPUTS[Kind.VIEWS]), 10)
        plan = await skipping.plan(ShardContext(config, 0, 1, WORKER), ONE)
        assert plan.notes == [
            "the damaged batch ends at 14 and is read as one: behind a part of it the shard stops again"
        ]
        assert plan.position == 11

    asyncio.run(main())


def test_a_worker_that_takes_its_shard_back_is_fenced_again(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Checkpoints.write
    fences = [FencedError, FencedError, FencedError]

    async def fenced(self: Checkpoints, outputs: Any) -> int:
        if fences:
            raise fences.pop()
        return await write(self, outputs)

    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        await count(kafka, config)
        await send_views(kafka, config, range(10, 12))
        monkeypatch.setattr(Checkpoints, "write", fenced)
        with monkeypatch.context() as impatient:
            impatient.setattr(fencing, "PATIENCE", 0.0)
            with pytest.raises(FailedError, match="partition 0 was taken back for"):
                await skipping.execute(ShardContext(config, 0, 1, WORKER), ONE)
        assert (await skipping.execute(ShardContext(config, 0, 1, WORKER), ONE)).position == 11

    asyncio.run(main())
