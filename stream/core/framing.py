"""How a checkpoint lies in the records of live.state.

It is one run of bytes, section after section, cut into parts that fit a record, and committed in one transaction: all or
none. Each part says which checkpoint it is of, and where recovery has to begin. Its key is ``<slot>/<part>``; whatever
has another key is nobody's state. A record header holds its checksum: it is no part of the value, so that versions that
know no checksums read what this one writes, and this one reads what they write.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
import xxhash

from stream.core.cooperative import Steps
from stream.core.state_format import Section

VERSION: Final = 5
READABLE: Final = (2, 3, 4, 5)
"""Versions that this program reads. In 3 there are known sessions, and sessions at rest, which 2 would misread. From 4 on a
checkpoint names its figures, and there may be more of them than 3 would read. From 5 on it holds what promotions need:
up to where each session has changed, sessions that were let go, and promotions that wait.
"""
WRITABLE: Final = (3, 4, 5)
"""Versions that it writes, too: a state is continued in its own (core/formats.py)."""
PART_BYTES: Final = 900_000
"""Below the 1 MB that a record may have, with its header."""
UNKNOWN: Final = -1
CHECKSUM: Final = "liveshop-xxh3"
"""The record header: hex xxh3-64 of the value."""

_HEADER: Final = struct.Struct(">BIQIIq")
"""Version, N, checkpoint, part, parts, offset of the oldest checkpoint needed (UNKNOWN: this one)."""
_LENGTH: Final = struct.Struct(">I")
"""Before each section."""
_KEY: Final = re.compile(rb"[0-9]{1,10}/[0-9]{1,10}")
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(Section)


class StateError(Exception):
    """The records are not a state that this version can read. Its text names the record or the checkpoint."""


class ChangedSettingsError(StateError):
    """The state was counted under settings that a running state cannot leave."""

    def __init__(self, changes: list[tuple[str, object, object]]) -> None:
        self.changes = changes
        """(setting, old value, new value)"""
        super().__init__("; ".join(f"{name} was {old} and is now {new}" for name, old, new in changes))


class LaterStateError(StateError):
    """A later version wrote the state, and counts what this one does not know."""


class Head(NamedTuple):
    """What a part says of itself."""

    span: int
    """N: how many checkpoints are a whole state."""
    number: int
    """Of the checkpoint."""
    part: int
    """From 0."""
    parts: int
    first: int

    def __str__(self) -> str:
        return f"checkpoint {self.number}, part {self.part + 1} of {self.parts}"


def first_needed(value: bytes, offset: int) -> int:
    """Offset at which recovery starts to read, given the newest committed record of the partition and its offset."""
    head = head_of_part(value, offset)
    return offset - head.part if head.first == UNKNOWN else head.first


def newest_begins(value: bytes, offset: int) -> int:
    """Offset of the first part of the newest checkpoint, of which this is the last part."""
    return offset - head_of_part(value, offset).part


def head_of_part(value: bytes, offset: int) -> Head:
    """Raises StateError for a record that is no part of a checkpoint."""
    where = f"the record at offset {offset}"
    version = value[0] if value else "none"
    if version not in READABLE:
        raise StateError(f"{where} is a state of version {version}; this program reads versions {readable()}")
    if len(value) < _HEADER.size:
        raise StateError(f"{where} is cut short: it has {len(value)} bytes")
    head = Head(*_HEADER.unpack_from(value)[1:])
    if not (head.span and head.number and head.part < head.parts and head.first >= UNKNOWN):
        raise StateError(f"{where} is damaged: it says it is {head}, of {head.span}, from {head.first}")
    if head.first > offset - head.part or head.part > offset:
        raise StateError(
            f"{where} ({head}) does not lie where it was written: a state cannot be copied to other offsets"
        )
    return head


def readable() -> str:
    """`READABLE`, for people."""
    return listed(READABLE)


def listed(versions: Sequence[int]) -> str:
    return f"{', '.join(map(str, versions[:-1]))} and {versions[-1]}"


def is_part(key: bytes | None) -> bool:
    """Whether a record of live.state is a part of a checkpoint, by its key."""
    return key is not None and _KEY.fullmatch(key) is not None


def checksum(value: bytes) -> bytes:
    """What the record header of a part holds."""
    return xxhash.xxh3_64_hexdigest(value).encode()


def check(value: bytes, offset: int, stored: bytes) -> None:
    """Raises StateError for a part that is not as it was written: its checksum was ``stored`` then."""
    if checksum(value) != stored:
        raise StateError(f"the record at offset {offset}{_said(value, offset)} is damaged: its checksum is wrong")


def _said(value: bytes, offset: int) -> str:
    """What a damaged part says of itself, which is most likely true."""
    try:
        return f" ({head_of_part(value, offset)})"
    except StateError:
        return ""


def framed(section: Section) -> bytes:
    encoded = _encode(section)
    return _LENGTH.pack(len(encoded)) + encoded


def cut(run: bytearray, version: int, number: int, span: int, first: int | None) -> Steps[list[tuple[bytes, bytes]]]:
    """Keys and values of the records of checkpoint ``number`` of which ``span`` are a whole state.

    ``first`` is the offset at which recovery has to begin; None: with this checkpoint.
    """
    slot, begins = number % span, range(0, len(run), PART_BYTES)
    parts = []
    for part, begin in enumerate(begins):
        header = _HEADER.pack(version, span, number, part, len(begins), UNKNOWN if first is None else first)
        parts.append((f"{slot}/{part}".encode(), header + run[begin : begin + PART_BYTES]))
        yield
    return parts


@dataclass(slots=True)
class Found:
    """A complete checkpoint in the log."""

    offset: int
    """Of its first part."""
    number: int
    span: int
    version: int
    parts: list[memoryview]

    def sections(self) -> Iterator[Section]:
        """Raises StateError when they cannot be read."""
        run = memoryview(b"".join(self.parts)) if len(self.parts) > 1 else self.parts[0]
        place = 0
        try:
            while place < len(run):
                (length,) = _LENGTH.unpack_from(run, place)
                place += _LENGTH.size + length
                yield _decoder.decode(run[place - length : place])
        except (msgspec.DecodeError, UnicodeError, RecursionError, struct.error) as error:
            raise StateError(f"{self} cannot be read: {error}") from error

    def __str__(self) -> str:
        last = self.offset + len(self.parts) - 1
        return f"checkpoint {self.number} (offset {f'{self.offset} to {last}' if last > self.offset else last})"


def first_part(value: bytes, offset: int) -> Found:
    """A checkpoint of which only the first part is known. Raises StateError for another part."""
    head = head_of_part(value, offset)
    if head.part:
        raise StateError(f"the record at offset {offset} ({head}) is not the first part")
    return Found(offset, head.number, head.span, value[0], [memoryview(value)[_HEADER.size :]])


def checkpoints(records: Iterable[tuple[int, bytes]]) -> Iterator[Found]:
    """All of them, in order. Raises StateError where one is not whole."""
    parts: list[memoryview] = []
    begun: tuple[int, Head] | None = None
    for offset, value in records:
        head = head_of_part(value, offset)
        first, expected = begun or (offset, head._replace(part=0))
        if head._replace(first=expected.first) != expected:
            raise StateError(f"{expected} is missing: at offset {offset} is {head}")
        parts.append(memoryview(value)[_HEADER.size :])
        begun = first, head._replace(part=head.part + 1)
        if len(parts) == head.parts:
            yield Found(first, head.number, head.span, value[0], parts)
            parts, begun = [], None
    if begun is not None:
        raise StateError(f"{begun[1]} is missing at the end")
