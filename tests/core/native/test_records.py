"""Records found in a batch's bytes are those that aiokafka reads, and Python reads and refuses what is native does."""

import gc
import importlib.util
import struct
import weakref
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.control_record import ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.headers import MOST, MOST_BYTES
from stream.kafka import fetched as spanned
from stream.model.names import Reason
from stream.model.results import Records, RefusedBatch, create_time, part
from tests.core.batches import APPEND_TIME, BASE, CONTROL, HEADER, START, batch_of, built, number, record, sealed

native = pytest.importorskip("stream.core.native.records", reason="built without a C compiler")


def without_native() -> ModuleType:
    """Reading as where nothing could be compiled."""
    spec = importlib.util.find_spec("stream.kafka.fetched")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch("stream.core.switch.NATIVE", new=False):
        spec.loader.exec_module(module)
    return module


listed = without_native()
LIMIT: Final = 2**20
"""Bytes that a batch may unpack to."""

PLACE: Final = TopicPartition("t", 0)
ABORTED: Final = 4711
"""Id of a producer whose transaction was aborted."""

Row = tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]
"""Offset, timestamp, key, value and headers of a record."""

data = st.none() | st.binary(max_size=200)
contents = st.tuples(
    st.integers(0, 2**40), data, data, st.lists(st.tuples(st.text(max_size=5), data), max_size=3) | st.just([])
)
codecs = st.sampled_from(range(5))


def partition_records(fetched: bytes, offset: int = 0) -> Any:
    aborted = [(ABORTED, 0)]
    return PartitionRecords(PLACE, MemoryRecords(fetched), aborted, offset, None, None, True, READ_COMMITTED)


def row(record: Any) -> Row:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


Found = tuple[list[Any], list[tuple[int, bool]], int, str]
"""Each `Row` or `RefusedBatch`, and what `read` gives with them."""


def read(way: Any, fetched: bytes, offset: int = 0) -> Found:
    """What is handed out, the oldest of each batch and whether its producer stamped it, the offset to go on from, and the
    name of the error it ends with.
    """
    records = partition_records(fetched, offset)
    rows: list[Any] = []
    oldest: list[tuple[int, bool]] = []
    error = ""
    try:
        for run in way.runs(records, fetched, LIMIT):
            if isinstance(run, RefusedBatch):
                rows.append(run)
            else:
                rows += map(row, run.since(offset))
                oldest.append((run.oldest_ms, run.create_time))
                assert create_time(run.since(offset)) == run.create_time
    except Exception as raised:  # noqa: BLE001 - which one it is, is the question
        error = type(raised).__name__
    return rows, oldest, records.next_fetch_offset, error


def refusals(fetched: bytes) -> list[tuple[Reason, str]]:
    """Why each batch is refused, both ways alike, when nothing else comes of it."""
    found = read(spanned, fetched)
    assert found == read(listed, fetched)
    assert not found[1]
    assert not found[3]
    return [(each.reason, each.detail) for each in found[0] if isinstance(each, RefusedBatch)]


def unreadable(what: str) -> list[tuple[Reason, str]]:
    return [(Reason.UNREADABLE, f"batch: {what}")]


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
        packs = codec if rows else 0  # aiokafka packs nothing with snappy into what it cannot read
        fetched += built(rows, codec=packs, base=base + gap, attributes=attributes, producer=producer)
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
    st.integers(-1, 5),
)
def test_garbage_under_a_right_checksum_is_refused_whole(
    rows: Any, flips: list[tuple[int, int]], size: int, number: int, last: int
) -> None:
    payload = bytearray(built(rows)[HEADER:][:size])
    for at, byte in flips:
        if at < len(payload):
            payload[at] = byte
    fetched = batch_of(bytes(payload), number, last=last)
    found = read(spanned, fetched)
    assert found == read(listed, fetched)
    assert found[2:] == ((last + 1, "") if last >= 0 else (0, "DamagedError"))
    if any(isinstance(each, RefusedBatch) for each in found[0]):
        assert len(found[0]) == 1


