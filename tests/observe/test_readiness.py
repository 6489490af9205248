"""docs/operate/readiness.md has every reason not to be ready, with the line that the code makes; each begins and ends."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from stream.config import Settings
from stream.core.brokertime import BrokerTime
from stream.core.framing import StateError
from stream.errors import FailedError
from stream.kafka import health as names
from stream.kafka import members, state_refused
from stream.kafka.blocked_shards import BlockedShards
from stream.kafka.broker_availability import BrokerAvailability
from stream.kafka.client import earlier_member_id
from stream.kafka.gc_tuning import Reclaimer
from stream.kafka.members import Member
from stream.kafka.memory import Memory
from stream.kafka.partitions import Outgrown, Partitions
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.shard_context import ShardContext
from stream.kafka.watchdog import Watchdog
from stream.kafka.worker import Worker
from stream.model.names import KINDS, Kind
from stream.observe import health as observed
from stream.observe.health import Health
from stream.observe.shares import SharePolicy
from stream.sessions.role import WORKER
from tests.kafka.tools import Memory as Remembers
from tests.live import PROJECT
from tests.observe.views import judged

if TYPE_CHECKING:
    from stream.kafka.task import ShardTask

DOCUMENT: Final = (PROJECT / "docs" / "operate" / "readiness.md").read_text()
SETTINGS: Final = Settings(brokers="kafka-1:9092")
ROWS: Final = {row[1]: row[2] for row in re.finditer(r"^\| (\w+) \| `([^`]+)`", DOCUMENT, re.MULTILINE)}
"""The line of each reason and note, as the document shows it."""


class Room:
    """A worker's health, three shards of which are restored, and what tells it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.health = Health(SharePolicy(bad=0.5, minimum=100), clock=lambda: self.now)
        self.ahead = 0.0
        clock = BrokerTime()
        clock.wall_ahead = lambda *_: self.ahead  # type: ignore[method-assign]
        self.waiting = BlockedShards(WORKER, SETTINGS, self.health)
        self.running: dict[int, ShardTask] = {}
        watch, memory = Remembers(), Memory(SETTINGS.buffer_memory)
        self.watchdog = Watchdog(
            SETTINGS, watch, self.health, lambda: self.running, Reclaimer(),
            clock=clock, memory=memory, waiting=self.waiting, partitions=Partitions(WORKER, SETTINGS, 4),
        )  # fmt: skip

    def is_ready(self) -> "Room":
        self.health.assigned(frozenset({1, 2, 3}))
        for number in (1, 2, 3):
            self.health.recovered(number)
        return self

    def told(self) -> list[str]:
        problems, notes = self.health.readiness()
        return [*problems, *notes]

    def seconds(self, number: int, *tallies: Any) -> None:
        for _ in range(number):
            self.now += 1
            for tally in tallies:
                self.health.committed(tally)
            self.health.beat()


class Shard:
    """Reads nothing."""

    partition = 3

    def __init__(self, views: int) -> None:
        positions = dict.fromkeys(KINDS, 0) | {Kind.VIEWS: views}
        self.shard_loop = SimpleNamespace(
            inputs=SimpleNamespace(positions=positions), machine=SimpleNamespace(checkpoint=7)
        )
        self.began = time.monotonic()


def starting(room: Room) -> Iterator[None]:
    room.health = Health(SharePolicy())
    yield
    room.health.assigned(frozenset())


def restoring(room: Room) -> Iterator[None]:
    room.health.assigned(frozenset({1, 2, 3}), frozenset({1, 2}))
    yield
    room.health.recovered(3)


def waiting(room: Room) -> Iterator[None]:
    room.health.assigned(frozenset({1, 2, 3}), frozenset({1, 2}))
    room.waiting.begins(3, UnreadableError(TopicPartition("live.views", 3), 10, 14, "wrong checksum"))
    for at in (10, 11):
        yield
        room.health.recovered(3)  # it has begun again
        room.running = {3: cast("ShardTask", Shard(at))}
        room.waiting.look(room.running)


def failing(room: Room) -> Iterator[None]:
    room.health.assigned(frozenset({1, 2, 3}), frozenset({1, 2}))
    for checkpoint in (7, 7, 8):
        room.waiting.fails(3, "CheckpointError (NotEnoughReplicasError): too few copies")
        yield
        room.health.recovered(3)  # it has begun again
        shard = Shard(10)
        room.running = {3: cast("ShardTask", shard)}
        room.waiting.look(room.running)
        shard.shard_loop.machine.checkpoint = checkpoint
        room.waiting.look(room.running)


def refused(room: Room) -> Iterator[None]:
    room.health.refused(
        3, str(state_refused.unreadable_state(ShardContext(SETTINGS, 3, 4, WORKER), StateError("it is damaged")))
    )
    yield
    room.health.recovered(3)


def kept_out(room: Room) -> Iterator[None]:
    worker = cast("Worker", SimpleNamespace(_health=room.health))
    Worker._kept_out(worker, members.earlier(SETTINGS, [Member(earlier_member_id(SETTINGS), "/10.0.0.3")]))
    yield
    Worker._kept_out(worker, None)


