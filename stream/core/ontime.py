"""What of a pane was on time: alerts are decided on that alone, and so are a function of the logs.

An event is on time when event time + delay > its own topic's clock on arrival: then it is in before its slide can be
judged. A pane counts everything; beside it stands what came late (`Late`), where anything did. What is a sum is then
known by subtraction; a maximum is not, so the labels and the span of late events are kept apart and only shown in sums.
"""

from collections.abc import Callable
from operator import add, attrgetter, sub
from typing import TYPE_CHECKING, Any, Final

from stream.core.breakdown import Money
from stream.core.counts import COUNTERS, INTERNAL, LABELS, NEVER, SPAN
from stream.model.money import MAX_SUM

if TYPE_CHECKING:
    from stream.core.counts import Counts
    from stream.core.panes import Pane

_SUMS: Final = (*COUNTERS, *INTERNAL, "events")
_MOMENTS: Final = (*LABELS, *SPAN)
_sums: Final = attrgetter(*_SUMS)
_moments: Final = attrgetter(*_MOMENTS)
_monies: Final = attrgetter("gmv", "item_value", "local_item_value")
_MONEY_AT: Final = len(_SUMS) - 1
"""Where the money stands in a column: before ``events``."""

Moments = tuple[int, str, str, int, str, int, int]
"""Values of LABELS and SPAN."""
NO_MOMENTS: Final[Moments] = (NEVER, "", "", NEVER, "", NEVER, NEVER)


def on_time_ms(delay_ms: int) -> int:
    """How far behind its topic's clock an event is late for alerts. Without a delay, one at the clock itself is not."""
    return max(1, delay_ms)


class Late:
    """What came late of a pane: sums, money by currency, and the moments as they would be of these events alone."""

    __slots__ = ("moments", "monies", "sums")

    def __init__(
        self,
        sums: tuple[int, ...] = (0,) * len(_SUMS),
        moments: Moments = NO_MOMENTS,
        monies: tuple[Money, Money, Money] | None = None,
    ) -> None:
        self.sums = sums
        self.moments = moments
        self.monies: tuple[Money, Money, Money] = ({}, {}, {}) if monies is None else monies

    def show(self, whole: "Counts") -> None:
        """Adds the moments to a sum that holds the pane's own already. Both may be of the same event time."""
        label_at, seller, platform, creator_at, creator, first, last = self.moments
        if (label_at, seller) > (whole.label_at, whole.seller):
            whole.seller = seller
        if (label_at, platform) > (whole.label_at, whole.platform):
            whole.platform = platform
        whole.label_at = max(whole.label_at, label_at)
        whole.creator_at, whole.creator = max((whole.creator_at, whole.creator), (creator_at, creator))
        if last != NEVER:
            whole.last_event = max(whole.last_event, last)
            whole.first_event = first if whole.first_event == NEVER else min(whole.first_event, first)

    @property
    def label_at(self) -> int:
        return self.moments[0]

    @property
    def last_event(self) -> int:
        return self.moments[-1]


def count_late(count: Callable[..., None], pane: "Pane", event: Any, limit: int) -> None:
    """Counts the event into the pane as ``count`` does, and what it changes into the pane's late part."""
    late = pane.late = pane.late or Late()
    own, sums = _moments(pane), _sums(pane)
    monies = [dict(money) for money in _monies(pane)]
    _set_moments(pane, late.moments)
    count(pane, event, limit)
    late.moments = _moments(pane)
    _set_moments(pane, own)
    late.sums = tuple(map(add, late.sums, map(sub, _sums(pane), sums)))
    for into, before, now in zip(late.monies, monies, _monies(pane), strict=True):
        for currency, minor in now.items():
            if minor != before.get(currency, 0):
                into[currency] = into.get(currency, 0) + minor - before.get(currency, 0)


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
    """The on-time figures, in the order of `figures.FIELDS`. Money saturates."""
    late = counts.late
    sums = _sums(counts)
    if late is not None:
        sums = tuple(map(sub, sums, late.sums))
    if not counts.orders_paid:
        return (*sums[:_MONEY_AT], 0, 0, 0, sums[_MONEY_AT])
    money = [min(minor.get(currency, 0), MAX_SUM) for minor in on_time_monies(counts)]
    return (*sums[:_MONEY_AT], *money, sums[_MONEY_AT])


def events_of(counts: "Counts") -> int:
    """Number of on-time events."""
    return counts.events if counts.late is None else counts.events - counts.late.sums[_MONEY_AT]


def on_time_monies(counts: "Counts") -> tuple[Money, ...]:
    """GMV, item value and local item value of the on-time events."""
    monies: tuple[Money, ...] = _monies(counts)
    if counts.late is None:
        return monies
    return tuple(
        {currency: minor - gone.get(currency, 0) for currency, minor in money.items()}
        for money, gone in zip(monies, counts.late.monies, strict=True)
    )


# -- packed: the on-time money instead of the late, since a sum that has saturated says nothing about a part of it


def pack_late(counts: "Counts") -> tuple[Any, ...]:
    """The late part of a pane that has one, and the two moments of its own that its head does not hold (`newest`)."""
    late = counts.late or Late()
    monies = [{code: min(minor, MAX_SUM) for code, minor in money.items()} for money in on_time_monies(counts)]
    return late.sums, late.moments, monies, counts.last_event, counts.label_at


def unpack_late(counts: "Counts", packed: Any) -> None:
    """For counts whose other figures are set already."""
    sums, moments, monies, counts.last_event, counts.label_at = packed
    late = [
        {code: minor - on_time.get(code, 0) for code, minor in money.items()}
        for money, on_time in zip(_monies(counts), monies, strict=True)
    ]
    counts.late = Late(tuple(sums), tuple(moments), (late[0], late[1], late[2]))


def newest(counts: "Counts") -> tuple[int, int]:
    """``last_event`` and ``label_at`` of all events, late ones too."""
    late = counts.late
    if late is None:
        return counts.last_event, counts.label_at
    return max(counts.last_event, late.last_event), max(counts.label_at, late.label_at)