@settings(max_examples=1000)
@given(st.binary(max_size=300), st.integers(-2, 40), codecs)
def test_any_bytes_are_read_or_refused(payload: bytes, number: int, codec: int) -> None:
    fetched = batch_of(payload, number, codec)
    found = read(spanned, fetched)
    assert found == read(listed, fetched)
    assert not found[3]


@settings(max_examples=1000)
@given(batches.filter(bool), st.data())
def test_any_damage_under_a_right_checksum_is_read_or_refused(drawn: Any, data: st.DataObject) -> None:
    """Of every field, in every codec. Offsets that are handed out lie in their batch and rise; nothing else is raised."""
    fetched = bytearray(log_of(drawn[:1]))
    for _ in range(data.draw(st.integers(1, 3))):
        fetched[data.draw(st.integers(21, len(fetched) - 1))] = data.draw(st.integers(0, 255))
    fetched[22] &= ~CONTROL
    if fetched[22] & 0x07 > 4:
        fetched[22] &= ~0x07
    whole = sealed(fetched)
    found = read(spanned, whole)
    assert found == read(listed, whole)
    assert found[3] == ("DamagedError" if whole[23] >= 0x80 else "")
    first, last = struct.unpack_from(">q", whole)[0], struct.unpack_from(">i", whole, 23)[0]
    at = first - 1
    for each in found[0]:
        offset = each.offset if isinstance(each, RefusedBatch) else each[0]
        assert at < offset <= first + last
        at = offset


@given(st.binary(max_size=300))
def test_any_bytes_are_a_fetch_or_refused(fetched: bytes) -> None:
    assert read(spanned, fetched) == read(listed, fetched)
    rows, _, _, error = read(spanned, fetched)
    assert not rows
    assert error in ("", "DamagedError")


BEYOND: Final = START + number(-1) + number(-1) + number(1) + number(1) + b"a" + number(1)
"""The value of its only header is one byte, which is not there."""
CUT_OFF: Final = "goes beyond the end"
NEGATIVE: Final = "has a negative number where there can be none"


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "more records than there is room for"),
        (b"\x80" * 9, CUT_OFF),
        (b"\x80" * 11 + b"\x00", CUT_OFF),
        (record(b"\x00" + b"\x80" * 10 + b"\x00" + number(0), number(-1), number(-1), number(0)), CUT_OFF),
        (number(20) + START + b"\x01\x01\x08", CUT_OFF),
        (number(len(BEYOND) + 1) + BEYOND, CUT_OFF),
        (
            number(len(START) + 4) + START + number(1) + b"k" + number(-1),
            CUT_OFF,
        ),  # how many headers it has is not there
        (record(START, number(2**62)), CUT_OFF),
        (record(START, number(-1), number(2**31), number(0)), CUT_OFF),
        (record(START, number(-1), number(-1), number(-1)), NEGATIVE),
        (record(START, number(-1), number(-1), number(2**62)), CUT_OFF),
        (record(START, number(-1), number(-1), number(1)), CUT_OFF),
        (record(START, number(-1), number(-1), number(1), number(-1), number(0)), NEGATIVE),
        (record(START, number(-1), number(-1), number(1), number(5), b"a"), CUT_OFF),
        (record(START, number(-1), number(-1), number(1), number(1), b"a", number(2**62)), CUT_OFF),
        (record(START, number(-1), number(-1), number(0)) + b"x", "1 bytes after the last record"),
        (record(START, number(-1), number(-1), number(0), b"x"), "is not as long as it says"),
    ],
)
def test_numbers_that_do_not_add_up_are_refused(payload: bytes, why: str) -> None:
    assert refusals(batch_of(payload, 1)) == unreadable(why)


