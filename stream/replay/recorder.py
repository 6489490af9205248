"""Topics as a recording: what arrived in a stretch of time, from all partitions in the order of arrival.

Partitions are merged by the broker's timestamps; each stays in its own order whatever those are. Headers are not part of a
recording: of a CloudEvent whose event is within the value, that event is written.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from stream.config import Settings
from stream.core.decode import is_structured, payload
from stream.kafka.client import Reader
from stream.model.messages import Message
from stream.model.names import INPUTS, Kind
from stream.model.results import RefusedBatch
from stream.operate.shards import reading
from stream.sessions import topics

WAIT_MS: Final = 20
AT_ONCE: Final = 1_000
"""Records of one partition that are held."""
STILL: Final = 1_500
"""Waits without a record and without a move after which a broker is silent: half a minute."""


@dataclass(slots=True)
class Recorded:
    """What was written. ``partitions``: of the topics, for who counts the file again."""

    partitions: int
    messages: Counter[str] = field(default_factory=Counter)
    """By topic."""
    unreadable: int = 0
    """Records in batches that nobody can read: they are left out."""
    with_headers: int = 0
    """Records that had headers."""
    misplaced: int = 0
    """Records that lie in another partition than Java clients would give their key."""


async def count_partitions(settings: Settings) -> int:
    """Of each topic. Raises UsageError for missing topics, and for topics that differ."""
    return await topics.check(settings, tuple(INPUTS.values()))


async def record(
    settings: Settings,
    partitions: int,
    span: tuple[int, int],
    sessions: Collection[str],
    *,
    write: Callable[[Message], None],
    tell: Callable[[int, int], None],
) -> Recorded:
    """All committed records that were appended in the span (ms, its end not included); of sessions only, if some are named.

    ``tell`` is called with the offsets done, and with all there are. Raises TimeoutError when the broker stays silent.
    """
    kinds = {
        TopicPartition(settings.topic(name), number): kind
        for kind, name in INPUTS.items()
        for number in range(partitions)
    }
    keys = {session.encode() for session in sessions}
    recorded = Recorded(partitions)
    async with reading(settings, kinds) as reader:
        merged = _Merged(reader, await _bounds(reader, kinds, *span), tell)
        async for tp, each in merged.records():
            if isinstance(each, RefusedBatch):
                recorded.unreadable += each.records
            elif not keys or each.key in keys:
                _note(recorded, tp, each)
                recorded.messages[INPUTS[kinds[tp]]] += 1
                write(_message(kinds[tp], each))
    return recorded


def _note(recorded: Recorded, tp: TopicPartition, each: Any) -> None:
    recorded.with_headers += bool(each.headers)
    if each.key:
        recorded.misplaced += (murmur2(each.key) & 0x7FFFFFFF) % recorded.partitions != tp.partition


def _message(kind: Kind, each: Any) -> Message:
    """Its value may be anything."""
    value = each.value
    if each.headers and is_structured(each):
        with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
            value = payload(each)
    return Message(each.timestamp, kind, each.key, value, each.timestamp, "unknown")


Bounds = dict[TopicPartition, tuple[int, int]]


async def _bounds(reader: Reader, partitions: Collection[TopicPartition], from_ms: int, to_ms: int) -> Bounds:
    """The offsets of a span, by the broker's timestamps."""
    ends = await reader.end_offsets(list(partitions))
    first = await reader.offsets_for_times(dict.fromkeys(partitions, max(0, from_ms)))
    last = await reader.offsets_for_times(dict.fromkeys(partitions, max(0, to_ms)))

    def found(tp: TopicPartition, offsets: Any) -> int:
        return int(ends[tp] if offsets[tp] is None else min(ends[tp], offsets[tp].offset))

    return {tp: (found(tp, first), found(tp, last)) for tp in partitions}


class _Merged:
    """Records of several partitions by their timestamps. Of each at most so many are held."""

    def __init__(self, reader: Reader, bounds: Bounds, tell: Callable[[int, int], None]) -> None:
        self._reader = reader
        self._ends = {tp: end for tp, (begin, end) in bounds.items() if begin < end}
        self._held: dict[TopicPartition, deque[Any]] = {tp: deque() for tp in self._ends}
        self._positions = {tp: bounds[tp][0] for tp in self._ends}
        self._tell = tell
        self._every = sum(end - bounds[tp][0] for tp, end in self._ends.items())
        self._still = 0
        for tp in bounds:
            if tp in self._ends:
                reader.seek(tp, bounds[tp][0])
            else:
                reader.pause(tp)

    async def records(self) -> Any:
        """Yields each with its partition."""
        while self._held:
            await self._fill()
            for tp, each in self._ripe():
                yield tp, each

    def _ripe(self) -> Iterator[tuple[TopicPartition, Any]]:
        """Until one of the partitions has none left."""
        heap = [(held[0].timestamp, tp) for tp, held in self._held.items() if held]
        if len(heap) < len(self._held):
            return
        heapq.heapify(heap)
        while heap:
            _, tp = heapq.heappop(heap)
            held = self._held[tp]
            yield tp, held.popleft()
            if held:
                heapq.heappush(heap, (held[0].timestamp, tp))
            elif not self._is_over(tp):
                return
            else:
                del self._held[tp]

    def _is_over(self, tp: TopicPartition) -> bool:
        return self._positions[tp] >= self._ends[tp]

    async def _fill(self) -> None:
        """Every partition holds records, or is over."""
        empty = [tp for tp, held in self._held.items() if not held]
        if not empty:
            return
        found = await self._reader.getmany(*empty, timeout_ms=WAIT_MS, max_records=AT_ONCE * len(empty))
        moved = bool(found)
        for tp in empty:
            self._held[tp].extend(each for each in found.get(tp, ()) if each.offset < self._ends[tp])
            position = await self._reader.position(tp)
            moved = moved or position != self._positions[tp]
            self._positions[tp] = position
            if not self._held[tp] and self._is_over(tp):
                del self._held[tp]
        self._still = 0 if moved else self._still + 1
        if self._still > STILL:
            raise TimeoutError(
                f"nothing comes of {empty[0].topic}/{empty[0].partition} beyond {self._positions[empty[0]]}"
            )
        left = sum(max(0, end - self._positions[tp]) for tp, end in self._ends.items())
        self._tell(self._every - left, self._every)
