"""A session on air as the alerts know it: its history, its labels of on-time events, and how it stands with each rule."""

from typing import Any, Final

import msgspec

from stream.core.alerts.history import History
from stream.core.alerts.standing import Standing
from stream.core.counts import NEVER, Counts
from stream.model.alerts import read_alert

_encode: Final = msgspec.msgpack.Encoder().encode
_Standing = tuple[int, bytes | None, int | None]
_decode: Final = msgspec.msgpack.Decoder(
    tuple[tuple[int, int, int, bytes, bytes], tuple[int, int, str, str], list[tuple[str, _Standing]]]
).decode


class Watched:
    """Its times are event times in ms; labels are those of the on-time event with the latest."""

    __slots__ = ("history", "key", "label_at", "last_event", "platform", "seller", "session_id", "standings")

    def __init__(self, key: bytes, history: History) -> None:
        self.key = key
        self.session_id = key.decode()
        self.history = history
        self.last_event = NEVER
        """Of on-time events, cancels and refunds aside."""
        self.label_at = NEVER
        self.seller = ""
        self.platform = ""
        self.standings: dict[str, Standing] = {}
        """By the name of the rule; inactive ones have none."""

    def see(self, counts: Counts) -> None:
        """Labels and time of what a slide holds."""
        self.last_event = max(self.last_event, counts.last_event)
        if counts.label_at >= self.label_at:
            self.label_at, self.seller, self.platform = counts.label_at, counts.seller, counts.platform


def pack_watched(watched: Watched) -> bytes:
    return _encode(
        (
            watched.history.stored(),
            (watched.last_event, watched.label_at, watched.seller, watched.platform),
            [(name, _pack(standing)) for name, standing in watched.standings.items()],
        )
    )


def unpack_watched(key: bytes, data: bytes) -> Watched:
    history, labels, standings = _decode(data)
    watched = Watched(key, History(*history))
    watched.last_event, watched.label_at, watched.seller, watched.platform = labels
    watched.standings = {name: _unpack(standing) for name, standing in standings}
    return watched


def _pack(standing: Standing) -> tuple[Any, ...]:
    return standing.since, standing.fired and standing.fired.value(), standing.calm_since


def _unpack(packed: _Standing) -> Standing:
    since, fired, calm_since = packed
    return Standing(since, None if fired is None else read_alert(fired), calm_since)
