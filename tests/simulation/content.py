"""What is sent in a world: some hundred and seventy records over two partitions, with all that can be wrong with one.

And what must come of them, by the independent recount. Both follow from a number, so that many schedules share them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Final

from aiokafka.partitioner import murmur2

from stream.core.policy import Policy, WindowSpec
from stream.model.names import KINDS, Kind
from tests.core.worlds import FAULTS, STATUSES, VIEW_ACTIONS, Happening, World, rules_of
from tests.recount import LogRecord, Recounted, recount

PARTITIONS: Final = 2
SECOND: Final = 1000
SPAN: Final = 110 * SECOND
"""Event time of a world."""
POLICY: Final = Policy(
    windows=(WindowSpec("10s", 10 * SECOND, 10 * SECOND), WindowSpec("30s", 30 * SECOND, 10 * SECOND)),
    delay_ms=2 * SECOND,
    lateness_ms=20 * SECOND,
    max_future_ms=5 * SECOND,
    # whatever stands still, no topic falls so far behind that panes are gone: that would be no function of the logs
    state_retention_ms=10_000 * SECOND,
    session_end_after_ms=40 * SECOND,
    totals_every_ms=5 * SECOND,
    checkpoint_span=5,
)
_SIZES: Final = {Kind.VIEWS: 44, Kind.COMMENTS: 14, Kind.CHECKOUTS: 22}
_WHATS: Final = {Kind.VIEWS: VIEW_ACTIONS, Kind.COMMENTS: ("comment",), Kind.CHECKOUTS: STATUSES}
_AGO: Final = (700, 2500, 9000, 15_000, 19_000, 21_999, 22_000, 26_000, 45_000, -1000, -6000)
ShardContext = tuple[Kind, int]


@dataclass(frozen=True)
class Content:
    """``policy``: its bounds on sessions are small in most worlds. ``logs``: the records of each input partition, in order;
    their offsets are only their numbers.
    """

    policy: Policy
    logs: dict[ShardContext, list[LogRecord]]
    expected: Recounted


@lru_cache(maxsize=4)
def content(number: int) -> Content:
    rng = Random(f"content {number}")
    logs = {(kind, partition): _log(rng, kind, partition) for kind in KINDS for partition in range(PARTITIONS)}
    records = [record for log in logs.values() for record in log]
    policy = replace(
        POLICY,
        max_new_sessions=rng.choice((1, 2, 20_000)),
        max_sessions=rng.choice((2, 3, 200_000)),
        max_pane_events=rng.choice((4, 10**6, 10**6)),
        max_checkout_keys=rng.choice((5, 10**6)),
    )
    return Content(policy, logs, recount(records, rules_of(policy)))


def _log(rng: Random, kind: Kind, partition: int) -> list[LogRecord]:
    sessions = [number for number in range(24) if murmur2(b"s%d" % number) % PARTITIONS == partition][:4]
    sessions += sessions[:2] * 3  # most is of two, which are there first
    happenings = tuple(_happening(rng, kind, sessions) for _ in range(_SIZES[kind]))
    world = World(**{kind: happenings})
    return [
        replace(record, partition=partition, offset=number)
        for number, record in enumerate(_repeated(rng, world.records()[kind]))
    ]


def _happening(rng: Random, kind: Kind, sessions: list[int]) -> Happening:
    odd = rng.random()
    return Happening(
        what=rng.choice(FAULTS) if odd < 0.05 else rng.choice(_WHATS[kind]),
        after=int(rng.expovariate(_SIZES[kind] / SPAN)),
        ago=rng.choice(_AGO) if rng.random() < 0.2 else rng.randrange(400),
        session=rng.choice(sessions),
        ref=rng.randrange(6),
        amount=rng.randrange(8),
    )


def _repeated(rng: Random, records: Iterable[LogRecord]) -> list[LogRecord]:
    """Some come twice: at once, or much later."""
    found: list[LogRecord] = []
    for record in records:
        found.append(record)
        if rng.random() < 0.08:
            found.append(replace(rng.choice(found[-20:]), timestamp=record.timestamp))
    return found
