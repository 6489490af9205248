"""Topics to which partitions are added, and sessions whose place that changes."""

from collections.abc import Iterator
from itertools import count
from typing import Protocol

from aiokafka.admin import NewPartitions
from aiokafka.partitioner import murmur2

from stream.config import Settings
from stream.kafka import client
from stream.model.names import INPUTS, Kind
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import BASE, Rows, send, view
from tests.live import eventually


def partition_of(session: str, partitions: int) -> int:
    """Where a producer puts it."""
    placed: int = (murmur2(session.encode()) & 0x7FFFFFFF) % partitions
    return placed


def sessions(before: tuple[int, int], after: tuple[int, int]) -> Iterator[str]:
    """Names whose place (partition, partitions) was ``before`` and is ``after``."""
    names = (f"s{number}" for number in count())
    return (
        name for name in names if (partition_of(name, before[1]), partition_of(name, after[1])) == (before[0], after[0])
    )


class Reached(Protocol):
    @property
    def bootstrap(self) -> str: ...


async def add_partitions(kafka: Reached, numbers: dict[str, int]) -> None:
    """``numbers``: how many each topic is to have. Returns when brokers know it."""
    config = Settings(brokers=kafka.bootstrap)
    admin = client.make_admin(config)
    await client.start(admin, config)
    try:
        await admin.create_partitions({topic: NewPartitions(number) for topic, number in numbers.items()})
        for topic, number in numbers.items():

            async def known(topic: str = topic, number: int = number) -> bool:
                return len((await admin.describe_topics([topic]))[0]["partitions"]) == number

            await eventually("the broker knows the partitions", known)
    finally:
        await client.end(admin)


async def send_events(kafka: EmbeddedKafka, prefix: str, session: str, numbers: range, partitions: int) -> None:
    """Views of one session, where a producer puts them that knows so many partitions."""
    rows: Rows = [(session.encode(), view(number, session, event_time=BASE + number)) for number in numbers]
    await send(kafka, prefix + INPUTS[Kind.VIEWS], rows, partition_of(session, partitions))
