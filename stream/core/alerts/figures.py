"""The figures a rule may speak of: counts of a span of slides, what follows from them, and how each is computed.

A column is one tuple of whole numbers, the `FIELDS` summed over some slides. Everything here is exact until the last
division: a rule must decide the same wherever its figures were computed. Sums and amounts of money saturate at 2^63 - 1.
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from itertools import zip_longest
from math import sqrt
from operator import itemgetter
from statistics import median
from typing import Final, Protocol

from stream.core.figures import COLUMN, Shown
from stream.core.rates import DERIVED, RATES, Derived
from stream.model.alerts import Rule
from stream.model.money import MAX_SUM, capped

FIELDS: Final = COLUMN
"""What a column holds, in this order. Money is in the policy's currency only; ``events`` are all on-time events."""
PLACE: Final = {name: place for place, name in enumerate(FIELDS)}

Column = tuple[int, ...]
EMPTY: Final[Column] = (0,) * len(FIELDS)


def added(columns: Sequence[Column]) -> Column:
    """The sum of some columns, at least one. Those that an earlier version noted are shorter: nothing was counted."""
    sums = tuple(map(sum, zip_longest(*columns, fillvalue=0)))
    sums = sums if len(sums) == len(FIELDS) else (*sums, *EMPTY[len(sums) :])
    return tuple(map(capped, sums)) if max(sums) > MAX_SUM else sums


Z: Final = 1.96
"""Normal quantile of an interval that holds the true share 95 times of 100."""


class History(Protocol):
    """What a session did up to the end of a slide. Times in ms, all multiples of the slide but ``last_event``."""

    @property
    def first(self) -> int:
        """Start of the session's first slide."""

    @property
    def end(self) -> int:
        """Of the slide that is judged."""

    @property
    def last_event(self) -> int:
        """Event time of the newest on-time event before ``end``."""

    def sum(self, start: int, end: int) -> Column:
        """Of the slides in ``[start, end)``: on-time events only."""


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Bounds of the share that ``hits`` of ``trials`` speak for, at `Z`; trials > 0, hits at most trials.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212:
    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n). Honest for few trials too: 0 of 20 gives 0 to 16 %.
    """
    share, more = hits / trials, Z * Z / trials
    middle, reach = share + more / 2, Z * sqrt((share * (1 - share) + more / 4) / trials)
    low = (middle - reach) / (1 + more) if hits else 0.0
    high = (middle + reach) / (1 + more) if hits < trials else 1.0
    return low, high


def _sum_of(names: Sequence[str]) -> Callable[[Column], int]:
    each = itemgetter(*(PLACE[name] for name in names))
    return each if len(names) == 1 else lambda column: sum(each(column))


def _derived(row: Derived) -> Callable[[Column], int]:
    plus = _sum_of(row.plus)
    if not row.minus:
        return lambda column: capped(plus(column))
    minus = _sum_of(row.minus)
    return lambda column: capped(plus(column) - minus(column))


COUNTS: Final[Mapping[str, Callable[[Column], int]]] = {
    **{name: itemgetter(place) for name, place in PLACE.items()},
    **{row.name: _derived(row) for row in DERIVED if row.shown & Shown.ALERTS},
}
"""Whole numbers, by name."""
_ASKED: Final = [rate for rate in RATES if rate.shown & Shown.ALERTS]
RATIOS: Final = {rate.name: (rate.over, rate.under) for rate in _ASKED if rate.bounds}
"""Shares of one count in another, each also with its bounds as ``<name>_low`` and ``<name>_high``."""
QUOTIENTS: Final = {rate.name: (rate.over, rate.under, rate.scale) for rate in _ASKED if not rate.bounds}
"""Of money, which has no bounds: what is divided, by what, times what."""

Figure = Callable[[Column], float | None]
"""A count is a whole number, exactly. None: absent, since a denominator is 0."""
LARGEST: Final = float(MAX_SUM)
"""2^63: the nearest there is."""


def _ratio(over: str, under: str, times: int = 1) -> Figure:
    hits, trials = COUNTS[over], COUNTS[under]

    def figure(column: Column) -> float | None:
        """An amount of money saturates as sums do (p: 1,000 times the GMV by one view ended the worker)."""
        divisor = trials(column)
        return min(times * hits(column) / divisor, LARGEST) if divisor > 0 else None

    return figure


def _bound(over: str, under: str, side: int) -> Figure:
    hits, trials = COUNTS[over], COUNTS[under]

    def figure(column: Column) -> float | None:
        """More hits than trials can be: an order may be paid in another window than it was clicked in."""
        divisor = trials(column)
        return wilson(max(0, min(hits(column), divisor)), divisor)[side] if divisor > 0 else None

    return figure


FIGURES: Final[Mapping[str, Figure]] = {
    **COUNTS,
    **{name: _ratio(*parts) for name, parts in RATIOS.items()},
    **{f"{name}_low": _bound(*parts, 0) for name, parts in RATIOS.items()},
    **{f"{name}_high": _bound(*parts, 1) for name, parts in RATIOS.items()},
    **{name: _ratio(*parts) for name, parts in QUOTIENTS.items()},
}
"""Everything that follows from one column, by name."""


Reading = Callable[[History], float | None]
"""One figure of a session; None where it is absent."""

OWN: Final = {"w": "seconds_since_last_event", "base": "minutes"}
"""Figures that only one of the columns has: how long nothing came, and how much baseline there is."""
SILENCE: Final = "w.seconds_since_last_event"
LONGEST_NAME: Final = 60
"""Characters of an unknown name that are quoted; no known one is longer."""


def full_path(path: str) -> str:
    """``attempts`` is short for ``w.attempts``."""
    return path if "." in path else f"w.{path}"


def shown_name(path: str) -> str:
    """How an alert's values name it."""
    return path.removeprefix("w.")


