"""Gauges of the shards this worker owns, made at scrape time from the last look at each; those of others are gone."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeAlias

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from stream.model.events import OTHER, PLATFORMS
from stream.model.names import KINDS, Kind
from stream.model.results import ShardView
from stream.observe import catalog
from stream.observe.catalog import Metric


@dataclass(slots=True)
class Look:
    """What is known of one shard.

    ``checkpoint``: when the last one committed, seconds since 1970. ``refused``: its state cannot be continued.
    ``stuck``, ``hidden``: seconds, as told last; ``waits_since``: since when something waits to be committed, by the
    clock of `Shards`.
    """

    view: ShardView | None = None
    lag: dict[Kind, tuple[int, float | None]] = field(default_factory=dict)
    checkpoint: float | None = None
    refused: bool = False
    running: bool = False
    stuck: float = 0.0
    hidden: dict[Kind, float] = field(default_factory=dict)
    waits_since: float | None = None

    def stops(self) -> None:
        """What is known only of a shard that runs is forgotten."""
        self.running, self.stuck = False, 0.0
        self.lag.clear()
        self.hidden.clear()


Rows: TypeAlias = Iterable[tuple[Sequence[str], float]]


def gauge(metric: Metric, rows: Rows) -> Family:
    """A family of gauges from rows of label values and a value."""
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


class Shards(Collector):
    """Written by the event loop, read by the scrape. What is said of a shard that is not assigned is ignored."""

    def __init__(
        self,
        topic: Callable[[Kind], str],
        windows: Sequence[str],
        max_sessions: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``topic``: the name on the broker; ``windows``: the names of the configured ones, shown from the start;
        ``clock``: seconds that never go back.
        """
        self._clock = clock
        self._partitions = 0
        self._max_sessions = max_sessions
        self._topic = topic
        self._windows = windows
        self._rules: list[tuple[str, str]] = []
        self._lock = Lock()
        self._looks: dict[int, Look] = {}
        self._brokers: int | None = None  # nobody has asked them yet

    def assigned(self, partitions: frozenset[int]) -> None:
        with self._lock:
            self._looks = {partition: self._looks.get(partition, Look()) for partition in sorted(partitions)}

    def brokers(self, connected: int) -> None:
        """So many answer. While none does, lag is not known: what was known of it is forgotten."""
        with self._lock:
            self._brokers = connected
            if not connected:
                for look in self._looks.values():
                    look.lag.clear()
                    look.hidden.clear()
                    look.stuck = 0.0

    def partitions(self, number: int) -> None:
        """So many are counted."""
        with self._lock:
            self._partitions = number

    def rules(self, alerts: Sequence[tuple[str, str]]) -> None:
        """Name and severity of those that are shown at 0."""
        with self._lock:
            self._rules = list(alerts)

    def recovered(self, partition: int, *, refused: bool = False) -> None:
        """A shard was restored, or it could not be."""
        with self._lock:
            if look := self._looks.get(partition):
                look.refused, look.running = refused, not refused
                if refused:
                    look.view = look.waits_since = None
                    look.stops()

    def ended(self, partition: int, *, looked: bool = False) -> None:
        """Its lag is not known. All else stands still, as of its last look, until it is restored. It has something to
        commit until it says otherwise: one that begins again and again, and never commits, must not look idle.

        ``looked``: just now, with nothing left to commit, so its lag holds.
        """
        with self._lock:
            look = self._looks.get(partition)
            if look and looked:
                look.running = False
            elif look:
                look.stops()
                look.waits_since = self._clock() if look.waits_since is None else look.waits_since

    def stuck(self, partition: int, seconds: float) -> None:
        with self._lock:
            if look := self._looks.get(partition):
                look.stuck = seconds

    def hidden(self, partition: int, kind: Kind, seconds: float) -> None:
        """By an open transaction."""
        with self._lock:
            look = self._looks.get(partition)
            if look and self._brokers != 0:
                look.hidden[kind] = seconds

    def pending(self, partition: int, *, something: bool) -> None:
        """Whether a shard has something to commit."""
        with self._lock:
            if look := self._looks.get(partition):
                if not something:
                    look.waits_since = None
                elif look.waits_since is None:
                    look.waits_since = self._clock()

    def shard(self, partition: int, view: ShardView) -> None:
        with self._lock:
            if look := self._looks.get(partition):
                look.view = view

    def lag(self, partition: int, kind: Kind, records: int, seconds: float | None) -> None:
        with self._lock:
            look = self._looks.get(partition)
            if look and self._brokers != 0:
                look.lag[kind] = (records, seconds)

    def checkpoint(self, partition: int, at: float) -> None:
        with self._lock:
            if look := self._looks.get(partition):
                look.checkpoint, look.waits_since = at, None

    def views(self) -> list[ShardView]:
        """The last look at each shard that was looked at."""
        with self._lock:
            return [look.view for look in self._looks.values() if look.view is not None]

    def collect(self) -> Iterable[Family]:
        views = self.views()
        with self._lock:
            return [*self._by_partition(), *self._lags(), *_sums(views, self._windows), *_alerts(views, self._rules)]

    def _by_partition(self) -> Iterator[Family]:
        looks = {(str(partition),): look for partition, look in self._looks.items()}
        views = {labels: look.view for labels, look in looks.items() if look.view is not None}
        marks = {labels: view.watermark for labels, view in views.items()}
        yield gauge(catalog.WATERMARK, [(labels, ms / 1000) for labels, ms in marks.items() if ms is not None])
        yield gauge(
            catalog.TOPIC_LEFT_OUT,
            [
                ((self._topic(kind), *labels), float(kind in view.left_out))
                for labels, view in views.items()
                for kind in KINDS
            ],
        )
        yield gauge(catalog.STATE_BYTES, [(labels, view.state_bytes) for labels, view in views.items()])
        yield gauge(catalog.DEDUPE_IDS, [(labels, view.dedupe_ids) for labels, view in views.items()])
        yield gauge(catalog.CHECKOUT_KEYS, [(labels, view.checkout_keys) for labels, view in views.items()])
        yield gauge(catalog.SESSIONS_GONE, [(labels, view.sessions_gone) for labels, view in views.items()])
        known = {(str(kind), *labels): n for labels, view in views.items() for kind, n in view.known.items()}
        yield gauge(catalog.KNOWN_SESSIONS, known.items())
        bounds = {(name, *labels): used for labels, view in views.items() for name, used in view.bounds.items()}
        yield gauge(catalog.BOUND_USED, bounds.items())
        yield gauge(catalog.BROKERS_CONNECTED, [((), self._brokers or 0)])
        yield gauge(catalog.MAX_SESSIONS, [((), self._max_sessions)])
        yield gauge(catalog.STATE_REFUSED, [(labels, int(look.refused)) for labels, look in looks.items()])
        yield from self._moving(looks)
        times = {labels: look.checkpoint for labels, look in looks.items()}
        yield gauge(catalog.CHECKPOINT_TIMESTAMP, [(labels, at) for labels, at in times.items() if at is not None])

    def _moving(self, looks: Mapping[tuple[str], Look]) -> Iterator[Family]:
        now = self._clock()
        waits = [
            (labels, 0.0 if look.waits_since is None else max(0.0, now - look.waits_since))
            for labels, look in looks.items()
        ]
        yield gauge(catalog.PARTITIONS, [((), self._partitions)])
        yield gauge(catalog.SHARDS_ASSIGNED, [((), len(looks))])
        yield gauge(catalog.SHARD_RUNNING, [(labels, int(look.running)) for labels, look in looks.items()])
        yield gauge(catalog.STUCK, [(labels, look.stuck) for labels, look in looks.items()])
        yield gauge(catalog.UNCOMMITTED, waits)
        hidden = [
            ((self._topic(kind), *labels), seconds)
            for labels, look in looks.items()
            for kind, seconds in look.hidden.items()
        ]
        yield gauge(catalog.OPEN_TRANSACTION, hidden)

    def _lags(self) -> Iterator[Family]:
        lags = [
            ((self._topic(kind), str(partition)), lag)
            for partition, look in self._looks.items()
            for kind, lag in look.lag.items()
        ]
        yield gauge(catalog.LAG_RECORDS, [(labels, records) for labels, (records, _) in lags])
        known = [(labels, seconds) for labels, (_, seconds) in lags if seconds is not None]
        yield gauge(catalog.LAG_SECONDS, known)


