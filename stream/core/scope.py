"""Which results a shard writes, where those are not all: a stretch of event time, and whose. Pure.

It is asked before a result is rendered, with what is at hand then: keys and numbers. What is counted does not depend on it.
"""

from dataclasses import dataclass

from stream.core.counts import NEVER, Counts
from stream.model.alerts import Alert


@dataclass(frozen=True, slots=True)
class Scope:
    """``from_ms`` and ``to_ms``: of event time, in ms. Empty ``sessions`` and ``sellers``: all of them."""

    from_ms: int
    to_ms: int
    sessions: frozenset[bytes] = frozenset()
    """Their keys."""
    sellers: frozenset[str] = frozenset()

    def has_window(self, key: bytes, start: int, end: int) -> bool:
        """Whether it is wholly inside. Its seller is another question."""
        return self.from_ms <= start and end <= self.to_ms and self.has_session(key)

    def has_totals(self, key: bytes, totals: Counts) -> bool:
        """Of a session that began before the end, and did something since the beginning.

        Cancels and refunds alone, of an order of before, are something, but have no first event.
        """
        if not (self.has_session(key) and self.has_seller(totals.seller)):
            return False
        first, last = int(totals.first_event), int(totals.last_event)
        return first == NEVER or (first < self.to_ms and last >= self.from_ms)

    def has_alert(self, alert: Alert) -> bool:
        """Of a slide that ends in the stretch."""
        return (
            self.from_ms < alert.at <= self.to_ms
            and self.has_session(alert.session_id.encode())
            and self.has_seller(alert.seller_id)
        )

    def has_session(self, key: bytes) -> bool:
        """``key``: of its records."""
        return not self.sessions or key in self.sessions

    def has_seller(self, seller: str) -> bool:
        """As the label of a result says."""
        return not self.sellers or seller in self.sellers
