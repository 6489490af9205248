"""The brokers' time: as sure as the acknowledgements, and moved by no wall clock."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.brokertime import FORGET, BrokerTime

EPOCH = 1_700_000_000.0
"""What the brokers' clocks show when the monotonic one shows 0."""


def told(clock: BrokerTime, at: float, *, partition: int = 0, took: float = 0.01, broker: float = 0.0) -> None:
    """An acknowledgement, stamped half-way by a broker whose clock is ``broker`` seconds ahead of the others."""
    clock.note(partition, EPOCH + at - took / 2 + broker, at - took, at, EPOCH + at)


def test_nobody_knows_it_before_a_broker_has_told() -> None:
    clock = BrokerTime()
    assert (clock.now(5), clock.wall_ahead(5, EPOCH), clock.is_wanted(5, EPOCH)) == (None, None, True)


def test_a_topic_that_keeps_its_producers_time_tells_nothing_and_is_not_asked_again() -> None:
    clock = BrokerTime()
    clock.note(0, None, 1, 2, EPOCH)
    assert (clock.now(5), clock.is_wanted(5, EPOCH)) == (None, False)


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1), st.floats(0.001, 5)), min_size=1, max_size=30))
def test_it_is_wrong_by_no_more_than_half_of_what_a_request_took(
    requests: list[tuple[float, float, float]],
) -> None:
    clock, at = BrokerTime(), 0.0
    for pause, share, took in requests:
        at += pause + took
        clock.note(0, EPOCH + at - took * share, at - took, at, EPOCH + at)
    worst = max(took for _, _, took in requests) / 2
    now = clock.now(at)
    assert now is not None
    assert abs(now - (EPOCH + at)) <= worst + 0.001


def test_a_slow_answer_does_not_replace_a_quick_one() -> None:
    clock = BrokerTime()
    told(clock, 10)
    clock.note(0, EPOCH + 11, 11, 13, EPOCH + 13)  # stamped at once, and two seconds on its way back
    assert clock.now(13) == EPOCH + 13


def test_a_wall_clock_that_is_wrong_or_set_moves_nothing_and_the_difference_is_told() -> None:
    clock = BrokerTime()
    clock.note(0, EPOCH + 10, 10, 10, EPOCH + 10 + 7200)
    assert clock.now(20) == EPOCH + 20
    assert clock.wall_ahead(20, EPOCH + 20 + 7200) == 7200
    assert not clock.is_wanted(20, EPOCH + 20 + 7200)
    assert clock.is_wanted(20, EPOCH + 20 - 3600)
    assert clock.now(21) == EPOCH + 21


def test_after_a_machine_was_suspended_the_first_answer_holds_for_all() -> None:
    """The monotonic clock stood still meanwhile."""
    clock = BrokerTime()
    for partition in range(3):
        told(clock, 10, partition=partition)
    assert clock.is_wanted(11, EPOCH + 11 + 600)
    clock.note(0, EPOCH + 12 + 600, 12, 12, EPOCH + 12 + 600)
    assert clock.now(12) == EPOCH + 612
    assert not clock.is_wanted(12, EPOCH + 612)


def test_one_leader_whose_clock_is_wrong_is_outvoted_and_forgotten_when_it_is_gone() -> None:
    clock = BrokerTime()
    told(clock, 10, partition=0, broker=300)
    for partition in (1, 2):
        told(clock, 10, partition=partition)
    now = clock.now(20)
    assert now is not None
    assert abs(now - (EPOCH + 20)) < 0.1
    told(clock, 20 + FORGET, partition=1)
    assert len(clock._samples) == 1


def test_however_long_it_runs_leaders_are_asked_for_the_median() -> None:
    clock = BrokerTime()
    for partition, broker in enumerate((-300, 300, 0)):
        told(clock, 100 * FORGET + partition, partition=partition, broker=broker)
    assert len(clock._samples) == 3
    now = clock.now(100 * FORGET + 9)
    assert now is not None
    assert abs(now - (EPOCH + 100 * FORGET + 9)) < 0.1


def test_two_slow_answers_that_may_both_be_right_are_no_jump() -> None:
    clock = BrokerTime()
    for partition in (1, 2):
        told(clock, 9, partition=partition)
    clock.note(0, EPOCH + 10, 10, 12, EPOCH + 12)  # two seconds on its way back
    clock.note(0, EPOCH + 14, 12, 14, EPOCH + 14)  # and two on its way there
    assert len(clock._samples) == 3
    clock.note(0, EPOCH + 22, 14, 16, EPOCH + 16)
    assert len(clock._samples) == 1, "the clock was set"
