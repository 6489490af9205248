"""A Kafka in memory: topics, the coordinators, and what it answers to each request. Pure but for its clock, the loop's."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    NotEnoughReplicasError,
    UnknownTopicOrPartitionError,
)

from tests.simulation.groups import Group
from tests.simulation.log import Log, Row, Slice
from tests.simulation.loop import Loop
from tests.simulation.transactions import Transactions

T = TypeVar("T")

BROKER: Final = Context()
"""In which the broker's own work runs: it belongs to no process."""


@dataclass(frozen=True, slots=True)
class Who:
    """A producer, as its requests say."""

    name: str
    producer: int
    epoch: int


@dataclass(slots=True)
class Habits:
    """How quick the broker is, in seconds."""

    marker: Callable[[], float] = field(default=lambda: 0.002)
    sweep_every: float = 0.5
    """Between two looks for transactions that have timed out."""


class Cluster:
    """One broker. A request is a method; it raises what the broker answers with, a future is an answer that comes later."""

    def __init__(self, loop: Loop, epoch: float, habits: Habits | None = None) -> None:
        """``epoch``: what the clock on the wall shows at the loop's 0."""
        habits = habits or Habits()
        self.loop = loop
        self.up = True
        self.logs: dict[TopicPartition, Log] = {}
        self.ids: dict[str, bytes] = {}
        """Each topic's own: made anew, it has another."""
        self._made = 0
        self._epoch = epoch
        self._groups: dict[str, Group] = {}
        self._waiting: list[asyncio.Future[Any]] = []
        self.transactions = Transactions(self, self.later, habits.marker, habits.sweep_every)

    def create(self, topics: Iterable[str], partitions: int) -> None:
        for topic in topics:
            self._made += 1
            self.ids[topic] = self._made.to_bytes(16, "big")
            for number in range(partitions):
                self.logs[TopicPartition(topic, number)] = Log(topic, number)

    def delete(self, topic: str) -> None:
        """Whoever waits for something of it is told that it is not there."""
        del self.ids[topic]
        for place in [place for place in self.logs if place.topic == topic]:
            log = self.logs.pop(place)
            for listener in log.listeners:
                listener()

    @property
    def now_ms(self) -> int:
        return int((self._epoch + self.loop.now) * 1000)

    def later(self, seconds: float, happen: Callable[[], None]) -> None:
        self.loop.call_later(seconds, happen, context=BROKER)

    def promise(self) -> asyncio.Future[Any]:
        """An answer that comes later; lost when the broker goes down."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.done()]
        waiting = self.loop.create_future()
        self._waiting.append(waiting)
        return waiting

    def log(self, partition: TopicPartition) -> Log:
        if partition not in self.logs:
            raise UnknownTopicOrPartitionError
        return self.logs[partition]

    def group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = Group(lambda: self.loop.now, self.later, self.promise)
        return self._groups[name]

    # -- going away and coming back

    def go_down(self) -> None:
        self.up = False
        self.drop_connections()

    def drop_connections(self) -> None:
        """Nobody gets the answer that was to come later."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_exception(KafkaConnectionError("the connection was closed"))

    def come_back(self) -> None:
        self.up = True
        for group in self._groups.values():
            group.revive()

    # -- what transactions mark

    def mark(self, partition: TopicPartition, producer: int, epoch: int, *, commit: bool) -> None:
        self.log(partition).mark(producer, epoch, self.now_ms, commit=commit)

    def mark_offsets(self, group: str, producer: int, *, commit: bool) -> None:
        self.group(group).mark(producer, commit=commit)

    # -- requests

    def produce(
        self, who: Who | None, batches: Mapping[TopicPartition, tuple[Sequence[Row], int, int]]
    ) -> dict[TopicPartition, int | KafkaError]:
        """Rows, first sequence number and timestamp (-1: now) of each; offset or error of each."""
        return {tp: self._produce(who, tp, *batch) for tp, batch in batches.items()}

    def _produce(
        self, who: Who | None, partition: TopicPartition, rows: Sequence[Row], sequence: int, timestamp: int
    ) -> int | KafkaError:
        timestamp = self.now_ms if timestamp < 0 else timestamp
        try:
            log = self.log(partition)
            if who is None:
                return log.append(rows, timestamp)
            if who.producer not in log.open and not log.repeats(who.producer, who.epoch, sequence):
                self.transactions.verify(who.name, who.producer, who.epoch, partition)
            return log.append(rows, timestamp, producer=who.producer, epoch=who.epoch, sequence=sequence)
        except ConcurrentTransactions:
            return NotEnoughReplicasError()  # what a client of the first version is told
        except KafkaError as error:
            return error

    def write_offsets(self, who: Who, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """In the transaction of ``who``."""
        try:
            self.transactions.verify(who.name, who.producer, who.epoch)
        except ConcurrentTransactions:
            raise InvalidProducerEpoch from None
        self.group(group).write(who.producer, offsets)

    def metadata(self, names: Iterable[str]) -> dict[str, tuple[bytes, int]]:
        """Id and number of partitions of the topics that are there."""
        return {
            name: (self.ids[name], sum(place.topic == name for place in self.logs))
            for name in names
            if name in self.ids
        }

    def fetch(
        self,
        places: Mapping[TopicPartition, int],
        wait: float,
        most: int,
        ids: Mapping[str, bytes] = MappingProxyType({}),
        *,
        uncommitted: bool = False,
    ) -> "asyncio.Future[dict[TopicPartition, Slice | KafkaError]]":
        """Answered when there is something, or after ``wait`` seconds. With ``ids``, other topics are as good as none."""
        answer = self.promise()
        found = self._look(places, most, ids, uncommitted=uncommitted)
        if self._is_much(found, places):
            answer.set_result(found)
            return answer

        def look() -> None:
            if answer.done():
                return
            found = self._look(places, most, ids, uncommitted=uncommitted)
            if self._is_much(found, places):
                answer.set_result(found)
            else:
                listen()

        def listen() -> None:
            for partition in filter(self.logs.__contains__, places):
                listeners = self.log(partition).listeners
                if look not in listeners:
                    listeners.append(look)

        def give_up() -> None:
            if not answer.done():
                answer.set_result(self._look(places, most, ids, uncommitted=uncommitted))

        listen()
        self.later(wait, give_up)
        return answer

    def _look(
        self, places: Mapping[TopicPartition, int], most: int, ids: Mapping[str, bytes], *, uncommitted: bool
    ) -> dict[TopicPartition, Slice | KafkaError]:
        return {
            partition: self._read(partition, offset, most, ids, uncommitted=uncommitted)
            for partition, offset in places.items()
        }

    def _read(
        self, partition: TopicPartition, offset: int, most: int, ids: Mapping[str, bytes], *, uncommitted: bool
    ) -> Slice | KafkaError:
        if ids and ids[partition.topic] != self.ids.get(partition.topic):
            return UnknownTopicOrPartitionError()
        try:
            return self.log(partition).read(offset, most, uncommitted=uncommitted)
        except KafkaError as error:
            return error

    @staticmethod
    def _is_much(found: Mapping[TopicPartition, Slice | KafkaError], places: Mapping[TopicPartition, int]) -> bool:
        return any(isinstance(each, KafkaError) or each.position > places[tp] for tp, each in found.items())

    def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and last stable offset."""
        logs = [self.log(partition) for partition in partitions]
        return {TopicPartition(log.topic, log.number): (log.begin, log.stable) for log in logs}

    def offsets(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """What is committed, -1 for nothing."""
        known = self.group(group).offsets
        return {partition: known.get(partition, -1) for partition in partitions}
