"""Whose totals are written next: who waits longest of those that are due, and a flood of small ones holds up nobody."""

import json

import pytest

from stream.core.counts import NEVER, Counts
from stream.core.policy import Policy
from stream.core.session import Session
from stream.core.totals import FEW, TotalsQueue, note_written, session_record

POLICY = Policy()
EVERY = POLICY.totals_every_ms
NOW = 1_700_000_000_000


class Line:
    """Sessions that wait, by name."""

    def __init__(self) -> None:
        self.held: dict[bytes, Session] = {}
        self.queue = TotalsQueue(POLICY, self.held)

    def counted(self, name: str, events: int = 1, *, at_once: bool = False) -> Session:
        session = self.held.setdefault(name.encode(), Session(name.encode()))
        session.events += events
        if at_once:
            self.queue.wait(session, at_once=True)
        else:
            self.queue.wait(session)
        return session

    def taken(self, watermark: int | None = NOW, *, everything: bool = False) -> str:
        """Those that are given out, in order, each then written at ``watermark``."""
        names = []
        while (session := self.queue.take(watermark, everything)) is not None:
            names.append(session.session_id)
            note_written(session, watermark)
        return " ".join(names)


def test_those_never_written_are_due_in_the_order_in_which_they_came_once_there_is_a_watermark() -> None:
    line = Line()
    for name in ("b", "c", "a"):
        line.counted(name)
    line.counted("b")
    assert line.taken(None) == ""
    assert line.taken(0) == "b c a"
    assert line.taken(0) == ""


def test_one_that_was_written_waits_for_ten_seconds_of_watermark() -> None:
    line = Line()
    line.counted("a")
    assert line.taken(NOW) == "a"
    line.counted("a")
    assert [line.taken(watermark) for watermark in (None, NOW + EVERY - 1, NOW + EVERY)] == ["", "", "a"]
    line.counted("a")
    assert line.taken(NOW + EVERY, everything=True) == "a"


def test_at_its_end_one_is_due_at_once_though_it_has_a_place() -> None:
    line = Line()
    line.counted("a")
    assert line.taken(NOW) == "a"
    line.counted("a")
    line.counted("a", at_once=True)
    assert line.taken(NOW) == "a"
    assert line.taken(NOW + EVERY) == "", "its first place is lost"


def test_a_new_one_keeps_its_place_when_it_ends() -> None:
    line = Line()
    line.counted("a")
    line.counted("b")
    line.counted("a", at_once=True)
    assert line.taken() == "a b"


def test_nobody_waits_of_whom_there_is_nothing_new_to_tell() -> None:
    line = Line()
    session = line.counted("a")
    assert line.taken() == "a"
    line.counted("a", events=0, at_once=True)
    line.counted("a")
    session.written_events = session.events  # it was written meanwhile
    line.counted("b")
    assert line.taken(NOW + EVERY) == "b"
    frozen = Session(b"c")
    frozen.frozen = True
    line.held[b"c"] = frozen
    line.counted("c")
    assert line.taken(everything=True) == ""


def test_one_that_is_not_held_any_more_is_passed_over() -> None:
    line = Line()
    for name in ("a", "b"):
        line.counted(name)
    del line.held[b"a"]
    assert line.taken() == "b"


def test_of_many_that_wait_every_fourth_is_one_of_few_events() -> None:
    line = Line()
    for number in range(4):
        line.counted(f"few{number}", events=FEW)
    for number in range(8):
        line.counted(f"more{number}", events=FEW + 1)
    assert line.taken() == "more0 more1 more2 few0 more3 more4 more5 few1 more6 more7 few2 few3"


def test_one_that_grows_goes_over_to_the_line_of_those_with_more() -> None:
    line = Line()
    for name in ("a", "b"):
        line.counted(name, events=FEW)
    session = line.counted("b")
    assert session.in_line
    assert line.taken() == "b a"
    line.counted("b")
    assert session.in_line


def test_after_it_was_taken_it_is_put_in_line_anew() -> None:
    line = Line()
    session = line.counted("a")
    assert session.turn
    assert line.queue.take(NOW, everything=False) is session
    assert not session.turn
    line.counted("a")
    assert line.queue.take(NOW, everything=False) is session


@pytest.mark.parametrize("watermark", [None, NOW])
def test_the_record_says_which_revision_it_is_and_the_session_takes_note(watermark: int | None) -> None:
    session, totals = Session(b"s"), Counts()
    session.events, totals.views = 5, 4
    for revision, ended in ((1, False), (2, True)):
        session.ended = ended
        note_written(session, watermark)
        value = json.loads(session_record(session, totals, "IDR", "live", 3))
        assert (session.written_events, session.written_ended) == (5, ended)
        assert session.written_at == (NEVER if watermark is None else watermark)
        assert (value["session_id"], value["run"], value["generation"]) == ("s", "live", 3)
        assert (value["revision"], value["status"]) == (revision, "ended" if ended else "open")
        assert value["counts"]["views"] == 4
