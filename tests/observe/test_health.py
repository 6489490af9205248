"""A clock moved by hand: when the worker is alive, when it is ready, and when a broken producer makes it unready."""

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from stream.kafka.health import STUCK
from stream.kafka.health import Health as EdgeHealth
from stream.model.results import Tally
from stream.observe.health import Health
from stream.observe.shares import SharePolicy
from tests.observe.views import judged


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(SharePolicy(bad=0.5, minimum=100), clock=clock)


def ready(health: Health) -> None:
    health.assigned(frozenset({0, 1}))
    health.recovered(0)
    health.recovered(1)


def test_it_is_what_the_edge_tells(health: Health) -> None:
    edge: EdgeHealth = health
    assert edge is health


def test_not_ready_before_the_group_has_assigned(health: Health) -> None:
    assert health.problems() == ["the group has not assigned partitions to this worker yet"]


def test_ready_when_every_shard_of_ours_is_restored(health: Health) -> None:
    health.assigned(frozenset({0, 2}))
    health.recovered(2)
    assert health.problems() == ["partition 0: its state is being restored"]
    health.recovered(0)
    assert health.problems() == []


def test_a_refused_shard_is_a_reason_of_its_own_until_it_is_restored(health: Health) -> None:
    health.assigned(frozenset({0, 1}))
    health.recovered(1)
    health.refused(0, "the state of partition 0 cannot be read")
    assert health.problems() == ["the state of partition 0 cannot be read"]
    health.assigned(frozenset({0, 1}), frozenset({1}))  # it is looked at again
    assert health.problems() == ["the state of partition 0 cannot be read"]
    health.recovered(0)
    assert health.problems() == []
    health.refused(1, "partition 1")
    health.assigned(frozenset({0}), frozenset({0}))
    assert health.problems() == [], "somebody else has it now"


def test_a_worker_that_got_no_partition_is_ready_to_take_over(health: Health) -> None:
    health.assigned(frozenset())
    assert health.problems() == []


def test_a_shard_that_is_kept_need_not_recover(health: Health) -> None:
    ready(health)
    health.assigned(frozenset({1, 3}), kept=frozenset({1}))
    assert health.problems() == ["partition 3: its state is being restored"]
    health.assigned(frozenset({1}), kept=frozenset({1}))
    assert health.problems() == []


def test_a_shard_that_is_kept_while_it_recovers_still_has_to(health: Health) -> None:
    health.assigned(frozenset({1, 3}))
    health.assigned(frozenset({1}), kept=frozenset({1}))
    assert health.problems() == ["partition 1: its state is being restored"]
    health.recovered(1)
    assert health.problems() == []


def test_dead_when_the_event_loop_stands_still(health: Health, clock: Clock) -> None:
    ready(health)
    clock.now += 29.9
    assert health.stalled() is None
    clock.now += 0.2
    assert health.stalled() == "the event loop has not moved for 30 s"
    assert health.problems() == [health.stalled()]
    health.beat()
    assert health.stalled() is None


def test_a_reason_holds_until_it_is_cleared_and_is_logged_once(health: Health) -> None:
    ready(health)
    with capture_logs() as lines:
        health.unready("lag", "behind by 5 s")
        health.unready("lag", "behind by 6 s")
        assert health.problems() == ["behind by 6 s"]
        health.clear("lag")
        health.clear("lag")
    assert health.problems() == []
    assert [line["log_level"] for line in lines] == ["warning", "info"]


def test_a_stuck_shard_is_a_reason(health: Health) -> None:
    ready(health)
    health.unready(STUCK, "partition 1 has not moved for 60 s")
    assert health.problems() == ["partition 1 has not moved for 60 s"]


def run(health: Health, clock: Clock, seconds: int, *tallies: Tally) -> None:
    for _ in range(seconds):
        clock.now += 1
        for tally in tallies:
            health.committed(tally)
        health.beat()


def test_a_broken_producer_makes_it_unready_after_a_minute_and_says_so_once(health: Health, clock: Clock) -> None:
    ready(health)
    with capture_logs() as lines:
        run(health, clock, 60, judged(10, rejected=6))
        assert health.problems() == []
        run(health, clock, 30, judged(10, rejected=6))
        (problem,) = health.problems()
        assert problem.startswith(
            "live.views: 360 of the last minute's 600 records were rejected (missing_field 360): "
        )
        run(health, clock, 60, judged(10))
        assert health.problems() == []
    problems = [line for line in lines if line["event"] in {"not ready", "still not ready", "ready"}]
    assert [(line["log_level"], line["event"]) for line in problems] == [("warning", "not ready"), ("info", "ready")]


def test_a_share_that_is_told_is_logged_once_and_leaves_it_ready(health: Health, clock: Clock) -> None:
    ready(health)
    with capture_logs() as lines:
        run(health, clock, 40, judged(10, late=4))
        (note,) = health.notes()
        assert note.startswith("live.views: of the last minute 160 of 400 records came too late for their windows: ")
        assert health.readiness() == ([], [note])
        run(health, clock, 200, judged(10))
        assert health.notes() == []
    told = {name: lines[0][name] for name in ("log_level", "event", "topic", "reason")}
    assert told == {
        "log_level": "warning",
        "event": "too many records of a topic have this outcome",
        "topic": "live.views",
        "reason": "late",
    }
    assert "a producer was offline" in lines[0]["detail"]
    assert [line["log_level"] for line in lines] == ["warning", "info"]


def test_silence_makes_it_ready_again(health: Health, clock: Clock) -> None:
    ready(health)
    run(health, clock, 120, judged(10, rejected=10))
    assert len(health.problems()) == 1
    clock.now += 61
    health.beat()
    assert health.problems() == []


def test_a_note_is_shown_while_it_holds_and_is_no_reason(health: Health) -> None:
    ready(health)
    health.note("clock", "the clock is wrong")
    assert health.readiness() == ([], ["the clock is wrong"])
    health.note("clock", None)
    assert health.readiness() == ([], [])