def brokers_away(room: Room) -> Iterator[None]:
    room.watchdog._availability = BrokerAvailability(time.monotonic() - 10)
    room.watchdog._note_answers(0, "kafka-1:9092 refuses connections (refused)", datetime.now(UTC))
    yield
    room.watchdog._note_answers(1, "", datetime.now(UTC))


def partitions(room: Room) -> Iterator[None]:
    room.health.unready(names.PARTITIONS, Outgrown(4, {"live.views": 6}).text(SETTINGS))
    yield
    room.health.clear(names.PARTITIONS)


def topics(room: Room) -> Iterator[None]:
    shard = SimpleNamespace(topic_ids={"live.views": "a"})
    running = [(ShardContext(SETTINGS, 3, 4, WORKER), cast("Any", shard))]
    room.watchdog._topics._look_for_missing(set(), running)
    yield
    room.watchdog._topics._look_for_missing({"live.views"}, running)


def stuck(room: Room) -> Iterator[None]:
    shard = cast("ShardTask", Shard(7))
    ends = dict.fromkeys(KINDS, 0) | {Kind.VIEWS: 8}
    room.watchdog._judge(shard, ends, 0.0)
    with pytest.raises(FailedError, match="has not moved"):
        room.watchdog._judge(shard, ends, 60.5)
    yield
    room.health.clear(names.STUCK)  # nobody does: the process ends


def bad_events(room: Room) -> Iterator[None]:
    room.seconds(90, judged(10, rejected=6))
    yield
    room.seconds(200, judged(10))


def stalled(room: Room) -> Iterator[None]:
    room.now += 30
    yield
    room.health.beat()


def clock(room: Room) -> Iterator[None]:
    room.ahead = 1800.0
    room.watchdog._look_at_the_clock()
    yield
    room.ahead = 9.0
    room.watchdog._look_at_the_clock()


def company(room: Room) -> Iterator[None]:
    worker = cast("Worker", SimpleNamespace(_health=room.health))
    Worker._foreign_members(
        worker, members.others(WORKER, SETTINGS, [Member("liveshop-liveshop-worker-b.", "/10.0.0.3")])
    )
    yield
    Worker._foreign_members(worker, None)


def shares(room: Room) -> Iterator[None]:
    room.seconds(40, judged(10, late=4))
    yield
    room.seconds(200, judged(10))


class Case(NamedTuple):
    name: str
    happens: Callable[[Room], Iterator[None]]


CASES: Final = [
    Case(each.__name__, each)
    for each in (
        starting,
        restoring,
        waiting,
        failing,
        refused,
        kept_out,
        brokers_away,
        partitions,
        topics,
        stuck,
        bad_events,
        stalled,
        clock,
        company,
        shares,
    )
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reason_has_the_line_of_the_document_and_ends(case: Case) -> None:
    room = Room().is_ready()
    assert room.told() == []
    for _ in case.happens(room):
        assert room.health.reasons() == {case.name} & set(observed.REASONS), "notes are no reasons"
        (line,) = room.told()
        assert re.fullmatch(pattern(ROWS[case.name]), line), line
    assert room.told() == []
    assert room.health.reasons() == frozenset()


def pattern(shown: str) -> str:
    """Numbers may be others, and there may be anything where the document has three dots."""
    return re.sub(r"\d+", r"\\d+", re.escape(shown)).replace("…", ".*")


def test_the_document_has_every_reason_and_note_that_there_is() -> None:
    assert list(ROWS) == [case.name for case in CASES]
    named = {
        value
        for module in (names, observed)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    assert named <= set(ROWS)
    assert [name for name in ROWS if name in observed.REASONS] == list(observed.REASONS), "the first table"


def test_while_brokers_are_away_nothing_is_said_to_be_restored() -> None:
    room = Room().is_ready()
    room.health.assigned(frozenset({1, 2, 3}), frozenset({1, 2}))
    away = brokers_away(room)
    next(away)
    assert [line.partition(" since")[0] for line in room.told()] == ["brokers away"]
    next(away, None)
    assert room.told() == ["partition 3: its state is being restored"]


def test_what_is_somebody_elses_is_no_reason_any_more() -> None:
    room = Room().is_ready()
    for happens in (waiting, refused):
        next(happens(room))
    room.waiting.assigned(frozenset({1, 2}))
    room.health.assigned(frozenset({1, 2}), frozenset({1, 2}))
    assert room.told() == []


def test_what_waits_is_logged_at_first_and_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("stream.kafka.blocked_shards.time", SimpleNamespace(monotonic=lambda: now))
    room = Room().is_ready()
    with capture_logs() as lines:
        for now in (0.0, 5.0, 59.0, 60.0, 65.0):  # noqa: B007 - the clock
            next(waiting(room))
    assert [line["event"] for line in lines] == ["a shard waits at records that cannot be read"] * 2
