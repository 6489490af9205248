"""Traffic for the long measurements: an event costs 2 us, and what it must add up to is known while it is made.

The bodies are those of `events.Maker`, taken apart once: what differs between two events (id, time, session, viewer) is
put together anew. Sums are kept by minute and session, so there is no log to be recounted afterwards.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from stream.model.names import Kind
from tests.bench.events import JITTER_MS, REPEATED, Maker

MINUTE: Final = 60_000
NAMES: Final = (
    *("views", "product_clicks", "likes", "watch_ms", "comments", "orders_paid", "checkouts_initiated"),
    "gmv_minor",
)
"""What is compared of every window and total."""
TAILS: Final = 20_000
VIEWERS: Final = 60
"""Known viewers by session."""
CORRECTING: Final = 0.001
"""Share of events that are so late that a closed window has to be corrected."""
LATE: Final = 0.0005
"""Share of views that are too late for that: dead letters."""
BAD: Final = 0.0005
"""Share of events whose end is missing: dead letters as well."""
LATENESS_MS: Final = (15_000, 280_000)
TOO_LATE_MS: Final = 400_000
SURE_AFTER_MS: Final = 20_000
"""Event time after which every topic has a clock that makes the late ones late."""
HELD_MS: Final = 120_000
"""Age up to which an event may come again; its id is held much longer."""
_CHECKOUT_ID: Final = re.compile(rb'"checkout_id":"k[^"]*"')
_SESSION: Final = re.compile(rb',"session_id":.*?"viewer_id":"')
_VIEWER: Final = 16
_HEX: Final = 2**64

Ints = npt.NDArray[np.int64]


class Made(NamedTuple):
    """A record. ``session`` is the session's number."""

    kind: Kind
    session: int
    value: bytes


