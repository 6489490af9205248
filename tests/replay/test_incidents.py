"""Decisions become incidents; two lists of incidents are told apart."""

from collections.abc import Sequence

import pytest

from stream.model.alerts import Alert, Rule, Severity, Status, alert_id
from stream.replay.incidents import Incident, Span, difference, incidents, tallies

MINUTE = 60_000


def decided(status: Status, since: int, at: int, session: str = "7", alert: str = "stalled") -> Alert:
    return Alert(
        alert=alert,
        session_id=session,
        seller_id="s1",
        status=status,
        severity=Severity.PAGE,
        since=since * MINUTE,
        at=at * MINUTE,
        run="live",
        summary="",
        runbook="",
        values={"gmv_minor": at},
        minor_digits={"IDR": 2},
        id=alert_id(alert, session, since),
    )


def firing(since: int, fired: int, resolved: int | None = None, session: str = "7") -> list[Alert]:
    told = [decided(Status.FIRING, since, fired, session)]
    return told if resolved is None else [*told, decided(Status.RESOLVED, since, resolved, session)]


def spans(found: Sequence[Incident]) -> list[tuple[str, int, int | None]]:
    return [
        (each.session_id, each.fired // MINUTE, None if each.resolved is None else each.resolved // MINUTE)
        for each in found
    ]


def span(begin: int, end: int) -> Span:
    return Span(begin * MINUTE, end * MINUTE)


def test_a_firing_and_its_resolving_are_one_incident_with_the_values_it_fired_with() -> None:
    [found] = incidents(firing(1, 2, 5), span(0, 10))
    assert (found.since, found.fired, found.resolved) == (MINUTE, 2 * MINUTE, 5 * MINUTE)
    assert (found.values, found.minor_digits) == ({"gmv_minor": 2}, {"IDR": 2})


def test_incidents_of_several_sessions_are_in_the_order_they_fired() -> None:
    found = incidents(
        [*firing(4, 5, session="a"), *firing(1, 2, 3, session="b"), *firing(1, 2, 9, session="a")], span(0, 10)
    )
    assert spans(found) == [("a", 2, 9), ("b", 2, 3), ("a", 5, None)]


@pytest.mark.parametrize(
    ("fired", "resolved", "told"),
    [
        (2, 3, []),  # over before the span
        (2, 5, [("7", 2, 5)]),  # fired before, over at its first moment: told as resolved in it
        (2, 20, [("7", 2, None)]),  # not over in the span
        (9, 10, [("7", 9, None)]),  # resolved at the end, which is not in the span
        (10, 11, []),
    ],
)
def test_the_span_decides_what_is_told(fired: int, resolved: int, told: list[tuple[str, int, int | None]]) -> None:
    assert spans(incidents(firing(1, fired, resolved), span(5, 10))) == told


def test_a_tally_counts_firings_sessions_and_time_within_the_span() -> None:
    told = [*firing(1, 2, 6), *firing(7, 8, 9), *firing(7, 8, session="b")]
    rule = Rule(alert="stalled", window_ms=MINUTE, when="true", severity=Severity.PAGE, summary="", runbook="")
    quiet = Rule(alert="quiet", window_ms=MINUTE, when="true", severity=Severity.INFO, summary="", runbook="")
    found, none = tallies([rule, quiet], incidents(told, span(5, 10)), span(5, 10), {"stalled": (70, 1)})
    assert (found.fired, found.firing_before, found.firing_at_end, found.sessions) == (2, 1, 1, 2)
    assert found.firing_seconds == 60 * (1 + 1 + 2)
    assert (found.evaluations, found.errors) == (70, 1)
    assert (none.alert, none.fired, none.firing_seconds, none.evaluations) == ("quiet", 0, 0, 0)


def found_in(*decisions: list[Alert]) -> list[Incident]:
    return incidents([each for firing in decisions for each in firing], span(0, 100))


def test_equal_incidents_are_the_same_even_if_pending_began_at_another_time() -> None:
    found = difference(found_in(firing(1, 2, 6)), found_in(firing(0, 2, 6)))
    assert (found.same, found.only_in_old, found.only_in_new, found.moved) == (1, [], [], [])


def test_what_overlaps_has_moved_and_what_does_not_is_only_in_one() -> None:
    old = found_in(firing(1, 2, 6), firing(20, 21, 22), firing(1, 2, 6, session="gone"))
    new = found_in(firing(1, 4, 9), firing(30, 31), firing(1, 2, 6, session="came"))
    found = difference(old, new)
    assert found.same == 0
    assert [(spans([each.old]), spans([each.new])) for each in found.moved] == [([("7", 2, 6)], [("7", 4, 9)])]
    assert spans(found.only_in_old) == [("gone", 2, 6), ("7", 21, 22)]
    assert spans(found.only_in_new) == [("came", 2, 6), ("7", 31, None)]


def test_one_long_incident_is_paired_with_one_of_two_short_ones() -> None:
    found = difference(found_in(firing(1, 2)), found_in(firing(1, 2, 6), firing(8, 9, 10)))
    assert [spans([each.new]) for each in found.moved] == [[("7", 2, 6)]]
    assert spans(found.only_in_new) == [("7", 9, 10)]


def test_an_incident_compared_with_itself_is_the_same_whatever_else_there_is() -> None:
    every = found_in(firing(1, 2, 6), firing(6, 7, 9), firing(1, 2, session="b"))
    assert difference(every, every).same == len(every) == 3
