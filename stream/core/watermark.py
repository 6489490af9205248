"""The watermark: how far all topics are in event time, and which of them do not hold it back.

A topic that is far behind must not hold back the results of the others. Law 3 allows this: its events correct later what was
closed without it. All of this follows from the clocks; the edge says only whether a topic is caught up or silent.
"""

from collections.abc import Collection, Mapping

from stream.core.policy import Policy
from stream.core.windows import FAR_AHEAD, LONG_AGO
from stream.model.names import Kind


class Watermark:
    """Of one shard. ``clocks`` are its own: how far each topic is in event time, in ms. All times are in ms."""

    def __init__(self, policy: Policy, clocks: Mapping[Kind, int | None]) -> None:
        self._policy = policy
        self._clocks = clocks
        self.now: int | None = None
        """The watermark. It never goes back; None before all topics that it waits for have spoken."""
        self.wall: int | None = None
        """The wall clock, when all topics are caught up and silent."""
        self.left_out: set[Kind] = set()
        """Topics that are far behind in what they say, and not waited for."""
        self._excluded: set[Kind] = set()
        """Silent ones, which are not waited for either."""
        self._caught_up: frozenset[Kind] = frozenset()
        self._spoken: set[Kind] = set()

    @property
    def passed(self) -> int:
        """It, or before any time."""
        return LONG_AGO if self.now is None else self.now

    @property
    def wall_passed(self) -> int:
        """What the wall clock has passed, while it may be asked; else before any time."""
        return LONG_AGO if self.wall is None else self.wall - self._policy.delay_ms

    @property
    def waits(self) -> bool:
        """A topic is left out whose records still come: what is written now may soon be corrected again."""
        return bool(self.left_out - self._excluded) and self.wall != FAR_AHEAD

    @property
    def complete(self) -> int:
        """Up to where every on-time event is in, whatever the watermark says."""
        clocks = [clock for clock in self._clocks.values() if clock is not None]
        if self.wall == FAR_AHEAD:
            return FAR_AHEAD
        return min(clocks) - self._policy.delay_ms if len(clocks) == len(self._clocks) else LONG_AGO

    @property
    def final(self) -> int:
        """Windows that start here or earlier are open to no more events.

        By all clocks, or at the latest when `state_retention` says that whatever could change them is refused.
        """
        policy = self._policy
        clocks = [clock for clock in self._clocks.values() if clock is not None]
        if not clocks:
            return LONG_AGO
        line = max(clocks) - policy.longest_ms - policy.state_retention_ms
        if len(clocks) == len(self._clocks):
            line = max(line, min(clocks) - policy.longest_ms - policy.bound_ms)
        return line

    def hear(self, kind: Kind) -> None:
        """A topic has spoken; to be called before its clock moves."""
        self._excluded.discard(kind)
        self._spoken.add(kind)

    def follow(self, kind: Kind) -> None:
        """The same, after its clock has moved."""
        if kind in self._move():
            self.left_out.add(kind)  # what it says is no reason to wait for clocks instead of the wall's
        else:
            self.wall = None

    def keep_up(self, caught_up: Collection[Kind]) -> bool:
        """Says of which topics all there is has been counted. True when the watermark moves."""
        before, self._caught_up = self.now, frozenset(caught_up)
        self._move()
        return self.now != before

    def exclude(self, kind: Kind) -> None:
        """The topic is caught up and silent: it holds the watermark back no longer, until its next record."""
        self._excluded.add(kind)
        self._move()

    def far_behind(self) -> set[Kind]:
        """Topics that hold nothing back now, since their clocks are far behind. One that never spoke is only silent."""
        clocks = self._clocks
        if together(clocks, self._policy):
            return set()
        up = [kind for kind in self._caught_up if clocks[kind] is not None or kind in self._spoken]
        return far_behind(clocks, self._policy, up)

    def _move(self) -> set[Kind]:
        """Returns the topics that are far behind now."""
        far = self.far_behind()
        self.left_out &= far
        clock = slowest(self._clocks, self._excluded | far)
        if clock is not None:
            passed = clock - self._policy.delay_ms
            self.now = passed if self.now is None else max(self.now, passed)
        return far


def far_behind(clocks: Mapping[Kind, int | None], policy: Policy, caught_up: Collection[Kind]) -> set[Kind]:
    """Topics that are left out: by more than delay + lateness if caught up, by more than ``state_retention`` anyway.

    Behind the newest clock of the shard, whatever topic that is of. One that is caught up and has no clock is as far behind
    as can be: nothing in its log has a time. (p: a tombstone every 4 s withheld all windows, for ever.)
    """
    known = [clock for clock in clocks.values() if clock is not None]
    if not known:
        return set()
    newest = max(known)
    bounds = {kind: policy.bound_ms if kind in caught_up else policy.state_retention_ms for kind in clocks}
    return {
        kind
        for kind, clock in clocks.items()
        if (kind in caught_up if clock is None else newest - clock > bounds[kind])
    }


def slowest(clocks: Mapping[Kind, int | None], left_out: Collection[Kind]) -> int | None:
    """The smallest clock of the topics that are not left out; None while one of them has none, or none is left."""
    holding = [clock for kind, clock in clocks.items() if kind not in left_out]
    known = [clock for clock in holding if clock is not None]
    return min(known) if known and len(known) == len(holding) else None


def together(clocks: Mapping[Kind, int | None], policy: Policy) -> bool:
    """Every topic has a clock, and none is so far behind that it could be left out: as nearly always."""
    known = [clock for clock in clocks.values() if clock is not None]
    near = min(policy.bound_ms, policy.state_retention_ms)
    return bool(known) and len(known) == len(clocks) and max(known) - min(known) <= near
