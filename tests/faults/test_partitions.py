"""Partitions are added to a topic: nothing is counted in a wrong shard, nothing is lost, and people know what to do."""

import asyncio
import shlex
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import partitions, watchdog
from stream.kafka import worker as worker_module
from stream.kafka.health import PARTITIONS
from stream.kafka.partitions import Outgrown
from stream.kafka.recovery import recover
from stream.kafka.retries import BackoffPolicy
from stream.kafka.shard_context import ShardContext
from stream.kafka.topicids import Answers
from stream.model.names import INPUTS, OUTPUTS, SESSIONS, STATE, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.faults.grown import add_partitions, partition_of, send_events, sessions
from tests.kafka.tools import Memory, everything, newest, send_views, until
from tests.live import Worker, wait_for
from tests.operate.tools import count, make, worker

pytestmark = pytest.mark.kafka

TOLD_SECONDS: Final = 60.0
"""It takes some five."""


def totals(kafka: EmbeddedKafka, prefix: str, shards: int) -> dict[int, dict[str, int]]:
    """Views by partition and session."""

    async def main() -> dict[int, dict[str, int]]:
        found = [newest(await everything(kafka, prefix + SESSIONS, number)) for number in range(shards)]
        return {
            number: {key.decode(): value["counts"]["views"] for key, value in values.items()}
            for number, values in enumerate(found)
        }

    return asyncio.run(main())


def test_a_worker_stays_counts_nothing_wrong_and_says_what_to_do(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, record_property: Any
) -> None:
    """One session moves to the new partition, one to that of another shard. A restart changes nothing."""
    topic = prefix + INPUTS[Kind.VIEWS]
    asyncio.run(make(kafka, prefix, 2))
    away, across = next(sessions((0, 2), (2, 3))), next(sessions((1, 2), (0, 3)))
    quick = {"idle_after": "500ms", "checkpoint_every": "200ms", "group": prefix + "g"}
    with Worker(kafka.bootstrap, prefix, tmp_path / "log", **quick) as running:
        running.await_ready()
        for name in (away, across):
            asyncio.run(send_events(kafka, prefix, name, range(10), 2))
        wait_for("both are counted", lambda: _sum(totals(kafka, prefix, 2)) == 20)

        asyncio.run(add_partitions(kafka, {topic: 3}))
        began = time.monotonic()
        for name in (across, away):
            asyncio.run(send_events(kafka, prefix, name, range(10, 20), 3))
        page = wait_for("it says so", lambda: _told(running), TOLD_SECONDS * 2)
        seconds = time.monotonic() - began
        assert f"partitions were added: {topic} has 3, and 2 are counted" in page
        series = running.metrics()
        assert series[f'liveshop_partitions_added{{topic="{topic}"}}'] == 1
        assert sum(number for name, number in series.items() if name.startswith("liveshop_partitions_added")) == 1
        assert running.get("/healthz")[0] == 200
        assert running.child.code is None
        running.stop()
    with Worker(kafka.bootstrap, prefix, tmp_path / "again", **quick) as again:
        again_page = wait_for("a restart says the same", lambda: _told(again), TOLD_SECONDS * 2)
        assert again_page == page
        again.stop()
    record_property("told", f"partitions added: told after {seconds:.1f} s")
    assert seconds < TOLD_SECONDS
    assert totals(kafka, prefix, 2) == {0: {away: 10}, 1: {across: 10}}, "nothing of the new places is counted"
    for log in (running.log, again.log):
        assert "elete" not in log.read_text()


def _told(running: Worker) -> str | None:
    status, page = running.get("/readyz")
    return page if status == 503 and "partitions were added" in page else None


def _sum(found: Mapping[int, Mapping[str, int]]) -> int:
    return sum(sum(values.values()) for values in found.values())


