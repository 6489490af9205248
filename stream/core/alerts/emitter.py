"""What is told of alerts: firing when a rule has held long enough, resolved when it has not, or when its session ends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stream.core.alerts.figures import is_money
from stream.core.alerts.history import Lookback
from stream.core.alerts.rule_state import RuleState, judged
from stream.core.alerts.session_state import SessionState
from stream.core.scope import Scope
from stream.model.alerts import Alert, Status, alert_id
from stream.model.money import EXPONENTS
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


class Emitter:
    """The alerts of one shard since its last checkpoint."""

    def __init__(self, currency: str, run: str = LIVE_RUN, scope: Scope | None = None) -> None:
        """``currency`` in which rules see money."""
        self._run = run
        self._scope = scope
        self._digits = {currency: EXPONENTS[currency]}
        self.written: list[Alert] = []
        self.mute: Mute | None = None
        self.tally = Tally()
        """Numbers since the last checkpoint; the shard's own."""

    def ask(self, rules: "Sequence[CompiledRule]", session_state: SessionState, end: int, *, idle: bool) -> bool:
        """Every rule that is for this session, at the end of a slide. True when something stands otherwise than before."""
        lookback = Lookback(session_state.history, end, session_state.last_event)
        rule_states, tally = session_state.rule_states, self.tally
        changed, concerned = False, set()
        for compiled in rules:
            rule = compiled.rule
            if not rule.concerns(session_state.session_id, session_state.seller, session_state.platform):
                continue
            verdict = compiled.judge(lookback)
            tally.evaluations[rule.alert] += 1
            if verdict.error is not None:
                tally.evaluation_errors[rule.alert] += 1
            if verdict.holds or rule.alert in rule_states:
                concerned.add(rule.alert)
                self._step(session_state, compiled, verdict, end, idle=idle)
                changed = True
        others = [name for name in rule_states if name not in concerned]
        self.resolve(session_state, others, end, idle=idle)
        return changed or bool(others)

    def _step(
        self, session_state: SessionState, compiled: "CompiledRule", verdict: "Verdict", end: int, *, idle: bool
    ) -> None:
        rule = compiled.rule
        before = session_state.rule_states.pop(rule.alert, None)
        rule_state, told = judged(before, rule, end, holds=verdict.holds)
        if rule_state is not None:
            session_state.rule_states[rule.alert] = rule_state
            if told is Status.FIRING:
                rule_state.fired = self._fired(session_state, compiled, verdict, rule_state, end, idle=idle)
                self._tell(rule_state.fired)
        elif told is Status.RESOLVED and before is not None:
            self._tell_resolved(before, end, idle=idle)

    def _fired(
        self,
        session_state: SessionState,
        compiled: "CompiledRule",
        verdict: "Verdict",
        rule_state: RuleState,
        end: int,
        *,
        idle: bool,
    ) -> Alert:
        rule = compiled.rule
        return Alert(
            alert=rule.alert,
            session_id=session_state.session_id,
            seller_id=session_state.seller,
            status=Status.FIRING,
            severity=rule.severity,
            since=rule_state.since,
            at=end,
            run=self._run,
            summary=compiled.summary(verdict.values),
            runbook=rule.runbook,
            values=verdict.values,
            id=alert_id(rule.alert, session_state.session_id, rule_state.since),
            minor_digits=dict(self._digits) if any(map(is_money, verdict.values)) else {},
            idle=idle,
        )

    def resolve(self, session_state: SessionState, names: Iterable[str], end: int, *, idle: bool) -> None:
        """Rules that are gone or no longer for this session, or all of them when it goes off air."""
        for name in names:
            self._tell_resolved(session_state.rule_states.pop(name), end, idle=idle)

    def _tell_resolved(self, rule_state: RuleState, end: int, *, idle: bool) -> None:
        if rule_state.fired is not None:
            self._tell(replace(rule_state.fired, status=Status.RESOLVED, at=end, idle=idle))

    def _tell(self, alert: Alert) -> None:
        if self.mute is None and (self._scope is None or self._scope.has_alert(alert)):
            self.written.append(alert)
            self.tally.transitions[alert.alert, alert.status] += 1

    def put_in_order(self, since: int) -> None:
        """What was told of one session: the order in which its rules are held is a matter of chance, too."""
        if len(self.written) > since + 1:
            self.written[since:] = sorted(self.written[since:], key=Alert.key)

    def unmute(self, session_states: Iterable[SessionState], through: int) -> None:
        """A rebuilt state has come to where the old one was: tells what differs from what was told."""
        told = {} if self.mute is None else self.mute.told
        self.mute = None
        rule_states = (
            rule_state for session_state in session_states for rule_state in session_state.rule_states.values()
        )
        firing = [rule_state.fired for rule_state in rule_states if rule_state.fired is not None]
        still = {alert.id for alert in firing}
        for alert in told.values():
            if alert.id not in still:
                self._tell(replace(alert, status=Status.RESOLVED, at=max(through, alert.at), idle=False))
        before = {alert.id for alert in told.values()}
        for alert in firing:
            if alert.id not in before:
                self._tell(alert)
