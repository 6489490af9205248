"""Pauses grow, are capped, are drawn anew each time, and are forgiven after calm; who gives up says what was tried."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka import retries
from stream.kafka.retries import Backoff, BackoffPolicy, retry

POLICY = BackoffPolicy(first=0.5, most=8.0, calm=60.0)


def longest(_low: float, high: float) -> float:
    return high


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(retries, "time", made)
    return made


@given(st.lists(st.floats(0, 59), min_size=6, max_size=2000))
def test_each_failure_doubles_the_bound_up_to_the_cap(lives: list[float]) -> None:
    backoff = Backoff(POLICY, longest)
    assert [backoff.pause(lasted) for lasted in lives] == [0.5, 1, 2, 4, *[8.0] * (len(lives) - 4)]
    assert backoff.failures == len(lives)


def test_what_was_calm_long_enough_begins_anew() -> None:
    backoff = Backoff(POLICY, longest)
    assert [backoff.pause(lasted) for lasted in (1, 59.9, 60, 1)] == [0.5, 1, 0.5, 1]
    assert backoff.failures == 2


@given(st.integers())
def test_a_pause_is_drawn_from_nothing_to_the_bound(seed: int) -> None:
    backoff = Backoff(POLICY, Random(seed).uniform)
    for bound in (0.5, 1, 2, 4, 8, 8):
        assert 0 <= backoff.pause() <= bound


def test_many_that_failed_together_do_not_come_back_together() -> None:
    dice = Random(7)
    pauses = sorted(Backoff(BackoffPolicy(1.0, 1.0), dice.uniform).pause() for _ in range(1000))
    assert pauses[0] < 0.05
    assert pauses[-1] > 0.95
    assert 0.4 < sum(pauses) / 1000 < 0.6


def failing(times: int, error: type[Exception] = ConnectionError) -> Callable[[], Awaitable[str]]:
    left = [error(f"failure {number}") for number in range(times)]

    async def ask() -> str:
        if left:
            raise left.pop(0)
        return "an answer"

    return ask


def tried(ask: Callable[[], Awaitable[str]], clock: Clock, seconds: float = 60.0) -> str:
    return asyncio.run(
        retry(
            ask,
            "the way to a broker",
            lambda error: isinstance(error, ConnectionError),
            POLICY,
            seconds=seconds,
            sleep=clock.sleep,
            draw=longest,
        )
    )


def test_it_is_tried_until_it_succeeds(clock: Clock) -> None:
    assert tried(failing(3), clock) == "an answer"
    assert clock.slept == [0.5, 1, 2]


def test_an_error_of_another_kind_is_raised_at_once(clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError, match="failure 0") as raised:
        tried(failing(1, ZeroDivisionError), clock)
    assert clock.slept == []
    assert not hasattr(raised.value, "__notes__")


def test_who_gives_up_raises_the_last_error_and_names_what_was_tried(clock: Clock) -> None:
    with pytest.raises(ConnectionError, match="failure 5") as raised:
        tried(failing(9), clock, seconds=10.0)
    assert raised.value.__notes__ == ["given up after 6 tries in 10 s: the way to a broker"]
    assert clock.slept == [0.5, 1, 2, 4, 2.5], "the last pause ends with the time there is"


def test_a_cancellation_is_no_failure_that_is_tried_again() -> None:
    async def main() -> int:
        tries = 0

        async def ask() -> None:
            nonlocal tries
            tries += 1
            await asyncio.sleep(60)

        task = asyncio.create_task(retry(ask, "something", lambda _: True, BackoffPolicy(0.01, 0.01)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return tries

    assert asyncio.run(main()) == 1


def test_without_dice_of_its_own_it_uses_those_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation puts its own in there, so that one seed is one schedule."""
    monkeypatch.setattr(retries, "random", Random(1))
    pauses = [Backoff(POLICY).pause() for _ in range(3)]
    monkeypatch.setattr(retries, "random", Random(1))
    assert [Backoff(POLICY).pause() for _ in range(3)] == pauses
