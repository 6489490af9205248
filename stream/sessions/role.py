"""The role of the session worker: its topics, and the machines it feeds (sessions/machines.py)."""

from typing import Final

from stream.core.deadletters import LETTER_BYTES
from stream.kafka.role import Input, Output, Role, Spec
from stream.kafka.topics import DAY_MS, MAX_BYTES, TIMESTAMPS
from stream.model.names import ALERTS, DEAD_LETTERS, INPUTS, SESSION_WINDOWS, SESSIONS, STATE
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
        ),
        letters=DEAD_LETTERS,
        state=STATE,
        specs=SPECS,
        machines=Shards(rules),
    )


WORKER: Final = worker_role()
