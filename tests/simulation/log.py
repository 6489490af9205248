"""One partition as a broker keeps it: records and markers at their offsets, open transactions, compaction.

Pure and in memory: nobody waits here, time is an argument. What is modelled is what a client can see. The contract suite
(test_contract.py) holds it against a real Kafka.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka.errors import InvalidProducerEpoch, OffsetOutOfRangeError, OutOfOrderSequenceNumber

Headers = Sequence[tuple[str, bytes]]
Row = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers."""

NOBODY: Final = -1
REMEMBERED: Final = 5
"""Batches of a producer whose repetition is recognised."""


@dataclass(slots=True)
class Entry:
    """A record, or a marker that ends a transaction. As a record it is what a consumer hands out."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    producer: int = NOBODY
    marker: bool = False
    aborted: bool = False


@dataclass(slots=True)
class _Producer:
    epoch: int
    sequence: int = 0
    """Of the record that comes next."""
    batches: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """First sequence number and first offset."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What a fetch brings of one partition."""

    records: list[Entry]
    position: int
    """Where to fetch next, beyond markers and aborted records."""
    stable: int
    high: int


class Log:
    """One partition. Errors are those that a broker answers with."""

    def __init__(self, topic: str, number: int) -> None:
        self.topic = topic
        self.number = number
        self.begin = 0
        self.entries: list[Entry | None] = []
        """By offset; None was compacted away."""
        self.open: dict[int, int] = {}
        """First offset of each producer's open transaction."""
        self.listeners: list[Callable[[], None]] = []
        """Called once when there may be more to read."""
        self._producers: dict[int, _Producer] = {}

    @property
    def high(self) -> int:
        """The high watermark: all there is, of open transactions too."""
        return len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset."""
        return min(self.open.values(), default=len(self.entries))

    def append(
        self,
        rows: Iterable[Row],
        timestamp: int | Sequence[int],
        *,
        producer: int = NOBODY,
        epoch: int = 0,
        sequence: int = 0,
        transactional: bool = True,
    ) -> int:
        """The offset of the first. A batch sent again is not written again, but answered with the offset it has."""
        rows = list(rows)
        if producer != NOBODY:
            known = self._check(producer, epoch)
            for first, offset in known.batches:
                if first == sequence:
                    return offset
            if sequence != known.sequence:
                raise OutOfOrderSequenceNumber
            known.sequence += len(rows)
            known.batches.append((sequence, self.high))
            if transactional:
                self.open.setdefault(producer, self.high)
        base = self.high
        times = itertools.repeat(timestamp) if isinstance(timestamp, int) else timestamp
        for offset, time, (key, value, headers) in zip(itertools.count(base), times, rows, strict=False):
            self.entries.append(Entry(offset, time, key, value, headers, producer))
        self._tell()
        return base

    def _check(self, producer: int, epoch: int) -> _Producer:
        known = self._producers.get(producer)
        if known is None or known.epoch < epoch:
            known = self._producers[producer] = _Producer(epoch)
        elif known.epoch > epoch:
            raise InvalidProducerEpoch
        return known

    def repeats(self, producer: int, epoch: int, sequence: int) -> bool:
        """Whether that batch was written already."""
        known = self._producers.get(producer)
        return known is not None and known.epoch == epoch and any(first == sequence for first, _ in known.batches)

    def mark(self, producer: int, epoch: int, timestamp: int, *, commit: bool) -> None:
        """Ends a transaction here. The marker takes an offset, also where the transaction wrote nothing."""
        known = self._producers.get(producer)
        if known is None or known.epoch < epoch:
            self._producers[producer] = _Producer(epoch)
        first = self.open.pop(producer, None)
        if first is not None and not commit:
            for entry in self.entries[first:]:
                if entry is not None and entry.producer == producer and not entry.marker:
                    entry.aborted = True
        self.entries.append(Entry(self.high, timestamp, None, None, (), producer, marker=True))
        self._tell()

    def _tell(self) -> None:
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener()

    def read(self, offset: int, most: int, *, uncommitted: bool = False) -> Slice:
        """Committed records from ``offset`` on, up to the last stable offset, out of at most ``most`` offsets; or all."""
        if not self.begin <= offset <= self.high:
            raise OffsetOutOfRangeError
        stable = self.high if uncommitted else self.stable
        records: list[Entry] = []
        position = max(offset, self.begin)
        for entry in self.entries[position:stable]:
            position += 1
            if entry is not None:
                most -= 1
                if not entry.marker and (uncommitted or not entry.aborted):
                    records.append(entry)
                if most <= 0:
                    break
        return Slice(records, position, self.stable, self.high)

    def committed(self, start: int = 0) -> list[Entry]:
        """Every record that a reader of committed ones sees."""
        return [
            entry
            for entry in self.entries[max(start, self.begin) : self.stable]
            if entry is not None and not entry.marker and not entry.aborted
        ]

    def compact(self, until: int) -> None:
        """Keeps the newest value of each key before ``until``; what is there stays at its offset.

        Never beyond the last stable offset, and never the newest batch: that lies in the active segment.
        """
        until = min(until, self.stable, self.high - 1)
        newest = {
            entry.key: entry.offset
            for entry in self.entries[self.begin : max(until, 0)]
            if entry is not None and not entry.marker and not entry.aborted
        }
        for offset in range(self.begin, until):
            entry = self.entries[offset]
            if entry is not None and (entry.marker or entry.aborted or newest[entry.key] != offset):
                self.entries[offset] = None

    def delete_before(self, offset: int) -> None:
        """Retention."""
        self.begin = max(self.begin, min(offset, self.high))
        for gone in range(self.begin):
            self.entries[gone] = None
