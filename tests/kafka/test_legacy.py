"""Batches of before 2017 are read as aiokafka reads them, within the same bounds as others."""

import struct
from typing import Any, Final
from zlib import crc32

import pytest
from aiokafka import TopicPartition
from aiokafka.codec import gzip_encode
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.fetched import BYTES_OF_A_RECORD, runs
from stream.model.names import Reason
from stream.model.results import RefusedBatch

BASE: Final = 1_700_000_000_000
LIMIT: Final = 100_000


def partition_records(fetched: bytes) -> Any:
    place = TopicPartition("t", 0)
    return PartitionRecords(place, MemoryRecords(fetched), [], 0, None, None, True, READ_COMMITTED)


def read(fetched: bytes) -> list[Any]:
    found: list[Any] = []
    for run in runs(partition_records(fetched), fetched, LIMIT):
        found += [run] if isinstance(run, RefusedBatch) else list(run)
    return found


def plain(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


def batch(values: list[bytes | None], codec: int, magic: int = 1, first: int = 0) -> bytes:
    builder = LegacyRecordBatchBuilder(magic, codec, 2**30)
    for place, value in enumerate(values):
        assert builder.append(first + place, BASE + place, b"k" if place % 2 else None, value) is not None
    built = bytearray(builder.build())
    if codec:
        struct.pack_into(">q", built, 0, first + len(values) - 1)  # as a broker does
    return bytes(built)


def sealed(data: bytes, **changes: Any) -> bytes:
    changed = bytearray(data)
    for at, value in changes.items():
        changed[int(at[1:])] = value
    struct.pack_into(">I", changed, 12, crc32(changed[16:]))
    return bytes(changed)


@given(st.lists(st.none() | st.binary(max_size=50), min_size=1, max_size=5), st.sampled_from([0, 1, 2, 3]))
def test_they_are_read_as_aiokafka_reads_them(values: list[bytes | None], codec: int) -> None:
    old = batch(values, codec)
    assert [plain(record) for record in read(old)] == [plain(record) for record in partition_records(old)]


def test_a_set_has_the_offsets_and_the_time_of_its_broker() -> None:
    old = bytearray(batch([b"a", b"b", b"c"], 1))
    struct.pack_into(">q", old, 0, 12)
    stamped = sealed(bytes(old), _17=0x09)
    found = read(stamped)
    assert [plain(record) for record in found] == [plain(record) for record in partition_records(stamped)]
    assert [record.offset for record in found] == [10, 11, 12]
    assert len({record.timestamp for record in found}) == 1


def test_new_ones_follow() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 2**20)
    builder.append(0, BASE, b"k", b"new", [])
    new = bytearray(builder.build())
    struct.pack_into(">q", new, 0, 2)
    assert [record.value for record in read(batch([b"a", b"b"], 3) + bytes(new))] == [b"a", b"b", b"new"]


def refusal(old: bytes) -> tuple[Reason, str]:
    (refused,) = read(old)
    assert isinstance(refused, RefusedBatch)
    return refused.reason, refused.detail


def test_they_are_bounded_too() -> None:
    assert refusal(batch([b"0" * LIMIT], 1)) == (Reason.TOO_LARGE, f"batch: more than {LIMIT} bytes when unpacked")
    most = LIMIT // BYTES_OF_A_RECORD
    assert refusal(batch([b""] * (most + 1), 1)) == (Reason.TOO_LARGE, f"batch: more than {most} records")


def test_records_without_a_time_are_refused() -> None:
    for codec in (0, 1):
        assert refusal(batch([b"a"], codec, magic=0)) == (Reason.UNREADABLE, "batch: records of magic 0 have no time")


@given(
    st.lists(st.binary(max_size=50), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(17, 200), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_any_damage_under_a_right_checksum_is_read_or_refused(
    values: list[bytes], flips: list[tuple[int, int]]
) -> None:
    inner = bytearray(b"".join(batch([value], 0, first=place) for place, value in enumerate(values)))
    for at, byte in flips:
        inner[at % len(inner)] = byte
    builder = LegacyRecordBatchBuilder(1, 0, 2**20)
    builder.append(len(values) - 1, BASE, None, gzip_encode(bytes(inner)))
    old = sealed(bytes(builder.build()), _17=0x01)
    found = read(old)
    assert found
    offsets = [record.offset for record in found]
    assert offsets == sorted(set(offsets))


def test_one_whose_checksum_is_wrong_is_damaged() -> None:
    old = bytearray(batch([b"a"], 1))
    old[-1] ^= 1
    with pytest.raises(Exception, match="wrong checksum"):
        read(bytes(old))
