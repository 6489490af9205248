"""What a shard gives away at a checkpoint: records to write, and numbers for the metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol, TypeVar

from stream.model.alerts import Alert
from stream.model.names import (
    ALERTS,
    PROMOTION_OUTCOMES,
    SESSION_WINDOWS,
    SESSIONS,
    Closed,
    Kind,
    Outcome,
    Reason,
)

Name = TypeVar("Name", str, bytes)


class Record(Protocol):
    """A record as the log hands it out. ``timestamp`` is the broker's, in ms; headers are (name, value) pairs."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class Records(list[Record]):
    """Records in order. None of them was appended before ``oldest_ms``, by the broker's clock.

    ``create_time``: their timestamps are their producers', since their batches are of the type CreateTime. ``nbytes``: the
    memory of the batches in which they came.
    """

    __slots__ = ("create_time", "nbytes", "oldest_ms")

    def __init__(
        self, records: Iterable[Record], oldest_ms: int, *, create_time: bool = False, nbytes: int = 0
    ) -> None:
        super().__init__(records)
        self.oldest_ms = oldest_ms
        self.create_time = create_time
        self.nbytes = nbytes


def create_time(records: Sequence[Record]) -> bool:
    """Whether producers stamped these records. Records that say nothing of it have the broker's time."""
    return bool(getattr(records, "create_time", False))


def nbytes(records: Sequence[Record]) -> int:
    """Memory of the batches in which these records came; 0 for those that say nothing of it."""
    return int(getattr(records, "nbytes", 0))


def within(records: Sequence[Record], begin: int, end: int, most: int) -> int:
    """Where a part from ``begin`` on ends that holds at most ``most`` bytes, or one record; at ``end`` at the latest."""
    natively = getattr(records, "within", None)
    if natively is not None:
        return int(natively(begin, end, most))
    for at in range(begin, end):
        record = records[at]
        most -= len(record.key or b"") + len(record.value or b"")
        if most < 0 and at > begin:
            return at
    return end


class UnreadableBatchError(ValueError):
    """The bytes of a batch are none that any reader could make records of. Any other ValueError says nothing about them."""


@dataclass(frozen=True, slots=True)
class RefusedBatch:
    """A record that stands for all records of a batch which cannot be handed out one by one.

    It has no key, value and headers. Its offset is the last one of the batch, so that reading goes on behind it.
    """

    first: int
    """Offset of the first record it stands for: that of the batch, or where reading began within it."""
    offset: int
    records: int
    """How many it stands for, as the header of the batch says; never more than there are offsets."""
    timestamp: int
    """Of the newest, in ms, as the header says."""
    reason: Reason
    detail: str
    data: bytes
    """The beginning of the batch as it lies in the log."""
    size: int
    """Bytes of the whole batch as it lies in the log."""
    xxh3: str
    """Hex, of the whole batch as it lies in the log."""
    key: None = field(default=None, init=False)
    value: None = field(default=None, init=False)
    headers: tuple[()] = field(default=(), init=False)


