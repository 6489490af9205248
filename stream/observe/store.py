"""Counters and histograms. The event loop adds, the scrape reads, a lock between them.

Why not the instruments of prometheus_client: theirs cannot add a weight to a histogram bucket (one call a batch, not
one an event), theirs add ``_created`` series, and here all numbers of one checkpoint become visible at once.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from threading import RLock
from typing import Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from stream.observe.catalog import Metric

Labels: TypeAlias = tuple[str, ...]


class Cells:
    """One histogram: how much fell into each bucket, +Inf last, and the sum of all that was observed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds: Final = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, count: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def copy(self) -> "Cells":
        same = Cells(self.bounds)
        same.counts, same.total = self.counts.copy(), self.total
        return same

    def cumulative(self) -> list[tuple[str, float]]:
        bounds = [*map(str, self.bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


class Store(Collector):
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._counters: dict[Metric, dict[Labels, float]] = {}
        self._histograms: dict[Metric, dict[Labels, Cells]] = {}

    def begin(self, metric: Metric, labels: Iterable[Labels] = ((),)) -> None:
        """Shows these label sets from the start, at 0: a rate over a series that appears with its first count is 0."""
        with self._lock:
            for each in labels:
                if metric.buckets:
                    self._histograms.setdefault(metric, {}).setdefault(each, Cells(metric.buckets))
                else:
                    self._counters.setdefault(metric, {}).setdefault(each, 0)

    def add(self, metric: Metric, amount: float = 1, labels: Labels = ()) -> None:
        with self._lock:
            counters = self._counters.setdefault(metric, {})
            counters[labels] = counters.get(labels, 0) + amount

    def observe(self, metric: Metric, value: float, count: int = 1, labels: Labels = ()) -> None:
        with self._lock:
            self.begin(metric, [labels])
            self._histograms[metric][labels].add(value, count)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is added inside becomes visible at once."""
        with self._lock:
            yield

    def collect(self) -> Iterable[Family]:
        with self._lock:  # a copy is quick: the event loop may be waiting
            counters = {metric: values.copy() for metric, values in self._counters.items()}
            histograms = {
                metric: {labels: cells.copy() for labels, cells in values.items()}
                for metric, values in self._histograms.items()
            }
        yield from (_counter(metric, values) for metric, values in counters.items())
        yield from (_histogram(metric, values) for metric, values in histograms.items())


def _counter(metric: Metric, values: dict[Labels, float]) -> Family:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, values: dict[Labels, Cells]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, cells in values.items():
        family.add_metric(labels, cells.cumulative(), cells.total)
    return family
