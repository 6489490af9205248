"""What the metrics of one or more workers say, as numbers: for ``top`` and ``run``. How it looks: table.py."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeAlias

from prometheus_client.samples import Sample

from stream.model.money import capped
from stream.model.results import busiest
from stream.observe import catalog, exposition
from stream.observe import scrape as pages
from stream.observe.sessions import OTHER

TIMEOUT_SECONDS: Final = 5.0
REMEMBERED: Final = 6
"""Snapshots that events/s is measured over: counters move at checkpoints, so two neighbours tell little."""

Labels: TypeAlias = dict[str, str]


@dataclass(slots=True)
class SessionRow:
    """Running totals of one session."""

    session_id: str
    views: int = 0
    clicks: int = 0
    orders: int = 0
    comments: int = 0
    comments_per_minute: float = 0.0
    events: int = 0
    """Of the newest two minutes: what the table is sorted by."""
    gmv_minor: Counter[str] = field(default_factory=Counter)
    seller_id: str = ""
    title: str = ""
    seller_name: str = ""
    """Empty where the workers do not say it, as of title and seller_id."""
    firing: Counter[str] = field(default_factory=Counter)
    """Alerts that fire for it, by name."""

    @property
    def conversion(self) -> float | None:
        """Orders by views; None without a view."""
        return self.orders / self.views if self.views else None


@dataclass(slots=True)
class Snapshot:
    """One scrape of all workers, summed. ``at`` is seconds of the monotonic clock, ``wall`` since 1970."""

    at: float
    wall: float
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By input and outcome."""
    reasons: Counter[str] = field(default_factory=Counter)
    windows: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Window records written, by window name and reason."""
    lag: Counter[str] = field(default_factory=Counter)
    """Records not yet read, by topic."""
    watermarks: dict[str, float] = field(default_factory=dict)
    """By partition, seconds since 1970."""
    idle: set[str] = field(default_factory=set)
    """Partitions in which nothing comes: their results are complete up to now, though their watermarks stand."""
    delay: float | None = None
    """Seconds that windows wait for late events, so that watermarks are at least so far behind. None: not told."""
    unready: set[str] = field(default_factory=set)
    """Why workers are not ready, as docs/operate/readiness.md names it."""
    sessions_open: int = 0
    sessions_held: int = 0
    firing: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Session alerts that fire now, by alert and severity."""
    fired: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Records written to live.alerts, by alert and status."""
    rows: dict[str, SessionRow] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Records read and committed."""
        return self.outcomes.total()

    @property
    def results_until(self) -> float | None:
        """Results of every partition are complete up to then, in seconds since 1970: the lowest watermark of those that
        are not idle.
        """
        if not self.watermarks:
            return None
        marks = [mark for partition, mark in self.watermarks.items() if partition not in self.idle]
        return min(marks, default=self.wall - (self.delay or 0.0))

    @property
    def behind(self) -> float | None:
        """How far the watermark of the slowest partition is behind the wall clock, in seconds."""
        until = self.results_until
        return None if until is None else max(0.0, self.wall - until)

    @property
    def sessions(self) -> int:
        """How many have a row of their own."""
        return len(self.rows) - (OTHER in self.rows)

    def busiest(self, top: int | None) -> tuple[list[SessionRow], SessionRow | None]:
        """Sessions for which an alert fires, then those with most recent events; and the sum of all others, those included
        that the workers have summed.
        """
        named = [row for name, row in self.rows.items() if name != OTHER]
        firing = {row.session_id: row.events for row in named if row.firing}
        calm = {row.session_id: row.events for row in named if not row.firing}
        ranked = [self.rows[each] for group in (firing, calm) for each in busiest(group, None)[0]]
        shown, others = ranked[:top], [] if top is None else ranked[top:]
        summed = self.rows.get(OTHER)
        if summed is not None and (summed.events or summed.views or summed.firing):
            others.append(summed)
        return shown, _added(others) if others else None

    def outcome(self, outcome: str) -> int:
        """Records with that outcome, over all inputs."""
        return sum(number for (_, each), number in self.outcomes.items() if each == outcome)


def _added(rows: Sequence[SessionRow]) -> SessionRow:
    return SessionRow(
        OTHER,
        sum(row.views for row in rows),
        sum(row.clicks for row in rows),
        sum(row.orders for row in rows),
        sum(row.comments for row in rows),
        sum(row.comments_per_minute for row in rows),
        sum(row.events for row in rows),
        sum((row.gmv_minor for row in rows), Counter()),
        firing=sum((row.firing for row in rows), Counter()),
    )


def _whole(value: float) -> int:
    """The whole part of a finite number. A page may show a double of any size."""
    return capped(int(value))


def _row(snapshot: Snapshot, labels: Labels) -> SessionRow:
    return snapshot.rows.setdefault(labels["session_id"], SessionRow(labels["session_id"]))


def _session(name: str) -> Callable[[Snapshot, Labels, float], None]:
    def note(snapshot: Snapshot, labels: Labels, value: float) -> None:
        row = _row(snapshot, labels)
        setattr(row, name, getattr(row, name) + (value if name == "comments_per_minute" else _whole(value)))

    return note


