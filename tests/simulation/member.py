"""What stream/kafka uses of an AIOKafkaConsumer as a member of a group: it joins, beats, is told, and hands out nothing.

Its coordination follows aiokafka's: revocation before each join, the heart beating on meanwhile; a generation that is not
known any more is given up; the leader assigns, with aiokafka's range assignor.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from tests.simulation.connection import Client
from tests.simulation.groups import Joined
from tests.simulation.wire import Wire

BACKOFF: Final = 0.1
UNKNOWN: Final = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """Of a membership; seconds."""

    group: str
    session: float
    beat: float
    rebalance: float
    client: str = ""


class Member:
    def __init__(self, wire: Wire, terms: Terms) -> None:
        self._client = Client(wire)
        self._wire = wire
        self._terms = terms
        self._topics: list[str] = []
        self._listener: ConsumerRebalanceListener | None = None
        self._name = UNKNOWN
        self._generation = -1
        self._assigned: set[TopicPartition] = set()
        self._prepared = False
        self._rejoin = asyncio.Event()
        self._settled = asyncio.Event()
        """An assignment stands; while none does, whoever polls waits."""
        self._heart: asyncio.Task[None] | None = None
        self._coordination: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def start(self) -> None:
        await self._client.bootstrap()

    def subscribe(self, topics: Iterable[str], *, listener: ConsumerRebalanceListener) -> None:
        self._topics = list(topics)
        self._listener = listener
        self._rejoin.set()
        self._coordination = asyncio.create_task(self._coordinate())

    def pause(self, *_partitions: TopicPartition) -> None:
        """Nothing is handed out anyway."""

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self._closing.is_set():
            raise ConsumerStoppedError
        if self._coordination is not None and self._coordination.done():
            self._coordination.result()
        await self._settled.wait()
        await asyncio.sleep(timeout_ms / 1000)
        return {}

    async def stop(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._rejoin.set()
        if self._coordination is not None:
            await asyncio.wait({self._coordination})
        await self._stop_heart()
        if self._generation > 0:
            try:
                await self._ask("leave", lambda group, name: group.leave(name))
            except KafkaError:
                return

    async def _ask(self, what: str, perform: Any) -> Any:
        group, name = self._wire.cluster.group(self._terms.group), self._name
        return await self._wire.ask(what, lambda: perform(group, name))

    # -- coordination

    async def _coordinate(self) -> None:
        while not self._closing.is_set():
            await self._rejoin.wait()
            if self._closing.is_set():
                return
            await self._prepare()
            await self._stop_heart()
            if await self._join():
                self._prepared = False
                self._heart = asyncio.create_task(self._beat())
            else:
                await asyncio.sleep(BACKOFF)

    async def _prepare(self) -> None:
        """Once a rebalance, however often joining is tried."""
        if self._prepared:
            return
        self._settled.clear()
        if self._listener is not None:
            await self._listener.on_partitions_revoked(self._assigned)
        self._prepared = True

    async def _join(self) -> bool:
        terms = self._terms
        try:
            joined: Joined = await self._ask(
                "join",
                lambda group, name: group.join(name, terms.session, terms.rebalance, terms.client, tuple(self._topics)),
            )
            self._name, self._generation = joined.member, joined.generation
            assignment = self._assign(joined) if joined.leader == joined.member else {}
            self._rejoin.clear()
            mine = await self._ask("sync", lambda group, name: group.sync(name, joined.generation, assignment))
        except (UnknownMemberIdError, IllegalGenerationError):
            self._reset()
            return False
        except KafkaError:
            self._rejoin.set()
            return False
        self._assigned = set(mine or ())
        self._settled.set()
        if self._listener is not None:
            await self._listener.on_partitions_assigned(sorted(self._assigned))
        return True

    def _assign(self, joined: Joined) -> dict[str, list[TopicPartition]]:
        logs = self._wire.cluster.logs
        cluster = SimpleNamespace(
            partitions_for_topic=lambda topic: {place.partition for place in logs if place.topic == topic}
        )
        metadata = {name: RangePartitionAssignor.metadata(self._topics) for name in joined.members}
        assigned = RangePartitionAssignor.assign(cluster, metadata)
        return {name: each.partitions() for name, each in assigned.items()}

    def _reset(self) -> None:
        self._name, self._generation = UNKNOWN, -1
        self._rejoin.set()

    # -- the heart

    async def _beat(self) -> None:
        pause = self._terms.beat
        while self._name != UNKNOWN:
            await asyncio.sleep(pause)
            generation = self._generation
            pause = self._terms.beat
            try:
                await self._ask("beat", lambda group, name, generation=generation: group.beat(name, generation))
            except RebalanceInProgressError:
                self._rejoin.set()
            except (UnknownMemberIdError, IllegalGenerationError):
                self._reset()
            except KafkaError:
                pause = BACKOFF

    async def _stop_heart(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait({self._heart})
            self._heart = None
