"""Everything that is counted, of one pane, of one window or of one session.

Whatever combines here commutes: sums, maxima, unions, ties broken by value. Nothing depends on which of two topics was
read first, so the sum of the panes is a function of the logs.
"""

from typing import TYPE_CHECKING

from stream.core.figures import BREAKDOWNS, COUNTERS, MONIES, NEVER, PLAIN
from stream.core.switch import NATIVE
from stream.core.uniques import estimate, united

if TYPE_CHECKING or not NATIVE:
    from stream.core.pure.counts import Counts, merge_breakdowns, total
else:
    from stream.core.native.counts import Counts
    from stream.core.native.totals import merge_breakdowns, total

__all__ = [
    "BREAKDOWNS",
    "COUNTERS",
    "MONIES",
    "NEVER",
    "PLAIN",
    "Counts",
    "estimate",
    "merge_breakdowns",
    "total",
    "united",
]
