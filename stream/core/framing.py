"""How a checkpoint lies in the records of live.state.

It is one run of bytes, section after section, cut into parts that fit a record, and committed in one transaction: all or
none. Each part says which checkpoint it is of, and where recovery has to begin.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from stream.core.steps import Steps
from stream.core.stored import Section

VERSION: Final = 2
PART_BYTES: Final = 900_000
"""Below the 1 MB that a record may have, with its header."""
UNKNOWN: Final = -1

_HEADER: Final = struct.Struct(">BIQIIq")
"""Version, N, checkpoint, part, parts, offset of the oldest checkpoint needed (UNKNOWN: this one)."""
_LENGTH: Final = struct.Struct(">I")
"""Before each section."""
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(Section)


class StateError(Exception):
    """The records are not a state that this version can read."""


def first_needed(value: bytes, offset: int) -> int:
    """Offset at which recovery starts to read, given the newest committed record of the partition and its offset."""
    _, _, _, part, _, first = _header(value)
    return offset - part if first == UNKNOWN else first


def newest_begins(value: bytes, offset: int) -> int:
    """Offset of the first part of the newest checkpoint, of which this is the last part."""
    return offset - _header(value)[3]


def _header(value: bytes) -> tuple[int, int, int, int, int, int]:
    if len(value) < _HEADER.size or value[0] != VERSION:
        version = value[0] if value else "none"
        raise StateError(f"state of version {version}; this program reads version {VERSION}")
    return _HEADER.unpack_from(value)


def framed(section: Section) -> bytes:
    encoded = _encode(section)
    return _LENGTH.pack(len(encoded)) + encoded


def cut(run: bytearray, number: int, span: int, first: int | None) -> Steps[list[tuple[bytes, bytes]]]:
    """Keys and values of the records of checkpoint ``number`` of which ``span`` are a whole state.

    ``first`` is the offset at which recovery has to begin; None: with this checkpoint.
    """
    slot, begins = number % span, range(0, len(run), PART_BYTES)
    parts = []
    for part, begin in enumerate(begins):
        header = _HEADER.pack(VERSION, span, number, part, len(begins), UNKNOWN if first is None else first)
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
        except (msgspec.DecodeError, UnicodeError, struct.error) as error:
            raise StateError(f"checkpoint {self.number} cannot be read: {error}") from error


def checkpoints(records: Iterable[tuple[int, bytes]]) -> Iterator[Found]:
    """From the first whole one on."""
    parts: list[memoryview] = []
    first = 0
    for offset, value in records:
        _, span, number, part, number_of_parts, _ = _header(value)
        if part == 0:
            parts, first = [], offset
        elif part != len(parts):
            raise StateError(f"part {len(parts)} of checkpoint {number} is missing")
        parts.append(memoryview(value)[_HEADER.size :])
        if part == number_of_parts - 1:
            yield Found(first, number, span, parts)
