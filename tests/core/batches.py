"""Batches of records as Kafka's brokers hand them out, and such as no producer writes."""

import struct
from collections.abc import Sequence
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint

BASE: Final = 1_700_000_000_000
HEADER: Final = 61
APPEND_TIME: Final = 0x08
CONTROL: Final = 0x20


def sealed(batch: bytearray) -> bytes:
    """With the checksum it should have."""
    struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    return bytes(batch)


def built(
    rows: Sequence[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
    *,
    codec: int = 0,
    base: int = 0,
    attributes: int = 0,
    producer: int = -1,
) -> bytes:
    """A batch whose records have these timestamps, keys, values and headers."""
    builder = DefaultRecordBatchBuilder(2, codec, producer != -1, producer, 0, 0, 2**30)
    for number, (timestamp, key, value, headers) in enumerate(rows):
        assert builder.append(number, timestamp, key, value, headers) is not None
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, base)
    struct.pack_into(">h", batch, 21, struct.unpack_from(">h", batch, 21)[0] | attributes)
    return sealed(batch)


def batch_of(payload: bytes, number: int, attributes: int = 0, last: int | None = None) -> bytes:
    """A batch with these bytes for its records."""
    batch = bytearray(built([(BASE, b"", b"", [])], attributes=attributes))[:HEADER] + payload
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">i", batch, 23, max(number - 1, 0) if last is None else last)
    struct.pack_into(">i", batch, 57, number)
    return sealed(batch)


def number(value: int) -> bytes:
    out = bytearray()
    encode_varint(value, out.append)
    return bytes(out)


def record(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return number(len(body)) + body


START: Final = b"\x00" + number(0) + number(0)