def test_what_came_before_anybody_noticed_is_not_committed(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog does not look at all: the shard that meets a session of another place asks by itself."""
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 600.0)
    across = next(sessions((1, 2), (0, 3)))

    async def main() -> None:
        config = await make(kafka, prefix, 2, stuck_after="40m")
        async with worker(config) as memory:
            await until(lambda: len(memory.recoveries) == 2, "both shards run")
            await send_events(kafka, prefix, across, range(10), 2)
            await until(lambda: memory.counted == 10, "it is counted")
            await add_partitions(kafka, {config.topic(INPUTS[Kind.VIEWS]): 3})
            await send_events(kafka, prefix, across, range(10, 20), 3)
            await until(lambda: PARTITIONS in memory.reasons, "it says so")
            assert memory.added == {config.topic(INPUTS[Kind.VIEWS]): 1}
            assert memory.counted == 10
            assert memory.owned == frozenset()

    asyncio.run(main())
    assert _sum(totals(kafka, prefix, 2)) <= 10


def test_keys_that_are_placed_otherwise_are_counted_where_they_are(kafka: EmbeddedKafka, prefix: str) -> None:
    """Another partitioner is no growth."""

    async def main() -> None:
        config = await make(kafka, prefix, 2)
        name = next(sessions((1, 2), (1, 3)))
        async with worker(config) as memory:
            await send_views(kafka, config, range(5), partition_of(name, 2))
            await send_views(kafka, config, range(5), 1 - partition_of("s1", 2))
            await until(lambda: memory.counted >= 5, "they are counted")
            assert memory.reasons == {}

    asyncio.run(main())


def test_all_topics_grown_while_nobody_ran_are_no_other_matter(kafka: EmbeddedKafka, prefix: str) -> None:
    """The states know under how many partitions they were counted; --rebuild would not bring sessions together."""

    async def main() -> None:
        config = await make(kafka, prefix, 2)
        for number in range(2):
            await send_views(kafka, config, range(20), number)
            await count(kafka, config, number, 2)
        await add_partitions(kafka, dict.fromkeys(topics.names(config), 3))
        for rebuild in (False, True):
            memory = Memory()
            running = asyncio.ensure_future(make_worker(config, memory, memory, rebuild=rebuild).run())
            await until(lambda memory=memory: PARTITIONS in memory.reasons, "it says so")  # type: ignore[misc]
            assert "and 2 are counted" in memory.reasons[PARTITIONS]
            assert not memory.recoveries
            running.cancel()
            await asyncio.wait({running})
        with pytest.raises(UsageError, match="partitions were added"):
            await recover(ShardContext(config, 0, 3, WORKER), discard=None, current=lambda: True)

    asyncio.run(main())


def test_more_partitions_of_what_is_written_do_no_harm(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shard names the partition that it writes to."""
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.05)

    async def main() -> None:
        config = await make(kafka, prefix)
        await add_partitions(kafka, {config.topic(name): 2 for name in (*OUTPUTS, STATE)})
        async with worker(config) as memory:
            await send_views(kafka, config, range(10))
            await until(lambda: memory.counted == 10, "it counts")
            await add_partitions(kafka, {config.topic(name): 3 for name in (*OUTPUTS, STATE)})
            await send_views(kafka, config, range(10, 20))
            await until(lambda: memory.counted == 20, "it counts on")
        async with worker(config) as memory:
            await send_views(kafka, config, range(20, 30))
            await until(lambda: memory.counted == 10, "one that is started later goes on")
            assert memory.reasons == {}

    asyncio.run(main())


def test_topics_that_were_never_alike_are_a_mistake_of_whoever_starts(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, 2)
        await add_partitions(kafka, {config.topic(INPUTS[Kind.VIEWS]): 3})
        memory = Memory()
        with pytest.raises(UsageError, match=f"{prefix}live.views has 3, {prefix}live.comments has 2") as raised:
            await make_worker(config, memory, memory, rebuild=False).run()
        assert "elete" not in str(raised.value)

    asyncio.run(main())


def test_a_broker_that_says_no_more_lets_it_go_on(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever made it stop is asked for again and again: it goes on by itself when it is gone."""
    monkeypatch.setattr(worker_module, "LOOK_AGAIN", BackoffPolicy(0.2, 0.2))
    lie: dict[str, int] = {}
    told = partitions.most

    def lying(answers: Answers) -> dict[str, int]:
        return {**told(answers), **lie}

    monkeypatch.setattr(partitions, "most", lying)
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.2)

    async def main() -> None:
        config = await make(kafka, prefix)
        async with worker(config) as memory:
            await send_views(kafka, config, range(10))
            await until(lambda: memory.counted == 10, "it counts")
            lie[config.topic(INPUTS[Kind.COMMENTS])] = 2
            await until(lambda: PARTITIONS in memory.reasons, "it has stopped")
            lie.clear()
            await send_views(kafka, config, range(10, 20))
            await until(lambda: memory.counted == 20 and not memory.reasons and not memory.added, "it goes on")

    asyncio.run(main())


def test_the_command_it_names_is_one_that_a_person_can_type() -> None:
    config = Settings(brokers="k:9092", group="shop", topic_prefix="shop.p6.", windows="2m")
    text = Outgrown(6, {"shop.p6.live.views": 12}).text(config)
    words = shlex.split(text.rpartition(": ")[2])
    assert words[:3] == ["liveshop", "topics", "grow"]
    assert words[-4:] == ["--partitions", "12", "--to-prefix", "shop.p12."]
    assert ("--group", "shop") in pairwise(words)
    assert partitions.next_prefix("", 6) == "p6."
