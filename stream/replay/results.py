"""The last revisions of windows and totals in a topic, a live one or that of a replay: of a range and of some sessions.

A partition is read once, from where results of the range can begin, and only the last revision of each key is held, packed.
What is in memory is therefore bounded by the windows of one partition in the range, whatever the topics hold.
"""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Self

import cramjam
import msgspec
from aiokafka import TopicPartition

from stream.kafka import statereader
from stream.kafka.client import Reader
from stream.model.results import RefusedBatch
from stream.replay.plan import Plan

MARGIN_MS: Final = 3_600_000
"""A result is written after its events have come. Brokers' clocks differ, and events may be ahead of them: by far less."""
GONE: Final = 2**62
"""Later than anything: all that was written may be deleted."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What of a result says which it is. Times are ms since 1970, UTC; -1 where there is none."""

    session_id: str
    generation: int
    revision: int
    run: str
    seller_id: str = ""
    window: str = ""
    start: int = -1
    end: int = -1
    first_event: int = -1
    last_event: int = -1

    @property
    def rank(self) -> tuple[int, int]:
        """The highest is the truth of a key."""
        return self.generation, self.revision


_head: Final = msgspec.json.Decoder(Head).decode


class Result(msgspec.Struct, frozen=True, gc=False):
    """The last revision of one key."""

    head: Head
    packed: bytes

    @property
    def value(self) -> bytes:
        """As the topic has it."""
        return bytes(cramjam.snappy.decompress_raw(self.packed))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Windows that are wholly within [from_ms, to_ms), and sessions with an event there; of some sessions or sellers only,
    if any are named.
    """

    from_ms: int
    to_ms: int
    sessions: frozenset[str] = frozenset()
    sellers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """What the plan writes."""
        return cls(plan.from_ms, plan.to_ms, frozenset(plan.sessions), frozenset(plan.sellers))

    def has(self, head: Head) -> bool:
        if (self.sessions or self.sellers) and not (head.session_id in self.sessions or head.seller_id in self.sellers):
            return False
        if head.window:
            return self.from_ms <= head.start and head.end <= self.to_ms
        if head.last_event < 0:
            return True  # only cancels and refunds: nobody can say when it was on air
        return head.first_event < self.to_ms and self.from_ms <= head.last_event


class LastResults:
    """The last revision of each key of one partition of one topic. Pure."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.results: dict[bytes, Result] = {}
        self.deleted: set[bytes] = set()
        """Keys whose last record is a tombstone, whatever the session."""
        self.strays = 0
        """Records that are no results of liveshop."""
        self.kept_from: int | None = None
        """What was written before, ms, retention may have deleted. None: it has deleted nothing."""

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """The next record, in the order of the log. A tombstone ends all revisions before it."""
        if key is None:
            self.strays += 1
        elif value is None:
            self.results.pop(key, None)
            self.deleted.add(key)
        else:
            self._add(key, value)

    def _add(self, key: bytes, value: bytes) -> None:
        try:
            head = _head(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self.strays += 1
            return
        before = self.results.get(key)
        if before is not None and head.rank < before.head.rank:
            return
        self.deleted.discard(key)
        if self._wanted.has(head):
            self.results[key] = Result(head, bytes(cramjam.snappy.compress_raw(value)))
        else:  # a label that has changed, or a session that has gone on
            self.results.pop(key, None)


def _untold(_offsets: int) -> None:
    """Nobody wants to know how far it is."""


async def read_last(
    reader: Reader,
    partition: TopicPartition,
    wanted: Wanted,
    *,
    since_ms: int | None = None,
    progress: Callable[[int], None] = _untold,
) -> LastResults:
    """The last revisions in one partition, which is assigned to the reader; only of what was written since then.

    ``progress`` is told how many more offsets are done. Raises TimeoutError when the broker stays silent.
    """
    last = LastResults(wanted)
    first, end = await statereader.bounds(reader, partition)
    last.kept_from = await _oldest(reader, partition, first, end)
    begin = first if since_ms is None else await _first_since(reader, partition, since_ms, end)
    progress(begin - first)
    position = begin
    async for record in statereader.read(reader, partition, begin, end, refused=True):
        if isinstance(record, RefusedBatch):
            last.strays += record.records
        else:
            last.add(record.key, record.value)
        progress(record.offset + 1 - position)
        position = record.offset + 1
    progress(end - position)
    return last


async def _oldest(reader: Reader, partition: TopicPartition, first: int, end: int) -> int | None:
    """When the oldest record was written if there were older ones; `GONE` when none is left."""
    if first == 0:
        return None
    async with aclosing(statereader.read(reader, partition, first, end, refused=True)) as records:
        async for record in records:
            return int(record.timestamp)
    return GONE


async def _first_since(reader: Reader, partition: TopicPartition, since_ms: int, end: int) -> int:
    found = (await reader.offsets_for_times({partition: max(0, since_ms)}))[partition]
    return end if found is None else min(end, found.offset)


def written_since(plan: Plan) -> int | None:
    """When the first live result of the plan's range can have been written; None where event times say nothing of it."""
    return None if plan.policy.get("trust_producer_time") else plan.from_ms - MARGIN_MS
