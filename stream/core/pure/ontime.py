"""Counting what is late, and the column of what is not, in Python: see core/ontime.py."""

from collections.abc import Callable
from operator import add, attrgetter, sub
from typing import TYPE_CHECKING, Any, Final

from stream.core.figures import ALERTING, LATE_SUMS, MOMENTS, MONIES, How
from stream.core.late import Late, Moments
from stream.core.pure.counts import on_time_monies
from stream.model.money import MAX_SUM, capped

if TYPE_CHECKING:
    from stream.core.counts import Counts
    from stream.core.panes import Pane

_sums: Final = attrgetter(*LATE_SUMS)
_moments: Final = attrgetter(*MOMENTS)
_monies: Final = attrgetter(*MONIES)
_COLUMN: Final = [
    (figure.how is How.MONEY, (MONIES if figure.how is How.MONEY else LATE_SUMS).index(figure.name))
    for figure in ALERTING
    if figure.how in {How.SUM, How.MONEY}
]
"""Of each figure in a column whether it is money, and its place among those or among the sums."""


def count_late(count: Callable[..., int], pane: "Pane", event: Any, limit: int) -> int:
    """Counts the event into the pane as ``count`` does, and what it changes into the pane's late part."""
    late = pane.late = pane.late or Late()
    own, sums = _moments(pane), _capped_sums(pane)
    monies = [dict(money) for money in _monies(pane)]
    _set_moments(pane, late.moments)
    held = count(pane, event, limit)
    late.moments = _moments(pane)
    _set_moments(pane, own)
    late.sums = tuple(map(add, late.sums, map(sub, _capped_sums(pane), sums)))
    for into, before, now in zip(late.monies, monies, _monies(pane), strict=True):
        for currency, minor in now.items():
            if minor != before.get(currency, 0):
                into[currency] = into.get(currency, 0) + minor - before.get(currency, 0)
    return held


def _capped_sums(counts: "Counts") -> tuple[int, ...]:
    """As they are in C anyway."""
    sums: tuple[int, ...] = _sums(counts)
    return tuple(map(capped, sums)) if max(sums) > MAX_SUM else sums


def on_time(whole: int, late: int) -> int:
    """Of a counter: core/ontime.py says why it is so."""
    return whole - late if whole < MAX_SUM else MAX_SUM


def _set_moments(pane: "Pane", moments: Moments) -> None:
    for name, value in zip(MOMENTS, moments, strict=True):
        setattr(pane, name, value)


def column_of(counts: "Counts", currency: str) -> tuple[int, ...]:
    """The on-time figures, in the order of figures.COLUMN. All saturate."""
    late = counts.late
    sums = _capped_sums(counts)
    if late is not None:
        sums = tuple(map(on_time, sums, late.sums))
    amounts = [capped(minor.get(currency, 0)) for minor in on_time_monies(counts)]
    return tuple([amounts[place] if money else sums[place] for money, place in _COLUMN])
