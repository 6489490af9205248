"""What may be wrong with the records of a topic, told by how many there are of a kind; with the likely cause of each.

One table, `SHARES`: the worker's log and readiness and the doctor read it. A row counts records of one topic in a `Tally`.
Texts are for people, and quote no record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stream.model.names import KINDS, Kind, Outcome, Reason
from stream.model.results import Tally


@dataclass(frozen=True, slots=True)
class Share:
    """One row: what is counted, and what it probably means."""

    name: str
    """As a reason in logs."""
    what: str
    """What the counted records are or did: the end of a sentence."""
    cause: str
    todo: str
    count: Callable[[Tally, Kind], int]
    refused: bool = False
    """These become dead letters, and are counted in `REJECTED` too."""
    any_number: bool = False
    """One is enough to be told, and it is told for good: each is a sign of a lasting fault."""

    def told(self, number: int, records: int) -> str:
        """``records``: those among which there are so many."""
        return f"{number} of {records} records {self.what}: {self.cause}; {self.todo}"


DETAILS: Final = "live.dead-letters holds the records, and liveshop-detail says what is wrong with each"
_REASONS: Final[dict[str, tuple[str, str, str]]] = {
    "invalid_json": (
        "are not JSON",
        "a producer writes another format or uses a schema registry's serializer",
        DETAILS,
    ),
    "not_utf8": ("are not UTF-8", "a producer compresses or encodes values by itself", DETAILS),
    "missing_field": ("lack a field", "a producer has changed its events, or a connector wraps them", DETAILS),
    "wrong_type": ("have a field of another type", "a producer has changed its events", DETAILS),
    "bad_value": (
        "have a value out of its range",
        "a producer has changed its events, or sends times in seconds",
        DETAILS,
    ),
    "unknown_action": ("have an unknown action", "a producer has changed its events", DETAILS),
    "unknown_status": ("have an unknown status", "a producer has changed its events", DETAILS),
    "key_mismatch": (
        "have a key that is not their session_id",
        "a producer sets another key or serializes it",
        DETAILS,
    ),
    "too_large": (
        "are larger than max_value, or lie in batches larger than max_batch",
        "a producer sends several events in one value",
        DETAILS,
    ),
    "too_many_headers": ("have too many headers", "a tracing library or a proxy adds headers without end", DETAILS),
    "unreadable": ("lie in batches that cannot be unpacked", "a producer's compression library is broken", DETAILS),
    "future": (
        "are ahead of the broker's clock by more than max_future",
        "a producer's clock is fast, or it sends local time as UTC",
        "correct its clock; " + DETAILS,
    ),
    "producer_time": (
        "carry a producer's timestamps, which are not trusted",
        "the topic has or had message.timestamp.type=CreateTime",
        "set it to LogAppendTime, or run the worker with --trust-producer-time yes",
    ),
    "late": (
        "came too late for their windows",
        "a producer was offline, or its events wait in a buffer",
        "shorten its way, or raise lateness if that is how it must be",
    ),
    "pane_gone": (
        "came after their pane was dropped, since another topic of their partition is far ahead",
        "a producer stood still for longer than state_retention, or event times of one topic are off by hours",
        "compare liveshop_lag_seconds and the event times of the topics; raise state_retention before it catches up",
    ),
    "too_many_sessions": (
        "belong to more new sessions than are admitted",
        "a producer makes up session ids",
        "look for ids that occur once; raise max_new_sessions or max_sessions if all are real",
    ),
    "too_many_events": (
        "are more than one pane of a partition may count",
        "a producer sends in a loop, or a partition has far more than its share",
        "stop the loop, or spread the sessions over more partitions",
    ),
}
"""By reason: what, cause, and what to do. A record that an operator skipped is nothing to tell of."""


def _of_reason(reason: Reason) -> Share:
    what, cause, todo = _REASONS[reason]

    def count(tally: Tally, kind: Kind) -> int:
        return tally.refused[kind, reason] + tally.batched[kind, reason]

    return Share(reason, what, cause, todo, count, refused=True)


CAUSES: Final = {reason: f"{_REASONS[reason][1]}: {_REASONS[reason][2]}" for reason in Reason if reason in _REASONS}
"""By reason: the likely cause, and what to do."""

REJECTED: Final = Share(
    "rejected",
    "were rejected",
    "somebody has probably deployed a broken producer",
    DETAILS,
    lambda tally, kind: tally.outcomes[kind, Outcome.REJECTED],
)
"""All reasons together but late: a producer that comes back after an outage is not broken."""

SHARES: Final = (
    *(_of_reason(reason) for reason in Reason if reason in _REASONS),
    Share(
        "not_on_time",
        "were counted, but came too late for alerts",
        "a producer collects events for longer than the delay, or one of several lags behind",
        "let it send every few seconds, or raise delay",
        lambda tally, kind: tally.not_on_time[kind],
    ),
    Share(
        "total_only",
        "came too late for their windows and for alerts, and count in totals alone",
        "shops send webhooks again for hours, or a producer was offline",
        "nothing, if there are few; else shorten its way, or raise lateness",
        lambda tally, kind: tally.outcomes[kind, Outcome.TOTAL_ONLY],
    ),
    Share(
        "duplicate",
        "are repeats",
        "a producer retries without idempotence, or has sent everything again after a restart",
        "set enable.idempotence=true, and let a connector keep its offsets",
        lambda tally, kind: tally.outcomes[kind, Outcome.DUPLICATE],
    ),
    Share(
        "tombstone",
        "have no value",
        "a producer deletes keys, or sends null where it has no event",
        "let it send nothing instead",
        lambda tally, kind: tally.outcomes[kind, Outcome.TOMBSTONE],
    ),
    Share(
        "misplaced",
        "began sessions on another partition than murmur2 gives their keys",
        "a producer partitions differently, and the topics of one session no longer meet in one shard",
        "set partitioner=murmur2_random in librdkafka",
        lambda tally, kind: tally.misplaced[kind],
        any_number=True,
    ),
)


def records(tally: Tally) -> dict[Kind, int]:
    """All records of each topic."""
    return {kind: sum(tally.outcomes[kind, outcome] for outcome in Outcome) for kind in KINDS}
