"""The records of a batch as Python reads them, where nothing native is built: tests/core/native/ holds that to the same."""

import struct

import pytest
from aiokafka.record.util import calc_crc32c

from stream.core.headers import MOST, MOST_BYTES
from stream.core.pure.records import OBJECTS, SHORTEST, Batch, Headers, Run, join
from stream.model.results import Record, UnreadableBatchError
from tests.core.batches import APPEND_TIME, BASE, CONTROL, HEADER, START, batch_of, built, number, record

NULL, EMPTY = number(-1), number(0)
CUT_OFF = "goes beyond the end"
NEGATIVE = "has a negative number where there can be none"
Row = tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]
ROWS: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
    (BASE + 5, b"k", b"v" * 300, [("a", b"1"), ("b", None)]),
    (BASE, None, None, []),
    (BASE + 70_000, b"", b"", [("", b"x" * 100)]),
]


def found(fetched: bytes) -> Run:
    batch = Batch(fetched, 0, len(fetched))
    return batch.read(batch.packed())


def rows(records: Run) -> list[Row]:
    return [(each.offset, each.timestamp, each.key, each.value, tuple(each.headers)) for each in records]


def refused(fetched: bytes) -> str:
    with pytest.raises(UnreadableBatchError) as caught:
        found(fetched)
    return str(caught.value)


def test_it_reads_what_producers_write() -> None:
    run = found(built(ROWS, base=700))
    assert rows(run) == [(700 + at, time, key, value, tuple(each)) for at, (time, key, value, each) in enumerate(ROWS)]
    assert (run.oldest_ms, run.create_time, run.offset) == (BASE, True, 702)
    assert run.nbytes == len(built(ROWS)) - HEADER + 3 * OBJECTS


def test_the_brokers_time_is_that_of_all_records() -> None:
    run = found(built(ROWS, attributes=APPEND_TIME))
    assert [each.timestamp for each in run] == [BASE + 70_000] * 3
    assert (run.oldest_ms, run.create_time) == (BASE + 70_000, False)


def test_the_header_of_a_batch_says_what_it_is() -> None:
    behind = b"before" + built(ROWS, base=9, producer=7, attributes=CONTROL) + b"behind"
    batch = Batch(behind, 6, len(behind) - 6)
    assert (batch.base_offset, batch.next_offset, batch.number, batch.producer_id) == (9, 12, 3, 7)
    assert (batch.max_timestamp, batch.codec) == (BASE + 70_000, 0)
    assert (batch.is_control_batch, batch.is_transactional) == (True, True)
    assert batch.crc == calc_crc32c(bytes(batch.checked()))
    assert rows(batch.read(batch.packed())) == [(9 + each[0], *each[1:]) for each in rows(found(built(ROWS)))]
    plain = Batch(built(ROWS, codec=1), 0, len(built(ROWS, codec=1)))
    assert (plain.is_control_batch, plain.is_transactional, plain.codec, plain.producer_id) == (False, False, 1, -1)


def test_what_is_too_short_is_no_batch() -> None:
    whole = built(ROWS)
    Batch(whole, 0, HEADER)
    for begin, end in ((0, HEADER - 1), (-1, len(whole)), (0, len(whole) + 1), (1, HEADER)):
        with pytest.raises(UnreadableBatchError, match=r"^too short for a batch$"):
            Batch(whole, begin, end)


def one(*parts: bytes) -> str:
    return refused(batch_of(record(*parts), 1))