def plain_record(delta: int) -> bytes:
    return record(b"\x00", number(0), number(delta), number(-1), number(-1), number(0))


@pytest.mark.parametrize("deltas", [(-1,), (1,), (0, 0), (1, 0), (0, 2), (0, 2**40), (0, -(2**63))])
def test_offsets_that_no_broker_gave_are_refused(deltas: tuple[int, ...]) -> None:
    """Brokers take them in batches that are not compressed. (p: one moved the position a thousand million offsets on.)"""
    fetched = batch_of(b"".join(map(plain_record, deltas)), len(deltas))
    assert refusals(fetched) == unreadable("has an offset that is out of order")


def test_offsets_may_be_missing_where_the_log_was_compacted() -> None:
    fetched = batch_of(plain_record(1) + plain_record(4), 2, last=6)
    found = read(spanned, fetched)
    assert found == read(listed, fetched)
    assert ([offset for offset, *_ in found[0]], found[2]) == ([1, 4], 7)


def test_attributes_are_one_byte_whatever_it_is() -> None:
    for attributes in (0x00, 0x7F, 0x80, 0xFF):
        fetched = batch_of(record(bytes([attributes]), number(0), number(0), number(-1), number(-1), number(0)), 1)
        assert read(spanned, fetched)[0] == read(listed, fetched)[0] == [(0, BASE, None, None, ())]


@pytest.mark.parametrize("count", [2, 2000])
def test_more_records_than_there_are_bytes_are_refused(count: int) -> None:
    payload = record(START, number(-1), number(-1), number(0))
    assert read(spanned, batch_of(payload, 1))[0] == [(0, BASE, None, None, ())]
    assert refusals(batch_of(payload, count)) == unreadable("more records than there is room for")


def test_more_records_than_a_batch_may_have_are_not_even_unpacked() -> None:
    most = LIMIT // spanned.BYTES_OF_A_RECORD
    for count, codec in ((most + 1, 0), (2**31 - 1, 4)):
        fetched = batch_of(b"not compressed at all", count, codec)
        assert refusals(fetched) == [(Reason.TOO_LARGE, f"batch: {count} records, at most {most}")]
        (refused,) = read(spanned, fetched)[0]
        assert isinstance(refused, RefusedBatch)
        assert (refused.first, refused.offset, refused.records) == (0, count - 1, count)


@pytest.mark.parametrize("codec", range(5))
def test_a_batch_that_unpacks_to_too_much_is_refused_whole(codec: int) -> None:
    """From the offset on that was asked for; the next one is read."""
    fits, larger = LIMIT - 100, LIMIT + 100
    rows: Any = [(BASE, b"k", b"v", []), (BASE, b"k", b"0" * fits, [])]
    found = read(spanned, built(rows, codec=codec), 1)
    assert found == read(listed, built(rows, codec=codec), 1)
    assert [len(each[3] or b"") for each in found[0]] == [fits]
    rows[1] = (BASE, b"k", b"0" * larger, [])
    batch = built([*rows, *rows], codec=codec, base=10)
    fetched = batch + built([(BASE, b"k", b"next", [])], base=14)
    found = read(spanned, fetched, 12)
    assert found == read(listed, fetched, 12)
    refused, following = found[0]
    assert isinstance(refused, RefusedBatch)
    assert (refused.first, refused.offset, refused.records, refused.timestamp) == (12, 13, 2, BASE)
    assert (refused.reason, refused.detail) == (Reason.TOO_LARGE, f"batch: more than {LIMIT} bytes when unpacked")
    assert (refused.data, refused.size) == (batch[:65_536], len(batch))
    assert (refused.key, refused.value, refused.headers) == (None, None, ())
    assert following == (14, BASE, b"k", b"next", ())


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_codec_says_nothing_about_the_batch(codec: int) -> None:
    fetched = batch_of(b"x", 1, codec)
    assert ordinary(fetched)[1] == "UnsupportedCodecError"
    assert read(spanned, fetched) == read(listed, fetched) == ([], [], 0, "FailedError")


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_what_is_not_compressed_as_it_says_is_refused(codec: int) -> None:
    fetched = batch_of(b"not compressed at all", 1, codec)
    assert ordinary(fetched)[1]
    ((reason, _),) = refusals(fetched)
    assert reason is Reason.UNREADABLE


