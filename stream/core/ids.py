"""What has been seen: ids of events by topic and pane, checkout keys and let-go sessions by time. All 64-bit hashes.

Two of n ids collide with a chance of n^2 / 2^65: 1.4e-8 for the 720,000 ids of a busy minute.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

import numpy as np
import xxhash

from stream.core.steps import Steps, pieces

FREEZE_AT: Final = 65_536
"""Recent entries kept in a dict before they are packed."""
RUN: Final = 524_288
"""Entries at most of runs that are merged: that takes about 10 ms."""
PIECE: Final = 2_048
"""Ids packed or forgotten in one step: about 0.3 ms; several steps go between two looks at the clock, in every shard."""

_NOT_NOTED: Final = -(2**62)
"""Before any time."""

hash_id: Final = xxhash.xxh3_64_intdigest


def packed(hashes: Iterable[int]) -> bytes:
    """64-bit hashes, 8 bytes each, in the machine's order (little-endian on all we run on)."""
    return array("Q", hashes).tobytes()


def unpacked(data: bytes) -> "array[int]":
    hashes = array("Q")
    hashes.frombytes(data)
    return hashes


def is_in(ordered: "array[int]", hashed: int) -> bool:
    place = bisect_left(ordered, hashed)
    return place < len(ordered) and ordered[place] == hashed


def _firsts(ordered: Any) -> Any:
    """Places in a sorted numpy array where another number begins."""
    return np.flatnonzero(np.append(np.ones(min(1, len(ordered)), bool), ordered[1:] != ordered[:-1]))


class IdSet:
    """Ids of one topic and pane: a set while the pane is busy, a sorted array of 8 bytes an id once it is quiet."""

    __slots__ = ("freezing", "fresh", "frozen", "live")

    def __init__(self) -> None:
        self.live: set[int] = set()
        self.fresh: list[int] = []
        """Added since the last checkpoint."""
        self.freezing: set[int] = set()
        """On its way to the array."""
        self.frozen: array[int] | None = None
        """Not None as soon as there is anything outside of ``live``."""

    def __contains__(self, hashed: int) -> bool:
        return (
            hashed in self.live or hashed in self.freezing or (self.frozen is not None and is_in(self.frozen, hashed))
        )

    def __len__(self) -> int:
        return len(self.live) + (len(self.frozen) if self.frozen is not None else 0)

    def freeze(self) -> Steps[None]:
        """Packs the set; ids that come later, or between two steps, are in a new one. Found throughout."""
        if not self.live:
            return
        whole, self.live, self.freezing = self.live, set(), self.live
        before, self.frozen = self.frozen, array("Q") if self.frozen is None else self.frozen
        hashes = np.empty(len(whole), np.uint64)
        for number, piece in enumerate(pieces(whole, PIECE)):
            hashes[number * PIECE : number * PIECE + len(piece)] = np.array(piece, np.uint64)
            yield
        if before is not None:
            hashes = np.concatenate((hashes, np.frombuffer(before, np.uint64)))
        self.frozen = unpacked(np.sort(hashes).tobytes())
        while whole:  # taking down a large set at once takes long, too
            yield
            for _ in range(min(PIECE, len(whole))):
                whole.pop()
        self.freezing = set()

    def restore(self, chunks: Iterable[bytes]) -> None:
        hashes = np.sort(np.frombuffer(b"".join(chunks), np.uint64))
        self.frozen = unpacked(hashes[_firsts(hashes)].tobytes())


