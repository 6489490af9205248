"""Records found in a batch's bytes are those that aiokafka reads; what it refuses is refused."""

import gc
import struct
import weakref
from collections.abc import Sequence
from typing import Any, Final

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.control_record import ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, encode_varint
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.kafka import listed
from stream.model.results import Record, Records, create_time, part

native = pytest.importorskip("stream.core.native.records", reason="built without a C compiler")
spanned = pytest.importorskip("stream.kafka.spanned", reason="built without a C compiler")

PLACE: Final = TopicPartition("t", 0)
BASE: Final = 1_700_000_000_000
HEADER: Final = 61
APPEND_TIME: Final = 0x08
CONTROL: Final = 0x20
ABORTED: Final = 4711
"""Id of a producer whose transaction was aborted."""

Row = tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]
"""Offset, timestamp, key, value and headers of a record."""

data = st.none() | st.binary(max_size=200)
contents = st.tuples(
    st.integers(0, 2**40), data, data, st.lists(st.tuples(st.text(max_size=5), data), max_size=3) | st.just([])
)
codecs = st.sampled_from(range(5))


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


def batch_of(payload: bytes, number: int, attributes: int = 0) -> bytes:
    """A batch with these bytes for its records."""
    batch = bytearray(built([(BASE, b"", b"", [])], attributes=attributes))[:HEADER] + payload
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">i", batch, 57, number)
    return sealed(batch)


def partition_records(fetched: bytes, offset: int = 0) -> Any:
    aborted = [(ABORTED, 0)]
    return PartitionRecords(PLACE, MemoryRecords(fetched), aborted, offset, None, None, True, READ_COMMITTED)


def row(record: Any) -> Row:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


def read(way: Any, fetched: bytes, offset: int = 0) -> tuple[list[Row], list[tuple[int, bool]], int, str]:
    """What is handed out, the oldest of each batch and whether its producer stamped it, the offset to go on from, and the
    name of the error it ends with.
    """
    records = partition_records(fetched, offset)
    rows: list[Row] = []
    oldest: list[tuple[int, bool]] = []
    error = ""
    try:
        for run in way.unpacked(records, fetched):
            rows += map(row, run.since(offset))
            oldest.append((run.oldest_ms, run.create_time))
            assert create_time(run.since(offset)) == run.create_time
    except Exception as raised:  # noqa: BLE001 - which one it is, is the question
        error = type(raised).__name__
    return rows, oldest, records.next_fetch_offset, error


def ordinary(fetched: bytes, offset: int = 0) -> tuple[list[Row], str]:
    """What aiokafka itself hands out."""
    rows: list[Row] = []
    try:
        rows += map(row, partition_records(fetched, offset))
    except Exception as raised:  # noqa: BLE001 - which one it is, is the question
        return rows, type(raised).__name__
    return rows, ""


batches = st.lists(
    st.tuples(
        st.lists(contents, max_size=6),
        codecs,
        st.sampled_from([0, APPEND_TIME]),
        st.sampled_from([-1, 1, ABORTED]),
        st.integers(0, 3),
    ),
    max_size=4,
)


def log_of(drawn: Any) -> bytes:
    """Batches one after the other, with gaps between them."""
    fetched, base = b"", 0
    for rows, codec, attributes, producer, gap in drawn:
        fetched += built(rows, codec=codec, base=base + gap, attributes=attributes, producer=producer)
        base += gap + max(len(rows), 1)
    return fetched


@given(batches, st.integers(0, 30))
def test_it_reads_what_aiokafka_reads(drawn: Any, offset: int) -> None:
    """From an offset on that lies in the first batch, as a broker answers."""
    fetched = log_of(drawn)
    if fetched:
        first, last = struct.unpack_from(">q", fetched)[0], struct.unpack_from(">i", fetched, 23)[0]
        offset = min(offset, first + last)
    rows, *_, error = read(spanned, fetched, offset)
    assert (rows, error) == ordinary(fetched, offset)
    assert read(spanned, fetched, offset) == read(listed, fetched, offset)


@given(batches, st.integers(0, 2000))
def test_a_batch_that_is_cut_off_is_left(drawn: Any, size: int) -> None:
    fetched = log_of(drawn)[:size]
    assert read(spanned, fetched) == read(listed, fetched)


@given(batches, st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 255)), min_size=1, max_size=5))
def test_damage_is_found_by_the_checksum(drawn: Any, flips: list[tuple[int, int]]) -> None:
    fetched = bytearray(log_of(drawn))
    for at, bits in flips:
        if 17 <= at < len(fetched):  # of the first batch, what is before says where the next one begins
            fetched[at] ^= bits
    assert read(spanned, bytes(fetched)) == read(listed, bytes(fetched))


@settings(max_examples=500)
@given(
    st.lists(contents, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4),
    st.integers(0, 300),
    st.integers(-1, 5),
)
def test_garbage_under_a_right_checksum_is_refused_as_aiokafka_does(
    rows: Any, flips: list[tuple[int, int]], size: int, number: int
) -> None:
    """Some bytes behind it, too few for a batch, since aiokafka reads a number beyond the end of one."""
    payload = bytearray(built(rows)[HEADER:][:size])
    for at, byte in flips:
        if at < len(payload):
            payload[at] = byte
    fetched = batch_of(bytes(payload), number)
    assert read(spanned, fetched) == read(listed, fetched + bytes(11))


