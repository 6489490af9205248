"""Garbage collection beside a large state: whatever has lasted a moment is walked by no collection again.

A full collection over the sessions and panes of a large shard would hold the event loop for a second. Almost nothing here
is garbage by cycles: only what a shard leaves behind that has ended, and that is collected then.
"""

import gc


def begin() -> None:
    """Collections by themselves become rare: objects are made by the thousand and kept."""
    gc.set_threshold(50_000, 20, 50)


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