def is_money(name: str) -> bool:
    """Whether a figure, by its name in an alert's values, is money in minor units."""
    return name.endswith("_minor")


def names_of(column: str) -> list[str]:
    """Every figure of ``w``, ``base`` or ``median``."""
    return sorted(COUNTS) if column == "median" else sorted([*FIGURES, OWN[column]])


def unknown_figure(path: str, *, baseline: bool) -> str | None:
    """What is wrong with it, and the nearest that there is; nothing when it is known."""
    column, _, name = path.partition(".")
    if column not in {"w", "base", "median"}:
        known = f"w.{path}" if path in names_of("w") else ""
        return f"{path} is not known: write {known}" if known else _unknown(path)
    if name not in names_of(column):
        return _unknown(path)
    if column != "w" and not baseline:
        return f"{path}: the rule has no baseline"
    return None


def _unknown(path: str) -> str:
    if len(path) > LONGEST_NAME:
        return f"{path[:LONGEST_NAME]}… is not known"
    return f"{path} is not known{_nearest(path)}"


def _nearest(path: str) -> str:
    known = [f"{column}.{name}" for column in ("w", "base", "median") for name in names_of(column)]
    close = get_close_matches(full_path(path), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ": figures are w.<name>, base.<name> and median.<name>"


def read(path: str, rule: Rule) -> Reading:
    """How a known figure is had from a session's history."""
    column, _, name = path.partition(".")
    if name == OWN.get(column):
        return _silence if column == "w" else _minutes(rule)
    if column == "median":
        return _median(COUNTS[name], rule)
    figure, window, baseline = FIGURES[name], rule.window_ms, rule.baseline_ms
    if column == "w":
        return lambda history: figure(history.sum(history.end - window, history.end))

    def of_baseline(history: History) -> float | None:
        start, end = based(history, window, baseline)
        return figure(history.sum(start, end))

    return of_baseline


def based(history: History, window_ms: int, baseline_ms: int) -> tuple[int, int]:
    """The slides of the baseline: before the window, from the session's first on. Empty when there are none."""
    end = history.end - window_ms
    return min(end, max(history.first, end - baseline_ms)), end


def _silence(history: History) -> float:
    return (history.end - history.last_event) / 1000


def _minutes(rule: Rule) -> Reading:
    def figure(history: History) -> float:
        start, end = based(history, rule.window_ms, rule.baseline_ms)
        return (end - start) / 60_000

    return figure


def _median(counted: Callable[[Column], int], rule: Rule) -> Reading:
    """Over the whole windows in the baseline, one before the other; empty ones count. Absent when there is none.

    Of an even number of them the mean of the two in the middle.
    """
    window, baseline = rule.window_ms, rule.baseline_ms

    def figure(history: History) -> float | None:
        start, end = based(history, window, baseline)
        ends = range(end, start + window - 1, -window)
        return float(median([counted(history.sum(each - window, each)) for each in ends])) if ends else None

    return figure
