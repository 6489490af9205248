"""Whether brokers answer: their state, and each change that people must know. Pure; ``now`` is monotonic seconds.

Each process has one. The log, readiness, the metrics and whoever waits for a broker derive from it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

AWAY_AFTER: Final = 4.0
"""Seconds without an answer of any broker. A leader's election, or a broker that is restarted, is not that long."""
TELL_EVERY: Final = 10.0
"""Seconds between two log lines while they are away."""


class Change(Enum):
    """What the log says."""

    AWAY = "away"
    STILL_AWAY = "still away"
    BACK = "back"


@dataclass(slots=True)
class BrokerAvailability:
    """Updated about every second. Brokers are away when none has answered for `AWAY_AFTER`."""

    last_answer: float
    """When a broker last answered."""
    why: str = ""
    """Why the last attempt failed."""
    reported_at: float | None = None
    """When the log last said that they are away; None while they answer."""

    @property
    def away(self) -> bool:
        return self.reported_at is not None

    def update(self, now: float, connected: int, why: str = "") -> Change | None:
        """``connected`` brokers answered just now; with none, ``why`` says why. Returns what the log should say."""
        if connected:
            was_away, self.last_answer, self.reported_at = self.away, now, None
            return Change.BACK if was_away else None
        self.why = why or self.why
        if self.reported_at is None:
            if now - self.last_answer < AWAY_AFTER:
                return None
            self.reported_at = now
            return Change.AWAY
        if now - self.reported_at < TELL_EVERY:
            return None
        self.reported_at = now
        return Change.STILL_AWAY
