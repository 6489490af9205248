"""Lateness on real arrivals: recorded live chat, read by the pure shard in the order in which it arrived.

Each row has the time at which a message was written and the second in which a Kafka producer sent it: up to 166 s later,
and up to 2.6 s before it was written. See ../shared/data/README.md.
"""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import groupby, pairwise

import pytest

from stream.core.policy import Policy, WindowSpec
from stream.core.shard import Shard
from stream.model.names import Kind, Reason
from tests.core.worlds import Driver, Step, Told, World, rules_of
from tests.live import DATA
from tests.recount import LogRecord, recount

SECOND = 1000
USUAL = Policy()
STRICT = replace(USUAL, lateness_ms=60 * SECOND)
STRICTER = Policy(windows=(WindowSpec("10s", 10 * SECOND, 10 * SECOND),), delay_ms=2 * SECOND, lateness_ms=18 * SECOND)
HARD = replace(USUAL, delay_ms=2 * SECOND, lateness_ms=0)

FILES = ("live_chat_arrivals_2.csv", "live_chat_arrivals_3.csv")
LATE = {  # by counting, once: messages that come more than delay + lateness behind the newest before them
    FILES[0]: {USUAL: 0, STRICT: 70, STRICTER: 102, HARD: 117},
    FILES[1]: {USUAL: 0, STRICT: 22, STRICTER: 54, HARD: 101},
}
CASES = [(file, policy, number) for file, numbers in LATE.items() for policy, number in numbers.items()]


@dataclass(frozen=True)
class Arrival:
    arrived: int
    written: int


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@cache
def arrivals(file: str) -> tuple[Arrival, ...]:
    path = DATA / file
    if not path.exists():
        pytest.skip(f"the recorded chat is not here: {path}")
    with path.open() as lines:
        return tuple(Arrival(_ms(row["ingest_time"]), _ms(row["event_time"])) for row in csv.DictReader(lines))


@cache
def records(file: str) -> tuple[LogRecord, ...]:
    def record(number: int, arrival: Arrival) -> LogRecord:
        event = {
            "event_id": f"c{number}",
            "event_time": arrival.written,
            "session_id": file,
            "seller_id": "s1",
            "viewer_id": f"v{number % 997}",
            "platform": "other",
            "text": "halo",
        }
        return LogRecord("comments", 0, number, arrival.arrived, file.encode(), json.dumps(event).encode())

    return tuple(record(number, arrival) for number, arrival in enumerate(arrivals(file)))


@dataclass(frozen=True)
class Recorded(World):
    """A world of one topic, as it was recorded."""

    file: str = ""

    def records(self) -> dict[Kind, list[LogRecord]]:
        return {Kind.VIEWS: [], Kind.COMMENTS: list(records(self.file)), Kind.CHECKOUTS: []}


def late_by_hand(file: str, policy: Policy) -> set[int]:
    """Nothing but what is older than its topic's clock by delay + lateness."""
    clock, late = 0, set()
    for number, arrival in enumerate(arrivals(file)):
        clock = max(clock, min(arrival.written, arrival.arrived))
        if arrival.written + policy.delay_ms + policy.lateness_ms <= clock:
            late.add(number)
    return late


def windows_by_hand(file: str, policy: Policy) -> dict[str, int]:
    """Comments by window, of all that were not late."""
    late = late_by_hand(file, policy)
    counts: Counter[str] = Counter()
    for number, arrival in enumerate(arrivals(file)):
        for spec in policy.windows if number not in late else ():
            last = arrival.written // spec.slide_ms * spec.slide_ms
            for start in range(last, arrival.written - spec.size_ms, -spec.slide_ms):
                counts[f"{file}/{spec.name}/{start}"] += 1
    return dict(counts)


