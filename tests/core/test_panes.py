"""Rows of panes: what is held of a session in a slice of time, packed or not, its marks, and the rows by time."""

import pytest

from stream.core.cooperative import drained
from stream.core.counting import count_view
from stream.core.counts import Counts
from stream.core.framing import StateError
from stream.core.packing import unpack
from stream.core.panes import PACK_AT, PLACE, Pane, Row, Rows, windows_marked
from stream.core.policy import MINUTE, Policy
from stream.core.session import Session
from stream.core.state_keys import IDS, ids_bucket, in_key, pane_key
from stream.core.uniques import estimate
from stream.model.names import KINDS, Kind
from tests.core.test_session import LIMIT, T0, view

POLICY = Policy()


def counted(row: Row, name: str, number: int = 1) -> Pane:
    """A pane of the row with so many views."""
    pane = row.open(Session(name.encode()))
    for each in range(number):
        count_view(pane, view(session_id=name, event_time=row.start, viewer_id=f"v{each}"), LIMIT)
    return pane


def views(counts: Counts | None) -> int | None:
    return None if counts is None else int(counts.views)


def test_a_row_holds_a_session_as_long_as_there_is_anything_of_it() -> None:
    row = Row(T0)
    assert row.is_empty()
    counted(row, "a")
    row.pack(counted(row, "b"))
    row.set_mark(b"c", 0, 1, 2)
    assert [row.holds(key) for key in (b"a", b"b", b"c", b"d")] == [True, True, True, False]
    assert (row.number(), sorted(row.all_keys())) == (2, [b"a", b"b", b"c"])
    for key in (b"a", b"b", b"c"):
        assert not row.is_empty()
        row.take(key)
        assert not row.holds(key)
    assert row.is_empty()
    row.ids_of(Kind.COMMENTS).note(7)
    assert not row.is_empty()


def test_what_is_taken_is_given_and_forgotten() -> None:
    row = Row(T0)
    counted(row, "a", 3)
    row.pack(counted(row, "b", 2))
    row.set_mark(b"b", 1, 5, 6)
    taken = [row.take(key) for key in (b"a", b"b", b"c")]
    assert [(views(counts), marks) for counts, marks in taken] == [(3, ()), (2, (0, 0, 5, 6)), (None, ())]
    assert [row.take(key) for key in (b"a", b"b")] == [(None, ()), (None, ())]


def test_a_pane_that_was_packed_goes_on_where_it_was_and_tells_nothing_twice() -> None:
    row, session = Row(T0), Session(b"s")
    pane = row.open(session)
    count_view(pane, view(viewer_id="v1"), LIMIT)
    assert pane.tell() == (1, 1, 0, 0, 0)
    row.pack(pane)
    assert (list(row.panes), list(row.packed)) == ([], [b"s"])
    session.sum = b"before"
    pane = row.open(session)
    assert (list(row.panes), list(row.packed), session.sum or b"") == ([b"s"], [], b"")
    assert row.panes[b"s"] is pane
    assert pane.tell() is None
    count_view(pane, view(viewer_id="v2"), LIMIT)
    assert pane.tell() == (1, 1, 0, 0, 0)
    assert (pane.views, pane.events) == (2, 2)
    session.sum = b"before"
    row.take(b"s")
    row.open(session)
    assert session.sum == b"before", "nothing of the new pane is in the sum"


def test_what_is_counted_of_a_session_is_the_same_packed_or_not() -> None:
    row = Row(T0)
    pane = counted(row, "s", 4)
    for _ in range(2):
        assert (views(row.counts(b"s")), row.events(b"s")) == (4, 4)
        if pane.session.key in row.panes:
            assert row.counts(b"s") is pane
            row.pack(pane)
    assert (row.counts(b"t"), row.events(b"t")) == (None, 0)
    assert estimate(unpack(row.packed[b"s"]).viewers) == 4


def test_only_panes_that_have_told_everything_are_packed() -> None:
    row = Row(T0)
    for name in "abc":
        counted(row, name)
    row.panes[b"b"].changed = True
    assert sum(1 for _ in row.pack_quiet()) == 2
    assert (sorted(row.panes), sorted(row.packed)) == ([b"b"], [b"a", b"c"])
    row.clear()
    assert (row.panes, sorted(row.packed)) == ({}, [b"a", b"c"])


