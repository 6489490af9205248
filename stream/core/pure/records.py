"""The records of Kafka's batches (magic 2) in Python. What core/native/records.pyx reads, refuses and says, this does too.

The bytes come from strangers: every length is checked before it is used, and nothing is made of a header before somebody
asks for it. What does not add up is an UnreadableBatchError.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, overload

from typing_extensions import Buffer

from stream.core.headers import MOST, MOST_BYTES, Header
from stream.model.results import Record, Records, UnreadableBatchError

HEADER: Final = 61
"""Bytes before the records."""
CHECKED_FROM: Final = 21
CODEC_BITS: Final = 0x07
APPEND_TIME: Final = 0x08
TRANSACTIONAL: Final = 0x10
CONTROL: Final = 0x20
OBJECTS: Final = 250
"""Bytes of the objects of a record, besides its own."""
SHORTEST: Final = 7
"""Bytes of the shortest record."""
MOST_BITS: Final = 70
"""Of a number: ten bytes of seven."""
MORE: Final = 0x80
"""The bit of a byte which says that more of the number follows."""
MASK: Final = 2**64 - 1

CUT_OFF: Final = "goes beyond the end"
NEGATIVE: Final = "has a negative number where there can be none"
MISFIT: Final = "is not as long as it says"
MISPLACED: Final = "has an offset that is out of order"


class Headers(Sequence[Header]):
    """Headers of one record, decoded each time they are asked for: those that are within the bounds of core/headers.py.

    There is one at least, so it is true even where none is within the bounds. Names that are not UTF-8 come with U+FFFD.
    """

    __slots__ = ("_kept", "_raw", "dropped", "size")

    def __init__(self, data: bytes, begin: int, end: int, number: int) -> None:
        """``number`` of them lie between these bytes, and are well-formed."""
        kept, at, room = 0, begin, MOST_BYTES
        while kept < min(number, MOST):
            size, after = _measured(data, at)
            room -= size
            if room < 0:
                break
            kept, at = kept + 1, after
        self._kept = kept
        self._raw = data[begin:at]
        self.dropped = number - kept
        """How many were left out."""
        self.size = end - begin
        """Bytes of all of them."""

    def __len__(self) -> int:
        return self._kept

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Header]:
        at = 0
        for _ in range(self._kept):
            name, at = _span(self._raw, at)
            value, at = _span(self._raw, at)
            yield (name or b"").decode(errors="replace"), value

    @overload
    def __getitem__(self, at: int) -> Header: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Header]: ...
    def __getitem__(self, at: int | slice) -> Header | Sequence[Header]:
        return tuple(self)[at]


class PureRecord(NamedTuple):
    """One record, by itself."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


class Run(Records):
    """The records of one batch or more, in order."""

    __slots__ = ()

    @property
    def offset(self) -> int:
        """Of the last one."""
        return self[-1].offset

    def since(self, offset: int) -> "Run":
        """Those with this offset or a later one; all of them when the first has."""
        if not self or self[0].offset >= offset:
            return self
        wanted = (record for record in self if record.offset >= offset)
        return Run(wanted, self.oldest_ms, create_time=self.create_time, nbytes=self.nbytes)


def join(runs: Iterable[Records]) -> Run:
    """One run of all their records, in order. There must be one run at least."""
    parts = list(runs)
    stamped = any(part.create_time for part in parts)
    size = sum(part.nbytes for part in parts)
    return Run(chain.from_iterable(parts), min(part.oldest_ms for part in parts), create_time=stamped, nbytes=size)


