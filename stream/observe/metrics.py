"""What the worker shows as Prometheus metrics: one registry of its own, filled by what the Kafka edge reports.

Business counters move in ``committed`` and nowhere else, so that a crash counts nothing twice.
"""

import platform
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from stream import __version__
from stream.config import Settings
from stream.core import promotions
from stream.core.switch import NATIVE
from stream.kafka.metrics_hooks import Activity
from stream.model.alerts import Status
from stream.model.events import SOURCES, UNKNOWN
from stream.model.names import (
    INPUTS,
    KINDS,
    OUTPUTS,
    PROMOTED,
    PROMOTIONS,
    STATE,
    Closed,
    Kind,
    Outcome,
    Reason,
)
from stream.model.results import ShardView, Tally
from stream.observe import catalog
from stream.observe.health import REASONS
from stream.observe.sessions import Sessions
from stream.observe.shards import Shards, gauge
from stream.observe.store import Store

EXPECTED_ERRORS: Final = ("ProducerFenced", "KafkaTimeoutError", "KafkaConnectionError", "CancelledError")
"""Failures of a transaction that are shown at 0 from the start; any other appears when it happens."""

NAMED_SOURCES: Final = (*sorted(SOURCES), UNKNOWN)

_UNLABELLED: Final = (
    *(catalog.VIEWS, catalog.PRODUCT_CLICKS, catalog.COMMENTS, catalog.ORDERS_PAID, catalog.CONVERSION),
    *(catalog.SESSION_RECORDS, catalog.MISPLACED_KEYS, catalog.TOTALS_FROZEN, catalog.LOST_OFFSETS),
    *(catalog.EMIT_DELAY, catalog.CHECKPOINT_DURATION, catalog.REBALANCES, catalog.REBALANCE_DURATION),
    *(catalog.RECOVERY_DURATION, catalog.RECOVERY_RECORDS, catalog.LOOP_LAG, catalog.ALERT_EVALUATION_SECONDS),
    *(catalog.FULL_COLLECTIONS, catalog.FULL_COLLECTION_SECONDS),
)


