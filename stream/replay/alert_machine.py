"""The machine of one partition number in a backtest: the live shard without all that alerts do not need.

Records are judged and counted, and slides are asked about, by the code of the live shard. Left out are what is shown and
kept: windows, totals, breakdowns, uniques, the state. None of them is read by an alert
(tests/replay/test_alert_machine.py holds both against each other). Pure.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from stream.core.alerts.alerting import Alerting
from stream.core.alerts.rules import Rules
from stream.core.cooperative import drained
from stream.core.counting import PLAIN_ONLY
from stream.core.decode import Decoded
from stream.core.ids import FREEZE_AT
from stream.core.judge import Judge
from stream.core.panes import Rows
from stream.core.policy import Policy
from stream.core.session import Session
from stream.core.watermark import far_behind, slowest
from stream.core.windows import FAR_AHEAD, LONG_AGO
from stream.model.alerts import Alert
from stream.model.names import Kind, Outcome, Reason
from stream.model.results import Record


class AlertMachine:
    """Decides as the live shard would. ``rule_sets``: sets of rules, asked of the same events.

    Nothing is ever idle here: a topic is left out of the watermark only when everything of it is in.
    """

    def __init__(self, policy: Policy, rule_sets: Sequence[Rules]) -> None:
        self._policy = policy
        self._rows = Rows()
        self._judge = Judge(replace(policy, max_ids=PLAIN_ONLY), self._rows, Session)
        self._alertings = [Alerting(policy, rules) for rules in rule_sets]
        self._over: set[Kind] = set()
        self.first: int | None = None
        """Start of the first slide with an event."""

    # -- records come in

    @property
    def clocks(self) -> dict[Kind, int | None]:
        return self._judge.clocks

    def count(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        """A batch of one topic, decoded."""
        self._count(kind, records, events)
        limit = self._limit()
        if limit >= self._through + self._policy.pane_ms:
            self._ask(limit, LONG_AGO)

    def remember(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        """A batch of before the first slide that matters: what it counts is forgotten, but not what it makes a repeat."""
        self._count(kind, records, events)
        for row in self._rows.values():
            row.clear()
        self._tidy()

    def _count(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        judge = self._judge
        judge.tally.outcomes[kind, Outcome.COUNTED] += len(records)  # judging takes away what is not
        judge.judge(kind, records, events)
        judge.changed.clear()
        judge.dead.clear()

    def exclude(self, kind: Kind) -> None:
        """There is no more of the topic."""
        self._over.add(kind)

    def finish(self, end: int) -> None:
        """There is no more of any topic. Slides up to ``end`` are asked about, as on a shard that has fallen silent."""
        self._ask(self._limit(), end)

    # -- time passes

    @property
    def _through(self) -> int:
        """Slides that end here or earlier have been asked about."""
        return min(alerting.through for alerting in self._alertings)

    def _limit(self) -> int:
        """The watermark, or how far back a topic that lags may hold it."""
        newest, policy = self._judge.newest, self._policy
        if newest is None:
            return LONG_AGO
        at_least = newest - policy.longest_ms - policy.state_retention_ms + policy.pane_ms
        clock = slowest(self.clocks, self._over | far_behind(self.clocks, policy, ()))
        return at_least if clock is None else max(at_least, clock - policy.delay_ms)

    def _ask(self, limit: int, wall_limit: int) -> None:
        if self._rows:
            first = self._rows.starts[0]
            self.first = first if self.first is None else min(self.first, first)
        for alerting in self._alertings:
            drained(alerting.evaluate(self._rows, limit, wall_limit, FAR_AHEAD))
            alerting.stale.clear()
            alerting.gone.clear()
        self._tidy()

    def _tidy(self) -> None:
        """What no alert can need is forgotten: panes of slides that were asked about, ids of which no copy can count."""
        through = self._through
        for start in list(self._rows.starts):
            row = self._rows[start]
            if start + self._policy.pane_ms <= through:
                row.clear()
            for ids in row.ids:
                if ids.fresh:
                    ids.take_fresh()  # for no state
            drained(row.retire_ids(self._policy, self.clocks, _unstored))
            if row.is_empty():
                del self._rows[start]
        keys = self._judge.checkout_keys
        keys.fresh.clear()
        if len(keys.recent) >= FREEZE_AT:
            keys.sweep(self._judge.clock(Kind.CHECKOUTS))

    # -- looking

    @property
    def newest(self) -> int | None:
        """The newest event time so far."""
        return self._judge.newest

    @property
    def panes(self) -> int:
        """Held now."""
        return sum(row.number() for row in self._rows.values())

    @property
    def outcomes(self) -> Counter[Outcome]:
        found: Counter[Outcome] = Counter()
        for (_, outcome), count in self._judge.tally.outcomes.items():
            found[outcome] += count
        return found

    @property
    def rejected(self) -> Counter[Reason]:
        return self._judge.tally.refused_records()

    @property
    def decisions(self) -> list[list[Alert]]:
        """By set of rules, in the order they were made."""
        return [alerting.emitter.written for alerting in self._alertings]

    @property
    def evaluations(self) -> list[Counter[str]]:
        """By set of rules: how often each was asked."""
        return [alerting.emitter.tally.evaluations for alerting in self._alertings]

    @property
    def errors(self) -> list[Counter[str]]:
        """By set of rules: how often each could not tell."""
        return [alerting.emitter.tally.evaluation_errors for alerting in self._alertings]


def _unstored(_bucket: bytes) -> None:
    """There is no state to take it out of."""