def test_nothing_but_the_checksum_of_an_aborted_batch_is_looked_at() -> None:
    poison = bytearray(built([(BASE, b"k", b"v", [])], codec=4, producer=ABORTED))
    poison[HEADER:] = b"not compressed at all"
    struct.pack_into(">i", poison, 8, len(poison) - 12)
    assert read(spanned, sealed(poison)) == read(listed, sealed(poison)) == ([], [], 1, "")
    poison[17:21] = b"\x00" * 4
    assert read(spanned, bytes(poison)) == read(listed, bytes(poison)) == ([], [], 0, "DamagedError")


def test_a_marker_that_makes_no_sense_is_damage() -> None:
    """What it ends is not known; none at all, as compaction leaves it, ends nothing."""
    for payload, number_, error in ((b"", 0, ""), (b"xx", 1, "DamagedError"), (plain_record(0), 1, "DamagedError")):
        fetched = batch_of(payload, number_, CONTROL)
        assert read(spanned, fetched) == read(listed, fetched) == ([], [], 0 if error else 1, error)


def headers_of(*lengths: int) -> bytes:
    """A record with headers whose values have these lengths."""
    built_headers = b"".join(number(1) + b"h" + number(length) + b"v" * length for length in lengths)
    return record(START, number(1), b"k", number(1), b"v", number(len(lengths)), built_headers)


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [
        ([0] * MOST, MOST),
        ([0] * (MOST + 1), MOST),
        ([MOST_BYTES - 1], 1),
        ([MOST_BYTES], 0),
        ([9, MOST_BYTES, 9], 1),
        ([-1] * 3, 3),
        ([600] * 200, 109),
    ],
)
def test_headers_beyond_the_bounds_are_not_built(lengths: list[int], kept: int) -> None:
    payload = headers_of(*lengths)
    fetched = batch_of(payload, 1)
    found = read(spanned, fetched)
    assert found == read(listed, fetched)
    for way in (spanned, listed):
        (run,) = way.runs(partition_records(fetched), fetched, LIMIT)
        headers = run[0].headers
        assert headers
        assert len(headers) == len(tuple(headers)) == kept
        assert headers.dropped == len(lengths) - kept
        assert headers.size == len(payload) - payload.index(number(1) + b"h") or not kept
        assert kept == 0 or headers[0] == headers[0:1][0] == ("h", None if lengths[0] < 0 else b"v" * lengths[0])


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
    assert refusals(fetched) == unreadable(CUT_OFF)


@given(st.binary(max_size=100))
def test_the_checksum_is_the_one_of_kafka(data: bytes) -> None:
    if native.CHECKS_FAST:
        assert native.checksum(data) == calc_crc32c(data)


def run_of(count: int, base: int = 0) -> Any:
    fetched = built([(BASE - at, b"k%d" % at, b"v", [("n", b"%d" % at)]) for at in range(count)], base=base, codec=4)
    (run,) = spanned.runs(partition_records(fetched), fetched, LIMIT)
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
    mixed: list[Any] = [parts[0], list(parts[2])]
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
        assert read(spanned, fetched)[3] == read(listed, fetched)[3] == "DamagedError"


def test_a_batch_of_an_unknown_magic_is_damaged() -> None:
    fetched = bytearray(built([(BASE, b"k", b"v", [])]))
    fetched[16] = 3
    assert read(spanned, sealed(fetched))[3] == "DamagedError"
    assert DefaultRecordBatch.CODEC_MASK == 7