class Metrics:
    """The MetricsHooks (stream/kafka/metrics_hooks.py) that Prometheus reads. ``registry`` goes to the HTTP server."""

    def __init__(
        self,
        settings: Settings,
        *,
        also: Callable[[Tally], None] = lambda _: None,
        unready: Callable[[], Collection[str]] = frozenset,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``also`` is told every committed tally; ``unready`` gives the names of the reasons not to be ready; ``clock``:
        seconds since 1970, for the time of a checkpoint; ``monotonic``: seconds that never go back, for ages.
        """
        self._topics = {kind: settings.topic(INPUTS[kind]) for kind in KINDS}
        self._also = also
        self._clock = clock
        self._store = Store()
        windows = [spec.name for spec in settings.policy().windows]
        read: dict[str, str] = {kind.value: topic for kind, topic in self._topics.items()}
        read[PROMOTED] = settings.topic(PROMOTIONS)
        self._shards = Shards(read.__getitem__, windows, settings.max_sessions, monotonic)
        self._begin(windows, settings.currency)
        self._offset = _ClockOffset()
        self.registry = CollectorRegistry()
        sessions = Sessions(self._shards.views, settings.top_sessions, settings.currency)
        self._buffered = _Buffered()
        self._added = _Added(map(settings.topic, (*INPUTS.values(), *OUTPUTS, STATE)))
        ours = (self._store, self._shards, sessions, self._offset, self._buffered, self._added)
        for collector in (*ours, _Ready(unready), _Build(settings)):
            self.registry.register(collector)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _begin(self, windows: Iterable[str], currency: str) -> None:
        self._store.begin(catalog.EVENTS, product(KINDS, Outcome))
        self._store.begin(catalog.EVENTS_NOT_ON_TIME, product(KINDS))
        self._store.begin(catalog.DEAD_LETTERS, product(self._topics.values(), Reason))
        self._store.begin(catalog.EVENT_LATENCY, product(KINDS))
        self._store.begin(catalog.WINDOWS, product(windows, Closed))
        self._store.begin(catalog.PROMOTIONS, product(promotions.OUTCOMES))
        self._store.begin(catalog.TRANSACTION_FAILURES, product(EXPECTED_ERRORS))
        self._store.begin(catalog.ACTIVITY, product(Activity))
        self._store.begin(catalog.GMV, [(currency,)])
        self._store.begin(catalog.SOURCE_VIEWS, product(NAMED_SOURCES))
        self._store.begin(catalog.SOURCE_ORDERS, product(NAMED_SOURCES))
        for metric in _UNLABELLED:
            self._store.begin(metric)

    def committed(self, partition: int, tally: Tally, seconds: float) -> None:
        self._shards.checkpoint(partition, self._clock())
        with self._store.together():
            self._store.observe(catalog.CHECKPOINT_DURATION, seconds)
            self._count_records(tally)
            self._count_business(tally)
            self._count_alerts(tally)
        self._also(tally)

    def _count_records(self, tally: Tally) -> None:
        for labels, count in tally.outcomes.items():
            self._store.add(catalog.EVENTS, count, labels)
        for kind, count in tally.not_on_time.items():
            self._store.add(catalog.EVENTS_NOT_ON_TIME, count, (kind,))
        for (kind, reason), count in tally.refused.items():
            self._store.add(catalog.DEAD_LETTERS, count, (self._topics[kind], reason))
        for window, count in tally.windows.items():
            self._store.add(catalog.WINDOWS, count, window)
        self._store.add(catalog.SESSION_RECORDS, tally.session_records)
        for outcome, count in tally.promotions.items():
            self._store.add(catalog.PROMOTIONS, count, (outcome,))
        self._store.add(catalog.MISPLACED_KEYS, tally.misplaced.total())
        self._store.add(catalog.TOTALS_FROZEN, tally.totals_frozen)
        self._store.add(catalog.LOST_OFFSETS, tally.lost_offsets)

    def _count_business(self, tally: Tally) -> None:
        self._store.add(catalog.VIEWS, tally.views)
        self._store.add(catalog.PRODUCT_CLICKS, tally.product_clicks)
        self._store.add(catalog.COMMENTS, tally.comments)
        self._store.add(catalog.ORDERS_PAID, tally.orders_paid)
        for currency, minor in tally.gmv_minor.items():
            self._store.add(catalog.GMV, minor, (currency,))
        for source, count in tally.source_views.items():
            self._store.add(catalog.SOURCE_VIEWS, count, (source,))
        for source, count in tally.source_orders.items():
            self._store.add(catalog.SOURCE_ORDERS, count, (source,))
        for ratio in tally.conversions:
            self._store.observe(catalog.CONVERSION, ratio)

    def _count_alerts(self, tally: Tally) -> None:
        for transition, count in tally.transitions.items():
            self._store.add(catalog.ALERT_TRANSITIONS, count, transition)
        for alert, count in tally.evaluations.items():
            self._store.add(catalog.ALERT_EVALUATIONS, count, (alert,))
        for alert, count in tally.evaluation_errors.items():
            self._store.add(catalog.ALERT_EVALUATION_ERRORS, count, (alert,))
        self._store.add(catalog.ALERT_EVALUATION_SECONDS, tally.evaluation_seconds)

    def rules(self, alerts: Sequence[tuple[str, str]]) -> None:
        self._shards.rules(alerts)
        names = [name for name, _ in alerts]
        self._store.begin(catalog.ALERT_TRANSITIONS, product(names, Status))
        self._store.begin(catalog.ALERT_EVALUATIONS, product(names))
        self._store.begin(catalog.ALERT_EVALUATION_ERRORS, product(names))

    def latency(self, kind: Kind, seconds: float, count: int) -> None:
        # two machines' clocks may differ by more than a record took
        self._store.observe(catalog.EVENT_LATENCY, max(0.0, seconds), count, (kind,))

    def emit_delay(self, seconds: float) -> None:
        self._store.observe(catalog.EMIT_DELAY, max(0.0, seconds))

    def transaction_failed(self, partition: int, error: str) -> None:  # noqa: ARG002 - the log names the partition
        self._store.add(catalog.TRANSACTION_FAILURES, 1, (error,))

    def rebalanced(self, seconds: float) -> None:
        self._store.add(catalog.REBALANCES)
        self._store.observe(catalog.REBALANCE_DURATION, seconds)

    def recovered(self, partition: int, seconds: float, records: int) -> None:
        self._shards.recovered(partition)
        self._store.observe(catalog.RECOVERY_DURATION, seconds)
        self._store.add(catalog.RECOVERY_RECORDS, records)

    def refused(self, partition: int) -> None:
        self._shards.recovered(partition, refused=True)

    def activity(self, activity: Activity, seconds: float) -> None:
        self._store.add(catalog.ACTIVITY, seconds, (activity,))

    def loop_lag(self, seconds: float) -> None:
        self._store.observe(catalog.LOOP_LAG, max(0.0, seconds))

    def full_collection(self, seconds: float) -> None:
        self._store.add(catalog.FULL_COLLECTIONS, 1)
        self._store.add(catalog.FULL_COLLECTION_SECONDS, seconds)

    def clock_offset(self, seconds: float) -> None:
        self._offset.seconds = seconds

    def buffered(self, size: int) -> None:
        self._buffered.size = size

    def ended(self, partition: int, *, published: bool = False) -> None:
        self._shards.ended(partition, published=published)

    def lag(self, partition: int, kind: Kind, records: int, seconds: float | None) -> None:
        self._shards.lag(partition, kind, records, seconds)

    def brokers(self, connected: int) -> None:
        self._shards.brokers(connected)

    def hidden(self, partition: int, kind: Kind, seconds: float) -> None:
        self._shards.hidden(partition, kind, seconds)

    def pending(self, partition: int, *, something: bool) -> None:
        self._shards.pending(partition, something=something)

    def stuck(self, partition: int, seconds: float) -> None:
        self._shards.stuck(partition, seconds)

    def partitions(self, number: int) -> None:
        self._shards.partitions(number)

    def partitions_added(self, added: Mapping[str, int]) -> None:
        self._added.set(added)

    def assigned(self, partitions: frozenset[int]) -> None:
        self._shards.assigned(partitions)

    def shard(self, partition: int, view: ShardView) -> None:
        self._shards.shard(partition, view)


class _ClockOffset(Collector):
    seconds = 0.0

    def collect(self) -> Iterable[Family]:
        return [gauge(catalog.CLOCK_OFFSET, [((), self.seconds)])]


class _Buffered(Collector):
    """Set by the event loop, read by the scrape."""

    def __init__(self) -> None:
        self.size = 0

    def collect(self) -> Iterable[Family]:
        return [gauge(catalog.BUFFERED_BYTES, [((), self.size)])]


class _Added(Collector):
    """Replaced whole by the event loop, read by the scrape."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._none = dict.fromkeys(topics, 0)
        self._added: Mapping[str, int] = self._none

    def set(self, added: Mapping[str, int]) -> None:
        self._added = {**self._none, **added}

    def collect(self) -> Iterable[Family]:
        return [gauge(catalog.PARTITIONS_ADDED, [((topic,), number) for topic, number in self._added.items()])]


class _Ready(Collector):
    """Asked at each scrape, as /readyz is."""

    def __init__(self, unready: Callable[[], Collection[str]]) -> None:
        self._unready = unready

    def collect(self) -> Iterable[Family]:
        found = self._unready()
        yield gauge(catalog.READY, [((), int(not found))])
        yield gauge(catalog.UNREADY, [((reason,), int(reason in found)) for reason in REASONS])


class _Build(Collector):
    """What runs, and with which settings."""

    def __init__(self, settings: Settings) -> None:
        core, native = ("native", "true") if NATIVE else ("interpreted", "false")
        self._labels = (__version__, platform.python_version(), core, settings.fingerprint, native)
        self._delay = settings.delay.total_seconds()

    def collect(self) -> Iterable[Family]:
        return [gauge(catalog.BUILD, [(self._labels, 1)]), gauge(catalog.DELAY, [((), self._delay)])]
