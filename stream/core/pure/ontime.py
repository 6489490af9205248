"""Counting what is late, and the column of what is not, in Python: see core/ontime.py."""

from collections.abc import Callable
from operator import add, attrgetter, sub
from typing import TYPE_CHECKING, Any, Final

from stream.core.columns import LABELS, SPAN
from stream.core.late import SUMS, Late, Moments, on_time_monies
from stream.model.money import MAX_SUM, capped

if TYPE_CHECKING:
    from stream.core.counts import Counts
    from stream.core.panes import Pane

_MOMENTS: Final = (*LABELS, *SPAN)
_sums: Final = attrgetter(*SUMS)
_moments: Final = attrgetter(*_MOMENTS)
_monies: Final = attrgetter("gmv", "item_value", "local_item_value")
_MONEY_AT: Final = len(SUMS) - 1
"""Where the money stands in a column: before ``events``."""


def count_late(count: Callable[..., None], pane: "Pane", event: Any, limit: int) -> None:
    """Counts the event into the pane as ``count`` does, and what it changes into the pane's late part."""
    late = pane.late = pane.late or Late()
    own, sums = _moments(pane), _capped_sums(pane)
    monies = [dict(money) for money in _monies(pane)]
    _set_moments(pane, late.moments)
    count(pane, event, limit)
    late.moments = _moments(pane)
    _set_moments(pane, own)
    late.sums = tuple(map(add, late.sums, map(sub, _capped_sums(pane), sums)))
    for into, before, now in zip(late.monies, monies, _monies(pane), strict=True):
        for currency, minor in now.items():
            if minor != before.get(currency, 0):
                into[currency] = into.get(currency, 0) + minor - before.get(currency, 0)


def _capped_sums(counts: "Counts") -> tuple[int, ...]:
    """As they are in C anyway."""
    sums: tuple[int, ...] = _sums(counts)
    return tuple(map(capped, sums)) if max(sums) > MAX_SUM else sums


def on_time(whole: int, late: int) -> int:
    """Of a counter: core/ontime.py says why it is so."""
    return whole - late if whole < MAX_SUM else MAX_SUM


def _set_moments(pane: "Pane", moments: Moments) -> None:
    (
        pane.label_at,
        pane.seller,
        pane.platform,
        pane.creator_at,
        pane.creator,
        pane.first_event,
        pane.last_event,
    ) = moments


def column_of(counts: "Counts", currency: str) -> tuple[int, ...]:
    """The on-time figures, in the order of `figures.FIELDS`. All saturate."""
    late = counts.late
    sums = _capped_sums(counts)
    if late is not None:
        sums = tuple(map(on_time, sums, late.sums))
    if not counts.orders_paid:
        return (*sums[:_MONEY_AT], 0, 0, 0, sums[_MONEY_AT])
    money = [capped(minor.get(currency, 0)) for minor in on_time_monies(counts)]
    return (*sums[:_MONEY_AT], *money, sums[_MONEY_AT])
