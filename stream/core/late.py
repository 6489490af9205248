"""What of a pane came late, kept beside the pane (core/ontime.py says why)."""

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from stream.core.breakdown import Money
from stream.core.columns import COUNTERS, INTERNAL, MONIES, NEVER
from stream.model.money import capped

if TYPE_CHECKING:
    from stream.core.counts import Counts

SUMS: Final = (*COUNTERS, *INTERNAL, "events")
"""The sums of which a late part is kept."""
Moments = tuple[int, str, str, int, str, int, int]
"""Values of LABELS and SPAN."""
NO_MOMENTS: Final[Moments] = (NEVER, "", "", NEVER, "", NEVER, NEVER)
_monies: Final = attrgetter(*MONIES)


class Late:
    """What came late of a pane: sums, money by currency, and the moments as they would be of these events alone."""

    __slots__ = ("moments", "monies", "sums")

    def __init__(
        self,
        sums: tuple[int, ...] = (0,) * len(SUMS),
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
    monies = [{code: capped(minor) for code, minor in money.items()} for money in on_time_monies(counts)]
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
