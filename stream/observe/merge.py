"""One page of metrics from the pages of several processes: pure, text and numbers in, families out.

Counters and histograms are summed over every process that ever was, gauges over those that answer now, by the rule that
catalog.py declares. A counter never goes back: Prometheus takes the smallest step back for a restart, and would count
the whole sum once more. So what an ended process had counted stays in the sum.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum
from typing import Final, NamedTuple, TypeAlias

from prometheus_client.core import Metric as Family

from stream.model.results import busiest
from stream.observe import catalog, exposition
from stream.observe.sessions import OTHER

Labels: TypeAlias = tuple[tuple[str, str], ...]
Values: TypeAlias = dict["Series", float]

COUNTED: Final = frozenset({"counter", "histogram"})
SESSION: Final = "session_id"
SELLER: Final = "seller_id"

RULES: Final[Mapping[str, catalog.Rule]] = {
    **{metric.name: metric.merge for metric in catalog.CATALOG if metric.kind == "gauge"},
    # of prometheus_client
    "process_virtual_memory_bytes": "sum",
    "process_resident_memory_bytes": "sum",
    "process_open_fds": "sum",
    "process_max_fds": "min",
    "process_start_time_seconds": "min",
}
"""How the gauge of one family is made of those of several processes."""

_BY_SESSION: Final = frozenset(metric.name for metric in catalog.CATALOG if SESSION in metric.labels)
_COMBINE: Final[Mapping[catalog.Rule, Callable[[Iterable[float]], float]]] = {"sum": fsum, "max": max, "min": min}


class Series(NamedTuple):
    """What a sample is called."""

    name: str
    labels: Labels


class Shape(NamedTuple):
    """What is said of a family before its samples."""

    name: str
    help: str
    kind: str


@dataclass(frozen=True, slots=True)
class Page:
    """What one process showed at one time."""

    families: dict[Shape, Values] = field(default_factory=dict)

    @property
    def counted(self) -> Values:
        """Every series that only grows while a process lives."""
        return {
            series: value
            for shape, values in self.families.items()
            if shape.kind in COUNTED
            for series, value in values.items()
        }


def read(text: str) -> Page:
    """The page of a text exposition. Raises ValueError when it is none."""
    page = Page()
    for family in exposition.read(text):
        values = page.families.setdefault(Shape(family.name, family.documentation, family.type), {})
        for sample in family.samples:
            if family.name in _BY_SESSION and SESSION not in sample.labels:
                raise ValueError(f"{sample.name} has no label {SESSION}")
            values[Series(sample.name, tuple(sorted(sample.labels.items())))] = sample.value
    return page


class Merge:
    """What all processes have counted. A process is a number; each time it is started anew it begins another life."""

    def __init__(self, top: int) -> None:
        """``top``: sessions with series of their own."""
        self._top = top
        self._shapes: dict[Shape, dict[Series, None]] = {}
        """Every family seen, in the order in which it came, with its counted series."""
        self._past: Values = {}
        self._lives: dict[int, tuple[int, Values]] = {}
        """By process: its newest life, and the most that this one has shown."""
        self._shown: Values = {}

    def note(self, process: int, life: int, page: Page) -> None:
        """A process showed this page in its ``life``. What an earlier life says late is ignored."""
        newest, most = self._lives.get(process, (life, {}))
        if life < newest:
            return
        if life > newest:
            self._end(most)
            most = {}
        for series, value in page.counted.items():
            most[series] = max(value, most.get(series, 0.0))
        self._lives[process] = (life, most)
        for shape, values in page.families.items():
            known = self._shapes.setdefault(shape, {})
            if shape.kind in COUNTED:
                known.update(dict.fromkeys(values))

    def _end(self, counted: Values) -> None:
        for series, value in counted.items():
            self._past[series] = self._past.get(series, 0.0) + value

    def families(self, live: Iterable[Page]) -> list[Family]:
        """Counters of all that was ever noted, gauges of the pages ``live``."""
        pages = list(live)
        gauges = _gauges(pages)
        _fold(gauges, self._top)
        return [
            _family(shape, self._sums(series) if shape.kind in COUNTED else gauges.get(shape.name, {}))
            for shape, series in self._shapes.items()
        ]

    def _sums(self, names: Iterable[Series]) -> Values:
        return {series: self._sum(series) for series in names}

    def _sum(self, series: Series) -> float:
        """Never less than it was shown: floats that are summed in another order may differ in the last digit."""
        parts = [self._past.get(series, 0.0), *(most.get(series, 0.0) for _, most in self._lives.values())]
        self._shown[series] = max(fsum(parts), self._shown.get(series, 0.0))
        return self._shown[series]


def _gauges(pages: Iterable[Page]) -> dict[str, Values]:
    """By family."""
    parts: dict[str, dict[Series, list[float]]] = {}
    for page in pages:
        for shape, values in page.families.items():
            if shape.kind in COUNTED:
                continue
            family = parts.setdefault(shape.name, defaultdict(list))
            for series, value in values.items():
                family[series].append(value)
    return {
        name: {series: _COMBINE[RULES.get(name, "sum")](values) for series, values in family.items()}
        for name, family in parts.items()
    }


def _fold(gauges: dict[str, Values], top: int) -> None:
    """Of the sessions that any process shows, the ``top`` busiest of all stay, the others are added to ``_other``.

    Nobody busier hides behind a process's own ``_other``: whoever is among the busiest of all is so at home.
    """
    events = {
        dict(labels)[SESSION]: value for (_, labels), value in gauges.get(catalog.SESSION_EVENTS.name, {}).items()
    }
    events.pop(OTHER, None)
    shown = frozenset(busiest(events, top)[0])
    for metric in catalog.CATALOG:
        if SESSION in metric.labels and metric.name in gauges:
            gauges[metric.name] = _folded(gauges[metric.name], shown)
    held = gauges.get(catalog.SESSIONS_HELD.name, {})
    for series in gauges.get(catalog.SESSIONS_TRUNCATED.name, {}):
        gauges[catalog.SESSIONS_TRUNCATED.name][series] = max(0.0, fsum(held.values()) - len(shown))


def _folded(values: Values, shown: frozenset[str]) -> Values:
    folded: Values = {}
    for series, value in values.items():
        labels = dict(series.labels)
        if labels[SESSION] not in shown:
            if SELLER in labels:  # of no use for a sum of sessions, and there are as many of them
                continue
            labels[SESSION] = OTHER
        key = series._replace(labels=tuple(sorted(labels.items())))
        folded[key] = folded.get(key, 0.0) + value
    return folded


def _family(shape: Shape, values: Values) -> Family:
    family = Family(shape.name, shape.help, shape.kind)
    for series, value in values.items():
        family.add_sample(series.name, dict(series.labels), value)
    return family
