"""Topics that are not waited for: silent ones, and when to tell of those that are far behind; and topics that an open
transaction hides. Pure; ``now`` in seconds.

A topic is silent when it is caught up and nothing has come for a while of wall clock.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Generic

from stream.core.alignment import K

QUIET_EVERY: Final = 1.0
"""Seconds between two looks at the wall clock while all topics are silent."""
OVER_AFTER: Final = 60.0
"""Seconds for which a topic must not have been left out any more before that is told."""


@dataclass(slots=True)
class Silence(Generic[K]):
    """Which topics to leave out of the watermark. A topic that speaks is no longer silent, and waits anew."""

    topics: Collection[K]
    idle_after: float
    """Seconds."""
    _since: dict[K, float] = field(default_factory=dict)
    _silent: set[K] = field(default_factory=set)
    _looked: float = 0.0

    def heard(self, kind: K) -> None:
        self._since.pop(kind, None)
        self._silent.discard(kind)

    def fallen_silent(self, now: float, caught_up: Collection[K]) -> list[K]:
        """Topics that are silent now and were not before."""
        fallen = []
        for kind in self.topics:
            if kind not in caught_up:
                self.heard(kind)
            elif kind not in self._silent and now - self._since.setdefault(kind, now) >= self.idle_after:
                self._silent.add(kind)
                fallen.append(kind)
        return fallen

    def is_quiet(self, now: float, far_behind: Collection[K] = ()) -> bool:
        """All topics are silent, or too far behind to be waited for, and it is time to look at the wall clock."""
        if len(self._silent.union(far_behind)) < len(self.topics) or now - self._looked < QUIET_EVERY:
            return False
        self._looked = now
        return True


@dataclass(slots=True)
class LeftOut(Generic[K]):
    """When to tell of topics that are left out since they are far behind: once when it begins, once when it is over.

    One that is about as far behind as is allowed may be left out and not left out by turns.
    """

    _since: dict[K, float] = field(default_factory=dict)
    """When each of which was told was last left out."""

    def changes(self, now: float, left_out: Collection[K]) -> list[tuple[K, bool]]:
        """Topics to tell of, and whether they are left out."""
        begun = [(kind, True) for kind in left_out if kind not in self._since]
        self._since.update(dict.fromkeys(left_out, now))
        over = [kind for kind, since in self._since.items() if now - since >= OVER_AFTER]
        for kind in over:
            del self._since[kind]
        return begun + [(kind, False) for kind in over]


@dataclass(slots=True)
class Hidden(Generic[K]):
    """For how long one open transaction has hidden what follows it. Producers with transactions always have some open:
    what matters is one that does not end.
    """

    _since: dict[K, tuple[int, float]] = field(default_factory=dict)
    """Where it begins, and when it was first seen there."""

    def seconds(self, kind: K, begin: int | None, now: float) -> float:
        """``begin``: offset at which the oldest one begins; None without one, or when nobody knows."""
        if begin is None:
            self._since.pop(kind, None)
            return 0.0
        if self._since.get(kind, (-1, now))[0] != begin:
            self._since[kind] = begin, now
        return now - self._since[kind][1]
