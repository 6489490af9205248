"""A stage on which the same code plays with the Kafka in memory and with a real one, through `stream.kafka.client` alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from stream.config import Settings
from stream.kafka import client
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import SPECS
from tests.kafka.tools import make_anew
from tests.kafka.tools import settings as real_settings
from tests.live import created
from tests.simulation.cluster import Cluster, Habits
from tests.simulation.loop import Loop
from tests.simulation.seam import Connections, installed
from tests.simulation.wire import Weather, Wire
from tests.support import PATIENCE

T = TypeVar("T")
COMPACTED: Final = "live.compacted"
"""A topic of the stage's own, compacted as soon as can be."""


class Demo(Protocol):
    settings: Settings
    sweep_seconds: float
    """At most so long after its time a transaction is aborted."""

    def play(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs it to its end."""

    async def make_topics(self, partitions: int = 1) -> None: ...

    async def delete_before(self, partition: TopicPartition, offset: int) -> None: ...

    async def compact(self, partition: TopicPartition) -> None:
        """All but the active segment, if a compaction is due."""

    async def make_anew(self, name: str) -> None:
        """Deletes the topic that the code calls so, and makes another of its name, with one partition."""


class InMemory:
    sweep_seconds = 0.5

    def __init__(self, settings: Settings, *, marker: Callable[[], float] = lambda: 0.002) -> None:
        self.settings = settings
        self.loop = Loop()
        self.cluster = Cluster(self.loop, 1_700_000_000.0, Habits(marker))
        self.wire = Wire(self.cluster, Weather("calm"))

    def play(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        asyncio.set_event_loop(self.loop)
        try:
            with installed(Connections(self.wire, 1_700_000_000.0)):
                played = self.loop.run_until_complete(self.loop.create_task(act()))
            assert self.loop.complaints == []
            return played
        finally:
            asyncio.set_event_loop(None)
            self.loop.end()

    async def make_topics(self, partitions: int = 1) -> None:
        names = [self.settings.topic(name) for name in (*(spec.name for spec in SPECS), COMPACTED)]
        self.cluster.create(names, partitions)

    async def delete_before(self, partition: TopicPartition, offset: int) -> None:
        self.cluster.log(partition).delete_before(offset)

    async def compact(self, partition: TopicPartition) -> None:
        self.cluster.log(partition).compact(self.cluster.log(partition).high)

    async def make_anew(self, name: str) -> None:
        self.cluster.delete(self.settings.topic(name))
        self.cluster.create([self.settings.topic(name)], 1)


class Real:
    sweep_seconds = 10.0

    def __init__(self, kafka: EmbeddedKafka, settings: Settings) -> None:
        self.settings = settings
        self._kafka = kafka

    def play(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run(act())

    async def make_topics(self, partitions: int = 1) -> None:
        await created(self.settings, partitions)
        configs = {"cleanup.policy": "compact", "segment.ms": "50", "min.cleanable.dirty.ratio": "0.0"}
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(self.settings.topic(COMPACTED), partitions, 1, topic_configs=configs)])

    async def delete_before(self, partition: TopicPartition, offset: int) -> None:
        async with self._admin() as admin:
            await admin.delete_records({partition: RecordsToDelete(offset)})

    async def compact(self, partition: TopicPartition) -> None:
        """It is done by itself; whoever looks waits for it."""

    async def make_anew(self, name: str) -> None:
        await make_anew(self.settings, name)

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


def in_memory(prefix: str, **options: Any) -> InMemory:
    return InMemory(Settings(brokers="memory:1", topic_prefix=prefix, group=prefix + "g", **quick()), **options)


def real(kafka: EmbeddedKafka, prefix: str) -> Real:
    return Real(kafka, real_settings(kafka, prefix, **quick()))


def quick() -> dict[str, Any]:
    return {"transaction_timeout": timedelta(seconds=2), "session_timeout": timedelta(seconds=6)}


@asynccontextmanager
async def started(connection: T, settings: Settings) -> AsyncIterator[T]:
    await client.start(connection, settings)
    try:
        yield connection
    finally:
        await client.end(connection)


async def eventually(condition: Callable[[], Awaitable[object]], what: str, seconds: float = PATIENCE) -> None:
    """Until it is true. AssertionError says what did not come."""
    until = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < until, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.05)
