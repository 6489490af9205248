"""A session on air as the alerts know it: its history, its labels of on-time events, and how it stands with each rule."""

from typing import Any, Final

import msgspec

from stream.core.alerts.history import History, Stored
from stream.core.alerts.rule_state import RuleState
from stream.core.counts import NEVER, Counts
from stream.core.formats import Format
from stream.model.alerts import read_alert

_encode: Final = msgspec.msgpack.Encoder().encode
_RuleState = tuple[int, bytes | None, int | None]


class _Packed(msgspec.Struct, array_like=True):
    history: Stored
    labels: tuple[int, int, str, str]
    rule_states: list[tuple[str, _RuleState]]
    aired_to: int | None = None
    """None of a version that did not tell views and comments from checkouts."""
    host: tuple[int, int] = (NEVER, NEVER)
    """When it started and ended it last."""


_decode: Final = msgspec.msgpack.Decoder(_Packed).decode


class SessionState:
    """Its times are event times in ms; labels are those of the on-time event with the latest."""

    __slots__ = (
        *("aired_to", "history", "host_end", "host_start", "key", "label_at", "last_event", "platform", "rule_states"),
        *("seller", "session_id"),
    )

    def __init__(self, key: bytes, history: History) -> None:
        self.key = key
        self.session_id = key.decode()
        self.history = history
        self.last_event = NEVER
        """Of on-time events, cancels and refunds aside."""
        self.aired_to = NEVER
        """Of on-time views and comments, which alone put a session on air."""
        self.host_start = self.host_end = NEVER
        """The last time that the host started it, and ended it, on time."""
        self.label_at = NEVER
        self.seller = ""
        self.platform = ""
        self.rule_states: dict[str, RuleState] = {}
        """By the name of the rule; inactive ones have none."""

    def see(self, counts: Counts) -> bool:
        """Labels and time of what a slide holds. Whether anything is otherwise now."""
        before = self._seen()
        self.last_event = max(self.last_event, counts.last_event)
        self.aired_to = max(self.aired_to, counts.aired_to)
        self.host_start = max(self.host_start, counts.host_start)
        self.host_end = max(self.host_end, counts.host_end)
        if counts.label_at >= self.label_at:
            self.label_at, self.seller, self.platform = counts.label_at, counts.seller, counts.platform
        return self._seen() != before

    def _seen(self) -> tuple[int | str, ...]:
        times = self.last_event, self.aired_to, self.host_start, self.host_end
        return *times, self.label_at, self.seller, self.platform

    def is_closed(self, end_after: int) -> bool:
        """By its host, as core/session.py says; of on-time events."""
        return self.host_end > self.host_start and self.aired_to <= self.host_end + end_after

    def is_on_air(self, end: int, end_after: int) -> bool:
        """At the end of a slide, of which nothing later is known yet."""
        return self.aired_to + end_after > end and not self.is_closed(end_after)

    def is_off_air(self, end: int, end_after: int) -> bool:
        """It was closed, and a view may still come that the end keeps off the air; of a later one it makes no difference."""
        return self.is_closed(end_after) and self.host_end + 2 * end_after > end


def pack_session_state(session_state: SessionState, form: Format) -> bytes:
    packed: tuple[Any, ...] = (
        session_state.history.stored(form.column),
        (session_state.last_event, session_state.label_at, session_state.seller, session_state.platform),
        [(name, _pack(rule_state)) for name, rule_state in session_state.rule_states.items()],
    )
    if form.holds("aired_to"):
        packed = (*packed, session_state.aired_to)
    if form.holds("host_end"):
        packed = (*packed, (session_state.host_start, session_state.host_end))
    return _encode(packed)


def unpack_session_state(key: bytes, data: bytes) -> SessionState:
    packed = _decode(data)
    session_state = SessionState(key, History(*packed.history))
    session_state.last_event, session_state.label_at, session_state.seller, session_state.platform = packed.labels
    session_state.rule_states = {name: _unpack(rule_state) for name, rule_state in packed.rule_states}
    session_state.host_start, session_state.host_end = packed.host
    session_state.aired_to = session_state.last_event if packed.aired_to is None else packed.aired_to
    return session_state


def _pack(rule_state: RuleState) -> tuple[Any, ...]:
    return rule_state.since, rule_state.fired and rule_state.fired.value(), rule_state.calm_since


def _unpack(packed: _RuleState) -> RuleState:
    since, fired, calm_since = packed
    return RuleState(since, None if fired is None else read_alert(fired), calm_since)
