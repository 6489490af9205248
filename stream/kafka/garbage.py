"""Garbage collection beside a large state: whatever has lasted a moment is walked by no collection again.

A full collection over the sessions and panes of a large shard would hold the event loop for a second. Almost nothing here
is garbage by cycles: only what a shard leaves behind that has ended, and that is collected then.
"""

import contextlib
import ctypes
import gc
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""
LARGE: Final = 1024 * 1024


def begin() -> None:
    """There are hardly any collections but those of `settle`: objects are made by the thousand and kept.

    And what is large goes back to the system as soon as it is freed, where the C library would keep more and more of it
    (a tenth of the whole process); a library without that switch does as it does.
    """
    gc.set_threshold(1_000_000, 20, 50)
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, LARGE)


def give_back() -> None:
    """Returns freed memory to the system, wherever it lies: a backlog leaves gaps everywhere. Takes some ms."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def settle() -> None:
    """To be called about every second: what is young is looked through once, and what stays is left alone from then on."""
    gc.collect()
    gc.freeze()


def keep() -> None:
    """What has just been restored is not even looked through once."""
    gc.freeze()


def reclaim() -> None:
    """What has ended lies in cycles that are left alone: a whole state each."""
    gc.unfreeze()
    settle()


def end() -> None:
    """Nothing is left alone any more."""
    gc.unfreeze()
