"""Garbage collection beside a large state: objects that live longer than a moment are frozen, and no collection visits them.

A full collection over the sessions and panes of a large shard would hold the event loop for a second. Almost no garbage
here forms cycles. A shard or a consumer that has ended does, and is collected soon after. Rare accidents do as well, such
as a request that refers to itself; a long-lived worker could gather thousands. For these there is a full collection now and
then, while the loop has nothing to do (`LoopLoad`).

Nothing can stop a collection that has begun. So one begins only if the goal for stalls leaves room for twice the CPU per
object of the slowest of the last few. Otherwise it is left out until no records come, or a shard has ended.
"""

import contextlib
import ctypes
import gc
import math
import time
import weakref
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""
LARGE: Final = 1024 * 1024
YOUNG: Final = 20_000
"""Objects that one collection visits: 1 to 2 ms."""
NEVER: Final = 1_000_000
RECLAIM_AFTER: Final = 2.0
"""Seconds from the end of a shard to the collection that frees its memory; one collection for all that end about then."""
RETRY_AT_MOST: Final = 600.0
"""Seconds at most until the next collection, while somebody still holds what has ended."""
FULL_EVERY: Final = 900.0
"""Seconds at least between two full collections when nothing has ended."""
RETRY_AFTER: Final = 10.0
"""Seconds until it checks again whether a full collection would be short enough."""
FIRST_GUESS: Final = 3e-7
"""CPU seconds a full collection takes per object at most, until one is measured."""
SPARE: Final = 2
"""Times the measured CPU that the next one may take: objects lie elsewhere in memory then."""
MEASURED: Final = 4
"""Full collections of which the slowest says what the next one takes."""
STALL: Final = 0.05
"""Seconds: the goal for the longest stall of the loop."""
QUIET_STALL: Final = 1.0
"""Seconds that the loop may stall while no records come. The membership needs a heartbeat every ten seconds."""


class LoopLoad(IntEnum):
    """What a stall of the loop would hold up."""

    BUSY = 0
    """Records wait to be counted."""
    IDLE = 1
    """No record waits now, but records keep coming."""
    QUIET = 2
    """No records have come for some seconds."""


def configure() -> None:
    """Makes every collection small and young only: objects are made by the thousand and kept.

    (p: twice a second in one go, those of a minute with 50,000 sessions held the loop for 20 ms a shard.)

    Large blocks go back to the system as soon as they are freed; else the C library would keep more and more of them (a
    tenth of the whole process). A library without that switch is left as it is.
    """
    gc.set_threshold(YOUNG, NEVER, NEVER)
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, LARGE)


def trim_memory() -> None:
    """Returns freed memory to the system, also from the middle of the heap, where a backlog leaves gaps. Takes some ms."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def collect() -> None:
    """Collects the young objects, and freezes those that stay. Called about every second."""
    gc.collect(0)
    gc.freeze()


def freeze() -> None:
    """After a restore: freezes the new state without a collection, and returns the memory of its records to the system."""
    gc.freeze()
    trim_memory()


def unfreeze() -> None:
    """The next collection visits everything again."""
    gc.unfreeze()


class Reclaimer:
    """Frees shards and consumers that have ended. They form reference cycles among frozen objects, a whole state each.

    Somebody may hold one a little longer, so one collection is not enough (p: the watchdog held a shard for up to 5 s; the
    collection after 2 s did not find it, and it stayed until the next shard ended: 40 MB for minutes, or for good).

    ``tell`` is given the seconds that each full collection took.
    """

    def __init__(self, tell: Callable[[float], None] = lambda _: None) -> None:
        self._tell = tell
        self._ended: list[weakref.ref[object]] = []
        self._due = math.inf
        self._pause = RECLAIM_AFTER
        self._full_at = time.monotonic() + FULL_EVERY
        self._measured: deque[float] = deque(maxlen=MEASURED)
        """CPU seconds per object."""

    def add(self, *things: object) -> None:
        """These have ended. Each is watched by itself, since different objects may hold it."""
        self._ended += [weakref.ref(thing) for thing in things if thing is not None]
        self._pause = RECLAIM_AFTER
        self._due = min(self._due, time.monotonic() + RECLAIM_AFTER)

    def collect(self, load: LoopLoad = LoopLoad.BUSY) -> None:
        """`collect`; or a full collection when it is time for one, after which freed memory goes back to the system."""
        if time.monotonic() < self._due and not self._may_collect(load):
            collect()
            return
        self._collect_all()
        self._ended = [each for each in self._ended if each() is not None]
        self._pause = min(2 * self._pause, RETRY_AT_MOST)
        self._due = time.monotonic() + self._pause if self._ended else math.inf

    def _may_collect(self, load: LoopLoad) -> bool:
        """Whether a full collection is due, and would stall the loop no longer than it may."""
        if load is LoopLoad.BUSY or time.monotonic() < self._full_at:
            return False
        self._full_at = time.monotonic() + RETRY_AFTER
        each = SPARE * max(self._measured) if self._measured else FIRST_GUESS
        return each * gc.get_freeze_count() <= (QUIET_STALL if load is LoopLoad.QUIET else STALL)

    def _collect_all(self) -> None:
        looked_at = gc.get_freeze_count()
        began = time.perf_counter()
        busy = time.thread_time()  # not wall time: that the machine was suspended says nothing of the next one
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._tell(time.perf_counter() - began)
        self._measured.append((time.thread_time() - busy) / max(looked_at, YOUNG))
        self._full_at = time.monotonic() + FULL_EVERY
        trim_memory()
