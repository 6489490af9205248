"""Rules asked of what was recorded: which alerts would have fired, when, and how other rules would have differed. Pure.

The events go through the code of the live shard (replay/alert_machine.py); here is what is made of its decisions.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from stream.core.alerts.rules import Rules
from stream.core.policy import Policy
from stream.model.names import Outcome, Reason
from stream.replay.alert_machine import AlertMachine
from stream.replay.incidents import Difference, Incident, Span, Tally, difference, incidents, tallies

EVER: Final = -(2**62)
"""Before any time."""


def lead_ms(policy: Policy, rules: Rules) -> int:
    """How long before the first decision that is told the events must begin, so that nothing of it is missing.

    A whole window and baseline; what the alert waits for and keeps firing for; the silence after which a session that
    comes back is a new one to the alerts; and the delay of a late event.
    """
    spans = (each.rule.for_ms + each.rule.keep_firing_for_ms for each in rules)
    return rules.span_ms + max(spans, default=0) + policy.session_end_after_ms + policy.delay_ms + policy.pane_ms


@dataclass(frozen=True, slots=True)
class RuleSetReport:
    """What one set of rules would have said."""

    tallies: list[Tally]
    incidents: list[Incident]


@dataclass(slots=True)
class Report:
    """A backtest's results. ``old`` and ``difference``: of the rules compared with."""

    span: Span
    partitions: int
    outcomes: Counter[Outcome]
    rejected: Counter[Reason]
    alerts: RuleSetReport
    old: RuleSetReport | None = None
    difference: Difference | None = None
    lost: list[str] = field(default_factory=list)
    """``topic/partition`` of which retention has deleted records that may belong to the span."""
    bad_lines: int = 0
    newest: int | None = None
    """Event time; None without an event."""
    first: int | None = None
    """Beginning of the first slide."""

    @property
    def recorded(self) -> Span:
        """What of the span has events or decisions: the topics may have been silent for days before its end."""
        if self.newest is None or self.first is None:
            return self.span
        reports = [self.alerts] if self.old is None else [self.alerts, self.old]
        times = [time for alerts in reports for each in alerts.incidents for time in (each.fired, each.resolved or 0)]
        begin = max(self.span.begin, self.first)
        return Span(begin, max(begin + 1, min(self.span.end, max([self.newest, *times]) + 1)))

    @property
    def records(self) -> int:
        return self.outcomes.total()


class Backtest:
    """One look back: gives out a machine for each partition number, and reports when all of them are done.

    ``old``: rules to compare with; they are asked of the same events.
    """

    def __init__(self, policy: Policy, rules: Rules, old: Rules | None = None, begin: int = EVER) -> None:
        self.policy = policy
        self._rule_sets = [rules] if old is None else [rules, old]
        self._begin = begin
        self._machines: dict[int, AlertMachine] = {}

    @property
    def lead_ms(self) -> int:
        return max(lead_ms(self.policy, each) for each in self._rule_sets)

    def machine(self, partition: int) -> AlertMachine:
        """The machine of a partition number, made when it is asked for the first time."""
        if partition not in self._machines:
            self._machines[partition] = AlertMachine(self.policy, self._rule_sets)
        return self._machines[partition]

    @property
    def newest(self) -> int | None:
        """The newest event time of all partitions."""
        return max((clock for each in self._machines.values() if (clock := each.newest) is not None), default=None)

    def report(self, end: int) -> Report:
        """After the last record. Decisions are told from the beginning asked for up to ``end``."""
        for machine in self._machines.values():
            machine.finish(end)
        span = Span(self._first(end) if self._begin == EVER else self._begin, end)
        reports = [self._rule_set_report(number, span) for number in range(len(self._rule_sets))]
        outcomes: Counter[Outcome] = Counter()
        rejected: Counter[Reason] = Counter()
        for machine in self._machines.values():
            outcomes.update(machine.outcomes)
            rejected.update(machine.rejected)
        report = Report(span, len(self._machines), outcomes, rejected, reports[0])
        report.newest, report.first = self.newest, self._first(end)
        if len(reports) > 1:
            report.old = reports[1]
            report.difference = difference(reports[1].incidents, reports[0].incidents)
        return report

    def _first(self, end: int) -> int:
        """Of all there is: from the first slide on."""
        return min((first for each in self._machines.values() if (first := each.first) is not None), default=end)

    def _rule_set_report(self, number: int, span: Span) -> RuleSetReport:
        decisions = [alert for machine in self._machines.values() for alert in machine.decisions[number]]
        asked: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for machine in self._machines.values():
            asked.update(machine.evaluations[number])
            errors.update(machine.errors[number])
        found = incidents(decisions, span)
        counts = {name: (asked[name], errors[name]) for name in asked | errors}
        return RuleSetReport(tallies([each.rule for each in self._rule_sets[number]], found, span, counts), found)


def plain(report: Report) -> dict[str, Any]:
    """As JSON has it. Times in ms."""
    compared: dict[str, Any] | None = None
    if report.old is not None and report.difference is not None:
        compared = {
            "alerts": report.old.tallies,
            "same": report.difference.same,
            "only_in_old": report.difference.only_in_old,
            "only_in_new": report.difference.only_in_new,
            "moved": [{"old": each.old, "new": each.new} for each in report.difference.moved],
        }
    return {
        "from": report.span.begin,
        "to": report.span.end,
        "partitions": report.partitions,
        "records": report.records,
        "outcomes": {outcome.value: count for outcome, count in sorted(report.outcomes.items())},
        "rejected": {reason.value: count for reason, count in sorted(report.rejected.items())},
        "lost": report.lost,
        "bad_lines": report.bad_lines,
        "alerts": report.alerts.tallies,
        "incidents": report.alerts.incidents,
        "compared": compared,
    }