def _alerts(views: Sequence[ShardView], rules: Sequence[tuple[str, str]]) -> Iterator[Family]:
    pending, firing = Counter(dict.fromkeys(rules, 0)), Counter(dict.fromkeys(rules, 0))
    for view in views:
        for labels, (waiting, told) in view.alerts.items():
            pending[labels] += waiting
            firing[labels] += told
    yield gauge(catalog.ALERTS_PENDING, pending.items())
    yield gauge(catalog.ALERTS_FIRING, firing.items())


def _sums(views: Sequence[ShardView], windows: Sequence[str]) -> Iterator[Family]:
    still_open = Counter(dict.fromkeys(windows, 0))
    for view in views:
        still_open.update(view.windows_open)
    yield gauge(catalog.WINDOWS_OPEN, [((name,), count) for name, count in still_open.items()])
    yield gauge(catalog.WINDOWS_CLOSED_HELD, [((), sum(view.windows_closed_held for view in views))])
    platforms = Counter(dict.fromkeys((*sorted(PLATFORMS), OTHER), 0))
    for view in views:
        platforms.update(view.platforms)
    yield gauge(catalog.PLATFORM_EVENTS, [((name,), count) for name, count in platforms.items()])
    yield gauge(catalog.CONCURRENT_VIEWERS, [((), sum(view.viewers for view in views))])
    yield gauge(catalog.SESSIONS_OPEN, [((), sum(view.sessions_open for view in views))])
    yield gauge(catalog.SESSIONS_HELD, [((), sum(view.sessions_held for view in views))])