class Flow:
    """Events without end, from ``start_ms`` on; the same seed and the same calls make the same events."""

    def __init__(self, sessions: int, start_ms: int, *, seed: int = 1, odd: bool = True) -> None:
        """``odd``: late and broken events too."""
        self.clock = start_ms
        """Event time up to which events are made."""
        self.outcomes: Counter[str] = Counter()
        self.kinds: Counter[Kind] = Counter()
        self.sums: dict[int, Ints] = {}
        """Start of a minute -> sums by session and name, in the order of NAMES."""
        self._start, self._odd = start_ms, odd
        self._number = 0
        self._rng = np.random.default_rng(seed)
        maker = Maker(TAILS, sessions, 0, 0, seed)
        self.keys = [session.encode() for session in maker._sessions]
        self._heads = [_head(session) for session in maker._sessions]
        self._viewers: npt.NDArray[np.uint64] = self._rng.integers(
            0, _HEX, sessions * VIEWERS, dtype=np.uint64, endpoint=False
        )
        self._tails = [_tail(made.value or b"") for made in maker]
        self._kind_of = [_kind(tail) for tail in self._tails]
        self._deltas = np.array([_delta(tail) for tail in self._tails], dtype=np.int64)
        self._is_view = np.array([kind is Kind.VIEWS for kind in self._kind_of])
        self._old: deque[tuple[int, Made]] = deque()

    def make(self, number: int, span_ms: int) -> list[Made]:
        """The next events, spread evenly over the next ``span_ms`` of event time."""
        rng = self._rng
        sessions = rng.integers(0, len(self.keys), number)
        tails = rng.integers(0, TAILS, number)
        times = self.clock + np.arange(number) * span_ms // max(1, number) - rng.integers(0, JITTER_MS, number)
        viewers = self._viewers[rng.integers(0, len(self._viewers), number)]
        luck = rng.random(number)
        fates = self._fates(luck, tails)
        times -= np.where(fates == _CORRECTING, rng.integers(*LATENESS_MS, number), 0)
        times -= np.where(fates == _LATE, TOO_LATE_MS, 0)
        made = list(self._bodies(sessions, tails, times, viewers))
        self._repeat(made, fates)
        for place in np.flatnonzero(fates == _BAD):
            made[place] = made[place]._replace(value=made[place].value[:-9])
        self._note(made, sessions, tails, times, fates)
        self.clock += span_ms
        return made

    def expected(self) -> Iterator[tuple[str, int, list[int]]]:
        """Session, start of the minute and its sums, of every minute in which something adds to them."""
        for start, sums in self.sums.items():
            for session in np.flatnonzero(sums.any(axis=1)):
                yield self.keys[session].decode(), start, sums[session].tolist()

    def _fates(self, luck: npt.NDArray[np.float64], tails: Ints) -> Ints:
        fates = np.full(len(luck), _PLAIN)
        fates[luck < REPEATED] = _REPEATED
        if self._odd:
            fates[luck > 1 - BAD] = _BAD
            fates[(luck > 0.5) & (luck < 0.5 + CORRECTING)] = _CORRECTING
            if self.clock > self._start + SURE_AFTER_MS:
                fates[(luck > 0.7) & (luck < 0.7 + LATE) & self._is_view[tails]] = _LATE
        return fates

    def _bodies(self, sessions: Ints, tails: Ints, times: Ints, viewers: npt.NDArray[np.uint64]) -> Iterator[Made]:
        numbers = range(self._number, self._number + len(sessions))
        self._number = numbers.stop
        heads, ends, kinds = self._heads, self._tails, self._kind_of
        columns = (numbers, sessions.tolist(), tails.tolist(), times.tolist(), viewers.tolist())
        for number, session, tail, time, viewer in zip(*columns, strict=True):
            kind = kinds[tail]
            rest = ends[tail] if kind is not Kind.CHECKOUTS else ends[tail].replace(b'"k"', b'"k%x"' % number)
            value = b'{"event_id":"%012x","event_time":%d%b%016x%b' % (number, time, heads[session], viewer, rest)
            yield Made(kind, session, value)

    def _repeat(self, made: list[Made], fates: Ints) -> None:
        """Puts older events in the place of some, and remembers some of the new ones for later."""
        old = self._old
        while old and old[0][0] < self.clock - HELD_MS:
            old.popleft()
        for place in np.flatnonzero(fates == _REPEATED).tolist():
            if old:
                made[place] = old[int(self._rng.integers(len(old)))][1]
            else:
                fates[place] = _PLAIN
        for place in np.flatnonzero(fates == _PLAIN)[::50].tolist():
            old.append((self.clock, made[place]))

    def _note(self, made: list[Made], sessions: Ints, tails: Ints, times: Ints, fates: Ints) -> None:
        for fate, name in _NAMED.items():
            self.outcomes[name] += int((fates == fate).sum())
        self.kinds.update(each.kind for each in made)
        counted = (fates == _PLAIN) | (fates == _CORRECTING)
        sessions, tails, minutes = sessions[counted], tails[counted], times[counted] // MINUTE * MINUTE
        for minute in np.unique(minutes).tolist():
            its = minutes == minute
            sums = self.sums.get(minute)
            if sums is None:
                sums = self.sums[minute] = np.zeros((len(self.keys), len(NAMES)), dtype=np.int64)
            np.add.at(sums, sessions[its], self._deltas[tails[its]])


_PLAIN, _REPEATED, _CORRECTING, _LATE, _BAD = range(5)
_NAMED: Final = {_PLAIN: "counted", _CORRECTING: "counted", _REPEATED: "duplicate", _LATE: "late", _BAD: "rejected"}


def _head(session: str) -> bytes:
    """From after the time to the viewer's id."""
    seller, creator = session[-2:], session[-3:]
    return f',"session_id":"{session}","seller_id":"s{seller}","creator_id":"c{creator}","viewer_id":"'.encode()


def _tail(value: bytes) -> bytes:
    """From after the viewer's id to the end."""
    found = _SESSION.search(value)
    if found is None:
        raise AssertionError(f"the maker's events have another form now: {value!r}")
    return _CHECKOUT_ID.sub(b'"checkout_id":"k"', value[found.end() + _VIEWER :])


def _kind(tail: bytes) -> Kind:
    if b'"action":' in tail:
        return Kind.VIEWS
    return Kind.COMMENTS if b'"text":' in tail else Kind.CHECKOUTS


def _delta(tail: bytes) -> list[int]:
    """What one such event adds, in the order of NAMES."""
    event = orjson.loads(b'{"viewer_id":"' + tail)
    action, status = event.get("action"), event.get("status")
    return [
        action == "enter",
        action == "product_click",
        event.get("count", 1) if action == "like" else 0,
        event.get("watch_ms", 0),
        "text" in event,
        status == "paid",
        status == "initiated",
        event["amount_minor"] if status == "paid" else 0,
    ]