def part(records: Sequence[Record], begin: int, end: int) -> Sequence[Record]:
    """Those from ``begin`` to ``end``, with what is known of them all."""
    if end - begin == len(records):
        return records
    if isinstance(records, Records):
        stamped, size = records.create_time, records.nbytes
        return Records(records[begin:end], records.oldest_ms, create_time=stamped, nbytes=size)
    return records[begin:end]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was refused, with the reason and a detail that names the field (and quotes no value)."""

    kind: str
    """The input that it came from, as its role has it."""
    record: Record
    reason: Reason
    detail: str


@dataclass(slots=True)
class Tally:
    """Numbers since the last checkpoint. They go to the metrics once the checkpoint has committed."""

    outcomes: Counter[tuple[Kind, Outcome]] = field(default_factory=Counter)
    refused: Counter[tuple[Kind, Reason]] = field(default_factory=Counter)
    """Dead letters by topic and reason, ``late`` included."""
    batched: Counter[tuple[Kind, Reason]] = field(default_factory=Counter)
    """Records that have no dead letter of their own, by topic and reason: a refused batch has one for all its records."""
    not_on_time: Counter[Kind] = field(default_factory=Counter)
    """Counted events that came too late for alerts: their topic's clock was beyond them by the delay or more."""
    windows: Counter[tuple[str, Closed]] = field(default_factory=Counter)
    """Window records written, by window name and reason."""
    session_records: int = 0
    promotions: Counter[str] = field(default_factory=Counter)
    """What came to be of promotions, by outcome."""
    views: int = 0
    product_clicks: int = 0
    comments: int = 0
    orders_paid: int = 0
    gmv_minor: Counter[str] = field(default_factory=Counter)
    """By currency, minor units."""
    conversions: list[float] = field(default_factory=list)
    """order_rate of each window of the first configured kind that was closed (not of corrections)."""
    source_views: Counter[str] = field(default_factory=Counter)
    """Of the same windows, by where the viewer came from."""
    source_orders: Counter[str] = field(default_factory=Counter)
    misplaced: Counter[Kind] = field(default_factory=Counter)
    """New sessions whose key belongs to another partition, by the topic of their first event."""
    totals_frozen: int = 0
    """Sessions that came back after their totals were let go; live.sessions keeps the old totals."""
    lost_offsets: int = 0
    evaluations: Counter[str] = field(default_factory=Counter)
    """How often each alert rule was asked about a session, by name."""
    evaluation_errors: Counter[str] = field(default_factory=Counter)
    """How often a rule's condition could not be told."""
    evaluation_seconds: float = 0.0
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Alerts written, by name and status."""

    def reasons(self) -> Counter[Reason]:
        """Dead letters by reason alone."""
        return _by_reason(self.refused)

    def refused_records(self) -> Counter[Reason]:
        """Records that were refused, by reason alone: a dead letter may stand for many."""
        return _by_reason(self.refused) + _by_reason(self.batched)


def _by_reason(counts: Counter[tuple[Kind, Reason]]) -> Counter[Reason]:
    found: Counter[Reason] = Counter()
    for (_, reason), count in counts.items():
        found[reason] += count
    return found


@dataclass(slots=True)
class Outputs:
    """One checkpoint: written in one transaction or not at all."""

    windows: list[tuple[bytes, bytes]] = field(default_factory=list)
    sessions: list[tuple[bytes, bytes]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    promoted_windows: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    promoted_sessions: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    """What a replay has counted in the place of what was written before; None: there is no such result any more."""
    promotions: list[tuple[bytes, bytes]] = field(default_factory=list)
    """What came to be of promotions."""
    state: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Key and value of each record for live.state, in order; the offset of the first goes to ``Shard.committed``."""
    positions: dict[Any, int] = field(default_factory=dict)
    """Next offset to read, for those topics that have been read from or were given a start."""
    generation: int = 0
    checkpoint: int = 0
    newest_end: int | None = None
    """End, in ms, of the newest window closed in this checkpoint."""
    tally: Tally = field(default_factory=Tally)

    @property
    def records(self) -> dict[str, Iterable[tuple[bytes, Any]]]:
        """By topic; dead letters and the state aside. Not every installation has a topic for promotions. A value is bytes,
        or None where a promotion has taken a result away.
        """
        found: dict[str, Iterable[tuple[bytes, Any]]] = {
            SESSION_WINDOWS: chain(self.windows, self.promoted_windows),
            SESSIONS: chain(self.sessions, self.promoted_sessions),
            ALERTS: ((alert.key(), alert.value()) for alert in self.alerts),
        }
        if self.promotions:
            found[PROMOTION_OUTCOMES] = self.promotions
        return found

    @property
    def misplaced(self) -> int:
        """New sessions whose key belongs to another partition."""
        return self.tally.misplaced.total()


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as shown to people right now: totals so far, not yet committed."""

    session_id: str
    views: int
    product_clicks: int
    comments: int
    orders_paid: int
    gmv_minor: dict[str, int]
    comments_per_minute: float
    """Comments of the newest two minutes of event time, by the minute."""
    events: int
    """Events of the newest two minutes of event time: what sessions are ranked by."""
    viewers: int | None = None
    """Concurrent viewers, as the newest sample of those two minutes says; None where there is none."""
    seller_id: str = ""
    """As the newest event says; empty where it is not known."""
    title: str = ""
    seller_name: str = ""
    """As the host's starts say, at most 200 characters each; empty where none does."""
    firing: tuple[tuple[str, str], ...] = ()
    """Alerts that fire for it: name and severity, sorted."""


@dataclass(frozen=True, slots=True)
class ShardView:
    """A shard as shown to people right now, for gauges. Times in ms; None before the first record."""

    clocks: dict[Kind, int | None]
    watermark: int | None
    sessions_open: int
    sessions_held: int
    panes: int
    windows_open: dict[str, int]
    """Windows by name that hold an event and are not closed yet."""
    windows_closed_held: int
    dedupe_ids: int
    checkout_keys: int
    sessions_gone: int
    """Sessions remembered after they were let go."""
    known: dict[Kind, int]
    """Sessions that each topic knows."""
    state_bytes: int
    """Size of the state's live records in live.state, before compression."""
    busiest: list[SessionView]
    rest: SessionView | None
    """All other held sessions summed; None when there are none."""
    alerts: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Alerts pending and firing, by name and severity; each rule has an entry."""
    promotions_waiting: int = 0
    """Promotions that are not applied yet."""
    idle: bool = False
    """All its topics are read to their end and silent: the wall clock closes what it holds, and the watermark stands."""
    left_out: frozenset[Kind] = frozenset()
    """Topics that are far behind in what they say, and that nothing waits for."""
    viewers: int = 0
    """Concurrent viewers of all sessions, see `SessionView`."""
    platforms: dict[str, int] = field(default_factory=dict)
    """Events of the newest two minutes of event time, by platform."""
    bounds: dict[str, float] = field(default_factory=dict)
    """How much of each bound on what is held is used, 1 for all of it. By name, see core/view.py."""


def busiest(events: Mapping[Name, float], top: int | None) -> tuple[list[Name], list[Name]]:
    """The ``top`` with the most events, most first and ties in the order of names; and all others. None: all are shown."""
    ranked = sorted(events, key=lambda name: (-events[name], name))
    return ranked[:top], [] if top is None else ranked[top:]
