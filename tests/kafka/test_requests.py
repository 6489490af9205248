"""What aiokafka cannot ask, asked of a real broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, NotLeaderForPartitionError, UnknownTopicOrPartitionError

from stream.kafka import client, requests
from stream.kafka.client import Admin
from stream.model.names import INPUTS, Kind
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import make_topics, producer, settings
from tests.live import eventually

pytestmark = pytest.mark.kafka
NODE = 1


@asynccontextmanager
async def asking(kafka: EmbeddedKafka) -> AsyncIterator[Admin]:
    config = settings(kafka, "")
    admin = client.make_admin(config)
    await client.start(admin, config)
    try:
        yield admin
    finally:
        await client.end(admin)


def test_the_features_tell_the_version(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        async with asking(kafka) as admin:
            found = await requests.features(admin, NODE)
            assert found.supported["metadata.version"] == 30, "Kafka 4.3"
            assert found.finalized["metadata.version"] == 30
            assert found.finalized["transaction.version"] == 2

    asyncio.run(main())


def test_the_controller_tells_its_time(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        async with asking(kafka) as admin:
            before = time.time_ns() // 1_000_000
            told = await requests.controller_time(admin)
            after = time.time_ns() // 1_000_000
            assert before - 1000 <= told <= after + 1000  # one machine, one clock; the JVM may round it otherwise

    asyncio.run(main())


async def ended(admin: Admin, topic: str, partition: int) -> bool:
    """A new topic's partitions get their leaders one after the other."""
    try:
        return await requests.open_producers(admin, NODE, topic, partition) == []
    except NotLeaderForPartitionError:
        return False


def test_an_open_transaction_is_told_with_its_producer(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await make_topics(config, 2)
        async with asking(kafka) as admin, producer(kafka, transactional_id=prefix + "open") as other:
            await other.begin_transaction()
            await other.send_and_wait(topic, b"x", partition=1)
            (found,) = await requests.open_producers(admin, NODE, topic, 1)
            assert found.start_offset == 0
            await eventually(
                "the other partition has a leader, and no open transaction", lambda: ended(admin, topic, 0)
            )
            (known,) = await requests.transactions(admin, [NODE], [found.producer_id])
            assert (known.transactional_id, known.state, known.timeout_ms) == (prefix + "open", "Ongoing", 60_000)
            assert known.partitions == {(topic, 1)}
            await other.commit_transaction()
            await eventually("its markers are written", lambda: ended(admin, topic, 1))

    asyncio.run(main())


def test_what_the_broker_refuses_is_raised(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        async with asking(kafka) as admin:
            with pytest.raises(UnknownTopicOrPartitionError):
                await requests.open_producers(admin, NODE, prefix + "nothing", 0)

    asyncio.run(main())


def test_a_broker_too_old_for_a_question_is_not_asked() -> None:
    question = requests._Question(requests._QUORUM, [])
    with pytest.raises(IncompatibleBrokerVersion, match="request 55 v1"):
        question.prepare({55: (0, 0)})
    with pytest.raises(IncompatibleBrokerVersion):
        question.prepare({})
    assert question.prepare({55: (0, 2)}) is question


def test_brokers_tell_the_bytes_of_partitions(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        views = config.topic(INPUTS[Kind.VIEWS])
        async with producer(kafka) as sender:
            await sender.send_and_wait(views, bytes(10_000), partition=1)
        async with asking(kafka) as admin:
            found = await requests.log_sizes(admin, [NODE], {views: 3})
            assert found.keys() == {(views, 0), (views, 1)}
            assert found[views, 0] == 0
            assert 10_000 < found[views, 1] < 11_000

    asyncio.run(main())
