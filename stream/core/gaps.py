"""Lost offsets: which results have to say that something may be missing from them."""

from collections.abc import Iterable, Mapping

from stream.core.counts import NEVER
from stream.core.panes import Pane
from stream.core.policy import Policy
from stream.model.names import Kind


class Gaps(dict[Kind, int | None]):
    """Topics that lost offsets: until which event time, in ms, results are incomplete; None before the first event after."""

    __slots__ = ()

    def mark(self, kind: Kind, touched: Iterable[Pane], clock: int | None, policy: Policy) -> None:
        """Panes that a batch has changed while offsets are missing; held ones were marked when the gap was found."""
        for pane in touched:
            pane.incomplete = True
        if self.get(kind, 0) is None and clock is not None:  # the first batch after the gap that moves the clock
            # what was lost may have been stamped ahead of the clock, as the first event after it may be
            self[kind] = clock + policy.max_future_ms + policy.longest_ms + policy.bound_ms

    def end(self, clocks: Mapping[Kind, int | None]) -> None:
        """Those of which nothing can be missing any more."""
        for kind, until in list(self.items()):
            clock = clocks[kind]
            if until is not None and (NEVER if clock is None else clock) >= until:
                del self[kind]
