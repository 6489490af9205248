"""Producers' timestamps: nothing that a producer stamps decides what is late, unless its time is trusted."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import alter, producer, view
from tests.live import Worker, create_topics, eventually, wait_for
from tests.outputs import Results, newest, read_inputs
from tests.recount import Rules, recount

pytestmark = pytest.mark.kafka
QUICK = {"idle_after": "1s", "checkpoint_every": "300ms", "session_timeout": "6s"}
BY_PRODUCERS = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**63 - 1)}
BY_THE_BROKER = {"message.timestamp.type": "LogAppendTime"}
YEAR_2109 = 4_390_000_000_000
SESSION = "s1"


async def make(brokers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=BY_PRODUCERS)])
    finally:
        await admin.close()


async def send(kafka: EmbeddedKafka, topic: str, *times: int, stamp: int | None = None) -> None:
    """A view of each event time, stamped with it or with ``stamp``."""
    async with producer(kafka) as sender:
        for number, at in enumerate(times):
            value = view(number, SESSION, event_time=at, event_id=f"{at}/{number}")
            await sender.send(topic, value, key=SESSION.encode(), partition=0, timestamp_ms=stamp or at)
        await sender.flush()


async def agreed(kafka: EmbeddedKafka, prefix: str, worker: Worker, rules: Rules, generation: int) -> dict[str, int]:
    """The session's counts, once they and the dead letters are what the recount says."""
    expected = recount(await read_inputs(kafka.bootstrap, prefix, 1), rules)
    async with Results(kafka.bootstrap, prefix, 1) as results:

        async def equal() -> bool:
            assert worker.child.code is None, worker.child.tail()
            written = await results.look()
            totals = newest(written.sessions.get(SESSION, [{"generation": -1, "revision": 0}]))
            letters = [each for each in written.letters if each.header("liveshop-generation") == str(generation)]
            return (
                totals["generation"] == generation
                and totals["counts"] == expected.sessions[SESSION]["counts"]
                and {each.origin(prefix): each.reason for each in letters} == expected.dead
            )

        await eventually("the results are those of the recount", equal)
        counts: dict[str, int] = newest(results.written.sessions[SESSION])["counts"]
        return counts


def test_inputs_that_producers_stamp_are_refused_with_the_way_out(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    topic = f"{prefix}live.views"
    asyncio.run(make(kafka.bootstrap, topic))
    create_topics(kafka.bootstrap, prefix, 1)
    with Worker(kafka.bootstrap, prefix, tmp_path / "refused.log", **QUICK) as worker:
        wait_for("it ends", lambda: worker.child.code is not None)
        assert worker.child.code == 2
        told = worker.log.read_text()
        assert f"{topic} has message.timestamp.type=CreateTime" in told
        assert f"--entity-name {topic} --add-config message.timestamp.type=LogAppendTime" in told
        assert "--trust-producer-time yes" in told
        assert "live.comments" not in told
    with Worker(kafka.bootstrap, prefix, tmp_path / "trusts.log", trust_producer_time="yes", **QUICK) as worker:
        worker.await_ready()
        worker.stop()


def test_a_record_stamped_in_2109_makes_nobody_late_not_even_in_a_rebuild(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    """Before the topic was altered honest producers and a wrong clock wrote to it; its old batches keep their type."""
    topic, now = f"{prefix}live.views", int(time.time() * 1000)
    asyncio.run(make(kafka.bootstrap, topic))
    create_topics(kafka.bootstrap, prefix, 1)
    asyncio.run(send(kafka, topic, now, now + 1, YEAR_2109))
    asyncio.run(alter(kafka.bootstrap, topic, BY_THE_BROKER))
    asyncio.run(send(kafka, topic, now + 2, now + 3, now + 4, stamp=YEAR_2109))
    for generation, flags in enumerate([(), ("--rebuild",)]):
        log = tmp_path / f"worker{generation}.log"
        with Worker(kafka.bootstrap, prefix, log, flags=flags, **QUICK) as worker:
            counts = asyncio.run(agreed(kafka, prefix, worker, Rules(), generation))
            assert counts["views"] == 3
            worker.shows({f'liveshop_dead_letters_total{{reason="producer_time",topic="{topic}"}}': 3})
            worker.stop()


def test_who_trusts_producers_counts_what_they_stamped_and_a_state_follows_the_change(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    """The way over for a topic that is altered: trust until the old batches are read, then no more."""
    topic, now = f"{prefix}live.views", int(time.time() * 1000)
    asyncio.run(make(kafka.bootstrap, topic))
    create_topics(kafka.bootstrap, prefix, 1)
    asyncio.run(send(kafka, topic, now, now + 1))
    with Worker(kafka.bootstrap, prefix, tmp_path / "trusts.log", trust_producer_time="yes", **QUICK) as worker:
        counts = asyncio.run(agreed(kafka, prefix, worker, Rules(trust_producer_time=True), 0))
        assert counts["views"] == 2
        worker.stop()
    asyncio.run(alter(kafka.bootstrap, topic, BY_THE_BROKER))
    asyncio.run(send(kafka, topic, now + 2))
    with Worker(kafka.bootstrap, prefix, tmp_path / "again.log", **QUICK) as worker:
        counts = asyncio.run(agreed(kafka, prefix, worker, Rules(trust_producer_time=True), 0))
        assert counts["views"] == 3
        worker.stop()
    states = [json.loads(line) for line in worker.log.read_text().splitlines()]
    assert any(line["event"] == "restored" for line in states)
