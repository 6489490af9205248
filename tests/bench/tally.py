"""The recount by session and minute: what every contender must come to. Written without a look at liveshop or them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

MINUTE_MS: Final = 60_000


class Place(NamedTuple):
    """A session's minute."""

    session: str
    start: int


class Counts(NamedTuple):
    views: int = 0
    product_clicks: int = 0
    comments: int = 0
    orders_paid: int = 0
    gmv: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*map(int.__add__, self, other))


Rows = dict[Place, Counts]


@dataclass
class Tally:
    """Counts of every event once, and apart from them those of the exact repeats."""

    once: Rows = field(default_factory=dict)
    again: Rows = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def add(self, value: bytes) -> None:
        event = orjson.loads(value)
        place = Place(event["session_id"], event["event_time"] // MINUTE_MS * MINUTE_MS)
        into = self.again if event["event_id"] in self._seen else self.once
        self._seen.add(event["event_id"])
        counts = counts_of(event)
        if counts is not _NOTHING or place not in into:
            into[place] = into.get(place, _NOTHING).plus(counts)

    def rows(self, *, repeats: bool) -> Rows:
        """With or without the repeats."""
        if not repeats:
            return dict(self.once)
        return {place: counts.plus(self.again.get(place, _NOTHING)) for place, counts in self.once.items()}


_NOTHING: Final = Counts()
_MOVED: Final = {"enter": Counts(views=1), "product_click": Counts(product_clicks=1)}
_COMMENT: Final = Counts(comments=1)


def counts_of(event: Mapping[str, Any]) -> Counts:
    """What one event adds."""
    if "text" in event:
        return _COMMENT
    if event.get("status") == "paid":
        return Counts(orders_paid=1, gmv=event["amount_minor"])
    return _MOVED.get(event.get("action", ""), _NOTHING)


def differences(found: Rows, expected: Rows) -> str:
    """Empty when they are the same; else in how many windows they differ, and by how many events and orders."""
    places = [place for place in found.keys() | expected.keys() if found.get(place) != expected.get(place)]
    if not places:
        return ""
    missing, unknown = len(expected.keys() - found.keys()), len(found.keys() - expected.keys())
    more = [_total(found, places, name) - _total(expected, places, name) for name in Counts._fields]
    changes = ", ".join(f"{number:+} {name}" for name, number in zip(Counts._fields, more, strict=True) if number)
    what = f"{missing} missing, {unknown} unknown{changes and '; '}{changes}"
    return f"{len(places)} of {len(expected)} windows differ ({what})"


def _total(rows: Rows, places: list[Place], name: str) -> int:
    return sum(getattr(rows.get(place, _NOTHING), name) for place in places)
