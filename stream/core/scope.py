"""Which results a shard writes, where those are not all: a stretch of event time, and whose. Pure.

It is asked before a result is rendered, with what is at hand then: keys and numbers. What is counted does not depend on it.
"""

from dataclasses import dataclass

from stream.core.counts import NEVER, Counts
from stream.model.alerts import Alert


@dataclass(frozen=True, slots=True)
class Scope:
    """``from_ms`` and ``to_ms``: of event time, in ms. Without ``sessions`` and ``sellers`` everybody is in it."""

    from_ms: int
    to_ms: int
    sessions: frozenset[bytes] = frozenset()
    """Their keys."""
    sellers: frozenset[str] = frozenset()

    def has(self, key: bytes, seller: str) -> bool:
        """Whether a session is meant. ``seller``: as the result says that is asked for."""
        return not (self.sessions or self.sellers) or key in self.sessions or seller in self.sellers

    def has_window(self, start: int, end: int) -> bool:
        """Whether it is wholly inside."""
        return self.from_ms <= start and end <= self.to_ms

    def has_totals(self, key: bytes, totals: Counts) -> bool:
        """Of a session that began before the end, and did something since the beginning.

        Cancels and refunds alone, of an order of before, are something, but have no first event.
        """
        first, last = int(totals.first_event), int(totals.last_event)
        return self.has(key, totals.seller) and (first == NEVER or (first < self.to_ms and last >= self.from_ms))

    def has_alert(self, alert: Alert) -> bool:
        """Of a slide that ends in the stretch."""
        return self.from_ms < alert.at <= self.to_ms and self.has(alert.session_id.encode(), alert.seller_id)
