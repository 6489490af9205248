"""What is told of alerts: firing when a rule has held long enough, resolved when it has not, or when its session ends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stream.core.alerts.history import Lookback
from stream.core.alerts.standing import Standing, judged
from stream.core.alerts.watched import Watched
from stream.model.alerts import Alert, Status, alert_id
from stream.model.names import LIVE_RUN, Kind
from stream.model.results import Tally

if TYPE_CHECKING:
    from stream.core.alerts.rules import CompiledRule, Verdict


@dataclass(slots=True)
class Mute:
    """While a state is rebuilt nothing is told, until every input has passed the end it had at the start."""

    ends: dict[Kind, int]
    told: dict[bytes, Alert]
    """What live.alerts says is firing, by key."""


class Telling:
    """The alerts of one shard since its last checkpoint."""

    def __init__(self) -> None:
        self.written: list[Alert] = []
        self.mute: Mute | None = None
        self.tally = Tally()
        """Numbers since the last checkpoint; the shard's own."""

    def ask(self, rules: "Sequence[CompiledRule]", watched: Watched, end: int, *, idle: bool) -> bool:
        """Every rule that is for this session, at the end of a slide. True when something stands otherwise than before."""
        lookback = Lookback(watched.history, end, watched.last_event)
        standings, tally = watched.standings, self.tally
        changed, concerned = False, set()
        for compiled in rules:
            rule = compiled.rule
            if not rule.concerns(watched.session_id, watched.seller, watched.platform):
                continue
            verdict = compiled.judge(lookback)
            tally.evaluations[rule.alert] += 1
            if verdict.error is not None:
                tally.evaluation_errors[rule.alert] += 1
            if verdict.holds or rule.alert in standings:
                concerned.add(rule.alert)
                self._step(watched, compiled, verdict, end, idle=idle)
                changed = True
        others = [name for name in standings if name not in concerned]
        self.resolve(watched, others, end, idle=idle)
        return changed or bool(others)

    def _step(self, watched: Watched, compiled: "CompiledRule", verdict: "Verdict", end: int, *, idle: bool) -> None:
        rule = compiled.rule
        before = watched.standings.pop(rule.alert, None)
        standing, told = judged(before, rule, end, holds=verdict.holds)
        if standing is not None:
            watched.standings[rule.alert] = standing
            if told is Status.FIRING:
                standing.fired = _fired(watched, compiled, verdict, standing, end, idle=idle)
                self._tell(standing.fired)
        elif told is Status.RESOLVED and before is not None:
            self._tell_resolved(before, end, idle=idle)

    def resolve(self, watched: Watched, names: Iterable[str], end: int, *, idle: bool) -> None:
        """Rules that are gone or no longer for this session, or all of them when it goes off air."""
        for name in names:
            self._tell_resolved(watched.standings.pop(name), end, idle=idle)

    def _tell_resolved(self, standing: Standing, end: int, *, idle: bool) -> None:
        if standing.fired is not None:
            self._tell(replace(standing.fired, status=Status.RESOLVED, at=end, idle=idle))

    def _tell(self, alert: Alert) -> None:
        if self.mute is None:
            self.written.append(alert)
            self.tally.transitions[alert.alert, alert.status] += 1

    def put_in_order(self, since: int) -> None:
        """What was told of one session: the order in which its rules are held is a matter of chance, too."""
        if len(self.written) > since + 1:
            self.written[since:] = sorted(self.written[since:], key=Alert.key)

    def unmute(self, all_watched: Iterable[Watched], through: int) -> None:
        """A rebuilt state has come to where the old one was: tells what differs from what was told."""
        told = {} if self.mute is None else self.mute.told
        self.mute = None
        standings = (standing for watched in all_watched for standing in watched.standings.values())
        firing = [standing.fired for standing in standings if standing.fired is not None]
        still = {alert.id for alert in firing}
        for alert in told.values():
            if alert.id not in still:
                self._tell(replace(alert, status=Status.RESOLVED, at=max(through, alert.at), idle=False))
        before = {alert.id for alert in told.values()}
        for alert in firing:
            if alert.id not in before:
                self._tell(alert)


def _fired(
    watched: Watched, compiled: "CompiledRule", verdict: "Verdict", standing: Standing, end: int, *, idle: bool
) -> Alert:
    rule = compiled.rule
    return Alert(
        alert=rule.alert,
        session_id=watched.session_id,
        seller_id=watched.seller,
        status=Status.FIRING,
        severity=rule.severity,
        since=standing.since,
        at=end,
        run=LIVE_RUN,
        summary=compiled.summary(verdict.values),
        runbook=rule.runbook,
        values=verdict.values,
        id=alert_id(rule.alert, watched.session_id, standing.since),
        idle=idle,
    )
