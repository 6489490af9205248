"""Which topics do not hold the watermark back: what a topic says that is far behind must not withhold what others said.

Law 3 allows it: what is closed without such a topic is corrected by what comes of it. Pure functions of the clocks; only
whether a topic is caught up is the edge's to say.
"""

from collections.abc import Collection, Mapping

from stream.core.policy import Policy
from stream.model.names import Kind


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
