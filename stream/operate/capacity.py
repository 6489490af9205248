"""How much of everything a load needs: the sums of docs/operate/capacity.md. Pure.

Each figure was measured by a part of ``make bench``, which prints it; its name stands beside it. Rates are events a second
of views, comments and checkouts together; sessions are those on air at one time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from stream.model.names import DEAD_LETTERS, INPUTS, SESSION_WINDOWS, SESSIONS, STATE
from stream.sessions.role import SPECS

MINUTE: Final = 60
DAY: Final = 86_400
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number."""

    value: float
    unit: str
    part: str
    """Of ``make bench``, which prints it."""
    what: str


EVENT_CPU: Final = Figure(2.6, "us of CPU an event", "worker", "fetched, judged, counted")
SESSION_CPU: Final = Figure(
    144, "us of CPU a session and second", "sizes", "checkpoints, windows, totals, shipped rules"
)
WORKER_MEMORY: Final = Figure(90, "MB a worker", "holding", "the process itself")
SESSION_MEMORY: Final = Figure(17_800, "B a session on air", "holding", "its panes of 11 minutes and its totals")
EVENT_MEMORY: Final = Figure(20_000, "B for one event/s", "holding", "ids of 11 minutes, by which repeats are known")
KEPT_MEMORY: Final = Figure(172, "B a session that has ended", "strangers", "its totals, for --session-keep")
INPUT_BYTES: Final = Figure(88, "B an event", "sizes", "in the topics, compressed with lz4")
STATE_BYTES: Final = Figure(75, "B an event", "sizes", "written to live.state")
STATE_HELD: Final = Figure(
    28, "B an event of a minute", "sizes", "what of live.state a restart reads, before compression"
)
WINDOW_BYTES: Final = Figure(525, "B a session and minute", "sizes", "written to live.session-windows")
TOTAL_BYTES: Final = Figure(1_320, "B a session and minute", "sizes", "written to live.sessions, six times")
LETTER_BYTES: Final = Figure(368, "B a dead letter", "sizes", "the original with its reason")
FIGURES: Final = (
    *(EVENT_CPU, SESSION_CPU, WORKER_MEMORY, SESSION_MEMORY, EVENT_MEMORY, KEPT_MEMORY),
    *(INPUT_BYTES, STATE_BYTES, STATE_HELD, WINDOW_BYTES, TOTAL_BYTES, LETTER_BYTES),
)

BUSY: Final = 0.5
"""Share of its core that a worker is to use: the rest catches up after an outage, and takes a dead neighbour's shards."""
HELD_MINUTES: Final = 11
"""For so long a pane may still change: the longest window, lateness and delay."""
TOTALS_A_MINUTE: Final = 6
SHARD_EVENTS: Final = 10_000
SHARD_SESSIONS: Final = 12_500
"""What one shard is to have at most: at 50,000 sessions in 4 shards a restart takes 8 s (``PART=holding``)."""
SHARDS_A_WORKER: Final = 3
"""So many workers can be added later without new topics."""
PARTITIONS: Final = (4, 6, 12, 24, 36, 48, 60, 72, 96, 120, 144, 192, 240, 288, 360, 480, 720, 960)
"""Numbers that many numbers of workers divide."""
SEGMENT: Final = 64 * 1024 * 1024
"""Of live.state; two of a partition may not be compacted yet."""
SEGMENT_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be counted, at its height."""

    rate: float
    """Events a second."""
    sessions: int
    """On air at one time."""
    air_seconds: float = 2 * 3600.0
    """How long a broadcast lasts."""
    busy_share: float = 1.0
    """Of a day in which traffic is at its height; the rest of it there is none."""
    rejected: float = 0.001
    """Share of events that become dead letters."""
    session_keep: float = float(DAY)
    buffer_memory: int = 128 * 2**20
    replication: int = 3

    @property
    def sessions_a_day(self) -> float:
        return self.sessions * DAY * self.busy_share / self.air_seconds


@dataclass(frozen=True, slots=True)
class TopicSize:
    """One topic, all partitions together. ``written`` is bytes a second at the height, ``stored`` bytes; of one copy."""

    name: str
    written: float
    retention_days: float | None
    """None: what is newest by key is kept for ever."""
    stored: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What a load needs. Memory is MB of 10^6 bytes; traffic is bytes a second."""

    partitions: int
    workers: int
    cores: float
    """Of CPU, all workers together, at the height."""
    memory: float
    """Of each worker."""
    restart_bytes: float
    """Of live.state that all workers together read when all are started anew."""
    topics: list[TopicSize]
    broker_in: float
    """Into all brokers, copies among them included."""
    broker_out: float
    """Out of them to workers; reading by copies not included."""
    disk: float
    """Bytes, all copies of all topics."""


