"""Retries: exponential backoff with full jitter, for whatever is tried again. Thin over tenacity.

Many workers lose the same broker in the same moment. With equal pauses all of them would come back together, again and
again. So each pause is drawn anew, from 0 to a bound that doubles with every failure (full jitter), up to a cap.

Only tries that have failed belong here. Who waits for something to become true asks at a steady pace.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

T = TypeVar("T")
Sleep: TypeAlias = Callable[[float], Awaitable[None]]
Draw: TypeAlias = Callable[[float, float], float]
"""A number between two."""


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Bounds of the pauses, in seconds: the first is at most ``first``, each further one at most twice the one before,
    none is longer than ``most``. What has gone well for ``calm`` seconds begins with ``first`` again.
    """

    first: float = 0.1
    most: float = 2.0
    calm: float = math.inf


class Backoff:
    """How often one thing has failed in a row. ``draw``: the dice, those of the process unless given."""

    def __init__(self, policy: BackoffPolicy, draw: Draw | None = None) -> None:
        self._policy = policy
        self._bound = wait_exponential(policy.first, policy.most)
        self._draw = draw
        self._state = RetryCallState(AsyncRetrying(), None, (), {})
        self._state.attempt_number = 0

    @property
    def failures(self) -> int:
        """In a row, without calm between them."""
        return self._state.attempt_number

    def pause(self, lasted: float = 0.0) -> float:
        """It has failed once more, after ``lasted`` seconds in which it went well. Returns the seconds to wait."""
        self._state.attempt_number = 1 if lasted >= self._policy.calm else self.failures + 1
        return (self._draw or random.uniform)(0.0, self._bound(self._state))


async def retry(
    ask: Callable[[], Awaitable[T]],
    what: str,
    again: Callable[[Exception], bool],
    policy: BackoffPolicy,
    *,
    seconds: float = math.inf,
    sleep: Sleep | None = None,
    draw: Draw | None = None,
) -> T:
    """The answer of the first try that succeeds. An error is followed by another try when ``again`` says so.

    After ``seconds`` no try begins: the last error is raised as it is, since callers tell errors apart, with a note that
    names ``what`` was tried, how often and for how long. ``sleep`` and ``draw`` are asyncio's and random's unless given.
    """
    until = time.monotonic() + seconds
    backoff = Backoff(policy, draw)

    async def attempt() -> T:
        return await ask()

    def give_up(state: RetryCallState) -> NoReturn:
        assert state.outcome is not None  # noqa: S101 - tenacity calls this after a try
        error = state.outcome.exception()
        assert error is not None  # noqa: S101 - one that failed
        error.add_note(f"given up after {state.attempt_number} tries in {seconds:g} s: {what}")
        raise error

    return await AsyncRetrying(
        sleep=sleep or asyncio.sleep,
        wait=lambda _: max(0.0, min(backoff.pause(), until - time.monotonic())),
        stop=lambda _: time.monotonic() >= until,
        retry=retry_if_exception(lambda error: isinstance(error, Exception) and again(error)),
        retry_error_callback=give_up,
    )(attempt)