def test_lost_offsets_are_told_by_every_pane_and_those_not_in_line_yet_are_given() -> None:
    row, sessions = Row(T0), {name.encode(): Session(name.encode()) for name in "abc"}
    for name in "abc":
        counted(row, name)
    row.panes[b"b"].changed = True
    row.pack(row.panes[b"c"])
    fresh = row.mark_incomplete(sessions)
    assert sorted(pane.session.key for pane in fresh) == [b"a", b"c"]
    assert sorted(row.panes) == [b"a", b"b", b"c"]
    for pane in row.panes.values():
        assert (pane.incomplete, pane.changed) == (True, True)
    assert row.panes[b"c"].session is sessions[b"c"]
    assert row.mark_incomplete(sessions) == []


def test_marks_are_kept_by_kind_of_window() -> None:
    row = Row(T0)
    assert row.mark(b"s", 0) == row.mark(b"s", 2) == (0, 0)
    row.set_mark(b"s", 1, 3, 40)
    assert [row.mark(b"s", kind) for kind in range(3)] == [(0, 0), (3, 40), (0, 0)]
    row.set_mark(b"s", 0, 1, 10)
    row.set_mark(b"s", 1, 4, 41)
    assert row.marks[b"s"] == (1, 10, 4, 41)
    assert row.mark(b"t", 0) == (0, 0)
    assert [windows_marked(marks) for marks in ((), (1, 10), (0, 0, 3, 40), (1, 10, 4, 41))] == [[], [0], [1], [0, 1]]


@pytest.mark.parametrize("place", range(len(KINDS)))
def test_ids_are_packed_and_forgotten_by_their_own_topics_clock(place: int) -> None:
    kind, end, forgotten = KINDS[place], T0 + POLICY.pane_ms, list[bytes]()

    def retired(row: Row, clock: int | None) -> int:
        clocks: dict[Kind, int | None] = dict.fromkeys(KINDS)
        return sum(1 for _ in row.retire_ids(POLICY, clocks | {kind: clock}, forgotten.append))

    row = Row(T0)
    for each in KINDS:
        for hashed in range(PACK_AT + 1):
            row.ids_of(each).note(hashed * 7919 + 1)
    for clock in (None, T0, end + POLICY.delay_ms - 1):
        retired(row, clock)
        assert row.ids_of(kind).busy == PACK_AT + 1
    retired(row, end + POLICY.delay_ms)
    assert [row.ids_of(each).busy > PACK_AT for each in KINDS] == [each is not kind for each in KINDS]
    assert 7920 in row.ids_of(kind)
    retired(row, end + POLICY.bound_ms - 1)
    assert (len(row.ids_of(kind)), forgotten) == (PACK_AT + 1, [])
    for _ in range(2):
        retired(row, end + POLICY.bound_ms)
        assert [len(row.ids_of(each)) for each in KINDS] == [0 if each is kind else PACK_AT + 1 for each in KINDS]
        assert forgotten == [ids_bucket(place, T0)], "once"


def test_few_ids_are_not_worth_packing() -> None:
    row = Row(T0)
    for hashed in range(PACK_AT):
        row.ids_of(Kind.VIEWS).note(hashed * 7919 + 1)
    clocks: dict[Kind, int | None] = dict.fromkeys(KINDS, T0 + POLICY.pane_ms + POLICY.delay_ms)
    drained(row.retire_ids(POLICY, clocks, lambda _: None))
    assert row.ids_of(Kind.VIEWS).busy == PACK_AT


# -- all rows


def rows_at(*starts: int) -> Rows:
    rows = Rows()
    for start in starts:
        rows.made(start)
    return rows


def test_rows_are_found_by_time() -> None:
    rows = rows_at(30, 10, 20)
    rows[20] = rows[20]
    assert rows.starts == [10, 20, 30]
    assert rows.made(20) is rows[20]
    assert [rows.first_from(time) for time in (5, 10, 11, 30, 31)] == [10, 10, 20, 30, None]
    assert [rows.last_before(time) for time in (5, 10, 11, 30, 31)] == [None, None, 10, 20, 30]
    assert [row.start for row in rows.between(10, 30)] == [10, 20]
    assert [row.start for row in rows.between(11, 31)] == [20, 30]
    del rows[20]
    assert (rows.starts, sorted(rows)) == ([10, 30], [10, 30])