def schedule(size: int) -> Iterator[Step]:
    """Batches of about that size, the two silent topics left out, with a checkpoint often and a crash now and then."""
    yield from (("exclude", 0), ("exclude", 2))
    for number in range(8000 // size):
        yield "comments", 1 + (number * 7) % (2 * size)
        yield "work", 20
        if number % 5 == 0:
            yield "checkpoint", 0
        if number % 37 == 36:
            yield from (("crash", 0), ("exclude", 0), ("exclude", 2))


@pytest.mark.parametrize(("file", "policy", "number"), CASES)
def test_only_what_is_behind_its_topics_clock_by_delay_and_lateness_is_late(
    file: str, policy: Policy, number: int
) -> None:
    told = Driver(Recorded(file=file), policy).run(tuple(schedule(60)))
    dead = {offset for _, _, offset in told.dead}
    assert dead == late_by_hand(file, policy)
    assert len(dead) == number
    assert set(told.dead.values()) <= {Reason.LATE}
    assert told.outcomes["comments", "counted"] == len(arrivals(file)) - number


@pytest.mark.parametrize(("file", "policy", "number"), CASES)
def test_the_last_revisions_hold_all_that_was_not_late(file: str, policy: Policy, number: int) -> None:
    told = Driver(Recorded(file=file), policy).run(tuple(schedule(60)))
    found = {key: value["counts"]["comments"] for key, value in told.windows.items()}
    assert found == windows_by_hand(file, policy)
    assert told.sessions[file]["counts"]["comments"] == len(arrivals(file)) - number


@pytest.mark.parametrize(("file", "policy", "_number"), CASES)
def test_the_recount_agrees_however_it_is_read(file: str, policy: Policy, _number: int) -> None:
    expected = recount(records(file), rules_of(policy))
    for size in (5, 4000):
        told = Driver(Recorded(file=file), policy).run(tuple(schedule(size)))
        got = told.comparable()
        assert got["windows"] == expected.windows
        assert got["sessions"] == expected.sessions
        assert got["dead"] == expected.dead


@pytest.mark.parametrize("file", FILES)
def test_messages_from_the_near_future_are_counted(file: str) -> None:
    """A clock 2.6 s ahead is no fault; with a smaller allowance it is one."""
    ahead = [number for number, each in enumerate(arrivals(file)) if each.written > each.arrived]
    told = Driver(Recorded(file=file), USUAL).run(())
    assert not told.dead
    strict = Driver(Recorded(file=file), replace(USUAL, max_future_ms=0)).run(())
    assert [offset for (_, _, offset), reason in strict.dead.items() if reason is Reason.FUTURE] == ahead
    assert bool(ahead) == (file == FILES[0])


@pytest.mark.parametrize(("file", "policy"), [(FILES[0], STRICTER), (FILES[1], STRICT)])
def test_a_window_is_closed_by_the_first_message_beyond_its_end_and_delay_and_then_corrected(
    file: str, policy: Policy
) -> None:
    """Second by second: its first revision holds what has arrived by then, each later one what came since."""
    shard = Shard(policy)
    shard.exclude(Kind.VIEWS)
    shard.exclude(Kind.CHECKOUTS)
    told, clock, arrived = Told(), 0, defaultdict[str, int](int)
    closed: set[str] = set()
    late = late_by_hand(file, policy)
    for _, second in groupby(records(file), key=lambda record: record.timestamp):
        batch = list(second)
        shard.read(Kind.COMMENTS, batch)
        changed: set[str] = set()
        for record in batch:
            written = arrivals(file)[record.offset].written
            clock = max(clock, min(written, record.timestamp))
            for spec in policy.windows if record.offset not in late else ():
                last = written // spec.slide_ms * spec.slide_ms
                for start in range(last, written - spec.size_ms, -spec.slide_ms):
                    arrived[f"{file}/{spec.name}/{start}"] += 1
                    changed.add(f"{file}/{spec.name}/{start}")
        outputs = _checkpoint(shard)
        written_now = {key.decode(): json.loads(value) for key, value in outputs}
        due = {key for key in arrived if key not in closed and _end(key, policy) + policy.delay_ms <= clock}
        assert set(written_now) == due | (changed & closed)
        for key, value in written_now.items():
            assert value["counts"]["comments"] == arrived[key]
            told._take_revision(told.windows, key, value)
        closed |= due
    corrected = [value for value in told.windows.values() if value["revision"] > 1]
    assert corrected, "the recording has no stragglers: the test shows nothing"
    assert all(value["reason"] == "correction" for value in corrected)


def _checkpoint(shard: Shard) -> list[tuple[bytes, bytes]]:
    while shard.work(100):
        pass
    outputs = shard.collect()
    assert outputs is not None
    shard.committed(outputs.checkpoint, 0)
    return outputs.windows


def _end(key: str, policy: Policy) -> int:
    _, name, start = key.rsplit("/", 2)
    return int(start) + next(spec.size_ms for spec in policy.windows if spec.name == name)


@pytest.mark.parametrize("file", FILES)
def test_a_reconnect_that_replays_history_does_not_move_the_watermark_back(file: str) -> None:
    driver = Driver(Recorded(file=file), USUAL)
    told = driver.run([("exclude", 0), ("exclude", 2), *[("comments", 50)] * 160])
    known = [watermark for watermark in told.watermarks if watermark is not None]
    assert len(known) > 100
    assert all(before <= after for before, after in pairwise(known))
    steepest = max(before.written - after.written for before, after in pairwise(arrivals(file)))
    assert steepest > 100 * SECOND, "nobody reconnects in this recording"
