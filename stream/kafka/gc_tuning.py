"""Garbage collection beside a large state: whatever has lasted a moment is walked by no collection again.

A full collection over the sessions and panes of a large shard would hold the event loop for a second. Almost nothing here
is garbage by cycles: what a shard or a consumer leaves behind that has ended, which is collected then; and rare accidents,
such as a request that knows itself, of which a long-lived worker could gather thousands. For these there is a full
collection now and then, in a moment in which the loop has nothing to do (`Moment`).
"""

import contextlib
import ctypes
import gc
import math
import time
import weakref
from collections.abc import Callable
from enum import IntEnum
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""
LARGE: Final = 1024 * 1024
YOUNG: Final = 20_000
"""Objects looked through at once: 1 to 2 ms."""
NEVER: Final = 1_000_000
RECLAIM_AFTER: Final = 2.0
"""Seconds from an end until its memory is given back, once for all that ends about then."""
LOOK_AGAIN: Final = 600.0
"""Seconds at most until what somebody still held then is looked for again."""
FULL_EVERY: Final = 900.0
"""Seconds at least from one full collection to the next that nobody needs."""
NOT_NOW: Final = 10.0
"""Seconds until it is asked again whether one would be short enough."""
FIRST_GUESS: Final = 3e-7
"""Seconds that a full collection takes an object, before one was measured."""
STALL: Final = 0.05
"""Seconds: the goal for the longest stall of the loop."""
QUIET_STALL: Final = 1.0
"""Seconds that a worker may stand still to which no records come. Its membership needs a heartbeat in ten."""


class Moment(IntEnum):
    """What a stall of the loop would hold up."""

    BUSY = 0
    """Records that wait to be counted."""
    IDLE = 1
    """Nothing now; records come all the time."""
    QUIET = 2
    """Nothing: no records have come for some seconds."""


def begin() -> None:
    """Only what is young is ever collected, and little of it at a time: objects are made by the thousand and kept.

    (p: twice a second in one go, those of a minute with 50,000 sessions held the loop for 20 ms a shard.)

    And what is large goes back to the system as soon as it is freed, where the C library would keep more and more of it
    (a tenth of the whole process); a library without that switch does as it does.
    """
    gc.set_threshold(YOUNG, NEVER, NEVER)
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, LARGE)


def give_back() -> None:
    """Returns freed memory to the system, wherever it lies: a backlog leaves gaps everywhere. Takes some ms."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def settle() -> None:
    """To be called about every second: what is young is looked through once, and what stays is left alone from then on."""
    gc.collect(0)
    gc.freeze()


def keep() -> None:
    """What has just been restored is not even looked through once; what it was restored from goes back to the system."""
    gc.freeze()
    give_back()


def end() -> None:
    """Nothing is left alone any more."""
    gc.unfreeze()


class Leftovers:
    """What has ended, until it is gone: it lies in cycles that are left alone, a whole state each.

    Somebody may hold it for some time yet, so one collection is not enough (p: the watchdog held a shard for up to 5 s; the
    collection after 2 s did not find it, and it stayed until the next shard ended: 40 MB for minutes, or for good).

    ``tell`` hears of each full collection how many seconds it took.
    """

    def __init__(self, tell: Callable[[float], None] = lambda _: None) -> None:
        self._tell = tell
        self._ended: list[weakref.ref[object]] = []
        self._due = math.inf
        self._pause = RECLAIM_AFTER
        self._full_at = time.monotonic() + FULL_EVERY
        self._each = FIRST_GUESS

    def add(self, *things: object) -> None:
        """To be called when they have ended. Each may be held by others than those that hold the rest."""
        self._ended += [weakref.ref(thing) for thing in things if thing is not None]
        self._pause = RECLAIM_AFTER
        self._due = min(self._due, time.monotonic() + RECLAIM_AFTER)

    def settle(self, moment: Moment = Moment.BUSY) -> None:
        """`settle`, and where it is time for it a look at everything, after which freed memory is given back."""
        if time.monotonic() < self._due and not self._is_short(moment):
            settle()
            return
        self._collect()
        self._ended = [each for each in self._ended if each() is not None]
        self._pause = min(2 * self._pause, LOOK_AGAIN)
        self._due = time.monotonic() + self._pause if self._ended else math.inf

    def _is_short(self, moment: Moment) -> bool:
        """Whether it is time for a full collection, and one would hold up nothing for longer than it may."""
        if moment is Moment.BUSY or time.monotonic() < self._full_at:
            return False
        self._full_at = time.monotonic() + NOT_NOW
        expected = self._each * gc.get_freeze_count()
        return expected <= (QUIET_STALL if moment is Moment.QUIET else STALL)

    def _collect(self) -> None:
        looked_at = gc.get_freeze_count()
        began = time.perf_counter()
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        seconds = time.perf_counter() - began
        self._tell(seconds)
        self._each = seconds / max(looked_at, YOUNG)
        self._full_at = time.monotonic() + FULL_EVERY
        give_back()