def test_rows_hold_a_session_up_to_its_last_event() -> None:
    rows = rows_at(10, 20, 30)
    rows[20].set_mark(b"s", 0, 1, 1)
    assert [rows.hold(b"s", last) for last in (19, 20, 25, 40)] == [False, True, True, True]
    assert not rows.hold(b"t", 40)


def test_all_that_is_counted_of_a_session_is_in_its_totals() -> None:
    rows, session = rows_at(T0, T0 + MINUTE, T0 + 2 * MINUTE), Session(b"s")
    for row in rows.values():
        count_view(row.open(session), view(event_time=row.start), LIMIT)
        counted(row, "other", 5)
    rows[T0].pack(rows[T0].panes[b"s"])
    assert rows.of(session).views == 3
    assert list(rows.of(Session(b"nobody")).sources or ()) == []


def test_panes_and_marks_come_back_from_the_state() -> None:
    rows = rows_at(T0, T0 + MINUTE)
    counted(rows[T0], "a", 3)
    counted(rows[T0], "b", 2)
    rows[T0].pack(rows[T0].panes[b"b"])
    rows[T0].set_mark(b"a", 0, 1, 3)
    rows[T0 + MINUTE].set_mark(b"a", 1, 2, 9)
    puts: dict[bytes, bytes] = {}
    changed = [rows[T0].panes[b"a"]]
    marks = [(T0, b"b"), (T0 + MINUTE, b"a"), (T0, b"nobody"), (T0 + 9 * MINUTE, b"a")]
    drained(rows.collect(changed, marks, puts))
    keys = [pane_key(T0, b"a"), pane_key(T0, b"b"), pane_key(T0 + MINUTE, b"a")]
    assert sorted(puts) == keys
    assert [rows.value(key) for key in keys] == [puts[key] for key in keys]
    again, heard = Rows(), list[tuple[int, bytes, tuple[int, ...]]]()
    sessions = {key: Session(key) for key in (b"a", b"b")}
    again.restore(puts, sessions, lambda *told: heard.append(told))
    assert sorted(heard) == [(T0, b"a", (1, 3)), (T0 + MINUTE, b"a", (0, 0, 2, 9))]
    assert again.starts == [T0, T0 + MINUTE]
    assert (sorted(again[T0].packed), again[T0 + MINUTE].packed) == ([b"a", b"b"], {})
    assert (again[T0].marks, again[T0 + MINUTE].marks) == ({b"a": (1, 3)}, {b"a": (0, 0, 2, 9)})
    assert [session.events for session in sessions.values()] == [3, 2]
    assert views(again[T0].counts(b"a")) == 3
    assert sorted(again.vetted()) == [(key, "a pane", True) for key in keys[:2]]
    with pytest.raises(StateError, match="a pane without its session"):
        Rows().restore(puts, {b"a": sessions[b"a"]}, lambda *_: None)


def test_ids_that_are_new_are_told_once_and_come_back() -> None:
    rows = rows_at(T0, T0 + MINUTE)
    rows[T0].ids_of(Kind.CHECKOUTS).note(5)
    rows[T0 + MINUTE].ids_of(Kind.VIEWS).note(6)
    added = list(rows.additions())
    assert [bucket for bucket, _ in added] == [
        IDS + bytes([PLACE[Kind.CHECKOUTS]]) + in_key(T0),
        IDS + bytes([PLACE[Kind.VIEWS]]) + in_key(T0 + MINUTE),
    ]
    assert list(rows.additions()) == []
    again = Rows()
    for bucket, chunk in added:
        again.restore_ids(bucket, [chunk])
    assert again.starts == [T0, T0 + MINUTE]
    assert 5 in again[T0].ids_of(Kind.CHECKOUTS)
    assert [len(again[T0].ids_of(kind)) for kind in KINDS] == [1 if kind is Kind.CHECKOUTS else 0 for kind in KINDS]
    assert 6 in again[T0 + MINUTE].ids_of(Kind.VIEWS)
