"""What of a pane came late, kept beside the pane (core/ontime.py says why)."""

from typing import Any, Final

from stream.core.breakdown import Money
from stream.core.figures import DEFAULTS, LATE_SUMS, MOMENTS, MONIES

Moments = tuple[int | str, ...]
"""Values of figures.MOMENTS."""
NO_MOMENTS: Final[Moments] = tuple(DEFAULTS[name] for name in MOMENTS)


_LAST_EVENT, _LABEL_AT = MOMENTS.index("last_event"), MOMENTS.index("label_at")


class Late:
    """What came late of a pane: sums, money by currency, and the moments as they would be of these events alone."""

    __slots__ = ("moments", "monies", "sums")

    def __init__(
        self,
        sums: tuple[int, ...] = (0,) * len(LATE_SUMS),
        moments: Moments = NO_MOMENTS,
        monies: tuple[Money, ...] | None = None,
    ) -> None:
        self.sums = sums
        """In the order of figures.LATE_SUMS."""
        self.moments = moments
        self.monies: tuple[Money, ...] = tuple({} for _ in MONIES) if monies is None else monies
        """In the order of figures.MONIES."""


def newest(counts: Any) -> tuple[int, int]:
    """``last_event`` and ``label_at`` of all events of some counts, late ones too."""
    late: Late | None = counts.late
    if late is None:
        return counts.last_event, counts.label_at
    moments: tuple[Any, ...] = late.moments
    return max(counts.last_event, moments[_LAST_EVENT]), max(counts.label_at, moments[_LABEL_AT])
