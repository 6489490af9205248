"""Logs in the memory of one process, in the place of Kafka's, for the worker's own loop (kafka/shard_loop.py).

A record stays until the checkpoint after it. Nothing outlives the process: a checkpoint is told to whoever shows it, and
what it would have written is thrown away.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from aiokafka.partitioner import murmur2
from msgspec import Struct

from stream.core.brokertime import BrokerTime
from stream.kafka.machine import Name, Outputs
from stream.kafka.memory import ENOUGH, Account, Memory
from stream.model.messages import Message
from stream.model.results import Record, Records

MOST_HELD: Final = 100_000
"""Records in all logs from which a sender waits: the shards are slower than the traffic."""


class Appended(Struct, frozen=True, gc=False):
    """A record of a log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class _Topic:
    """One partition: the records from the offset ``begin`` on."""

    def __init__(self) -> None:
        self.begin = 0
        self.records: list[Appended] = []

    @property
    def end(self) -> int:
        return self.begin + len(self.records)

    def append(self, timestamp: int, message: Message) -> None:
        """No record is older than the one before, as with LogAppendTime."""
        if self.records:
            timestamp = max(timestamp, self.records[-1].timestamp)
        self.records.append(Appended(self.end, timestamp, message.key, message.value))

    def part(self, position: int, most: int) -> list[Appended]:
        begin = position - self.begin
        return self.records[begin : begin + most]

    def drop(self, before: int) -> None:
        del self.records[: max(0, before - self.begin)]
        self.begin = max(self.begin, before)


class MemoryInputs:
    """The inputs of one shard (`kafka.log.Source`)."""

    reader = None
    """Nobody to ask: no offset is ever out of range, and the partitions stay as many."""
    left = 0

    def __init__(self, names: Iterable[Name]) -> None:
        self.account = Account(Memory(ENOUGH))  # what is read is in the log as well, until it is committed
        self._topics = {name: _Topic() for name in names}
        self.positions: dict[Name, int] = dict.fromkeys(self._topics, 0)
        self._arrived, self._dropped = asyncio.Event(), asyncio.Event()

    def append(self, timestamp: int, message: Message) -> None:
        """``timestamp``: ms since 1970, now."""
        self._topics[message.kind].append(timestamp, message)
        self._arrived.set()

    def drop(self, positions: Mapping[Name, int]) -> None:
        """What lies before them is committed."""
        for name, position in positions.items():
            self._topics[name].drop(position)
        self._dropped.set()

    async def drops(self) -> None:
        """Returns with the next checkpoint."""
        self._dropped.clear()
        await self._dropped.wait()

    @property
    def held(self) -> int:
        """Records that are not committed yet."""
        return sum(len(topic.records) for topic in self._topics.values())

    def unfinished(self) -> list[Name]:
        return []

    def seek(self, positions: Mapping[Name, int]) -> None:
        self.positions.update(positions)

    async def fetch(self, names: Collection[Name], seconds: float, most: int) -> dict[Name, Sequence[Record]]:
        found = self._take(names, most)
        if not found and seconds:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
            found = self._take(names, most)
        return found

    def _take(self, names: Collection[Name], most: int) -> dict[Name, Sequence[Record]]:
        found: dict[Name, Sequence[Record]] = {}
        for name in names:
            part = self._topics[name].part(self.positions[name], most)
            if part:
                found[name] = Records(part, part[0].timestamp)
                self.positions[name] += len(part)
                most -= len(part)
        return found

    def lag(self, name: Name) -> int:
        return self._topics[name].end - self.positions[name]

    def hidden(self, name: Name) -> int | None:  # noqa: ARG002 - nobody writes in transactions here
        return None

    def behind(self) -> list[Name]:
        return [name for name in self._topics if self.lag(name)]

    def caught_up(self, name: Name) -> bool:
        return not self.lag(name)


class MemoryCheckpoints:
    """The checkpoints of one shard (`kafka.log.Sink`). ``clock`` is told the time, as a broker's answer tells it."""

    def __init__(self, inputs: MemoryInputs, clock: BrokerTime, tell: Callable[[Outputs], None]) -> None:
        self._inputs = inputs
        self._clock = clock
        self._tell = tell
        self._end = 0
        """Of the state's log."""

    async def write(self, outputs: Outputs) -> int:
        now, wall = time.monotonic(), time.time()
        self._clock.note(0, wall, now, now, wall)
        self._inputs.drop(outputs.positions)
        self._tell(outputs)
        first, self._end = self._end, self._end + len(outputs.state)
        return first

    async def check_ownership(self, positions: Mapping[Name, int]) -> None:
        """The shard is always ours."""


class MemorySender:
    """Where traffic goes (`sandbox.pace.Sink`): to the shard that Kafka would give its key to."""

    def __init__(self, shards: Sequence[MemoryInputs]) -> None:
        self._shards = shards
        self._place = lru_cache(maxsize=10_000)(lambda key: (murmur2(key) & 0x7FFFFFFF) % len(shards))

    async def send(self, messages: list[Message]) -> None:
        while sum(shard.held for shard in self._shards) > MOST_HELD:
            await max(self._shards, key=lambda shard: shard.held).drops()
        now = int(time.time() * 1000)
        for message in messages:
            self._shards[self._place(message.key) if message.key else 0].append(now, message)