def test_what_does_not_add_up_is_refused() -> None:
    right = record(START, NULL, NULL, EMPTY)
    assert rows(found(batch_of(right, 1))) == [(0, BASE, None, None, ())]
    assert rows(found(batch_of(b"", 0))) == []
    assert refused(batch_of(right * 2, 1)) == f"{len(right)} bytes after the last record"
    assert refused(batch_of(right, len(right) // SHORTEST + 1)) == "more records than there is room for"
    assert one(START, NULL, NULL, EMPTY, b"x") == "is not as long as it says"
    assert refused(batch_of(right[:-1], 1)) == "more records than there is room for"
    assert refused(batch_of(b"\x80" * 9, 1)) == CUT_OFF
    assert one(b"\x00" + b"\x80" * 10 + b"\x00", EMPTY, NULL, NULL, EMPTY) == CUT_OFF
    for wrong in ((number(99), NULL, EMPTY), (NULL, number(99), EMPTY), (NULL, NULL, number(9)), (NULL, NULL, b"\x80")):
        assert one(START, *wrong) == CUT_OFF


def test_headers_that_do_not_add_up_are_refused() -> None:
    name = number(1) + b"a"
    assert one(START, NULL, NULL, number(-1)) == NEGATIVE
    assert one(START, NULL, NULL, number(1), NULL, EMPTY) == NEGATIVE
    assert one(START, NULL, NULL, number(1)) == CUT_OFF
    assert one(START, NULL, NULL, number(1), number(5), b"a") == CUT_OFF
    assert one(START, NULL, NULL, number(1), name, number(2), b"v") == CUT_OFF
    assert one(START, NULL, NULL, number(2), name, EMPTY) == CUT_OFF
    run = found(batch_of(record(START, NULL, NULL, number(2), name, NULL, name, number(1), b"v"), 1))
    assert rows(run)[0][-1] == (("a", None), ("a", b"v"))


@pytest.mark.parametrize(
    "value", [0, 1, -1, 63, -64, 64, 8191, -8192, 8192, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63)]
)
def test_a_time_of_any_size_is_read(value: int) -> None:
    expected = (BASE + value + 2**63) % 2**64 - 2**63
    run = found(batch_of(record(b"\x00", number(value), EMPTY, NULL, NULL, EMPTY), 1))
    assert [each.timestamp for each in run] == [expected]


@pytest.mark.parametrize(
    ("deltas", "last", "is_right"),
    [
        ((0,), 0, True),
        ((1, 4), 6, True),
        ((2, 6), 6, True),
        ((2, 7), 6, False),
        ((3, 3), 6, False),
        ((3, 2), 6, False),
        ((-1,), 6, False),
    ],
)
def test_offsets_rise_and_lie_in_their_batch(deltas: tuple[int, ...], last: int, is_right: bool) -> None:
    payload = b"".join(record(b"\x00", EMPTY, number(delta), NULL, NULL, EMPTY) for delta in deltas)
    fetched = batch_of(payload, len(deltas), last=last)
    if is_right:
        assert [each.offset for each in found(fetched)] == list(deltas)
        assert Batch(fetched, 0, len(fetched)).next_offset == last + 1
    else:
        assert refused(fetched) == "has an offset that is out of order"


def test_an_offset_at_the_end_of_all_numbers_wraps_around() -> None:
    fetched = bytearray(batch_of(record(START, NULL, NULL, EMPTY), 1))
    struct.pack_into(">q", fetched, 0, 2**63 - 1)
    assert Batch(bytes(fetched), 0, len(fetched)).next_offset == -(2**63)


def headers(*pairs: tuple[str, bytes | None]) -> Headers:
    [only] = found(built([(BASE, b"", b"", list(pairs))]))
    assert isinstance(only.headers, Headers)
    return only.headers


def test_headers_are_kept_up_to_a_number_and_to_bytes() -> None:
    some = headers(("a", b"1"), ("b", None), ("a", b""))
    assert (list(some), len(some), bool(some), some.dropped) == ([("a", b"1"), ("b", None), ("a", b"")], 3, True, 0)
    assert (some[1], some[-1], some[:2]) == (("b", None), ("a", b""), (("a", b"1"), ("b", None)))
    assert some.size == len(b"\x02a\x021" + b"\x02b\x01" + b"\x02a\x00")
    many = headers(*[("a", b"")] * (MOST + 3))
    assert (len(many), many.dropped, many.size) == (MOST, 3, 3 * (MOST + 3))
    room = MOST_BYTES - 1
    full = headers(("a", b"x" * room), ("", b""), ("b", b""), ("", b""))
    assert ([name for name, _ in full], full.dropped) == (["a", ""], 2)
    none = headers(("a", b"x" * MOST_BYTES))
    assert (list(none), bool(none), none.dropped) == ([], True, 1)
    damaged = batch_of(record(START, NULL, NULL, number(1), number(2), b"\xffa", EMPTY), 1)
    assert list(next(iter(found(damaged))).headers) == [("\N{REPLACEMENT CHARACTER}a", b"")]


def test_a_run_begins_at_an_offset_and_several_are_joined() -> None:
    first, second = found(built(ROWS)), found(built(ROWS[1:], base=3, attributes=APPEND_TIME))
    assert first.since(0) is first
    later = first.since(1)
    assert [each.offset for each in later] == [1, 2]
    assert (later.oldest_ms, later.create_time, later.nbytes) == (BASE, True, first.nbytes)
    assert [each.offset for each in first.since(3)] == []
    empty = Run([], 5)
    assert empty.since(9) is empty
    both = join([second, first])
    assert [each.offset for each in both] == [3, 4, 0, 1, 2]
    assert (both.oldest_ms, both.create_time, both.nbytes) == (BASE, True, first.nbytes + second.nbytes)
    assert not join([second]).create_time


def test_a_record_is_one_by_its_names() -> None:
    only: Record = next(iter(found(built(ROWS[:1]))))
    assert (only.offset, only.timestamp, only.key, only.value) == (0, BASE + 5, b"k", b"v" * 300)
