"""A fetch by id hands out what one by name does, and nothing of a topic that was made anew under the name."""

import asyncio
import gc
import weakref
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from stream.config import Settings
from stream.kafka import client, topicids
from stream.kafka.patches.fetch import Buffer
from stream.kafka.patches.fetchbyid import VERSION, FetchById
from stream.model.names import INPUTS, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.kafka.tools import make_anew, make_topics, producer, send_views, settings
from tests.support import PATIENCE

VIEWS = INPUTS[Kind.VIEWS]


def test_a_broker_before_3_1_is_asked_by_name() -> None:
    request = FetchRequest(500, 1, 1000, 1, [("a", [(0, 5, 100)])])
    by_id = FetchById(request, {"a": bytes(16)})
    assert by_id.prepare({1: (4, 11)}).API_VERSION == 11
    assert by_id.prepare({1: (4, VERSION + 4)}) is by_id


def test_a_request_is_gone_as_soon_as_it_was_answered() -> None:
    """Each waits at the broker for half a second: what lasts so long is looked at by no collection of what is young."""
    by_id = FetchById(FetchRequest(500, 1, 1000, 1, [("a", [(0, 5, 100)])]), {"a": bytes(16)})
    assert by_id.prepare({1: (4, VERSION)}).RESPONSE_TYPE is by_id
    gone = weakref.ref(by_id)
    gc.disable()
    try:
        del by_id
        assert gone() is None
    finally:
        gc.enable()


class Everything:
    def may_unpack(self) -> bool:
        return True

    def takes(self, _size: int) -> bool:
        return True


async def read(config: Settings, tps: Iterable[TopicPartition], number: int, *, ids: bool) -> list[tuple[Any, ...]]:
    """So many records, from the beginning."""
    reader = client.make_reader(config, wait_ms=50)
    await client.start(reader, config)
    try:
        await insist(reader, config, tps, ids=ids)
        found: list[tuple[Any, ...]] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < number:
                for tp, records in (await reader.getmany(timeout_ms=50)).items():
                    found += [
                        (*tp, each.offset, each.timestamp, each.key, each.value, list(each.headers)) for each in records
                    ]
        return sorted(found, key=lambda each: each[:3])
    finally:
        await client.end(reader)


def of(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, list(record.headers)


async def insist(reader: Any, config: Settings, tps: Iterable[TopicPartition], *, ids: bool) -> None:
    buffer = Buffer(reader, Everything())
    if ids:
        now = await topicids.fetch(WORKER, reader, config)
        buffer.insist_on({config.topic(name): topicids.as_bytes(topic_id) for name, topic_id in now.items()})
    reader.assign(list(tps))
    for tp in tps:
        reader.seek(tp, 0)


@pytest.mark.kafka
def test_it_hands_out_the_same_records_as_one_by_name(kafka: EmbeddedKafka, prefix: str) -> None:
    """Also beside transactions that were aborted."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        async with producer(kafka, transactional_id=prefix + "t") as sender:
            for end in (sender.commit_transaction, sender.abort_transaction, sender.commit_transaction):
                await sender.begin_transaction()
                for name in INPUTS.values():
                    headers = [("h", b"1")]
                    await sender.send_and_wait(config.topic(name), b"t", key=b"k", partition=1, headers=headers)
                await end()
        await send_views(kafka, config, range(500))
        tps = [TopicPartition(config.topic(name), number) for name in INPUTS.values() for number in range(2)]
        by_name = await read(config, tps, 506, ids=False)
        assert await read(config, tps, 506, ids=True) == by_name
        assert len(by_name) == 506

    asyncio.run(main())


@pytest.mark.kafka
def test_nothing_of_a_topic_that_was_made_anew_is_handed_out(kafka: EmbeddedKafka, prefix: str) -> None:
    """It is asked for a few times a second until somebody has noticed; the other topics are read on."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        await send_views(kafka, config, range(10))
        tps = [TopicPartition(config.topic(name), 0) for name in INPUTS.values()]
        reader = client.make_reader(config, wait_ms=50)
        await client.start(reader, config)
        try:
            await insist(reader, config, tps, ids=True)
            handed: list[Any] = []
            await until_read(reader, handed, 10)
            await make_anew(config, VIEWS)
            await send_views(kafka, config, range(100, 150))
            sent = counted_fetches(reader)
            began = asyncio.get_running_loop().time()
            async with producer(kafka) as sender:
                await sender.send_and_wait(config.topic(INPUTS[Kind.COMMENTS]), b"c", partition=0)
            await until_read(reader, handed, 11)
            assert handed[-1].value == b"c"
            for _ in range(40):
                handed += [each for records in (await reader.getmany(timeout_ms=50)).values() for each in records]
            assert len(handed) == 11, "two seconds later"
            seconds = asyncio.get_running_loop().time() - began
            assert sent.number < 30 * (seconds + 1), (
                "as often as the broker lets a fetch wait, and a few for what is gone"
            )
        finally:
            await client.end(reader)

    asyncio.run(main())


async def until_read(reader: Any, handed: list[Any], number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(handed) < number:
            handed += [each for records in (await reader.getmany(timeout_ms=50)).values() for each in records]


def counted_fetches(reader: Any) -> Any:
    fetching, count = reader._fetcher._client._client, SimpleNamespace(number=0)
    send = fetching.send

    async def counted(*arguments: Any, **more: Any) -> Any:
        count.number += 1
        return await send(*arguments, **more)

    cast("Any", fetching).send = counted
    return count
