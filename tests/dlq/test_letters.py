"""What a dead letter says of itself, read back from what a worker writes; and which letters are meant."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.deadletters import oversize
from stream.core.policy import Policy
from stream.dlq.letters import KEY_CUT, Letter, Selection, letter_of
from stream.dlq.verdict import verdict
from stream.model.events import LEAST_MS, MOST_MS
from stream.model.names import KINDS, Kind, Reason
from stream.model.results import RefusedBatch
from tests.dlq.tools import STAMP, Rec, letter, refused
from tests.kafka.tools import BASE, view


def test_a_letter_gives_the_original_back() -> None:
    record = Rec(headers=[("h", b"1"), ("none", None), ("liveshop-redrives", b"2")])
    found = letter(refused(record, Reason.LATE, "event_time: 7 ms", Kind.COMMENTS), offset=9, partition=3)
    assert (found.key, found.value) == (record.key, record.value)
    assert list(found.headers) == [("h", b"1"), ("none", None)]
    assert (found.reason, found.detail, found.redrives) == ("late", "event_time: 7 ms", 2)
    origin = found.origin
    assert (origin.topic, origin.partition, origin.first, origin.last) == ("live.comments", 3, 7, 7)
    assert (found.place, found.timestamp, found.is_cut) == ("3:9", STAMP, False)


def test_a_batch_and_a_value_that_was_cut_say_so() -> None:
    batch = RefusedBatch(10, 19, 10, STAMP, Reason.UNREADABLE, "batch: x", b"raw", 3, "00")
    found = letter(refused(batch, Reason.UNREADABLE))
    assert (found.origin.first, found.origin.last, found.records, found.is_cut) == (10, 19, 10, True)
    cut = letter(refused(oversize(Rec(b"x" * 100_000)), Reason.TOO_LARGE))
    assert (cut.size, len(cut.value or b""), cut.is_cut) == (100_000, 65_536, True)
    assert letter(refused(Rec(key=b"k" * KEY_CUT))).is_cut, "its key may have lost something"


@given(
    st.dictionaries(
        st.sampled_from(["liveshop-reason", "liveshop-origin", "liveshop-redrives", "liveshop-size", "x"]),
        st.none() | st.binary(max_size=20) | st.sampled_from([b"late", b"live.views/1/2/3", b"-1", b"9" * 30]),
    ),
    st.none() | st.binary(max_size=50),
)
def test_whatever_a_stranger_writes_is_a_letter_or_none(headers: dict[str, bytes | None], value: bytes | None) -> None:
    found = letter_of(Rec(value, None, 0, 2**62, list(headers.items())), 0)
    origin, reason = headers.get("liveshop-origin"), headers.get("liveshop-reason")
    assert (found is not None) == (origin == b"live.views/1/2/3" and bool(reason))
    if found is not None:
        assert found.time() == 3
        assert verdict(Policy(), Kind.VIEWS, found)


# -- times


def at(event_time: object, stamp: int = STAMP, written: int = STAMP + 1000) -> Letter:
    value = json.dumps({"event_time": event_time}).encode()
    return letter(refused(Rec(value, timestamp=stamp)), written=written)


@pytest.mark.parametrize(
    ("event_time", "time"),
    [
        (BASE, BASE),
        (STAMP, STAMP),
        (STAMP + 1, STAMP),
        (BASE // 1000, STAMP),
        (float(BASE), STAMP),
        (str(BASE), STAMP),
        (None, STAMP),
        (True, STAMP),
        (-1, STAMP),
        (10**30, STAMP),
    ],
)
def test_a_letter_s_time_is_its_event_time_where_that_can_be(event_time: object, time: int) -> None:
    assert at(event_time).time() == time


@given(st.integers(0, MOST_MS), st.integers(-(2**62), 2**62), st.integers(0, 2**62))
def test_no_letter_has_a_later_time_than_it_was_written(event_time: int, stamp: int, written: int) -> None:
    time = at(event_time, stamp, written).time()
    assert 0 <= time <= min(written, MOST_MS)
    if LEAST_MS <= event_time <= min(stamp, written):
        assert time == event_time


def test_a_cloud_event_s_time_is_within() -> None:
    value = b'{"specversion": "1.0", "data": ' + view(1) + b"}"
    wrapped = Rec(value, headers=[("content-type", b"application/cloudevents+json")])
    found = letter(refused(wrapped))
    assert found.time() == BASE + 100
    assert found.is_of("s1")
    assert verdict(Policy(), Kind.VIEWS, found).startswith("a right event")


def test_what_is_no_json_has_the_broker_s_time() -> None:
    for value in (None, b"", b"\xff", b"[" * 100_000, b"[1]", b'{"event_time": '):
        assert letter(refused(Rec(value))).time() == STAMP


# -- what is meant


def test_a_selection_has_all_it_names() -> None:
    found = letter(refused(Rec(view(1)), Reason.LATE))
    time = BASE + 100
    for right in (
        Selection(),
        Selection(reasons=frozenset({"late", "future"})),
        Selection(topics=frozenset({"live.views"})),
        Selection(from_ms=time, to_ms=time + 1),
        Selection(session="s1"),
    ):
        assert right.has(found)
    for wrong in (
        Selection(reasons=frozenset({"future"})),
        Selection(topics=frozenset({"live.comments"})),
        Selection(from_ms=time + 1),
        Selection(to_ms=time),
        Selection(session="s2"),
        Selection(reasons=frozenset({"late"}), session="s2"),
    ):
        assert not wrong.has(found)


def test_a_session_is_found_by_key_or_by_value() -> None:
    assert letter(refused(Rec(view(1), b'"s1"'), Reason.KEY_MISMATCH)).is_of("s1")
    assert letter(refused(Rec(b"no json", b"s1"))).is_of("s1")


def test_the_verdict_is_the_worker_s_and_names_what_cannot_be_judged() -> None:
    policy = Policy()
    assert verdict(policy, Kind.VIEWS, letter(refused(Rec()))).startswith("a right event")
    assert verdict(policy, Kind.CHECKOUTS, letter(refused(Rec()))).startswith("refused: missing_field: ")
    assert verdict(policy, Kind.VIEWS, letter(refused(Rec(None)))) == "a tombstone"
    assert "no input" in verdict(policy, None, letter(refused(Rec())))
    assert {letter(refused(Rec(), kind=kind)).origin.topic for kind in KINDS} == {
        "live.views",
        "live.comments",
        "live.checkouts",
    }