def _sum(name: str) -> Callable[[Snapshot, Labels, float], None]:
    return lambda snapshot, _, value: setattr(snapshot, name, getattr(snapshot, name) + _whole(value))


def _gmv(snapshot: Snapshot, labels: Labels, value: float) -> None:
    _row(snapshot, labels).gmv_minor[labels["currency"]] += _whole(value)


def _seller(snapshot: Snapshot, labels: Labels, _value: float) -> None:
    row = _row(snapshot, labels)
    row.seller_id, row.title, row.seller_name = (
        labels["seller_id"],
        labels.get("title", ""),
        labels.get("seller_name", ""),
    )


def _firing(snapshot: Snapshot, labels: Labels, value: float) -> None:
    if value > 0:
        _row(snapshot, labels).firing[labels["alert"]] += _whole(value)


def _unready(snapshot: Snapshot, labels: Labels, value: float) -> None:
    if value > 0:
        snapshot.unready.add(labels["reason"])


def _delay(snapshot: Snapshot, _labels: Labels, value: float) -> None:
    snapshot.delay = max(value, snapshot.delay or 0.0)


def _watermark(snapshot: Snapshot, labels: Labels, value: float) -> None:
    partition = labels["partition"]
    snapshot.watermarks[partition] = max(value, snapshot.watermarks.get(partition, 0.0))


def _idle(snapshot: Snapshot, labels: Labels, value: float) -> None:
    if value > 0:
        snapshot.idle.add(labels["partition"])


def _count(name: str, *keys: str) -> Callable[[Snapshot, Labels, float], None]:
    def note(snapshot: Snapshot, labels: Labels, value: float) -> None:
        key = tuple(labels[each] for each in keys)
        getattr(snapshot, name)[key if len(key) > 1 else key[0]] += _whole(value)

    return note


_NOTES: Final[dict[str, Callable[[Snapshot, Labels, float], None]]] = {
    catalog.EVENTS.name: _count("outcomes", "type", "outcome"),
    catalog.DEAD_LETTERS.name: _count("reasons", "reason"),
    catalog.WINDOWS.name: _count("windows", "window", "reason"),
    catalog.LAG_RECORDS.name: _count("lag", "topic"),
    catalog.WATERMARK.name: _watermark,
    catalog.SHARD_IDLE.name: _idle,
    catalog.SESSIONS_OPEN.name: _sum("sessions_open"),
    catalog.SESSIONS_HELD.name: _sum("sessions_held"),
    catalog.ALERTS_FIRING.name: _count("firing", "alert", "severity"),
    catalog.ALERT_TRANSITIONS.name: _count("fired", "alert", "status"),
    catalog.SESSION_VIEWS.name: _session("views"),
    catalog.SESSION_PRODUCT_CLICKS.name: _session("clicks"),
    catalog.SESSION_ORDERS_PAID.name: _session("orders"),
    catalog.SESSION_COMMENTS.name: _session("comments"),
    catalog.SESSION_COMMENT_RATE.name: _session("comments_per_minute"),
    catalog.SESSION_EVENTS.name: _session("events"),
    catalog.SESSION_GMV.name: _gmv,
    catalog.SESSION_INFO.name: _seller,
    catalog.SESSION_ALERTS_FIRING.name: _firing,
    catalog.DELAY.name: _delay,
    catalog.UNREADY.name: _unready,
}


def parse(texts: Iterable[str], at: float, wall: float) -> Snapshot:
    """A snapshot from the expositions of all workers. What is unknown or no
    finite number is left out. Raises ValueError for no metrics.
    """
    snapshot = Snapshot(at, wall)
    for text in texts:
        for family in exposition.read(text):
            for sample in family.samples:
                _note(snapshot, sample)
    return snapshot


def _note(snapshot: Snapshot, sample: Sample) -> None:
    note = _NOTES.get(sample.name)
    if note is None or not math.isfinite(sample.value):
        return
    try:
        note(snapshot, sample.labels, sample.value)
    except KeyError as label:
        raise ValueError(f"{sample.name} has no label {label}") from None


def scrape(urls: Sequence[str]) -> Snapshot:
    """A snapshot of all addresses. Raises OSError or ValueError that names the one that did not answer with metrics."""
    texts = [_fetch(url) for url in urls]
    return parse(texts, time.monotonic(), time.time())


def _fetch(url: str) -> str:
    try:
        status, text = pages.fetch(url, TIMEOUT_SECONDS)
    except (OSError, ValueError) as error:
        raise OSError(f"{url} does not answer: {getattr(error, 'strerror', None) or error}") from None
    if status != HTTPStatus.OK:
        raise OSError(f"{url} does not answer with metrics: status {status}")
    return text


class Pace:
    """Events a second, over the last few snapshots."""

    def __init__(self) -> None:
        self._snapshots: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)

    def note(self, snapshot: Snapshot) -> float | None:
        """Events a second up to this snapshot. None at the first one, and after a worker's counters began anew."""
        if self._snapshots and snapshot.read < self._snapshots[-1][1]:
            self._snapshots.clear()
        self._snapshots.append((snapshot.at, snapshot.read))
        (began, before), (now, after) = self._snapshots[0], self._snapshots[-1]
        return (after - before) / (now - began) if now > began else None
