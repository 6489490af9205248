"""When a topic is silent: it is caught up, and nothing has come for a while of wall clock. Pure; ``now`` in seconds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from stream.model.names import KINDS, Kind

QUIET_EVERY: Final = 1.0
"""Seconds between two looks at the wall clock while all topics are silent."""


@dataclass(slots=True)
class Silence:
    """Which topics to leave out of the watermark. A topic that speaks is no longer silent, and waits anew."""

    idle_after: float
    """Seconds."""
    _since: dict[Kind, float] = field(default_factory=dict)
    _silent: set[Kind] = field(default_factory=set)
    _looked: float = 0.0

    def heard(self, kind: Kind) -> None:
        self._since.pop(kind, None)
        self._silent.discard(kind)

    def fallen_silent(self, now: float, caught_up: Callable[[Kind], bool]) -> list[Kind]:
        """Topics that are silent now and were not before."""
        fallen = []
        for kind in KINDS:
            if not caught_up(kind):
                self.heard(kind)
            elif kind not in self._silent and now - self._since.setdefault(kind, now) >= self.idle_after:
                self._silent.add(kind)
                fallen.append(kind)
        return fallen

    def is_quiet(self, now: float) -> bool:
        """All topics are silent, and it is time to look at the wall clock."""
        if len(self._silent) < len(KINDS) or now - self._looked < QUIET_EVERY:
            return False
        self._looked = now
        return True
