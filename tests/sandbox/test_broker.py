"""The embedded Kafka itself: starts, answers, comes back with its data, and leaves nothing."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.children import free_port, is_free
from stream.errors import FailedError
from stream.sandbox import broker
from stream.sandbox.broker import EmbeddedKafka, answers
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka


@pytest.fixture
def own(kafka: EmbeddedKafka) -> Iterator[EmbeddedKafka]:
    """One more, to be mistreated. Depends on the shared one only for its reasons to skip."""
    assert kafka.running
    with EmbeddedKafka() as mine:
        yield mine


async def put(bootstrap: str, topic: str, value: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    if topic not in await admin.list_topics():
        await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="t") as producer, producer.transaction():
        await producer.send_and_wait(topic, value)


async def contents(bootstrap: str, topic: str) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed") as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        found: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            while await consumer.position(partition) < end:
                found += [
                    record.value for records in (await consumer.getmany(timeout_ms=200)).values() for record in records
                ]
        return found


def test_it_keeps_its_data_and_address_through_a_crash_and_a_restart(own: EmbeddedKafka) -> None:
    bootstrap, first = own.bootstrap, own.pid
    asyncio.run(put(bootstrap, "kept", b"one"))
    own.kill()
    own.restart()
    assert own.bootstrap == bootstrap
    asyncio.run(put(bootstrap, "kept", b"two"))
    own.restart()
    assert own.running
    assert own.pid != first
    assert asyncio.run(contents(bootstrap, "kept")) == [b"one", b"two"]


def test_nothing_is_left_after_stop(kafka: EmbeddedKafka) -> None:
    mine = EmbeddedKafka()
    mine.start()
    folder, port = mine.log.parent, int(mine.bootstrap.split(":")[1])
    assert folder.is_dir()
    mine.stop()
    mine.stop()
    assert not folder.exists()
    assert not answers(broker.HOST, port)
    assert kafka.running


def test_a_port_taken_in_between_is_left_and_others_are_tried(
    kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kafka.running
    with socket.socket() as other:
        other.bind((broker.HOST, free_port()))
        other.listen()
        taken = other.getsockname()[1]
        offered = iter([taken, free_port()])
        monkeypatch.setattr(broker, "free_port", lambda host: next(offered, None) or free_port(host))
        with EmbeddedKafka() as mine:
            assert mine.bootstrap != f"{broker.HOST}:{taken}"
            assert mine.running


def test_when_it_does_not_start_the_end_of_its_log_is_shown(
    kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kafka.running
    monkeypatch.setattr(broker, "_SETTINGS", broker._SETTINGS + "num.io.threads=none\n")
    mine = EmbeddedKafka()
    with pytest.raises(FailedError, match=r"(?s)num\.io\.threads"):
        mine.start()
    assert not mine.running


def test_it_creates_no_topic_by_itself(kafka: EmbeddedKafka) -> None:
    async def look() -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.describe_topics(["misspelt"])
        found = await admin.list_topics()
        await admin.close()
        return found

    assert "misspelt" not in asyncio.run(look())


def test_no_port_is_taken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = iter([7, 7, 8, 7, 9])
    monkeypatch.setattr(broker, "free_port", lambda _host: next(offered))
    assert broker.free_ports(3) == [7, 8, 9]


def test_nobody_there_is_no_answer() -> None:
    port = free_port()
    assert is_free(port)
    assert not answers(broker.HOST, port)
