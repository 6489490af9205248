"""From decisions to incidents: what fired, when it was over, and how the alerts of two rule files differ. Pure.

Times are ends of slides, in ms; a span is ``[begin, end)``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final, NamedTuple

from stream.model.alerts import Alert, Rule, Severity, Status

FOREVER: Final = 2**62
"""The end of what is not over."""


class Span(NamedTuple):
    """``[begin, end)`` in event time."""

    begin: int
    end: int

    def __contains__(self, at: object) -> bool:
        return isinstance(at, int) and self.begin <= at < self.end


@dataclass(frozen=True, slots=True)
class Incident:
    """One firing of one alert in one session."""

    alert: str
    session_id: str
    seller_id: str
    severity: Severity
    since: int
    fired: int
    resolved: int | None
    """None: it still fired at the end."""
    summary: str
    values: dict[str, int | float]
    """Those it fired with."""
    minor_digits: dict[str, int]
    """Of the currency of money among them; empty where there is none."""
    id: str

    @property
    def until(self) -> int:
        return FOREVER if self.resolved is None else self.resolved


def incidents(decisions: Iterable[Alert], span: Span) -> list[Incident]:
    """Those that fired at some time of the span, in order. One that was over later counts as still firing."""
    found: dict[str, Incident] = {}
    for alert in decisions:
        if alert.status is Status.FIRING and alert.at < span.end:
            found[alert.id] = _began(alert)
        elif alert.id in found and alert.at < span.end:
            found[alert.id] = replace(found[alert.id], resolved=alert.at)
    return sorted((each for each in found.values() if each.until >= span.begin), key=_order)


def _began(alert: Alert) -> Incident:
    return Incident(
        alert=alert.alert,
        session_id=alert.session_id,
        seller_id=alert.seller_id,
        severity=alert.severity,
        since=alert.since,
        fired=alert.at,
        resolved=None,
        summary=alert.summary,
        values=alert.values,
        minor_digits=alert.minor_digits,
        id=alert.id,
    )


def _order(incident: Incident) -> tuple[int, str, str]:
    return incident.fired, incident.alert, incident.session_id


@dataclass(frozen=True, slots=True)
class Tally:
    """What one rule would have done in a span."""

    alert: str
    severity: Severity
    fired: int
    """In the span; those that fired before it are not among them."""
    firing_before: int
    """Fired before the span and were not over when it began."""
    firing_at_end: int
    sessions: int
    firing_seconds: float
    """Within the span, of all sessions."""
    evaluations: int
    errors: int


def tallies(
    rules: Sequence[Rule], found: Sequence[Incident], span: Span, asked: "dict[str, tuple[int, int]]"
) -> list[Tally]:
    """One for each rule, also for those that never fired. ``asked``: evaluations and errors by alert."""
    return [_tally(rule, [each for each in found if each.alert == rule.alert], span, asked) for rule in rules]


def _tally(rule: Rule, found: Sequence[Incident], span: Span, asked: "dict[str, tuple[int, int]]") -> Tally:
    evaluations, errors = asked.get(rule.alert, (0, 0))
    seconds = sum(min(each.until, span.end) - max(each.fired, span.begin) for each in found) / 1000
    return Tally(
        alert=rule.alert,
        severity=rule.severity,
        fired=sum(each.fired in span for each in found),
        firing_before=sum(each.fired < span.begin for each in found),
        firing_at_end=sum(each.resolved is None for each in found),
        sessions=len({each.session_id for each in found}),
        firing_seconds=seconds,
        evaluations=evaluations,
        errors=errors,
    )


class Moved(NamedTuple):
    """The same trouble, told at another time or for another while."""

    old: Incident
    new: Incident


@dataclass(slots=True)
class Difference:
    """What other rules would have said of the same events."""

    same: int = 0
    only_in_old: list[Incident] = field(default_factory=list)
    only_in_new: list[Incident] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)


def difference(old: Iterable[Incident], new: Iterable[Incident]) -> Difference:
    """Incidents of the same alert and session that overlap are the same trouble, one with one, the earliest first."""
    found = Difference()
    for was, now in _by_place(old, new):
        _compare(was, now, found)
    for each in (found.only_in_old, found.only_in_new):
        each.sort(key=_order)
    found.moved.sort(key=lambda moved: _order(moved.new))
    return found


def _by_place(old: Iterable[Incident], new: Iterable[Incident]) -> Iterator[tuple[list[Incident], list[Incident]]]:
    """Old and new ones of each alert and session, in order."""
    tagged = [(each, 0) for each in old] + [(each, 1) for each in new]
    tagged.sort(key=lambda pair: (pair[0].alert, pair[0].session_id, pair[0].fired))
    for _, group in groupby(tagged, key=lambda pair: (pair[0].alert, pair[0].session_id)):
        sides: tuple[list[Incident], list[Incident]] = ([], [])
        for each, side in group:
            sides[side].append(each)
        yield sides


def _compare(old: list[Incident], new: list[Incident], found: Difference) -> None:
    old, new = old[::-1], new[::-1]  # the earliest is taken from the end
    while old and new:
        was, now = old[-1], new[-1]
        if was.until < now.fired:
            found.only_in_old.append(old.pop())
        elif now.until < was.fired:
            found.only_in_new.append(new.pop())
        else:
            old.pop()
            new.pop()
            if (was.fired, was.resolved) == (now.fired, now.resolved):
                found.same += 1
            else:
                found.moved.append(Moved(was, now))
    found.only_in_old += old
    found.only_in_new += new
