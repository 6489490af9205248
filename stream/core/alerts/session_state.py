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


_decode: Final = msgspec.msgpack.Decoder(_Packed).decode


class SessionState:
    """Its times are event times in ms; labels are those of the on-time event with the latest."""

    __slots__ = (
        "aired_to",
        "history",
        "key",
        "label_at",
        "last_event",
        "platform",
        "rule_states",
        "seller",
        "session_id",
    )

    def __init__(self, key: bytes, history: History) -> None:
        self.key = key
        self.session_id = key.decode()
        self.history = history
        self.last_event = NEVER
        """Of on-time events, cancels and refunds aside."""
        self.aired_to = NEVER
        """Of on-time views and comments, which alone put a session on air."""
        self.label_at = NEVER
        self.seller = ""
        self.platform = ""
        self.rule_states: dict[str, RuleState] = {}
        """By the name of the rule; inactive ones have none."""

    def see(self, counts: Counts) -> None:
        """Labels and time of what a slide holds."""
        self.last_event = max(self.last_event, counts.last_event)
        self.aired_to = max(self.aired_to, counts.aired_to)
        if counts.label_at >= self.label_at:
            self.label_at, self.seller, self.platform = counts.label_at, counts.seller, counts.platform


def pack_session_state(session_state: SessionState, form: Format) -> bytes:
    packed = (
        session_state.history.stored(form.column),
        (session_state.last_event, session_state.label_at, session_state.seller, session_state.platform),
        [(name, _pack(rule_state)) for name, rule_state in session_state.rule_states.items()],
    )
    return _encode((*packed, session_state.aired_to) if form.holds("aired_to") else packed)


def unpack_session_state(key: bytes, data: bytes) -> SessionState:
    packed = _decode(data)
    session_state = SessionState(key, History(*packed.history))
    session_state.last_event, session_state.label_at, session_state.seller, session_state.platform = packed.labels
    session_state.rule_states = {name: _unpack(rule_state) for name, rule_state in packed.rule_states}
    session_state.aired_to = session_state.last_event if packed.aired_to is None else packed.aired_to
    return session_state


def _pack(rule_state: RuleState) -> tuple[Any, ...]:
    return rule_state.since, rule_state.fired and rule_state.fired.value(), rule_state.calm_since


def _unpack(packed: _RuleState) -> RuleState:
    since, fired, calm_since = packed
    return RuleState(since, None if fired is None else read_alert(fired), calm_since)
