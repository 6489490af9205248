"""Whether brokers answer: what has been heard of them, and what to tell people. Pure; ``now`` in monotonic seconds.

One place of a process knows it. The log, readiness, the metrics, and whoever waits for a broker derive from it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

AWAY_AFTER: Final = 4.0
"""Seconds without an answer of any broker. A leader's election, or a broker that is restarted, is not that long."""
TELL_EVERY: Final = 10.0
"""Seconds between two lines of the log while they are away."""


class News(Enum):
    """What is worth a line."""

    AWAY = "away"
    STILL_AWAY = "still away"
    BACK = "back"


@dataclass(slots=True)
class Outage:
    """Heard of about every second. Brokers count as there until they have been silent for `AWAY_AFTER`."""

    answered: float
    """When one last answered."""
    why: str = ""
    """What the last attempt failed of."""
    told: float | None = None
    """When it was last told that they are away; None while they are there."""

    @property
    def away(self) -> bool:
        return self.told is not None

    def heard(self, now: float, connected: int, why: str = "") -> News | None:
        """``connected`` brokers answered just now; when none did, ``why`` says what the attempts failed of."""
        if connected:
            was_away, self.answered, self.told = self.away, now, None
            return News.BACK if was_away else None
        self.why = why or self.why
        if self.told is None:
            if now - self.answered < AWAY_AFTER:
                return None
            self.told = now
            return News.AWAY
        if now - self.told < TELL_EVERY:
            return None
        self.told = now
        return News.STILL_AWAY
