"""The role of the session worker: its topics, and the machines it feeds (sessions/machines.py)."""

from typing import Final

from stream.core.deadletters import LETTER_BYTES
from stream.kafka.role import Input, Output, Role, Spec
from stream.kafka.topics import BATCH_BYTES, DAY_MS, MAX_BYTES, TIMESTAMPS
from stream.model.names import (
    ALERTS,
    DEAD_LETTERS,
    INPUTS,
    PROMOTED,
    PROMOTION_OUTCOMES,
    PROMOTIONS,
    SESSION_WINDOWS,
    SESSIONS,
    STATE,
)
from stream.sessions.machines import Shards
from stream.sessions.rules_reload import ReloadedRules

# The broker's clock. In the inputs it judges the future, identically in every replay, and bounds each topic's clock; in
# the others retention goes by it, whatever the clock of a worker's machine says.
_STAMPED: Final = {TIMESTAMPS: "LogAppendTime"}
# An active segment is neither compacted nor deleted, so segments are rolled well within the retention.
_KEPT: Final = {"cleanup.policy": "compact,delete", "segment.ms": str(DAY_MS), **_STAMPED}

SPECS: Final[tuple[Spec, ...]] = (
    *(
        Spec(name, {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS), **_STAMPED})
        for name in INPUTS.values()
    ),
    Spec(SESSION_WINDOWS, {**_KEPT, "retention.ms": str(7 * DAY_MS)}),
    Spec(SESSIONS, {**_KEPT, "retention.ms": str(90 * DAY_MS)}),
    Spec(ALERTS, {**_KEPT, "retention.ms": str(30 * DAY_MS)}),
    Spec(
        DEAD_LETTERS,
        {
            "cleanup.policy": "delete",
            "retention.ms": str(30 * DAY_MS),
            "segment.ms": str(DAY_MS),
            MAX_BYTES: str(LETTER_BYTES),
            **_STAMPED,
        },
    ),
    Spec(
        STATE,
        {
            "cleanup.policy": "compact",
            "segment.bytes": str(64 * 1024 * 1024),
            "segment.ms": "600000",
            "min.cleanable.dirty.ratio": "0.1",
            **_STAMPED,
        },
    ),
)
# A promotion may wait 7 days for its windows to be final, and a rebuild asks for both for 7 days more.
_PROMOTED: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(14 * DAY_MS),
    "segment.ms": str(DAY_MS),
    MAX_BYTES: str(BATCH_BYTES),
    **_STAMPED,
}
PROMOTION_SPECS: Final = (Spec(PROMOTIONS, _PROMOTED), Spec(PROMOTION_OUTCOMES, _PROMOTED))
"""Of an installation in which replays can be promoted: both, or none."""


def worker_role(rules: ReloadedRules | None = None) -> Role:
    """Without rules the role is for reading only: shards are looked at, and no alert is written."""
    return Role(
        name="worker",
        inputs=tuple(Input(kind, topic) for kind, topic in INPUTS.items()),
        outputs=(
            Output(SESSION_WINDOWS, has_generation=True),
            Output(SESSIONS, has_generation=True),
            Output(ALERTS),
            Output(DEAD_LETTERS),
            Output(PROMOTION_OUTCOMES),
        ),
        letters=DEAD_LETTERS,
        state=STATE,
        specs=(*SPECS, *PROMOTION_SPECS),
        machines=Shards(rules),
        side_inputs=(Input(PROMOTED, PROMOTIONS),),
        optional=frozenset({PROMOTIONS, PROMOTION_OUTCOMES}),
    )


PROMOTING: Final = worker_role()
"""With all topics that there may be."""
WORKER: Final = PROMOTING.without(PROMOTING.optional)
"""With those that there must be."""