class Batch:
    """A batch of magic 2 as it lies in fetched bytes. UnreadableBatchError: it is none, or does not add up."""

    __slots__ = (
        *("_begin", "_end", "_fetched", "_first_timestamp", "attributes", "base_offset", "crc", "max_timestamp"),
        *("next_offset", "number", "producer_id"),
    )

    def __init__(self, fetched: bytes, begin: int, end: int) -> None:
        if begin < 0 or end > len(fetched) or end - begin < HEADER:
            raise UnreadableBatchError("too short for a batch")

        def integer(at: int, size: int) -> int:
            return int.from_bytes(fetched[begin + at : begin + at + size], "big", signed=True)

        self._fetched, self._begin, self._end = fetched, begin, end
        self.crc = integer(17, 4) & 0xFFFFFFFF
        self.attributes = integer(21, 2)
        self.base_offset = integer(0, 8)
        self.next_offset = _wrapped(self.base_offset + integer(23, 4) + 1)
        self._first_timestamp = integer(27, 8)
        self.max_timestamp = integer(35, 8)
        self.producer_id = integer(43, 8)
        self.number = integer(57, 4)

    @property
    def codec(self) -> int:
        return self.attributes & CODEC_BITS

    @property
    def is_control_batch(self) -> bool:
        return self.attributes & CONTROL != 0

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL != 0

    def checked(self) -> memoryview:
        """What ``crc`` was computed of."""
        return memoryview(self._fetched)[self._begin + CHECKED_FROM : self._end]

    def packed(self) -> memoryview:
        """Its records, compressed as ``codec`` says."""
        return memoryview(self._fetched)[self._begin + HEADER : self._end]

    def read(self, data: Buffer) -> Run:
        """Its records, which lie in these bytes."""
        data = bytes(data)  # parts of which are bytes
        number = max(self.number, 0)
        if number > len(data) // SHORTEST:
            raise UnreadableBatchError("more records than there is room for")
        stamp = self.max_timestamp if self.attributes & APPEND_TIME else None
        try:
            records = self._records(data, number, stamp)
        except IndexError:
            raise UnreadableBatchError(CUT_OFF) from None
        oldest = self.max_timestamp if stamp is not None or not records else min(each.timestamp for each in records)
        return Run(records, oldest, create_time=stamp is None, nbytes=len(data) + OBJECTS * number)

    def _records(self, data: bytes, number: int, stamp: int | None) -> list[Record]:
        """Every record passes here: what is one or two bytes long, as nearly all numbers are, is read in place."""
        records: list[Record] = []
        at, size = 0, len(data)
        base, first, last, before = self.base_offset, self._first_timestamp, self._last(), -1
        for _ in range(number):
            length, at = (_SHORT[data[at]], at + 1) if data[at] < MORE else _number(data, at)
            begin = at
            at += 1  # attributes: none are in use
            delta_ms, at = (_SHORT[data[at]], at + 1) if data[at] < MORE else _number(data, at)
            delta, at = (_SHORT[data[at]], at + 1) if data[at] < MORE else _number(data, at)
            span, at = (_SHORT[data[at]], at + 1) if data[at] < MORE else _number(data, at)
            key, at = (data[at : at + span], at + span) if span >= 0 else (None, at)
            span, at = (_SHORT[data[at]], at + 1) if data[at] < MORE else _number(data, at)
            value, at = (data[at : at + span], at + span) if span >= 0 else (None, at)
            headers, at = _headers(data, at) if data[at] else ((), at + 1)
            if at - begin != length:
                raise UnreadableBatchError(MISFIT)
            if not before < delta <= last:
                raise UnreadableBatchError(MISPLACED)
            before = delta
            time = stamp if stamp is not None else _wrapped(first + delta_ms)
            records.append(_record(PureRecord, (base + delta, time, key, value, headers)))
        if at != size:
            raise UnreadableBatchError(f"{size - at} bytes after the last record")
        return records

    def _last(self) -> int:
        """The largest offset, counted from the first."""
        return _wrapped(self.next_offset - self.base_offset - 1)


def _wrapped(value: int) -> int:
    """As a sum of 64 bits, which those of strangers may exceed."""
    return ((value + 2**63) & MASK) - 2**63


_record: Final[Any] = tuple.__new__
"""Without the detour over the class, which takes twice as long."""
_SHORT: Final = tuple((byte >> 1) ^ -(byte & 1) for byte in range(MORE))
"""What numbers of one byte stand for."""


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint of at most ten bytes, and where it ends. IndexError when there is none."""
    byte = data[at]
    if byte < MORE:
        return _SHORT[byte], at + 1
    more = data[at + 1]
    if more < MORE:
        found = byte & 0x7F | more << 7
        return (found >> 1) ^ -(found & 1), at + 2
    found = shift = 0
    while shift < MOST_BITS:
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < MORE:
            found &= MASK
            return (found >> 1) ^ -(found & 1), at
        shift += 7
    raise IndexError


def _span(data: bytes, at: int) -> tuple[bytes | None, int]:
    """A length and so many bytes; a negative one stands for null."""
    size, at = _number(data, at)
    if size < 0:
        return None, at
    end = at + size
    if end > len(data):
        raise IndexError
    return data[at:end], end


def _headers(data: bytes, at: int) -> tuple[Sequence[Header], int]:
    """Those of a record, and where they end; each has two bytes at least."""
    number, begin = _number(data, at)
    if number > (len(data) - begin) // 2:
        raise IndexError
    if number < 0:
        raise UnreadableBatchError(NEGATIVE)
    at = begin
    for _ in range(number):
        _, at = _measured(data, at)
    return (Headers(data, begin, at, number), at) if number else ((), at)


def _measured(data: bytes, at: int) -> tuple[int, int]:
    """Bytes of a header's name and value, and where it ends. Nothing is made of it."""
    name, at = _number(data, at)
    if name > len(data) - at:
        raise IndexError
    if name < 0:
        raise UnreadableBatchError(NEGATIVE)
    value, at = _number(data, at + name)
    if value > len(data) - at:
        raise IndexError
    value = max(value, 0)
    return name + value, at + value
