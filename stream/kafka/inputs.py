"""A shard's own view of its inputs: one consumer without a group, and what is known of how far it has got.

A batch can only come from this consumer, and this consumer belongs to one shard in one life: a batch fetched under an
older assignment has nowhere to go.
"""

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from aiokafka.errors import KafkaError

from stream.kafka import client
from stream.kafka.batches import damaged
from stream.kafka.client import Reader
from stream.kafka.machine import Name
from stream.kafka.memory import Account, Memory
from stream.kafka.patches.fetch import Buffer, UnreadableError
from stream.kafka.shard_context import ShardContext
from stream.kafka.topicids import Ids, as_bytes
from stream.model.results import Record

FRESH_SECONDS: Final = 5.0
"""An answer of the broker older than this says nothing of the log's end any more."""


class Inputs:
    """Hands out committed records in order. Positions are the consumer's: beyond markers and aborted records."""

    def __init__(self, context: ShardContext, memory: Memory) -> None:
        self._context = context
        self.account = Account(memory)
        self._partitions = context.inputs
        self._names = {partition: name for name, partition in self._partitions.items()}
        self._reader: Reader = client.make_reader(context.settings)
        self._ends: dict[Name, int] = {}
        self.positions: dict[Name, int] = {}

    @property
    def reader(self) -> Reader:
        return self._reader

    async def start(self, positions: Mapping[Name, int], topic_ids: Ids = MappingProxyType({})) -> None:
        """Connects and stands at these positions. Of topics whose ids are given no others of the same name are read."""
        await client.start(self._reader, self._context.settings)
        self._buffer = Buffer(self._reader, self.account)
        ids = {
            self._context.settings.topic(each.topic): as_bytes(topic_ids[each.topic])
            for each in self._context.role.read
            if each.topic in topic_ids
        }
        if len(ids) == len(self._partitions):
            self._buffer.insist_on(ids)
        self._reader.assign(list(self._partitions.values()))
        self.seek(positions)
        ends = await self._reader.end_offsets(list(self._partitions.values()))
        self._ends = {name: ends[partition] for name, partition in self._partitions.items()}

    def seek(self, positions: Mapping[Name, int]) -> None:
        """To go on from there. What was fetched of these topics is forgotten."""
        for name, position in positions.items():
            self._reader.seek(self._partitions[name], position)
            self._buffer.forget(self._partitions[name])
            self.positions[name] = position

    @property
    def left(self) -> int:
        """Memory of batches that were unpacked and handed out in part."""
        return sum(map(self._buffer.left, self._names))

    def unfinished(self) -> list[Name]:
        """Topics with such a batch."""
        return [name for partition, name in self._names.items() if self._buffer.left(partition)]

    async def fetch(self, names: Collection[Name], seconds: float, most: int) -> dict[Name, Sequence[Record]]:
        """At most so many records of these topics, in order; none after ``seconds``.

        The other topics stay where they are, with what was fetched of them: nothing is fetched twice. (`pause` would
        throw it away.) Raises UnreadableError for a batch that is damaged, and says where it ends.
        """
        partitions = [self._partitions[name] for name in names]
        self._buffer.fetch_at_most(self.account.memory.fetch)
        try:
            batches = await self._reader.getmany(*partitions, timeout_ms=int(seconds * 1000), max_records=most)
        except UnreadableError as error:
            with contextlib.suppress(KafkaError):  # then the header's word has to do
                _, error.last, _ = await damaged(self._reader, error.partition, error.first)
            raise
        for name, partition in self._partitions.items():
            self.positions[name] = await self._reader.position(partition)
        return {self._names[partition]: records for partition, records in batches.items()}

    def end(self, name: Name) -> int:
        """The last stable offset, as far as the broker has said."""
        stable = self._reader.last_stable_offset(self._partitions[name])
        return max(self._ends[name], -1 if stable is None else stable)

    def lag(self, name: Name) -> int:
        """Records yet to be read, markers of transactions included."""
        return max(0, self.end(name) - self.positions[name])

    def hidden(self, name: Name) -> int | None:
        """Where an open transaction begins that hides what follows it; None without one, or when nobody has said lately."""
        partition = self._partitions[name]
        stable, high = self._reader.last_stable_offset(partition), self._reader.highwater(partition)
        if stable is None or high is None or stable >= high or not self._is_fresh(name):
            return None
        return int(stable)

    def behind(self) -> list[Name]:
        """Topics with records to read. In a backlog the ends at the start say so, and nobody needs to be asked."""
        positions, ends = self.positions, self._ends
        return [name for name in self._partitions if ends[name] > positions[name] or self.lag(name)]

    def caught_up(self, name: Name) -> bool:
        """Everything there is has been read, and the broker has said so just now."""
        return not self.lag(name) and self._is_fresh(name)

    def _is_fresh(self, name: Name) -> bool:
        """Whether the broker has answered just now. A wall clock that was set back makes nothing fresh that is old."""
        polled = self._reader.last_poll_timestamp(self._partitions[name])
        return polled is not None and abs(time.time() - polled / 1000) < FRESH_SECONDS

    async def stop(self) -> None:
        self.account.close()
        await asyncio.shield(client.end(self._reader))
