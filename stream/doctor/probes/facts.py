"""The connections of the doctor, and facts that several checks need, each asked for once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.doctor.topics import Partition, Topic
from stream.kafka import client
from stream.kafka.client import Admin, Reader
from stream.kafka.retriable import is_retriable
from stream.kafka.retries import BackoffPolicy, retry
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, KINDS, OUTPUTS, STATE, Kind
from stream.sessions.role import WORKER
from stream.sessions.topics import names

T = TypeVar("T")
PATIENCE: Final = 5.0
"""Seconds for one broker to answer. The doctor runs when something is wrong, and must not hang with it."""

AGAIN: Final = BackoffPolicy(first=0.2, most=1.0)
"""Before a question is asked again."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Named:
    """What the cluster says of itself."""

    brokers: dict[int, str]
    """Addresses by node."""
    topics: dict[str, list[dict[str, Any]]]
    """Every topic's partitions as aiokafka describes them."""


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Asks again after an error that may pass: a leader that has just moved, a broker that has just gone."""
    return await retry(ask, "a question of the doctor", is_retriable, AGAIN, seconds=PATIENCE)


class ClusterFacts:
    """Made by `cluster_facts`. ``sample``: offsets to look at from the end of each input partition."""

    def __init__(self, settings: Settings, sample: int, admin: Admin, reader: Reader, named: Named) -> None:
        self.settings = settings
        self.sample = sample
        self.admin = admin
        self.reader = reader
        self.named = named

    @property
    def bootstrap(self) -> str:
        return self.settings.brokers or ""

    @property
    def topics(self) -> list[Topic]:
        """All topics of ours, without their settings. A missing topic has no partitions."""
        return [self.topic(name) for name in names(self.settings)]

    def topic(self, name: str) -> Topic:
        partitions = sorted(self.named.topics.get(name, []), key=lambda each: int(each["partition"]))
        return Topic(name, [_partition(each) for each in partitions])

    @property
    def inputs(self) -> dict[Kind, list[TopicPartition]]:
        """The partitions there are."""
        return {kind: self._partitions(INPUTS[kind]) for kind in KINDS}

    @property
    def partitions(self) -> list[TopicPartition]:
        """Of all our topics that have a leader."""
        every = (*INPUTS.values(), *OUTPUTS, STATE)
        return [tp for name in every for tp in self._partitions(name) if self.leader(tp) >= 0]

    @property
    def contexts(self) -> list[ShardContext]:
        """The shards: the partition numbers that all topics have, with a leader each."""
        counts = [len(topic.partitions) for topic in self.topics]
        readable = set(self.partitions)
        shards = [ShardContext(self.settings, number, max(counts), WORKER) for number in range(min(counts))]
        return [each for each in shards if {each.state, *each.inputs.values(), *each.outputs} <= readable]

    async def patiently(self, ask: Callable[["ClusterFacts"], Awaitable[T]]) -> T:
        """Asks again for a while after an error that may pass, and each time for the leaders as well."""

        async def again() -> T:
            try:
                return await ask(self)
            except KafkaError as error:
                if error.retriable:
                    self.named = await _named(self.admin)
                raise

        return await _patiently(again)

    def leader(self, partition: TopicPartition) -> int:
        """Its node, -1 for none."""
        described = self.named.topics[partition.topic]
        return next(int(each["leader"]) for each in described if each["partition"] == partition.partition)

    def _partitions(self, name: str) -> list[TopicPartition]:
        topic = self.topic(self.settings.topic(name))
        return [TopicPartition(topic.name, each.number) for each in topic.partitions]


class CachedFact(Generic[T]):
    """A fact that is asked for when it is first needed. Every caller gets the same answer, or the same exception."""

    def __init__(self, facts: ClusterFacts, ask: Callable[[ClusterFacts], Awaitable[T]]) -> None:
        self._facts = facts
        self._ask = ask
        self._asking: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._facts.patiently(self._ask))
        return await asyncio.shield(self._asking)  # a check that has no more time takes nothing from the next


def _partition(described: dict[str, Any]) -> Partition:
    return Partition(described["partition"], described["leader"], len(described["replicas"]), len(described["isr"]))


@asynccontextmanager
async def cluster_facts(settings: Settings, sample: int) -> AsyncIterator[ClusterFacts]:
    """Raises FailedError when no broker answers."""
    admin, reader = client.make_admin(settings), client.make_reader(settings, wait_ms=50)
    try:
        await client.start(admin, settings)
        await client.start(reader, settings)
        made = ClusterFacts(settings, sample, admin, reader, await _patiently(lambda: _named(admin)))
        _assign(reader, made.partitions)
        yield made
    finally:
        await client.end(reader)
        await client.end(admin)


def _assign(reader: Reader, partitions: Iterable[TopicPartition]) -> None:
    """All at once: each `assign` costs a look-up of its topics."""
    reader.assign(list(partitions))


async def _named(admin: Admin) -> Named:
    """Asks for the list of all topics: asking for a missing one by name may create it."""
    described = await admin.describe_cluster()
    brokers = {int(each["node_id"]): f"{each['host']}:{each['port']}" for each in described["brokers"]}
    topics = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
    return Named(brokers, topics)
