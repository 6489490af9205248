"""Batches of any bytes, as a producer that follows no client library sends them."""

import struct
import time
from collections.abc import Iterable
from typing import Any, Final

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.util import calc_crc32c, encode_varint

GZIP: Final = 1
SNAPPY: Final = 2
LZ4: Final = 3
ZSTD: Final = 4
TRANSACTIONAL: Final = 0x10
HEADER: Final = struct.Struct(">qiibIhiqqqhii")
PACK: Final = {0: bytes, GZIP: gzip_encode, SNAPPY: snappy_encode, LZ4: lz4_encode, ZSTD: zstd_encode}
CHUNK: Final = 16 * 1024 * 1024


def number(value: int) -> bytes:
    out = bytearray()
    encode_varint(value, out.append)
    return bytes(out)


def record(delta: int, key: bytes, value: bytes, headers: bytes = b"\x00") -> bytes:
    """One record as it lies in a batch. ``headers``: their number, and what follows it."""
    body = b"\x00" + number(0) + number(delta) + number(len(key)) + key + number(len(value)) + value + headers
    return number(len(body)) + body


def batch(packed: bytes, records: int, codec: int = 0, attributes: int = 0) -> bytes:
    """A batch with these bytes behind its header, and a right checksum."""
    now = int(time.time() * 1000)
    head = HEADER.pack(0, 49 + len(packed), -1, 2, 0, codec | attributes, records - 1, now, now, -1, -1, -1, records)
    return sealed(head + packed)


def sealed(data: bytes) -> bytes:
    return data[:17] + struct.pack(">I", calc_crc32c(data[21:])) + data[21:]


def packed(values: Iterable[bytes], key: bytes, codec: int) -> bytes:
    """Records with these values, and this key, compressed."""
    return bytes(PACK[codec](b"".join(record(place, key, value) for place, value in enumerate(values))))


def checksummed(data: bytes, *, right: bool) -> bytes:
    """In lz4 with a checksum of its own, which brokers do not look at."""
    compressor = cramjam.lz4.Compressor(content_checksum=True, block_linked=False)
    compressor.compress(data)
    found = bytes(compressor.finish())
    return found if right else found[:-1] + bytes([found[-1] ^ 0xFF])


def bomb(codec: int, size: int) -> bytes:
    """One record whose value is so many zeros, compressed without ever being whole."""
    compressor: Any = {
        GZIP: cramjam.gzip.Compressor(),
        LZ4: cramjam.lz4.Compressor(content_checksum=False, block_linked=False),
        ZSTD: cramjam.zstd.Compressor(),
    }[codec]
    head = b"\x00" * 3 + number(1) + b"k" + number(size)
    compressor.compress(number(len(head) + size + 1) + head)
    zeros = bytes(CHUNK)
    for begin in range(0, size, CHUNK):
        compressor.compress(zeros[: min(CHUNK, size - begin)])
    compressor.compress(b"\x00")  # no headers
    return bytes(compressor.finish())


class Raw:
    """Stands in for the batch builder of aiokafka."""

    def __init__(self, data: bytes, records: int) -> None:
        self._data = data
        self._records = records

    def _set_producer_state(self, producer: int, epoch: int, sequence: int) -> None:
        self._data = sealed(self._data[:43] + struct.pack(">qhi", producer, epoch, sequence) + self._data[57:])

    def _build(self) -> bytes:
        return self._data

    def close(self) -> None: ...

    def closed(self) -> bool:
        return True

    def size(self) -> int:
        return len(self._data)

    def record_count(self) -> int:
        return self._records

    def append(self, **_: Any) -> None: ...


async def send_raw(sender: AIOKafkaProducer, topic: str, data: bytes, records: int) -> int:
    """Its first offset. Raises what the broker says of one that it does not take."""
    return int((await (await sender.send_batch(Raw(data, records), topic, partition=0))).offset)
