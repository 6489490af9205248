"""Waiting in tests: for a condition, with a deadline, saying what was waited for. No sleep that hopes for the best."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.05


def eventually(condition: Callable[[], T], deadline: float = 30.0, what: str = "") -> T:
    """The first true value of ``condition``, tried again for ``deadline`` seconds. AssertionError names ``what``."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(_message(condition, deadline, what, value))
        time.sleep(PAUSE)


async def eventually_async(condition: Callable[[], T | Awaitable[T]], deadline: float = 30.0, what: str = "") -> T:
    """The same for the event loop; ``condition`` may be a coroutine function."""
    end = time.monotonic() + deadline
    while True:
        found = condition()
        value: T = await found if inspect.isawaitable(found) else found
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(_message(condition, deadline, what, value))
        await asyncio.sleep(PAUSE)


def _message(condition: object, deadline: float, what: str, value: object) -> str:
    return f"not within {deadline:g} s: {what or getattr(condition, '__name__', condition)} (last: {value!r})"
