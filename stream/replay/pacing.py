"""How fast a replay reads: so many records or bytes a second, or so many times as fast as it happened.

Whoever reads asks how much it may read now, and never waits for long: checkpoints and a wish to stop wait behind it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from stream.kafka.machine import Name
from stream.model.results import Record

STEP: Final = 0.2
"""Seconds that are read at once, and that anybody waits at most."""
FIRST: Final = 32
"""Records that are read at once of which nobody knows yet how much event time they take."""


class Pace:
    """Of all partitions of a process together: ``records`` and ``size`` in bytes a second; None: without a bound."""

    def __init__(
        self,
        records: float | None = None,
        size: float | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._records = records
        self._size = size
        self._now = now
        self._sleep = sleep
        self._due = 0.0
        """When more may be read, by ``now``."""
        self._average = 1000.0
        """Bytes of a record, of those that were read last."""

    async def room(self) -> int | None:
        """Records that may be read now, after a while; 0: none yet. None: any number."""
        seconds = self._due - self._now()
        if seconds > 0:
            await self._sleep(min(seconds, STEP))
            if self._due > self._now():
                return 0
        bounds = []
        if self._records is not None:
            bounds.append(self._records * STEP)
        if self._size is not None:
            bounds.append(self._size * STEP / self._average)
        return max(1, int(min(bounds))) if bounds else None

    def spend(self, records: Sequence[Record]) -> None:
        """So much was read, and is paid for before more is. What nobody has used is not saved up."""
        if not records:
            return
        seconds = 0.0 if self._records is None else len(records) / self._records
        if self._size is not None:
            size = sum(map(_size, records))
            self._average = max(1.0, size / len(records))
            seconds = max(seconds, size / self._size)
        if seconds:
            self._due = max(self._due, self._now()) + seconds


def _size(record: Record) -> int:
    return len(record.key or b"") + len(record.value or b"")


class Speed:
    """Of one partition: event time passes at most ``factor`` times as fast as it did. The lead-in is read at any speed."""

    def __init__(self, factor: float, from_ms: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._factor = factor
        self._from = from_ms
        self._now = now
        self._began: tuple[float, int] | None = None
        """When the range was come to, and how far the clock was then."""
        self._most: dict[Name, int] = {}
        self._last: dict[Name, tuple[int, int]] = {}
        """The clock, and records that were read since it stood there."""

    def room(self, clocks: Mapping[Name, int | None]) -> dict[Name, int]:
        """Records that may be read of each topic now. Without any for those that are as far as they may be."""
        newest = max((clock for clock in clocks.values() if clock is not None), default=self._from)
        for name, clock in clocks.items():
            self._learn(name, clock)
        if newest < self._from:
            return dict.fromkeys(clocks, FIRST * FIRST)
        if self._began is None:
            self._began = self._now(), newest
        began, at = self._began
        allowed = at + (self._now() - began) * 1000 * self._factor
        return {name: self._most.get(name, FIRST) for name, clock in clocks.items() if (clock or self._from) <= allowed}

    def _learn(self, name: Name, clock: int | None) -> None:
        """How many records make so much event time as may pass in a step."""
        before, records = self._last.get(name, (clock, 0))
        if clock is None or (before is not None and clock <= before):
            return
        if before is not None and records:
            self._most[name] = max(1, int(records / (clock - before) * 1000 * STEP * self._factor))
        self._last[name] = clock, 0

    def spend(self, name: Name, records: int) -> None:
        """So many were read of a topic."""
        if name in self._last:
            clock, before = self._last[name]
            self._last[name] = clock, before + records
