"""Session alerts: which sessions are on air at the end of a slide, and what they did until then.

Every slide is judged once, when its on-time events are all in, for every session on air: one that has fallen silent has
no window, and must still be noticed. What a slide holds is taken from the panes; all else is remembered here, and in the
checkpoint, so that a restart changes nothing. Nothing of the rest of the shard is changed here.

A slide that is complete is judged bit by bit, with checkpoints in between (`follow`): nothing can change what it holds on
time, and to ask a session once more for the same slide, as after a restart, changes nothing. One that is judged early,
while a topic is left out or the shard is silent, is judged within one checkpoint (`evaluate`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from stream.core.alerts.emitter import Emitter, Mute
from stream.core.alerts.history import History
from stream.core.alerts.session_state import SessionState, pack_session_state, unpack_session_state
from stream.core.cooperative import Steps, drained, pieces
from stream.core.counts import NEVER, Counts
from stream.core.formats import NEWEST
from stream.core.ontime import column_of, events_of
from stream.core.panes import Pane, Row, Rows
from stream.core.policy import Policy
from stream.core.scope import Scope
from stream.core.state_format import Meta
from stream.core.state_keys import ALERTS
from stream.core.statelog import StateLog
from stream.core.windows import FAR_AHEAD, LONG_AGO
from stream.model.alerts import Alert, read_alert
from stream.model.names import LIVE_RUN, Kind
from stream.model.results import Tally

if TYPE_CHECKING:
    from stream.core.alerts.rules import Rules

FEW: Final = 8
"""Sessions asked in one step: at some 30 us each."""

Stopwatch = Callable[[], float]
"""Seconds since whenever: what is measured with it decides nothing."""


def stopped() -> float:
    """The stopwatch of those who do not want to know."""
    return 0.0


class Alerting:
    """Of one shard. Without rules (None, not: an empty file) it sleeps, and what it remembers stays as it is."""

    def __init__(
        self,
        policy: Policy,
        rules: "Rules | None" = None,
        stopwatch: Stopwatch = stopped,
        run: str = LIVE_RUN,
        scope: Scope | None = None,
    ) -> None:
        self._slide = policy.pane_ms
        self._end_after = policy.session_end_after_ms
        self._currency = policy.currency
        self._stopwatch = stopwatch
        self.rules = rules
        self._next_rules: Rules | None = None
        self.session_states: dict[bytes, SessionState] = {}
        """Sessions on air, and those whose hosts have ended them lately, by key."""
        self.through = LONG_AGO
        """Slides that end here or earlier are judged."""
        self.complete = LONG_AGO
        """Every on-time event of slides that end here or earlier had come when it was last evaluated."""
        self.emitter = Emitter(policy.currency, run, scope)
        self.format = NEWEST
        self.stale: dict[bytes, SessionState] = {}
        """Those whose item in the state is out of date."""
        self.gone: list[bytes] = []
        """Keys of sessions that went off air since the last checkpoint."""

    @property
    def changed(self) -> bool:
        """Something happened that the next checkpoint has to keep."""
        return bool(self.stale or self.gone or self.emitter.written)

    def begin_anew(self, tally: Tally) -> None:
        """A checkpoint has taken what there was."""
        self.emitter.written, self.emitter.tally = [], tally
        self.gone = []
        self.stale.clear()

    def use(self, rules: "Rules") -> None:
        """Other rules, from the next slide on."""
        if self.rules is None:
            self.rules = rules
        else:
            self._next_rules = rules

    # -- which slides are due

    def is_behind(self, rows: Rows, due: int) -> bool:
        """A slide that ends at ``due`` or earlier is still to be judged."""
        end = None if self.rules is None else self._next_end(rows)
        return end is not None and end <= due

    def _pass_over(self, rows: Rows) -> int | None:
        """The slides before the next one, on which nobody was on air; its end. None when there is none.

        To be called before anybody comes on air, who was not in these slides. (p: after a crash amid the first slide after
        a silence, each of the silence was judged for those who came after it.)
        """
        end = self._next_end(rows)
        if end is not None:
            self.through = max(self.through, end - self._slide)
        return end

    def follow(self, rows: Rows, changed: Iterable[Pane], limit: int, complete: int) -> Steps[None]:
        """Judges every slide that ends at ``limit`` or earlier and is complete. Anything may happen between two steps.

        With many sessions that takes seconds, in which records must be read and checkpoints be made. (p: done within one
        checkpoint, that took 0.6 s of CPU in each of four shards with 12,500 sessions, in all of them at the same time.)
        """
        if self.is_behind(rows, min(limit, complete)):
            yield from self._timed(self._follow(rows, changed, min(limit, complete), complete))

    def _follow(self, rows: Rows, changed: Iterable[Pane], due: int, complete: int) -> Steps[None]:
        yield from self.amend(changed)  # what came to earlier slides belongs to the history of those that follow
        self.complete = max(self.complete, complete)
        while self.is_behind(rows, due):
            yield from self._judge(rows)

    def catch_up(self, rows: Rows, changed: Iterable[Pane], limit: int, wall_limit: int, complete: int) -> Steps[None]:
        """Before a checkpoint: judges what may be judged early, as `evaluate` does.

        What comes after slides that are complete waits until those are judged in `follow`.
        """
        yield from self.amend(changed)
        if self.is_behind(rows, min(limit, complete)):
            self.complete = complete
            self._pass_over(rows)  # a state that is stored until then says where that begins
        else:
            yield from self.evaluate(rows, limit, wall_limit, complete)

    def evaluate(self, rows: Rows, limit: int, wall_limit: int, complete: int) -> Steps[None]:
        """Judges every slide that ends at ``limit`` or earlier, or that the wall clock has passed on a silent shard.

        ``complete``: up to where every on-time event is known to be in; what is decided beyond it is marked as idle.
        Nothing else may happen between two steps.
        """
        self.complete = complete
        if self.rules is not None:
            yield from self._timed(self._evaluate(rows, limit, wall_limit))

    def _evaluate(self, rows: Rows, limit: int, wall_limit: int) -> Steps[None]:
        while self.is_behind(rows, max(limit, wall_limit)):
            yield from self._judge(rows)
        if limit != LONG_AGO:
            self.through = max(self.through, limit // self._slide * self._slide)

    def _judge(self, rows: Rows) -> Steps[None]:
        """The next slide."""
        yield from self._take_over(rows)
        end = self._pass_over(rows)
        if end is None:
            return
        yield from self._absorb_row(rows.get(end - self._slide))
        yield from self._ask_all(end, idle=end > self.complete)
        self.through = max(self.through, end)

    def _timed(self, steps: Steps[None]) -> Steps[None]:
        """Without the time of those who have their turn in between."""
        began = self._stopwatch()
        for _ in steps:
            self.emitter.tally.evaluation_seconds += self._stopwatch() - began
            yield
            began = self._stopwatch()
        self.emitter.tally.evaluation_seconds += self._stopwatch() - began

    def _next_end(self, rows: Rows) -> int | None:
        """Where nobody is on air, event time is passed over to the next pane."""
        if self.session_states:
            return self.through + self._slide
        first = rows.first_from(self.through)
        return None if first is None else first + self._slide

    def _take_over(self, rows: Rows) -> Steps[None]:
        """Rules that were given meanwhile. Where there were none, what sessions did until now is in the panes."""
        if self._next_rules is None:
            return
        were, self.rules, self._next_rules = self.rules, self._next_rules, None
        if not were:
            yield from self.look_back(rows)

    def begin(self, rows: Rows, closed_through: int) -> None:
        """Where no alerts were looked for until now: slides whose windows are closed count as judged."""
        if self.rules is not None and closed_through != LONG_AGO:
            self.through = closed_through // self._slide * self._slide
            drained(self.look_back(rows))

    def look_back(self, rows: Rows) -> Steps[None]:
        """Takes in what the panes hold of slides that count as judged."""
        for row in rows.between(LONG_AGO, self.through):
            yield from self._absorb_row(row)

    # -- what sessions did

    def _absorb_row(self, row: Row | None) -> Steps[None]:
        if row is None or not self.rules:
            return
        for piece in pieces([*row.panes, *row.packed]):
            for key in piece:
                counts = row.counts(key)
                if counts is not None:
                    self._absorb(key, row.start, counts)
            yield

    def _absorb(self, key: bytes, start: int, counts: Counts) -> None:
        """What a session did on time in a slide. Only a view or a comment begins a broadcast; one that was closed before
        the slide, and is not any more, begins anew with it. An end is remembered, whoever it is of.
        """
        if not events_of(counts):
            return
        session_state = self.session_states.get(key)
        if session_state is None:
            if counts.aired_to == NEVER and counts.host_end == NEVER:
                return
            session_state = self.session_states[key] = SessionState(key, History(start, self._slide))
        elif session_state.host_end < start and session_state.is_closed(self._end_after):
            session_state.history.restart(start)
        session_state.history.begin(start)
        noted = session_state.history.note(start + self._slide, column_of(counts, self._currency))
        if session_state.see(counts) or noted:  # the slide may be forgotten already, the end in it counts all the same
            self.stale[key] = session_state

    def amend(self, changed: Iterable[Pane]) -> Steps[None]:
        """On-time events of slides that are judged already, as there are when a topic had been left out.

        Nothing is judged again, and nothing fires for what is long past: from now on they are history. What has changed
        in a slide that was complete came late, and must not be looked at: whether that is before the slide is judged or
        after it is a matter of chance (p: a broadcast began where the session's one before had).
        """
        if not self.rules:
            return
        complete = self.complete - self._slide
        for piece in pieces(pane for pane in changed if complete < pane.start < self.through):
            for pane in piece:
                key = pane.session.key
                lasts = max(pane.aired_to, pane.host_end + self._end_after) + self._end_after  # as a state of it would
                if key in self.session_states or lasts > self.through:
                    self._absorb(key, pane.start, pane)
            yield

    # -- judging

    def _ask_all(self, end: int, *, idle: bool) -> Steps[None]:
        rules = self.rules or ()
        until = end - (self.rules.span_ms if self.rules else 0)
        for piece in pieces(sorted(self.session_states), FEW):  # the order in which they are held is a matter of chance
            for key in piece:
                told = len(self.emitter.written)
                session_state = self.session_states[key]
                if rules and session_state.is_on_air(end, self._end_after):
                    if self.emitter.ask(rules, session_state, end, idle=idle):
                        self.stale[key] = session_state
                    session_state.history.forget(until)
                elif rules and session_state.is_off_air(end, self._end_after):
                    if session_state.rule_states:
                        self.stale[key] = session_state
                    self.emitter.resolve(session_state, list(session_state.rule_states), end, idle=idle)
                else:
                    self._end(session_state, end, idle=idle)
                self.emitter.put_in_order(told)
            yield

    def _end(self, session_state: SessionState, end: int, *, idle: bool) -> None:
        """Off air, or there are no rules any more. A session that comes back begins anew."""
        self.emitter.resolve(session_state, list(session_state.rule_states), end, idle=idle)
        del self.session_states[session_state.key]
        self.stale.pop(session_state.key, None)
        self.gone.append(session_state.key)

    def taken_in(self) -> int:
        """Panes that start here or earlier are not needed any more."""
        return FAR_AHEAD if self.rules is None else self.through - self._slide

    # -- a rebuild

    def be_silent(self, ends: Mapping[Kind, int], told: Iterable[Alert]) -> None:
        """Until the inputs have passed ``ends``; ``told`` is what live.alerts says is firing."""
        self.emitter.mute = Mute(dict(ends), {alert.key(): alert for alert in told})

    def speak(self, positions: Mapping[Kind, int], watermark: int | None) -> bool:
        """Tells what differs, if a rebuild has come so far. True when it has."""
        mute = self.emitter.mute
        if mute is None or any(positions.get(kind, 0) < end for kind, end in mute.ends.items()):
            return False
        if watermark is not None and self.through + self._slide <= watermark:
            return False
        self.emitter.unmute(self.session_states.values(), self.through)
        return True

    # -- the state

    def collect(self, log: StateLog, puts: dict[bytes, bytes]) -> Steps[None]:
        """Adds the items of sessions on air that changed, and drops those of sessions off air."""
        for key in self.gone:
            log.drop(ALERTS + key)
        for piece in pieces(self.stale.items()):
            puts.update((ALERTS + key, pack_session_state(session_state, self.format)) for key, session_state in piece)
            yield

    def value(self, key: bytes) -> bytes:
        """Of an item, by its key in the state."""
        return pack_session_state(self.session_states[key[1:]], self.format)

    def meta(self) -> dict[str, Any]:
        """Its own of `state_format.Meta`."""
        mute = self.emitter.mute
        silent = None
        if mute is not None:
            silent = {str(kind): end for kind, end in mute.ends.items()}, [told.value() for told in mute.told.values()]
        return {"alerted_through": self.through, "silent": silent}

    def restore(self, items: Mapping[bytes, bytes], meta: Meta, rows: Rows, closed_through: int, complete: int) -> None:
        """Where none were looked for before, that begins now: what is held of earlier slides is history at once."""
        self.session_states.update(
            (key[1:], unpack_session_state(key[1:], value)) for key, value in items.items() if key[:1] == ALERTS
        )
        if meta.silent is not None:
            ends, told = meta.silent
            self.be_silent({Kind(name): end for name, end in ends.items()}, map(read_alert, told))
        self.complete = complete
        if meta.alerted_through is not None:
            self.through = meta.alerted_through
        if self.through == LONG_AGO:
            self.begin(rows, closed_through)

    def vetted(self) -> Iterator[tuple[bytes, str, bool]]:
        """What is still packed: its key in the state, what it is, and whether it can be unpacked."""
        for key, session_state in self.session_states.items():
            yield ALERTS + key, "what the alerts know of a session", session_state.history.is_whole()

    # -- looking

    def firing_for(self, key: bytes) -> tuple[tuple[str, str], ...]:
        """Name and severity of the alerts that fire for a session, sorted."""
        session_state = self.session_states.get(key)
        rule_states = () if session_state is None else session_state.rule_states.values()
        return tuple(sorted((each.fired.alert, str(each.fired.severity)) for each in rule_states if each.fired))

    def pending_and_firing(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Alerts pending and firing, by name and severity; every rule has an entry."""
        severities = {each.rule.alert: each.rule.severity for each in self.rules or ()}
        found = {(name, str(severity)): [0, 0] for name, severity in severities.items()}
        for session_state in self.session_states.values():
            for name, rule_state in session_state.rule_states.items():
                fired = rule_state.fired
                severity = fired.severity if fired else severities.get(name, "")
                found.setdefault((name, str(severity)), [0, 0])[fired is not None] += 1
        return {labels: (pending, firing) for labels, (pending, firing) in found.items()}
