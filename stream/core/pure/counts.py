"""Counts in Python: see core/counts.py. What native/counts.pyx does the same, faster.

Which figures there are, and how each combines, is in the table of core/figures.py alone. Sums are not cut here, as they
are in C: model/money.py says where, and why that is the same.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from stream.core.breakdown import Clicks, Labels, Money, Orders, Source, add_money
from stream.core.figures import (
    BREAKDOWNS,
    DEFAULTS,
    LATEST,
    MAXIMA,
    MINIMA,
    MOMENTS,
    MONIES,
    NAMED_BY,
    NEVER,
    PLAIN,
    SKETCHES,
    SUMMED,
)
from stream.core.late import Late
from stream.core.uniques import united

_summed: Final = attrgetter(*SUMMED)
_monies: Final = attrgetter(*MONIES)
_sketches: Final = attrgetter(*SKETCHES)
_breakdowns: Final = attrgetter(*BREAKDOWNS)
_WHENS: Final = tuple(dict.fromkeys(when for _, when in LATEST))
_BY_WHEN: Final = {when: tuple(name for name, by in LATEST if by == when) for when in _WHENS}


class Counts:
    """One column of figures. ``events`` is the number of counted events: the figures changed iff it did."""

    __slots__ = (*PLAIN, *MONIES, *SKETCHES, "sources", *BREAKDOWNS, "incomplete", "late")

    if TYPE_CHECKING:
        # A figure of the table, which mypy cannot read: of another name there is an AttributeError.
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self) -> None:
        for name, value in DEFAULTS.items():
            setattr(self, name, value)
        for name in MONIES:
            setattr(self, name, {})
        for name in (*SKETCHES, *BREAKDOWNS):
            setattr(self, name, None)
        self.sources: dict[str, Source] | None = None
        self.incomplete = False
        self.late: Late | None = None
        """What of it came late, where anything did: labels and span of that are not in its own."""

    def add(self, other: "Counts") -> None:
        """Adds another slice of event time: no two have an event time in common, so what is latest needs no tie broken.

        Adds all but the uniques (`unite`) and the breakdowns by id (`breakdowns`), whose bounds differ.
        """
        for name, more in zip(SUMMED, _summed(other), strict=True):
            if more:
                setattr(self, name, getattr(self, name) + more)
        self.add_rest(other)

    def add_rest(self, other: "Counts") -> None:
        """The same for all that is not a plain sum."""
        for name, more in zip(MONIES, _monies(other), strict=True):
            if more:
                add_money(getattr(self, name), more)
        for when, names in _BY_WHEN.items():
            self._take_latest(other, when, names)
        for name in MAXIMA:
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        for name in MINIMA:
            earliest = getattr(other, name)
            if earliest != NEVER:
                mine = getattr(self, name)
                setattr(self, name, earliest if mine == NEVER else min(mine, earliest))
        if other.late is not None:
            self.show_late(other.late)
        if other.sources:
            self._add_sources(other.sources)
        self.incomplete = self.incomplete or other.incomplete

    def _take_latest(self, other: "Counts", when: str, names: tuple[str, ...]) -> None:
        """What holds the event time is a maximum, and follows."""
        mine, theirs = getattr(self, when), getattr(other, when)
        if theirs > mine:
            for name in names:
                setattr(self, name, getattr(other, name))
        elif theirs == mine != NEVER:
            for name in names:
                setattr(self, name, max(getattr(self, name), getattr(other, name)))

    def show_late(self, late: Late) -> None:
        """Adds the moments of a pane's late part, when its own are in the sum already. Both may be of one event time."""
        part = Counts()
        for name, value in zip(MOMENTS, late.moments, strict=True):
            setattr(part, name, value)
        self.add_rest(part)

    def _add_sources(self, sources: dict[str, Source]) -> None:
        if self.sources is None:
            self.sources = {}
        for name, more in sources.items():
            mine = self.sources.get(name)
            if mine is None:
                self.sources[name] = Source(more.views, more.clicks, more.orders, dict(more.gmv))
            else:
                mine.add(more)


def merge_breakdowns(into: Counts, part: Counts, only: Mapping[str, AbstractSet[str]] | None = None) -> None:
    """Adds the breakdowns by id; with ``only`` (by breakdown), other ids go into the unnamed sums."""
    for name, more in zip(BREAKDOWNS, _breakdowns(part), strict=True):
        if more is not None:
            _merge_breakdown(into, name, more, None if only is None else only[NAMED_BY[name]])


def _merge_breakdown(into: Counts, name: str, more: Clicks | Orders | Labels, only: AbstractSet[str] | None) -> None:
    mine = getattr(into, name)
    if mine is None:
        mine = type(more)()
        setattr(into, name, mine)
    mine.merge(more, only)


def total(parts: Sequence[Counts], only: Mapping[str, AbstractSet[str]] | None = None) -> Counts:
    """The sum of panes with everything in it; its sketches are results of a union, so that `estimate` may read them.

    Column by column: half the time of adding part after part. It may share what it holds with a single part: to be read.
    """
    if len(parts) == 1 and only is None and parts[0].late is None:
        return _alone(parts[0])
    whole = Counts()
    if not parts:
        return whole
    for name, column in zip(SUMMED, zip(*map(_summed, parts), strict=True), strict=True):
        setattr(whole, name, sum(column))
    for part in parts:
        whole.add_rest(part)
        merge_breakdowns(whole, part, only)
    for name, sketches in zip(SKETCHES, zip(*map(_sketches, parts), strict=True), strict=True):
        setattr(whole, name, united(sketches))
    return whole


def _alone(part: Counts) -> Counts:
    whole = Counts()
    for name in (*PLAIN, *MONIES, "sources", "incomplete"):
        setattr(whole, name, getattr(part, name))
    for name, figures in zip(BREAKDOWNS, _breakdowns(part), strict=True):
        if figures is not None and figures.spilled:
            _merge_breakdown(whole, name, figures, None)
        else:
            setattr(whole, name, figures)
    for name, sketch in zip(SKETCHES, _sketches(part), strict=True):
        setattr(whole, name, united((sketch,)))
    return whole


# -- what came late


def on_time_monies(counts: Counts) -> tuple[Money, ...]:
    """Money of the on-time events, in the order of figures.MONIES."""
    monies: tuple[Money, ...] = _monies(counts)
    if counts.late is None:
        return monies
    return tuple(
        {currency: minor - gone.get(currency, 0) for currency, minor in money.items()}
        for money, gone in zip(monies, counts.late.monies, strict=True)
    )
