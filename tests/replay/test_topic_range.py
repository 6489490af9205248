"""A range of real topics: found by time, its ends frozen, read past markers and aborted transactions."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaProducer

from stream.config import Settings
from stream.errors import UsageError
from stream.model.names import INPUTS, KINDS, Kind
from stream.replay.feed import Feed
from stream.replay.topic_range import TopicRange, read, topic_ranges
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka import tools
from tests.kafka.test_recovery import delete_records
from tests.replay.tools import START, Remembering, event

pytestmark = pytest.mark.kafka
NEVER_OVER = 2**62


async def fill(kafka: EmbeddedKafka, settings: Settings, kind: Kind, times: Sequence[int], partition: int = 0) -> None:
    rows: tools.Rows = [(b"7", event(kind, number, at)) for number, at in enumerate(times)]
    await tools.send(kafka, settings.topic(INPUTS[kind]), rows, partition)


async def fed(settings: Settings, topic_range: TopicRange, until: int = NEVER_OVER) -> Remembering:
    machine, done = Remembering(), 0

    def progress(more: int) -> None:
        nonlocal done
        done += more

    await read(topic_range, Feed(settings.policy(), machine, until), progress)
    assert until < NEVER_OVER or done >= topic_range.records
    return machine


def test_all_there_is_comes_partition_by_partition_and_nothing_that_comes_later(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    async def run() -> None:
        settings = tools.settings(kafka, prefix)
        await tools.make_topics(settings, 2)
        await fill(kafka, settings, Kind.VIEWS, range(0, 300_000, 100))
        await fill(kafka, settings, Kind.COMMENTS, range(0, 300_000, 30_000))
        await fill(kafka, settings, Kind.CHECKOUTS, [200_000], partition=1)
        found = await topic_ranges(settings, None)
        assert [each.records for each in found] == [3_010, 1]
        await fill(kafka, settings, Kind.VIEWS, range(300_000, 301_000))
        machine = await fed(settings, found[0])
        assert machine.offsets(Kind.VIEWS) == list(range(3_000))
        assert machine.offsets(Kind.COMMENTS) == list(range(10))
        assert machine.spread <= 40_000
        assert (await fed(settings, found[1])).counted == [(Kind.CHECKOUTS, 0)]
        assert [each.lost for each in found] == [(), ()]

    asyncio.run(run())


def test_what_was_aborted_is_not_there_and_a_marker_at_the_end_does_not_hang(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = tools.settings(kafka, prefix)
        await tools.make_topics(settings)
        topic = settings.topic(INPUTS[Kind.VIEWS])
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=prefix)
        await producer.start()
        try:
            for numbers, commit in ((range(5), True), (range(5, 9), False), (range(9, 12), True)):
                await producer.begin_transaction()
                for number in numbers:
                    await producer.send_and_wait(topic, event(Kind.VIEWS, number, number), key=b"7")
                await (producer.commit_transaction() if commit else producer.abort_transaction())
        finally:
            await producer.stop()
        [topic_range] = await topic_ranges(settings, None)
        assert topic_range.records == 15, "three markers"
        machine = await fed(settings, topic_range)
        assert machine.offsets(Kind.VIEWS) == [*range(5), *range(11, 14)]

    asyncio.run(run())


def test_a_stretch_begins_with_what_was_appended_then_less_the_clocks_that_run_ahead(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    async def run() -> None:
        settings = tools.settings(kafka, prefix, max_future=timedelta(milliseconds=1))
        await tools.make_topics(settings)
        await fill(kafka, settings, Kind.VIEWS, range(10))
        await fill(kafka, settings, Kind.CHECKOUTS, range(3))
        appended = await tools.everything(kafka, settings.topic(INPUTS[Kind.CHECKOUTS]))
        between = appended[-1].timestamp + 2  # after what was appended then, also less the millisecond
        await tools.until(lambda: time.time() * 1000 > between, "the broker's clock, which is ours, has moved on")
        await fill(kafka, settings, Kind.VIEWS, range(10, 15))
        await fill(kafka, settings, Kind.CHECKOUTS, range(10, 12))
        [topic_range] = await topic_ranges(settings, between)
        assert {kind: topic_range.begins[kind] for kind in KINDS} == {
            Kind.VIEWS: 10,
            Kind.COMMENTS: 0,
            Kind.CHECKOUTS: 3,
        }
        machine = await fed(settings, topic_range)
        assert machine.offsets(Kind.VIEWS) == list(range(10, 15))
        assert machine.offsets(Kind.CHECKOUTS) == [3, 4]
        assert machine.remembered == [(Kind.CHECKOUTS, offset) for offset in range(3)], "repeats of these are known"
        [nothing] = await topic_ranges(settings, int(time.time() * 1000) + 2 * 86_400_000)
        assert nothing.records == 0
        machine = await fed(settings, nothing)
        assert machine.counted == machine.remembered == []

    asyncio.run(run())


def test_it_is_read_until_the_clocks_have_come_far_enough(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = tools.settings(kafka, prefix)
        await tools.make_topics(settings)
        for kind in KINDS:
            await fill(kafka, settings, kind, range(0, 600_000, 50))
        [topic_range] = await topic_ranges(settings, None)
        machine = await fed(settings, topic_range, START + 100_000)
        for kind in KINDS:
            assert 2_000 < len(machine.offsets(kind)) < 5_000

    asyncio.run(run())


def test_what_retention_may_have_taken_is_told(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = tools.settings(kafka, prefix)
        await tools.make_topics(settings)
        for kind in KINDS:
            await fill(kafka, settings, kind, range(10))
        await delete_records(kafka, settings.topic(INPUTS[Kind.COMMENTS]), 4)
        [topic_range] = await topic_ranges(settings, START)
        assert topic_range.lost == (Kind.COMMENTS,)
        machine = await fed(settings, topic_range)
        assert machine.offsets(Kind.COMMENTS) == list(range(4, 10))
        assert len(machine.counted) == 26

    asyncio.run(run())


def test_missing_input_topics_are_named(kafka: EmbeddedKafka, prefix: str) -> None:
    with pytest.raises(UsageError, match=r"missing topics: .*live\.views, .*live\.comments, .*live\.checkouts\. Make"):
        asyncio.run(topic_ranges(tools.settings(kafka, prefix), None))
