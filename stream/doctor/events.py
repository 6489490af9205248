"""What the newest records would become: a sample is judged as a worker judges, and shares above the limit are told.

The sample of a partition is counted by a shard of its own, in the order in which the broker took the records. It begins in
the middle, so that what its first records were behind is not known; so it finds too little rather than too much.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import msgspec

from stream.config import Settings
from stream.core.decode import Decoded
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.core.shares import SHARES, Share, records
from stream.doctor.finding import Check, Finding, Severity
from stream.model.events import Checkout, Comment
from stream.model.names import INPUTS, Kind, Reason
from stream.model.results import Record, Tally

LEAST: Final = 20
"""Records of a topic in a sample below which no share is judged."""
BY_PLACE: Final = frozenset((Reason.LATE, Reason.PANE_GONE, Reason.FUTURE, Reason.TOO_MANY_SESSIONS))
"""Reasons that other records decide. Those that a record has by itself are told with the keys."""
JUDGED: Final = tuple(
    share for share in SHARES if not share.any_number and (not share.refused or share.name in BY_PLACE)
)


@dataclass(frozen=True, slots=True)
class Sampled:
    """One record of a sample, without its value, which may be large. Stands in for a `Record`."""

    kind: Kind
    offset: int
    timestamp: int
    key: bytes | None
    event: Decoded
    products: Sequence[str] = ()
    """Of the items of a checkout."""
    value: None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def sampled(kind: Kind, record: Record, event: Decoded) -> Sampled:
    """Without what is not judged: texts, and items but for their ids."""
    products: tuple[str, ...] = ()
    if isinstance(event, Comment):
        event = msgspec.structs.replace(event, text="")
    elif isinstance(event, Checkout):
        products = tuple(item.product_id for item in event.items)
        event = msgspec.structs.replace(event, items=())
    return Sampled(kind, record.offset, record.timestamp, record.key, event, products)


def judge_events(samples: Mapping[int, Iterable[Sampled]], settings: Settings) -> list[Finding]:
    """By partition the samples of all its topics."""
    policy, warn_share = settings.policy(), settings.warn_share
    tallies = {partition: _counted(sample, policy) for partition, sample in samples.items()}
    found = [
        _finding(f"{settings.topic(INPUTS[kind])}/{partition}", share, number, of)
        for partition, tally in sorted(tallies.items())
        for kind, of in records(tally).items()
        for share in JUDGED
        if of >= LEAST and (number := share.count(tally, kind)) > warn_share * of
    ]
    return found or [_nothing_wrong(sum(tally.outcomes.total() for tally in tallies.values()))]


def _counted(sample: Iterable[Sampled], policy: Policy) -> Tally:
    shard = Shard(policy)
    for record in sorted(sample, key=attrgetter("timestamp")):  # of one topic they are in order
        shard.count(record.kind, (record,), (record.event,))
    return shard.judge.tally


def _finding(subject: str, share: Share, number: int, of: int) -> Finding:
    what = f"{number} of {of} sampled records {share.what}"
    return Finding(Check.EVENTS, Severity.WARNING, subject, what, f"{share.cause}: {share.todo}")


def _nothing_wrong(number: int) -> Finding:
    severity = Severity.OK if number else Severity.INFO
    what = f"{number} sampled records come in time and once" if number else "no record to look at"
    return Finding(Check.EVENTS, severity, "inputs", what)
