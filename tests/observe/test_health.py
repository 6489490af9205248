"""A clock moved by hand: when the worker is alive, when it is ready, and when a broken producer makes it unready."""

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from stream.kafka.health import STUCK
from stream.kafka.health import Health as EdgeHealth
from stream.model.names import Reason
from stream.model.results import Tally
from stream.observe.bad_share import BadSharePolicy, BadShareState
from stream.observe.health import Health
from tests.observe.looks import judged


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
    return Health(BadSharePolicy(share=0.5, minimum=100), clock=clock)


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


def test_misplaced_keys_are_noted_and_do_not_make_it_unready(health: Health) -> None:
    ready(health)
    assert health.notes() == []
    health.committed(Tally(misplaced=2))
    health.committed(Tally(misplaced=1))
    assert health.problems() == []
    assert health.notes()[0].startswith("3 misplaced sessions: ")


def run(health: Health, clock: Clock, seconds: int, tally: Tally) -> None:
    for _ in range(seconds):
        clock.now += 1
        health.committed(tally)
        health.beat()


def test_a_broken_producer_makes_it_unready_after_a_minute_and_says_so_once(health: Health, clock: Clock) -> None:
    ready(health)
    with capture_logs() as lines:
        run(health, clock, 60, judged(10, rejected=6))
        assert health.problems() == []
        run(health, clock, 30, judged(10, rejected=6))
        (problem,) = health.problems()
        assert problem.startswith("360 of the last minute's 600 records were rejected (missing_field 360): ")
        assert "broken producer" in problem
        run(health, clock, 60, judged(10, rejected=0))
        assert health.problems() == []
    assert [line["event"] for line in lines] == ["not ready", "no longer a reason not to be ready"]


def test_it_is_ready_again_as_soon_as_the_share_of_the_minute_has_fallen(health: Health, clock: Clock) -> None:
    ready(health)
    run(health, clock, 120, judged(10, rejected=6))
    run(health, clock, 9, judged(10, rejected=0))  # 306 of 600 rejected
    assert len(health.problems()) == 1
    run(health, clock, 1, judged(10, rejected=0))  # 300 of 600: not above the half
    assert health.problems() == []


def test_silence_makes_it_ready_again(health: Health, clock: Clock) -> None:
    ready(health)
    run(health, clock, 120, judged(10, rejected=10))
    clock.now += 61
    health.beat()
    assert health.problems() == []


@pytest.mark.parametrize(
    ("tally", "bad"),
    [
        (judged(10, rejected=5), False),  # at the limit, not above it
        (judged(10, rejected=6), True),
        (judged(1, rejected=1), False),  # 60 a minute are too few to judge by
        (judged(2, rejected=2), True),
        (judged(10, rejected=0, late=10), False),  # late is not broken
        (Tally(), False),
    ],
)
def test_what_is_a_bad_share(tally: Tally, bad: bool) -> None:
    state = BadShareState(BadSharePolicy(share=0.5, minimum=100))
    found = None
    for second in range(180):
        state.add(second, tally)
        found = state.judge(second)
    assert (found is not None) is bad


def test_one_burst_is_gone_before_the_minute_is_over() -> None:
    state = BadShareState(BadSharePolicy(share=0.5, minimum=100))
    state.add(0.0, judged(1000, rejected=1000))
    assert [state.judge(second / 10) for second in range(2000)] == [None] * 2000


def test_a_share_of_one_is_never_exceeded() -> None:
    state = BadShareState(BadSharePolicy(share=1.0, minimum=1))
    for second in range(180):
        state.add(second, judged(100, rejected=100))
        assert state.judge(second) is None


def test_the_top_reasons_are_named_the_most_frequent_first() -> None:
    state = BadShareState(BadSharePolicy(share=0.1, minimum=1))
    tally = judged(100, rejected=60)
    tally.rejected.update({Reason.BAD_VALUE: 90, Reason.FUTURE: 2, Reason.NOT_UTF8: 1, Reason.LATE: 1000})
    state.add(0.0, tally)
    state.judge(0.0)
    state.add(59.0, tally)
    text = state.judge(60.0)
    assert text is not None
    assert "(bad_value 90, missing_field 60, future 2)" in text
