"""Gauges of the shards this worker owns, made at scrape time from the last view of each. It has none of others."""

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
class ShardStatus:
    """The last known status of one shard.

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
        """Forgets what is known of running shards only."""
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
    """Written by the event loop, read by the scrape. Reports on a shard that is not assigned are ignored."""

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
        self._statuses: dict[int, ShardStatus] = {}
        self._brokers: int | None = None  # nobody has asked them yet

    def assigned(self, partitions: frozenset[int]) -> None:
        with self._lock:
            self._statuses = {
                partition: self._statuses.get(partition, ShardStatus()) for partition in sorted(partitions)
            }

    def brokers(self, connected: int) -> None:
        """So many answer. While none does, lag is not known and its series are gone."""
        with self._lock:
            self._brokers = connected
            if not connected:
                for status in self._statuses.values():
                    status.lag.clear()
                    status.hidden.clear()
                    status.stuck = 0.0

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
            if status := self._statuses.get(partition):
                status.refused, status.running = refused, not refused
                if refused:
                    status.view = status.waits_since = None
                    status.stops()

    def ended(self, partition: int, *, published: bool = False) -> None:
        """Its lag is not known. Everything else stays as in its last view until it is restored.

        It counts as having something to commit until it says otherwise: a shard that starts again and again, and never
        commits, must not look idle.

        ``published``: its view was published just now, with nothing left to commit, so its lag holds.
        """
        with self._lock:
            status = self._statuses.get(partition)
            if status and published:
                status.running = False
            elif status:
                status.stops()
                status.waits_since = self._clock() if status.waits_since is None else status.waits_since

    def stuck(self, partition: int, seconds: float) -> None:
        with self._lock:
            if status := self._statuses.get(partition):
                status.stuck = seconds

    def hidden(self, partition: int, kind: Kind, seconds: float) -> None:
        """By an open transaction."""
        with self._lock:
            status = self._statuses.get(partition)
            if status and self._brokers != 0:
                status.hidden[kind] = seconds

    def pending(self, partition: int, *, something: bool) -> None:
        """Whether a shard has something to commit."""
        with self._lock:
            if status := self._statuses.get(partition):
                if not something:
                    status.waits_since = None
                elif status.waits_since is None:
                    status.waits_since = self._clock()

    def shard(self, partition: int, view: ShardView) -> None:
        with self._lock:
            if status := self._statuses.get(partition):
                status.view = view

    def lag(self, partition: int, kind: Kind, records: int, seconds: float | None) -> None:
        with self._lock:
            status = self._statuses.get(partition)
            if status and self._brokers != 0:
                status.lag[kind] = (records, seconds)

    def checkpoint(self, partition: int, at: float) -> None:
        with self._lock:
            if status := self._statuses.get(partition):
                status.checkpoint, status.waits_since = at, None

    def views(self) -> list[ShardView]:
        """The last view of each shard that has one."""
        with self._lock:
            return [status.view for status in self._statuses.values() if status.view is not None]

    def collect(self) -> Iterable[Family]:
        views = self.views()
        with self._lock:
            return [*self._by_partition(), *self._lags(), *_sums(views, self._windows), *_alerts(views, self._rules)]

    def _by_partition(self) -> Iterator[Family]:
        statuses = {(str(partition),): status for partition, status in self._statuses.items()}
        views = {labels: status.view for labels, status in statuses.items() if status.view is not None}
        marks = {labels: view.watermark for labels, view in views.items()}
        yield gauge(catalog.WATERMARK, [(labels, ms / 1000) for labels, ms in marks.items() if ms is not None])
        yield gauge(catalog.SHARD_IDLE, [(labels, float(view.idle)) for labels, view in views.items()])
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
        yield gauge(catalog.STATE_REFUSED, [(labels, int(status.refused)) for labels, status in statuses.items()])
        yield from self._moving(statuses)
        times = {labels: status.checkpoint for labels, status in statuses.items()}
        yield gauge(catalog.CHECKPOINT_TIMESTAMP, [(labels, at) for labels, at in times.items() if at is not None])

    def _moving(self, statuses: Mapping[tuple[str], ShardStatus]) -> Iterator[Family]:
        now = self._clock()
        waits = [
            (labels, 0.0 if status.waits_since is None else max(0.0, now - status.waits_since))
            for labels, status in statuses.items()
        ]
        yield gauge(catalog.PARTITIONS, [((), self._partitions)])
        yield gauge(catalog.SHARDS_ASSIGNED, [((), len(statuses))])
        yield gauge(catalog.SHARD_RUNNING, [(labels, int(status.running)) for labels, status in statuses.items()])
        yield gauge(catalog.STUCK, [(labels, status.stuck) for labels, status in statuses.items()])
        yield gauge(catalog.UNCOMMITTED, waits)
        hidden = [
            ((self._topic(kind), *labels), seconds)
            for labels, status in statuses.items()
            for kind, seconds in status.hidden.items()
        ]
        yield gauge(catalog.OPEN_TRANSACTION, hidden)

    def _lags(self) -> Iterator[Family]:
        lags = [
            ((self._topic(kind), str(partition)), lag)
            for partition, status in self._statuses.items()
            for kind, lag in status.lag.items()
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
    yield gauge(catalog.PROMOTIONS_WAITING, [((), sum(view.promotions_waiting for view in views))])
    yield gauge(catalog.SESSIONS_HELD, [((), sum(view.sessions_held for view in views))])
