"""Unpacking what producers have compressed, into bounded room.

A kilobyte can unpack to megabytes, whatever the codec, and aiokafka's own functions unpack all of it. Here nothing is
unpacked beyond a limit: what needs more is refused. At most twice the limit is in memory for a moment: what was unpacked,
and the window of zstd.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

import cramjam
import numpy as np
from typing_extensions import Buffer

from stream.model.results import UnreadableBatchError

NONE: Final = 0
SNAPPY: Final = 2
LEAST: Final = 256
"""Bytes of room beyond what is expected: of tiny batches no two are alike."""
MARGIN: Final = 1.1
DECAY: Final = 0.99
"""A batch that needed much room is forgotten after some hundred others."""
FILLED: Final = 0.75
"""Of a room; what fills less is copied, so that no more than a third as much again is held in vain."""
XERIAL: Final = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
"""What Java's snappy begins with; blocks of their own length follow."""
BLOCK: Final = struct.Struct(">i")

_INTO: Final[dict[int, Callable[[Buffer, Any], int]]] = {
    1: cramjam.gzip.decompress_into,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}
_FULL: Final = "failed to write whole buffer"
_OUT_OF_MEMORY: Final = ("not enough memory", "out of memory")
"""Texts of cramjam 2.14, held by tests/kafka/test_codecs.py."""


class TooLargeError(Exception):
    """It would take more memory than a batch may. Its text says what there is too much of."""


class UnpackError(UnreadableBatchError):
    """It is not what its codec makes."""


class UnknownCodecError(Exception):
    """Nobody knew this codec when this version was written."""


def unpack(codec: int, packed: Buffer, limit: int) -> Buffer:
    """At most ``limit`` bytes, which do not change any more. ``codec``: the number in a batch's attributes.

    Raises TooLargeError, UnpackError, UnknownCodecError, and MemoryError, which says nothing about the batch.
    """
    if codec == NONE:
        return _checked(bytes(packed), limit)
    if codec == SNAPPY:
        return _unsnapped(memoryview(packed), limit)
    if codec not in _INTO:
        raise UnknownCodecError(f"codec {codec}")
    return _unpacked(codec, packed, limit)


def _checked(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"more than {limit} bytes when unpacked")


_growth: Final = dict.fromkeys(_INTO, 2.0)
"""By codec: how many times its size a batch has needed lately, and a little more."""


def _unpacked(codec: int, packed: Buffer, limit: int) -> Buffer:
    """Into a room as large as batches of this codec have needed lately; if that is too small, into the largest allowed.

    What is handed out is the room itself, up to where it was filled: a copy costs a tenth of the unpacking.
    """
    size = memoryview(packed).nbytes
    expected = min(int(size * _growth[codec]) + LEAST, limit)
    for most in (expected, limit):  # pages of the larger room that are never written to are never there
        room = np.empty(most, np.uint8)
        found = _fill(_INTO[codec], packed, room)
        if found is not None:
            _growth[codec] = max(_growth[codec] * DECAY, found / max(size, 1) * MARGIN)
            return room.data[:found] if found > most * FILLED else bytes(room.data[:found])
    raise _too_large(limit)


def _fill(into: Callable[[Buffer, Any], int], packed: Buffer, room: Any) -> int | None:
    """How many bytes were unpacked; None when there is no room for all."""
    try:
        return into(packed, room)
    except cramjam.DecompressionError as error:
        text = str(error)
        if text == _FULL:
            return None
        if any(each in text for each in _OUT_OF_MEMORY):
            raise MemoryError(text) from None
        raise UnpackError(text) from None


def _unsnapped(packed: memoryview, limit: int) -> bytes:
    """Snappy says how much there will be before it unpacks."""
    blocks = _blocks(packed) if bytes(packed[: len(XERIAL)]) == XERIAL else [packed]
    try:
        if sum(map(cramjam.snappy.decompress_raw_len, blocks)) > limit:
            raise _too_large(limit)
        return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)
    except cramjam.DecompressionError as error:
        raise UnpackError(str(error)) from None


def _blocks(packed: memoryview) -> list[memoryview]:
    blocks, at = [], len(XERIAL)
    while at < len(packed):
        begin = at + BLOCK.size
        if begin > len(packed):
            raise UnpackError("snappy: the length of a block is cut off")
        (size,) = BLOCK.unpack_from(packed, at)
        if not 0 <= size <= len(packed) - begin:
            raise UnpackError("snappy: a block goes beyond the end")
        at = begin + size
        blocks.append(packed[begin:at])
    return blocks