@settings(max_examples=1000)
@given(st.binary(max_size=300), st.integers(-2, 40), codecs)
def test_any_bytes_are_read_or_refused(payload: bytes, number: int, codec: int) -> None:
    rows, _, _, error = read(spanned, batch_of(payload, number, codec))
    assert not rows or not error


@given(st.binary(max_size=300))
def test_any_bytes_are_a_fetch_or_refused(fetched: bytes) -> None:
    rows, _, _, error = read(spanned, fetched)
    assert not rows
    assert error in ("", "CorruptRecordException", "UnsupportedCodecError")


def number(value: int) -> bytes:
    out = bytearray()
    encode_varint(value, out.append)
    return bytes(out)


def record(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return number(len(body)) + body


START: Final = b"\x00" + number(0) + number(0)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80" * 9,
        b"\x80" * 11 + b"\x00",
        number(20) + START,
        record(START, number(2**62)),
        record(START, number(-1), number(2**31), number(0)),
        record(START, number(-1), number(-1), number(-1)),
        record(START, number(-1), number(-1), number(2**62)),
        record(START, number(-1), number(-1), number(1)),
        record(START, number(-1), number(-1), number(1), number(-1), number(0)),
        record(START, number(-1), number(-1), number(1), number(5), b"a"),
        record(START, number(-1), number(-1), number(1), number(1), b"a", number(2**62)),
        record(START, number(-1), number(-1), number(0)) + b"x",
        record(START, number(-1), number(-1), number(0), b"x"),
    ],
)
def test_numbers_that_do_not_add_up_are_refused(payload: bytes) -> None:
    assert read(spanned, batch_of(payload, 1)) == ([], [], 0, "CorruptRecordException")


@pytest.mark.parametrize("count", [2, 2**31 - 1])
def test_more_records_than_there_are_bytes_are_refused(count: int) -> None:
    payload = record(START, number(-1), number(-1), number(0))
    assert read(spanned, batch_of(payload, 1))[0] == [(0, BASE, None, None, ())]
    assert read(spanned, batch_of(payload, count))[3] == "CorruptRecordException"


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_codec_is_named_as_aiokafka_names_it(codec: int) -> None:
    fetched = batch_of(b"x", 1, codec)
    assert read(spanned, fetched)[3] == ordinary(fetched)[1] == "UnsupportedCodecError"


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_what_is_not_compressed_as_it_says_is_refused(codec: int) -> None:
    fetched = batch_of(b"not compressed at all", 1, codec)
    rows, _, _, error = read(spanned, fetched)
    assert (rows, error) == ordinary(fetched)
    assert error


def test_a_batch_without_records_moves_the_position() -> None:
    batch = bytearray(batch_of(b"", 0))
    struct.pack_into(">i", batch, 23, 6)
    fetched = sealed(batch)
    assert read(spanned, fetched) == read(listed, fetched) == ([], [], 7, "")


@pytest.mark.parametrize("kind", [0, 1, 7])
def test_markers_end_aborted_transactions_and_are_not_handed_out(kind: int) -> None:
    marker = built([(BASE, struct.pack(">hh", 0, kind), b"\x00" * 6, [])], base=1, attributes=CONTROL, producer=ABORTED)
    fetched = built([(BASE, b"k", b"aborted", [])], producer=ABORTED) + marker
    fetched += built([(BASE, b"k", b"next", [])], base=2, producer=ABORTED)
    assert ControlRecord.parse(struct.pack(">hh", 0, 0))
    found = read(spanned, fetched)
    assert found == read(listed, fetched)
    assert [value for _, _, _, value, _ in found[0]] == ([b"next"] if kind == 0 else [])


@pytest.mark.parametrize("codec", range(5))
def test_names_of_headers_that_are_not_utf8(codec: int) -> None:
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, 0, 0, 2**20)

    class Name(str):
        __slots__ = ()

        def encode(self, *_: Any) -> bytes:
            return b"\xff\xfe!" if self == "bad" else super().encode()

    builder.append(0, BASE, b"k", b"v", [(Name("good"), b"1"), (Name("bad"), None)])
    fetched = bytes(builder.build())
    expected = [(0, BASE, b"k", b"v", (("good", b"1"), ("\ufffd\ufffd!", None)))]
    assert ordinary(fetched)[1] == "UnicodeDecodeError"
    assert read(spanned, fetched)[0] == read(listed, fetched)[0] == expected


def test_a_length_that_leads_far_away_behind_such_a_name_is_refused() -> None:
    headers = number(2) + number(1) + b"\xff" + number(-1) + number(2**50) + b"x"
    fetched = batch_of(record(START, number(-1), number(-1), headers), 1)
    assert read(spanned, fetched) == read(listed, fetched) == ([], [], 0, "CorruptRecordException")


