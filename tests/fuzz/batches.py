"""What a broker hands out: batches of all codecs, damaged in every field. Native code and Python read and refuse the same.

A checksum keeps damage by accident away, not damage on purpose: most are given the right one.
"""

import gzip
import importlib.util
import struct
from collections.abc import Sequence
from functools import cache
from random import Random
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import cramjam
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, encode_varint

from stream.kafka import fetched
from stream.model.results import RefusedBatch
from tests.fuzz.damage import NUMBERS, damaged
from tests.fuzz.target import Bound

PLACE: Final = TopicPartition("t", 0)
BASE: Final = 1_700_000_000_000
HEADER: Final = 61
LIMIT: Final = 1_048_576
"""Bytes that a batch may unpack to."""
ABORTED: Final = 4711
"""Id of a producer whose transaction was aborted."""
FIELDS: Final = {
    0: "q",
    8: "i",
    12: "i",
    16: "b",
    17: "I",
    21: "h",
    23: "i",
    27: "q",
    35: "q",
    43: "q",
    51: "h",
    53: "i",
    57: "i",
}
"""Of the header of a batch: place and type."""
CODECS: Final = range(5)

Row = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""Timestamp, key, value and headers of a record."""


def sealed(batch: bytearray) -> bytes:
    """With the checksum that it should have."""
    struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    return bytes(batch)


def built(rows: Sequence[Row], *, codec: int = 0, base: int = 0, attributes: int = 0, producer: int = -1) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, producer != -1, producer, 0, 0, 2**30)
    for number, (timestamp, key, value, headers) in enumerate(rows):
        builder.append(number, timestamp, key, value, headers)
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, base)
    struct.pack_into(">h", batch, 21, struct.unpack_from(">h", batch, 21)[0] | attributes)
    return sealed(batch)


def around(payload: bytes, number: int, codec: int, *, base: int = 0) -> bytes:
    """A batch of these bytes, packed by the codec, that says it has so many records."""
    batch = bytearray(built([(BASE, b"", b"", [])], base=base))[:HEADER] + packed(payload, codec)
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">h", batch, 21, codec)
    struct.pack_into(">i", batch, 23, max(0, min(number, 2**31) - 1))
    struct.pack_into(">i", batch, 57, number)
    return sealed(batch)


def packed(payload: bytes, codec: int) -> bytes:
    match codec:
        case 1:
            return gzip.compress(payload, 6)
        case 2:
            return bytes(cramjam.snappy.compress_raw(payload))
        case 3:
            return bytes(cramjam.lz4.compress(payload))
        case 4:
            return bytes(cramjam.zstd.compress(payload))
        case _:
            return payload


def run_of(batch: bytes) -> Any:
    """The records of a batch, where they lie in it."""
    from stream.core.native import records as native

    found = native.Batch(batch, 0, len(batch))
    return found.read(bytes(found.packed()))


def make(random: Random) -> bytes:
    data = b"".join(_batch(random, number * 10) for number in range(random.choice((1, 1, 2, 3))))
    return damaged(random, data, most=2) if random.random() < 0.3 else data


def _batch(random: Random, base: int) -> bytes:
    codec = random.choice(CODECS)
    if random.random() < 0.02:
        return around(_bomb(random), random.choice((1, 1000, 2**31 - 1)), codec, base=base)
    batch = bytearray(
        built(
            [_row(random) for _ in range(random.randint(0, 6))],
            codec=codec,
            base=base,
            attributes=random.choice((0, 0, 0x08, 0x10, 0x20)),
            producer=random.choice((-1, -1, 1, ABORTED)),
        )
    )
    if random.random() < 0.4:  # its records, before they are packed
        raw = damaged(random, _payload(random), [varint(each) for each in NUMBERS], most=3)
        return around(raw, random.choice((0, 1, 1, 2, 5, -1, 2**31 - 1)), codec, base=base)
    for _ in range(random.choice((0, 0, 1, 2))):
        place = random.choice(list(FIELDS))
        _put(batch, place, FIELDS[place], random.choice(NUMBERS) + random.choice((0, 0, 1, -1, 5)))
    if random.random() < 0.3:  # as they are packed
        batch[HEADER:] = damaged(random, bytes(batch[HEADER:]))
        if random.random() < 0.8:
            struct.pack_into(">i", batch, 8, len(batch) - 12)
    return sealed(batch) if random.random() < 0.9 and len(batch) >= HEADER else bytes(batch)


def _put(batch: bytearray, place: int, code: str, number: int) -> None:
    size = struct.calcsize(code)
    batch[place : place + size] = (number % 2 ** (8 * size)).to_bytes(size, "big")


def _row(random: Random) -> Row:
    headers = [(random.choice(("a", "content-type", "\u00e9")), random.choice((None, b"", b"x" * 9)))] * random.choice(
        (0, 0, 0, 1, 3)
    )
    data = (None, b"", b"s1", b'{"event_id":"e1"}', b"\xff" * random.randrange(300))
    return BASE + random.choice((0, 1, -5, 10**9, -BASE, 2**62)), random.choice(data), random.choice(data), headers


def _payload(random: Random) -> bytes:
    return built([_row(random) for _ in range(random.randint(1, 4))])[HEADER:]


def varint(value: int) -> bytes:
    out = bytearray()
    encode_varint(max(-(2**63), min(value, 2**63 - 1)), out.append)
    return bytes(out)


def record(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return varint(len(body)) + body


def _bomb(random: Random) -> bytes:
    """Small when packed: one huge value, very many records, very many headers, or nothing at all."""
    start, size = b"\x00" + varint(0) + varint(0), int(10 ** random.uniform(4, 7.5))
    match random.randrange(4):
        case 0:
            return record(start, varint(-1), varint(size), bytes(size), varint(0))
        case 1:
            return record(start, varint(-1), varint(-1), varint(0)) * (size // 8)
        case 2:
            return record(start, varint(-1), varint(-1), varint(size // 2), bytes(size))
        case _:
            return bytes(size)


def partition_records(fetched: bytes) -> Any:
    return PartitionRecords(PLACE, MemoryRecords(fetched), [(ABORTED, 0)], 0, None, None, True, READ_COMMITTED)


ERRORS: Final = {"", "DamagedError", "FailedError"}


@cache
def without_native() -> ModuleType:
    """Reading as where nothing could be compiled."""
    spec = importlib.util.find_spec("stream.kafka.fetched")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch("stream.core.switch.NATIVE", new=False):
        spec.loader.exec_module(module)
    return module


def read(way: ModuleType, data: bytes) -> tuple[list[Any], int, str]:
    """What is handed out, the offset to go on from, and the name of the error it ends with."""
    rows: list[Any] = []
    records = partition_records(data)
    try:
        for run in way.runs(records, data, LIMIT):
            rows += [run] if isinstance(run, RefusedBatch) else [_row_of(each) for each in run.since(0)]
    except Exception as raised:  # noqa: BLE001 - which one it is, is the question
        return rows, records.next_fetch_offset, type(raised).__name__
    return rows, records.next_fetch_offset, ""


def _row_of(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


def run(data: bytes) -> None:
    rows, position, error = read(without_native(), data)
    assert error in ERRORS, error
    assert len(rows) <= len(data) // HEADER * (LIMIT // fetched.BYTES_OF_A_RECORD)
    assert read(fetched, data) == (rows, position, error), (
        f"native {read(fetched, data)} is not {rows, position, error}"
    )


BOUND: Final = Bound(seconds=1.0, seconds_a_byte=50e-6, memory=64 * LIMIT)
"""A byte may unpack to a thousand, up to the limit; each record read by Python takes some 500 bytes and 5 us, twice."""