def needs(load: Load) -> Needs:
    """Raises ValueError when it is more than one set of topics can hold."""
    cores = (load.rate * EVENT_CPU.value + load.sessions * SESSION_CPU.value) / MILLION
    workers = max(1, ceil(cores / BUSY))
    partitions = _partitions(max(workers * SHARDS_A_WORKER, load.rate / SHARD_EVENTS, load.sessions / SHARD_SESSIONS))
    topics = list(_topics(load, partitions))
    return Needs(
        partitions=partitions,
        workers=workers,
        cores=cores,
        memory=_memory(load, workers),
        restart_bytes=_held(load),
        topics=topics,
        broker_in=sum(each.written for each in topics) * load.replication,
        broker_out=load.rate * INPUT_BYTES.value,
        disk=sum(each.stored for each in topics) * load.replication,
    )


def _partitions(least: float) -> int:
    for each in PARTITIONS:
        if each >= least:
            return each
    raise ValueError(f"{least:,.0f} partitions are more than {PARTITIONS[-1]}: divide the sessions among installations")


def _memory(load: Load, workers: int) -> float:
    """Of one worker. A quarter more: shards are not equally large, and a dead neighbour's come on top."""
    kept = load.sessions_a_day * load.session_keep / DAY
    shared = (
        load.sessions * SESSION_MEMORY.value + load.rate * EVENT_MEMORY.value + kept * KEPT_MEMORY.value
    ) / workers
    return WORKER_MEMORY.value + (1.25 * shared + load.buffer_memory) / MILLION


def _held(load: Load) -> float:
    return load.rate * MINUTE * HELD_MINUTES * STATE_HELD.value


def _topics(load: Load, partitions: int) -> Iterator[TopicSize]:
    retention = _retention_days()
    inputs = load.rate * INPUT_BYTES.value
    yield _log("inputs (views, comments, checkouts)", inputs, retention[next(iter(INPUTS.values()))], load)
    windows = load.sessions * WINDOW_BYTES.value / MINUTE
    yield _log(SESSION_WINDOWS, windows, retention[SESSION_WINDOWS], load)
    yield _totals(load, retention[SESSIONS])
    yield _log(DEAD_LETTERS, load.rate * load.rejected * LETTER_BYTES.value, retention[DEAD_LETTERS], load)
    written = load.rate * STATE_BYTES.value
    uncompacted = 2 * min(SEGMENT * partitions, written * SEGMENT_SECONDS)
    yield TopicSize(STATE, written, None, _held(load) + uncompacted)


def _log(name: str, written: float, days: float | None, load: Load) -> TopicSize:
    return TopicSize(name, written, days, written * DAY * load.busy_share * (days or 0))


def _totals(load: Load, days: float | None) -> TopicSize:
    """Of a session that has ended the last one is kept; what is younger than a day is not compacted yet."""
    written = load.sessions * TOTAL_BYTES.value / MINUTE
    last = load.sessions_a_day * TOTAL_BYTES.value / TOTALS_A_MINUTE
    return TopicSize(SESSIONS, written, days, written * DAY * load.busy_share + last * (days or 0))


def _retention_days() -> Mapping[str, float | None]:
    found = {each.name: each.configs.get("retention.ms") for each in SPECS}
    return {name: None if ms is None else int(ms) / 1000 / DAY for name, ms in found.items()}
