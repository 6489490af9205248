"""What would become of an event that is sent again now, as far as clocks decide it. Pure.

The event would be judged as any other, at the end of its topic: by the clocks of its shard as they are then, in the order of
docs/architecture.md. Whether it is a repeat, or its session one too many, only the shard knows.

The record gets a new timestamp, that of the broker on its arrival. So it moves no clock beyond its own event time, and none
at all where that is old; and it is kept for as long as any new record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from stream.core.policy import Policy
from stream.model.events import Checkout, Event
from stream.model.names import Kind, Outcome, Reason

NOTHING_FORGOTTEN: Final = -(2**62)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Of one shard, as its newest checkpoint has them. Without a checkpoint nothing is late yet."""

    policy: Policy
    topics: Mapping[Kind, int] = field(default_factory=dict)
    checkout_floor: int = NOTHING_FORGOTTEN
    """Event time from which on the shard knows its checkout keys. Of an order of before it nobody could say whether it is a
    copy, so that a late one is refused."""

    @property
    def newest(self) -> int | None:
        return max(self.topics.values(), default=None)


def outlook(clocks: Clocks, kind: Kind, event: Event, now_ms: int) -> Outcome | Reason:
    """``now_ms``: the broker's timestamp that it would get."""
    policy, time, clock, newest = clocks.policy, event.event_time, clocks.topics.get(kind), clocks.newest
    if time > now_ms + policy.max_future_ms:
        return Reason.FUTURE
    is_late = clock is not None and time + policy.bound_ms <= clock
    pane_end = time // policy.pane_ms * policy.pane_ms + policy.pane_ms
    is_gone = newest is not None and pane_end + policy.state_retention_ms <= newest
    if not (is_late or is_gone):
        return Outcome.COUNTED
    in_time = clock is None or time + policy.late_totals_ms > clock
    if isinstance(event, Checkout) and in_time and time >= clocks.checkout_floor:
        return Outcome.TOTAL_ONLY
    return Reason.LATE if is_late else Reason.PANE_GONE