class TimedHashes:
    """Hashes with a time, each held while its time + ``hold_ms`` > now, and found exactly until then.

    The first time given stays. Recent ones in a dict, the rest packed in sorted runs: 16 bytes each. Whether one is held
    is decided by its own time, not by whether a sweep came by.
    """

    __slots__ = ("_packed", "_runs", "fresh", "hold_ms", "recent")

    def __init__(self, hold_ms: int) -> None:
        self.hold_ms = hold_ms
        self.recent: dict[int, int] = {}
        self._runs: list[_Run] = []
        """From the oldest to the newest; a hash noted anew after its hold ended may be in several."""
        self._packed = 0
        self.fresh: list[tuple[int, int]] = []
        """(hash, time) added since the last checkpoint."""

    def __len__(self) -> int:
        return len(self.recent) + self._packed

    def holds(self, hashed: int, now: int) -> bool:
        since = self.recent.get(hashed)
        if since is not None and since + self.hold_ms > now:
            return True
        return any(run.newest + self.hold_ms > now and run.time(hashed) + self.hold_ms > now for run in self._runs)

    def number_held(self, now: int) -> int:
        """Those not swept away whose time is over are not counted."""
        times = chain(self.recent.values(), *(run.times for run in self._runs))
        return sum(time + self.hold_ms > now for time in times)

    def note(self, hashed: int, time: int) -> None:
        """Only for a hash that is not held."""
        self.recent[hashed] = time
        self.fresh.append((hashed, time))

    def sweep(self, now: int) -> None:
        """Packs what is recent and forgets what is no longer held, a whole run at a time; so it never takes long.

        Worth calling when `FREEZE_AT` recent ones are there.
        """
        hashes = np.fromiter(self.recent.keys(), np.uint64, len(self.recent))
        times = np.fromiter(self.recent.values(), np.int64, len(self.recent))
        self.recent = {}
        self._append(_Run.of(hashes, times))
        self._runs = [run for run in self._runs if run.newest + self.hold_ms > now]
        self._packed = sum(len(run.times) for run in self._runs)

    def _append(self, run: "_Run") -> None:
        """Neighbours of about the same size are merged, so that there are few runs to look through."""
        while self._runs and len(self._runs[-1].times) + len(run.times) <= min(RUN, 3 * len(run.times)):
            run = self._runs.pop().merged(run)
        if len(run.times):
            self._runs.append(run)
        self._packed = sum(len(each.times) for each in self._runs)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """From what `take_fresh` gave, a bucket at a time; of a hash noted twice the later time counts."""
        pairs = np.frombuffer(b"".join(chunks), np.uint64)
        self._append(_Run.of(pairs[::2], pairs[1::2].view(np.int64)))

    def take_fresh(self, bucket_ms: int) -> Iterator[tuple[int, bytes]]:
        """What was added since the last call, as (bucket of time, packed pairs)."""
        by_bucket: dict[int, list[int]] = {}
        for hashed, time in self.fresh:
            by_bucket.setdefault(time // bucket_ms, []).extend((hashed, time))
        self.fresh = []
        for bucket, pairs in by_bucket.items():
            yield bucket, packed(pairs)


class _Run:
    """Hashes in order, and beside them their times."""

    __slots__ = ("hashes", "newest", "times")

    def __init__(self, hashes: "array[int]", times: "array[int]", newest: int) -> None:
        self.hashes = hashes
        self.times = times
        self.newest = newest

    @classmethod
    def of(cls, hashes: Any, times: Any) -> "_Run":
        """Of numpy arrays in any order; of a hash that is there twice the later time counts."""
        order = np.argsort(hashes, kind="stable")
        hashes, times = hashes[order], times[order]
        firsts = _firsts(hashes)
        if len(firsts) < len(hashes):
            hashes, times = hashes[firsts], np.maximum.reduceat(times, firsts)
        packed_times = array("q")
        packed_times.frombytes(times.tobytes())
        return cls(unpacked(hashes.tobytes()), packed_times, int(times.max(initial=_NOT_NOTED)))

    def time(self, hashed: int) -> int:
        place = bisect_left(self.hashes, hashed)
        return self.times[place] if place < len(self.hashes) and self.hashes[place] == hashed else _NOT_NOTED

    def merged(self, other: "_Run") -> "_Run":
        hashes = np.concatenate([np.frombuffer(run.hashes, np.uint64) for run in (self, other)])
        times = np.concatenate([np.frombuffer(run.times, np.int64) for run in (self, other)])
        return _Run.of(hashes, times)