def test_only_names_that_are_not_utf8_are_odd() -> None:
    for name, odd in ((b"a", False), ("\ufffd".encode(), False), (b"\xff", True)):
        headers = number(1) + number(len(name)) + name + number(-1)
        fetched = batch_of(record(START, number(-1), number(-1), headers), 1)
        batch = native.Batch(fetched, 0, len(fetched))
        batch.read(batch.packed())
        assert batch.odd_names == odd


def old_batch(magic: int) -> bytes:
    builder = LegacyRecordBatchBuilder(magic, 1, 2**20)
    for at in range(3):
        builder.append(at, BASE + at, b"k", b"v%d" % at)
    return bytes(builder.build())


def test_old_batches_go_the_ordinary_way() -> None:
    old = old_batch(1)
    found = read(spanned, old + built([(BASE, b"k", b"new", [])], base=3))
    assert [value for _, _, _, value, _ in found[0]] == [b"v0", b"v1", b"v2", b"new"]
    assert found[1:] == ([(BASE, True), (BASE, True)], 4, "")
    assert read(spanned, old) == read(listed, old)


def test_records_without_a_time_are_refused() -> None:
    assert read(spanned, old_batch(0)) == read(listed, old_batch(0)) == ([], [], 0, "CorruptRecordException")


@given(st.binary(max_size=100))
def test_the_checksum_is_the_one_of_kafka(data: bytes) -> None:
    if native.CHECKS_FAST:
        assert native.checksum(data) == calc_crc32c(data)


def run_of(count: int, base: int = 0) -> Any:
    fetched = built([(BASE - at, b"k%d" % at, b"v", [("n", b"%d" % at)]) for at in range(count)], base=base, codec=4)
    (run,) = spanned.unpacked(partition_records(fetched), fetched)
    return run


@given(st.integers(1, 20), st.integers(-25, 25), st.integers(-25, 25))
def test_a_run_is_a_sequence(count: int, begin: int, end: int) -> None:
    run = run_of(count)
    whole = [row(each) for each in run]
    assert len(run) == count
    assert [row(run[at]) for at in range(-count, count)] == whole + whole
    assert [row(each) for each in run[begin:end]] == whole[begin:end]
    assert [row(each) for each in reversed(run)] == whole[::-1]
    assert [row(each) for each in part(run, 1, count)] == whole[1:]
    assert run.oldest_ms == run[begin:end].oldest_ms == BASE - count + 1
    assert run.offset == whole[-1][0]
    for at in (count, -count - 1):
        with pytest.raises(IndexError):
            run[at]
    with pytest.raises(ValueError, match="from the first to the last"):
        run[::2]


def test_runs_are_joined_in_order() -> None:
    parts = [run_of(3)[1:], run_of(4, 3)[:0], run_of(2, 10)]
    assert [each.offset for each in native.join(parts)] == [1, 2, 10, 11]
    assert native.join(parts).oldest_ms == BASE - 3
    assert native.join(parts[:1]) is parts[0]
    assert isinstance(spanned.joined(parts, BASE), native.Run)
    mixed: list[Sequence[Record]] = [parts[0], list(parts[2])]
    assert [each.offset for each in spanned.joined(mixed, 5)] == [1, 2, 10, 11]
    together = spanned.joined(mixed, 5)
    assert isinstance(together, Records)
    assert together.oldest_ms == 5
    assert not spanned.joined([], 5)
    with pytest.raises(TypeError):
        native.join([parts[0], None])
    with pytest.raises(TypeError):
        native.join([parts[0], list(parts[0])])


def test_a_run_from_an_offset_on() -> None:
    run = run_of(5, 10)
    assert run.since(10) is run
    assert [row(each) for each in run.since(12)] == [row(each) for each in run][2:]
    assert list(run.since(15)) == []


class Bytes(bytearray):
    """To be followed."""


def test_bytes_live_as_long_as_a_part_of_their_run_and_no_longer() -> None:
    fetched = built([(BASE, b"k", b"v%d" % at, []) for at in range(9)])
    batch = native.Batch(fetched, 0, len(fetched))
    data = Bytes(batch.packed())
    alive = weakref.ref(data)
    gc.disable()
    try:
        run = batch.read(data)
        del data
        with pytest.raises(BufferError):
            alive().clear()  # type: ignore[union-attr]
        kept = native.join([run[2:3], run.since(7)])
        only = run[4]
        del run
        assert [each.value for each in kept] == [b"v2", b"v7", b"v8"]
        del kept
        assert alive() is None
        assert only.value == b"v4"
    finally:
        gc.enable()


def test_a_batch_that_is_too_short_is_none() -> None:
    for begin, end in ((0, HEADER - 1), (-1, HEADER), (5, HEADER), (0, HEADER + 1)):
        with pytest.raises(ValueError, match="too short"):
            native.Batch(bytes(HEADER), begin, end)
    for length in (-5, 13, 14, 48):
        fetched = struct.pack(">qiib", 0, length, 0, 2) + bytes(60)
        assert read(spanned, fetched)[3] == "CorruptRecordException"
    assert DefaultRecordBatch.CODEC_MASK == 7
