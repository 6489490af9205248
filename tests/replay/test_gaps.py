"""A replay across holes in a log: what compaction has taken out, what was aborted, and the markers of transactions."""

import asyncio
from itertools import groupby
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer

from stream.config import Settings
from stream.model.names import INPUTS, OUTPUTS, Kind
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka import tools
from tests.live import eventually
from tests.replay.test_planning import make
from tests.replay.test_running import (
    FROM,
    MINUTE,
    PARTITIONS,
    bare,
    counted_live,
    fill,
    own,
    planned,
    replay,
    seen,
    settings_of,
    traffic,
    within,
)

pytestmark = pytest.mark.kafka
STAMPED: Final = {"message.timestamp.type": "CreateTime"}
COMPACTED: Final = STAMPED | {
    "cleanup.policy": "compact",
    "segment.ms": str(5 * MINUTE),  # by the times of the events
    "min.cleanable.dirty.ratio": "0.01",
}


async def compacted(kafka: EmbeddedKafka, topic: str, whole: int) -> int:
    """Awaits that of each session in a full segment only the newest record is there; how many are left in all."""

    async def left() -> int:
        return sum([len(await tools.everything(kafka, topic, number)) for number in range(PARTITIONS)])

    async def holes() -> bool:
        return await left() < whole / 2

    await eventually("the log is compacted", holes, every=0.5)
    await tools.alter(kafka.bootstrap, topic, STAMPED | {"cleanup.policy": "delete"})
    return await left()


async def abort(settings: Settings, times: range) -> None:
    """Views that were never committed, and the marker that says so."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, transactional_id=settings.topic_prefix)
    await producer.start()
    try:
        await producer.begin_transaction()
        for at in times:
            await producer.send(
                settings.topic(INPUTS[Kind.VIEWS]), tools.view(at), key=b"s1", partition=0, timestamp_ms=at
            )
        await producer.abort_transaction()
    finally:
        await producer.stop()


def test_what_is_left_is_counted_as_it_was_live(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings, messages = settings_of(kafka, prefix), traffic()
        await make(settings, PARTITIONS)
        topic = settings.topic(INPUTS[Kind.COMMENTS])
        await tools.alter(kafka.bootstrap, topic, COMPACTED)
        for number, some in groupby(messages, key=lambda each: (each.at - FROM) // (4 * MINUTE)):
            await fill(settings, list(some))  # in batches of its own, so that segments become full
            if number == 0:
                await abort(settings, range(FROM, FROM + 300))
        comments = sum(each.kind is Kind.COMMENTS for each in messages)
        left = await compacted(kafka, topic, comments)
        assert 0 < left < comments
        await counted_live(settings, len(messages) - comments + left)
        live = await seen(settings, OUTPUTS)
        plan = await planned(settings)
        assert (await replay(plan, settings)).done == set(range(PARTITIONS))
        found = await seen(settings, own(plan))
        assert bare(found.windows) == bare(within(live.windows)) != {}

    asyncio.run(run())
