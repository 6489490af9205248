"""A backtest's report as people read it: what each rule would have done, when, and each incident."""

from collections.abc import Callable, Sequence
from typing import Final

from stream.cli.output import number_of, print_table, say
from stream.cli.timestamps import in_zone
from stream.replay import timeline
from stream.replay.backtest import Report, RuleSetReport
from stream.replay.incidents import Difference, Incident, Span

SECONDS: Final = 120
MINUTES: Final = 7200
"""Seconds below which a length is told in seconds, in minutes."""
LISTED: Final = 50
"""Incidents that are listed; --json has them all."""


def show(report: Report, *, whole: bool = False) -> None:
    """Prints it. ``whole``: the timeline goes over all of the span, not only over what was recorded of it."""
    _show_head(report)
    if not report.records:
        return
    _show_tallies(report)
    _show_timeline(report.alerts, report.span if whole else report.recorded)
    if report.difference is None:
        _list("", report.alerts.incidents, report.span, _row, INCIDENT)
    else:
        _show_difference(report.difference, report.span)


def _show_head(report: Report) -> None:
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report.outcomes.most_common() if count)
    span = report.span
    partitions = number_of(report.partitions, "partition")
    say(f"{in_zone(span.begin)} to {in_zone(span.end)}, {partitions}: {outcomes or 'no events'}")
    if report.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.rejected.most_common() if count)
        say(f"refused: {reasons}")
    if report.bad_lines:
        say(f"left out of the recording: {number_of(report.bad_lines, 'line')} without a message", err=True)
    if report.lost:
        say(f"retention may have deleted records that belong here: {', '.join(report.lost)}", err=True)


def _show_tallies(report: Report) -> None:
    say()
    headers = ("alert", "severity", "fired", "sessions", "firing before", "at the end", "in all", "asked", "errors")
    rows = [
        (
            *(each.alert, each.severity, each.fired, each.sessions, each.firing_before, each.firing_at_end),
            *(_length(each.firing_seconds), f"{each.evaluations:,}", each.errors),
        )
        for each in report.alerts.tallies
    ]
    print_table(headers, rows)


def _show_timeline(alerts: RuleSetReport, span: Span) -> None:
    if not alerts.incidents:
        return
    column = _length((span.end - span.begin) / 1000 / timeline.COLUMNS)
    say(f"\nfiring over time, {column} a column, {in_zone(span.begin)} to {in_zone(span.end)}:")
    width = max(len(each.alert) for each in alerts.tallies)
    for each in alerts.tallies:
        counts = timeline.firing([one for one in alerts.incidents if one.alert == each.alert], span)
        most = f"at most {max(counts)} at once" if any(counts) else ""
        say(f"  {each.alert:{width}}  {timeline.line(counts)}  {most}".rstrip())


def _show_difference(found: Difference, span: Span) -> None:
    say(
        f"\ncompared with the old rules: {found.same} the same, {len(found.moved)} moved, "
        f"{len(found.only_in_old)} only in the old, {len(found.only_in_new)} only in the new"
    )
    _list("only in the old:", found.only_in_old, span, _row, INCIDENT)
    _list("only in the new:", found.only_in_new, span, _row, INCIDENT)
    moved = {id(each.new): each.old for each in found.moved}

    def row(new: Incident, span: Span) -> Sequence[object]:
        old = moved[id(new)]
        return new.alert, new.session_id, _fired(old, span), _lasted(old), _fired(new, span), _lasted(new)

    _list("moved:", [each.new for each in found.moved], span, row, MOVED)


INCIDENT: Final = ("fired", "for", "alert", "severity", "session", "seller", "what")
MOVED: Final = ("alert", "session", "fired", "for", "fired now", "for now")


def _list(
    title: str,
    found: Sequence[Incident],
    span: Span,
    row: Callable[[Incident, Span], Sequence[object]],
    headers: Sequence[str],
) -> None:
    if not found:
        return
    say(f"\n{title}" if title else "")
    print_table(headers, [row(each, span) for each in found[:LISTED]])
    if len(found) > LISTED:
        say(f"and {len(found) - LISTED} more: --json has them all")


def _row(incident: Incident, span: Span) -> Sequence[object]:
    return (
        *(_fired(incident, span), _lasted(incident), incident.alert, incident.severity),
        *(incident.session_id, incident.seller_id, incident.summary),
    )


def _fired(incident: Incident, span: Span) -> str:
    return "before" if incident.fired < span.begin else in_zone(incident.fired) or ""


def _lasted(incident: Incident) -> str:
    return "still" if incident.resolved is None else _length((incident.resolved - incident.fired) / 1000)


def _length(seconds: float) -> str:
    """As people read it: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < SECONDS:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < MINUTES else f"{seconds / 3600:.1f} h"
