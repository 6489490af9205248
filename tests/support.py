"""Waiting in tests: for a condition, with a deadline, saying what was waited for. No sleep that hopes for the best."""

import asyncio
import inspect
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
PAUSE = 0.05
PATIENCE: Final = 120.0
"""Seconds for whatever is awaited and has no promise of its own. It ends a test that hangs and judges nothing: on two cores
that do much else what takes a second may take half a minute."""


def eventually(condition: Callable[[], T], deadline: float = PATIENCE, what: str = "") -> T:
    """The first true value of ``condition``, tried again for ``deadline`` seconds. AssertionError names ``what``."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(_message(condition, deadline, what, value))
        time.sleep(PAUSE)


async def eventually_async(condition: Callable[[], T | Awaitable[T]], deadline: float = PATIENCE, what: str = "") -> T:
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


def handles_sigterm(pid: int) -> bool:
    """Whether a process would hear it; before that it is ended by it. Linux."""
    [caught] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")]
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _message(condition: object, deadline: float, what: str, value: object) -> str:
    return f"not within {deadline:g} s: {what or getattr(condition, '__name__', condition)} (last: {value!r})"
