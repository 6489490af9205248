"""What of a pane was on time: alerts are decided on that alone, and so are a function of the logs.

An event is on time when event time + delay > its own topic's clock on arrival: then it is in before its slide can be
judged. A pane counts everything; beside it stands what came late (`Late`), where anything did. What is a sum is then
known by subtraction; a maximum is not, so the labels and the span of late events are kept apart and only shown in sums.

A sum that was cut at 2^63 - 1 says nothing about a part of it. Money is exact: it grows on in memory, and of it the on-time
part is packed instead of the late one (core/late.py). Of a counter that is cut (it takes 10^11 events of one session in one
slice, or a state that says so) the on-time part counts as cut, too. Neither depends on the order in which events came.
"""

from typing import TYPE_CHECKING, Final

from stream.core.figures import LATE_SUMS
from stream.core.pure.ontime import count_late, on_time
from stream.core.switch import NATIVE

if TYPE_CHECKING:
    from stream.core.counts import Counts

if TYPE_CHECKING or not NATIVE:
    from stream.core.pure.ontime import column_of
else:
    from stream.core.native.totals import column_of

_EVENTS: Final = LATE_SUMS.index("events")

__all__ = ["column_of", "count_late", "events_of", "on_time_ms"]


def on_time_ms(delay_ms: int) -> int:
    """How far behind its topic's clock an event is late for alerts. Without a delay, one at the clock itself is not."""
    return max(1, delay_ms)


def events_of(counts: "Counts") -> int:
    """Number of on-time events."""
    return counts.events if counts.late is None else on_time(counts.events, counts.late.sums[_EVENTS])
