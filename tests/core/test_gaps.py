"""How long results say that something may be missing from them."""

from stream.core.gaps import Gaps
from stream.core.panes import Pane
from stream.core.policy import Policy
from stream.core.session import Session
from stream.model.names import KINDS, Kind

POLICY = Policy()
T0 = 1_700_000_000_000
UNTIL = T0 + POLICY.max_future_ms + POLICY.longest_ms + POLICY.bound_ms
NOBODY: dict[Kind, int | None] = dict.fromkeys(KINDS)


def test_it_lasts_from_the_first_clock_after_it_until_nothing_of_then_is_in_a_window() -> None:
    gaps = Gaps({Kind.VIEWS: None})
    panes = [Pane(Session(b"s"), T0) for _ in range(2)]
    gaps.mark(Kind.VIEWS, panes, None, POLICY)
    assert gaps == {Kind.VIEWS: None}
    assert all(pane.incomplete for pane in panes)
    gaps.mark(Kind.VIEWS, [], T0, POLICY)
    gaps.mark(Kind.VIEWS, [], T0 + 9, POLICY)
    assert gaps == {Kind.VIEWS: UNTIL}
    for clock in (None, UNTIL - 1):
        gaps.end(NOBODY | {Kind.VIEWS: clock})
        assert gaps
    gaps.end(NOBODY | {Kind.COMMENTS: UNTIL})
    assert gaps
    gaps.end(NOBODY | {Kind.VIEWS: UNTIL})
    assert not gaps


def test_another_topic_marks_its_panes_too_and_dates_nothing() -> None:
    gaps = Gaps({Kind.VIEWS: None, Kind.COMMENTS: T0})
    pane = Pane(Session(b"s"), T0)
    gaps.mark(Kind.CHECKOUTS, [pane], T0, POLICY)
    assert pane.incomplete
    assert gaps == {Kind.VIEWS: None, Kind.COMMENTS: T0}
    gaps.end(NOBODY)
    assert gaps == {Kind.VIEWS: None, Kind.COMMENTS: T0}
    gaps.end(dict.fromkeys(KINDS, T0))
    assert gaps == {Kind.VIEWS: None}
