"""How long anything may hold the event loop, which heartbeats, other shards and /metrics wait for."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, TypeVar

from stream.core.cooperative import Steps

SLICE: Final = 0.003
"""Seconds at a time. The loop gives each of several shards one or two before anybody else has a turn."""

T = TypeVar("T")


async def run(steps: Steps[T], spend: Callable[[float], None]) -> T:
    """The result of the steps, with others' turns in between. ``spend`` is told the seconds of each slice."""
    began = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            spend(time.perf_counter() - began)
            result: T = end.value
            return result
        spent = time.perf_counter() - began
        if spent > SLICE:
            spend(spent)
            await asyncio.sleep(0)
            began = time.perf_counter()


async def each(content: Iterable[T]) -> AsyncIterator[T]:
    """One after another, with others' turns in between."""
    began = time.perf_counter()
    for one in content:
        yield one
        if time.perf_counter() - began > SLICE:
            await asyncio.sleep(0)
            began = time.perf_counter()
