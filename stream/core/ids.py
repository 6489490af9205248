"""What has been seen: ids of events by topic and pane, checkout keys and let-go sessions by time. All 64-bit hashes.

Two of n ids collide with a chance of n^2 / 2^65: 1.4e-8 for the 720,000 ids of a busy minute.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash

from stream.core.cooperative import Steps
from stream.core.hashes import firsts, packed, unpacked
from stream.core.state_keys import from_key, in_key
from stream.core.switch import NATIVE

if TYPE_CHECKING:
    from stream.core.statelog import StateLog

if TYPE_CHECKING or not NATIVE:
    from stream.core.pure.ids import IdSet
else:
    from stream.core.native.ids import IdSet

__all__ = ["FREEZE_AT", "IdSet", "TimedHashes", "hash_id"]

FREEZE_AT: Final = 65_536
"""Recent entries kept in a dict before they are packed."""
RUN: Final = 524_288
"""Entries at most of runs that are merged: that takes about 10 ms."""

_NOT_NOTED: Final = -(2**62)
"""Before any time."""
_NEVER_OVER: Final = 2**62
"""After any time."""

hash_id: Final = xxhash.xxh3_64_intdigest


class TimedHashes:
    """Hashes with a time, each held while its time + ``hold_ms`` > now, and found exactly until then.

    The first time given stays. Recent ones in a dict, the rest packed in sorted runs: 16 bytes each. Whether one is held
    is decided by its own time, not by whether a sweep came by.

    Strangers may make up any number. So at most ``most`` are held: when one more is noted, those of the oldest slice of
    time (``slice_ms``) are forgotten. Which those are follows from what was noted, and when.
    """

    __slots__ = (
        "_noted",
        "_number",
        "_over_at",
        "_packed",
        "_runs",
        "_slices",
        "bucket_ms",
        "floor",
        "fresh",
        "hold_ms",
        "most",
        "recent",
        "slice_ms",
        "sort",
    )

    def __init__(self, hold_ms: int, most: int, slice_ms: int, *, sort: bytes, bucket_ms: int) -> None:
        """``sort`` and length in time of its buckets in the state."""
        self.hold_ms = hold_ms
        self.most = most
        self.slice_ms = slice_ms
        self.sort = sort
        self.bucket_ms = bucket_ms
        self.floor = _NOT_NOTED
        """None of an earlier time is held: there were too many."""
        self._noted: dict[int, int] = {}
        """How many, by slice of time, of those that may be held."""
        self._slices: list[int] = []
        """The keys of ``_noted``, a heap."""
        self._over_at = _NEVER_OVER
        """When the time of the oldest slice is over."""
        self._number = 0
        """The sum of ``_noted``."""
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
        if since is not None and since >= self.floor and since > now - self.hold_ms:
            return True
        return bool(self._runs) and self._is_in_runs(hashed, max(self.floor, now - self.hold_ms + 1))

    def _is_in_runs(self, hashed: int, oldest: int) -> bool:
        return any(run.newest >= oldest and run.time(hashed) >= oldest for run in self._runs)

    def number(self, now: int) -> int:
        """How many are held, to the slice: also of the one whose time is over in part. For people; it asks no hash."""
        return sum(
            number for slice_, number in self._noted.items() if (slice_ + 1) * self.slice_ms + self.hold_ms > now
        )

    def number_held(self, now: int) -> int:
        """Those not swept away whose time is over are not counted."""
        oldest = max(self.floor, now - self.hold_ms + 1)
        times = chain(self.recent.values(), *(run.times for run in self._runs))
        return sum(time >= oldest for time in times)

    def note(self, hashed: int, time: int, now: int) -> None:
        """Only for a hash that is not held."""
        if now >= self._over_at:
            self._forget_over(now)
        if time < self.floor:
            return
        self.recent[hashed] = time
        self.fresh.append((hashed, time))
        slice_ = time // self.slice_ms
        if slice_ in self._noted:
            self._noted[slice_] += 1
            self._number += 1
        else:
            self._count(slice_, 1)
        while self._number > self.most:
            self.floor = self._forget_oldest()

    def _forget_over(self, now: int) -> None:
        while self._slices and now >= self._over_at:
            self._forget_oldest()

    def _forget_oldest(self) -> int:
        """The end of the slice that is forgotten."""
        oldest = heappop(self._slices)
        self._number -= self._noted.pop(oldest)
        self._see_oldest()
        return (oldest + 1) * self.slice_ms

    def _see_oldest(self) -> None:
        if self._slices:
            self._over_at = (self._slices[0] + 1) * self.slice_ms + self.hold_ms
        else:
            self._over_at = _NEVER_OVER

    def _count(self, slice_: int, number: int) -> None:
        if slice_ not in self._noted:
            self._noted[slice_] = 0
            heappush(self._slices, slice_)
            self._see_oldest()
        self._noted[slice_] += number
        self._number += number

    def sweep(self, now: int) -> None:
        """Packs what is recent and forgets what is no longer held, a whole run at a time; so it never takes long.

        Worth calling when `FREEZE_AT` recent ones are there.
        """
        hashes = np.fromiter(self.recent.keys(), np.uint64, len(self.recent))
        times = np.fromiter(self.recent.values(), np.int64, len(self.recent))
        self.recent = {}
        self._append(_Run.of(hashes, times))
        oldest = max(self.floor, now - self.hold_ms + 1)
        self._runs = [run.since(self.floor) for run in self._runs if run.newest >= oldest]
        self._packed = sum(len(run.times) for run in self._runs)

    def _append(self, run: "_Run") -> None:
        """Neighbours of about the same size are merged, so that there are few runs to look through."""
        while self._runs and len(self._runs[-1].times) + len(run.times) <= min(RUN, 3 * len(run.times)):
            run = self._runs.pop().merged(run)
        if len(run.times):
            self._runs.append(run)
        self._packed = sum(len(each.times) for each in self._runs)

    # -- the state

    def retire(self, log: "StateLog", now: int | None) -> Steps[None]:
        """Drops the buckets in which nothing is held any more. Packs what is recent once that is much."""
        for bucket in log.buckets():
            if bucket.startswith(self.sort) and self.is_over((from_key(bucket[1:9]) + 1) * self.bucket_ms, now):
                log.drop_bucket(bucket)
        if now is not None and len(self.recent) >= FREEZE_AT:
            yield
            self.sweep(now)

    def is_over(self, time: int, now: int | None) -> bool:
        """Whether nothing of before ``time`` is held any more, whatever was noted."""
        return time <= self.floor or (now is not None and time + self.hold_ms <= now)

    def additions(self, _log: "StateLog") -> Iterator[tuple[bytes, bytes]]:
        """What was noted since the last call, as (bucket, packed pairs)."""
        by_bucket: dict[int, list[int]] = {}
        for hashed, time in self.fresh:
            by_bucket.setdefault(time // self.bucket_ms, []).extend((hashed, time))
        self.fresh = []
        for bucket, pairs in by_bucket.items():
            yield self.sort + in_key(bucket), packed(pairs)

    def restore(self, _bucket: bytes, chunks: Iterable[bytes]) -> None:
        """From what `additions` gave, a bucket at a time; of a hash noted twice the later time counts.

        ``floor`` must be known by then.
        """
        pairs = np.frombuffer(b"".join(chunks), np.uint64).reshape(-1, 2)
        pairs = pairs[pairs[:, 1].view(np.int64) >= self.floor]
        run = _Run.of(pairs[:, 0], pairs[:, 1].view(np.int64))
        for slice_, number in zip(*np.unique(np.array(run.times) // self.slice_ms, return_counts=True), strict=True):
            self._count(int(slice_), int(number))
        self._append(run)


class _Run:
    """Hashes in order, and beside them their times."""

    __slots__ = ("hashes", "newest", "oldest", "times")

    def __init__(self, hashes: "array[int]", times: "array[int]", oldest: int, newest: int) -> None:
        self.hashes = hashes
        self.times = times
        self.oldest = oldest
        self.newest = newest

    @classmethod
    def of(cls, hashes: Any, times: Any) -> "_Run":
        """Of numpy arrays in any order; of a hash that is there twice the later time counts."""
        order = np.argsort(hashes, kind="stable")
        hashes, times = hashes[order], times[order]
        places = firsts(hashes)
        if len(places) < len(hashes):
            hashes, times = hashes[places], np.maximum.reduceat(times, places)
        packed_times = array("q")
        packed_times.frombytes(times.tobytes())
        oldest, newest = int(times.min(initial=-_NOT_NOTED)), int(times.max(initial=_NOT_NOTED))
        return cls(unpacked(hashes.tobytes()), packed_times, oldest, newest)

    def since(self, time: int) -> "_Run":
        """Without what is older; itself where nothing is."""
        if self.oldest >= time:
            return self
        hashes, times = np.frombuffer(self.hashes, np.uint64), np.frombuffer(self.times, np.int64)
        return _Run.of(hashes[times >= time], times[times >= time])

    def time(self, hashed: int) -> int:
        place = bisect_left(self.hashes, hashed)
        return self.times[place] if place < len(self.hashes) and self.hashes[place] == hashed else _NOT_NOTED

    def merged(self, other: "_Run") -> "_Run":
        hashes = np.concatenate([np.frombuffer(run.hashes, np.uint64) for run in (self, other)])
        times = np.concatenate([np.frombuffer(run.times, np.int64) for run in (self, other)])
        return _Run.of(hashes, times)
