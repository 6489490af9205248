"""What has been seen: ids of events by topic and pane, checkout keys and let-go sessions by time. All 64-bit hashes.

Two of n ids collide with a chance of n^2 / 2^65: 1.4e-8 for the 720,000 ids of a busy minute.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import xxhash

FREEZE_AT: Final = 65_536
"""Recent entries kept in a dict before they are merged into the packed arrays."""

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


class IdSet:
    """Ids of one topic and pane: a set while the pane is busy, a sorted array of 8 bytes an id once it is quiet."""

    __slots__ = ("fresh", "frozen", "live")

    def __init__(self) -> None:
        self.live: set[int] = set()
        self.fresh: list[int] = []
        """Added since the last checkpoint."""
        self.frozen: array[int] | None = None

    def __contains__(self, hashed: int) -> bool:
        return hashed in self.live or (self.frozen is not None and is_in(self.frozen, hashed))

    def __len__(self) -> int:
        return len(self.live) + (len(self.frozen) if self.frozen is not None else 0)

    def freeze(self) -> None:
        """Packs the set; ids that come later start a new one."""
        if not self.live:
            return
        hashes = np.fromiter(self.live, np.uint64, len(self.live))
        if self.frozen is not None:
            hashes = np.concatenate((hashes, np.frombuffer(self.frozen, np.uint64)))
        self.frozen = unpacked(np.sort(hashes).tobytes())
        self.live.clear()

    def restore(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            self.live.update(unpacked(chunk))


class TimedHashes:
    """Hashes with a time, each held while its time + ``hold_ms`` > now, and found exactly until then.

    The first time given stays. Recent ones in a dict, the rest packed in two arrays: 16 bytes each. Whether one is held
    is decided by its own time, not by whether a sweep came by.
    """

    __slots__ = ("fresh", "hashes", "hold_ms", "recent", "times")

    def __init__(self, hold_ms: int) -> None:
        self.hold_ms = hold_ms
        self.recent: dict[int, int] = {}
        self.hashes = array("Q")
        self.times = array("q")
        self.fresh: list[tuple[int, int]] = []
        """(hash, time) added since the last checkpoint."""

    def __len__(self) -> int:
        return len(self.recent) + len(self.hashes)

    def holds(self, hashed: int, now: int) -> bool:
        since = self.recent.get(hashed)
        if since is None:
            place = bisect_left(self.hashes, hashed)
            if place == len(self.hashes) or self.hashes[place] != hashed:
                return False
            since = self.times[place]
        return since + self.hold_ms > now

    def note(self, hashed: int, time: int) -> None:
        """Only for a hash that is not held."""
        self.recent[hashed] = time
        self.fresh.append((hashed, time))

    def sweep(self, now: int) -> None:
        """Forgets what is no longer held and packs the rest; worth calling when `FREEZE_AT` recent ones are there."""
        times = np.frombuffer(self.times, np.int64)
        hashes = np.frombuffer(self.hashes, np.uint64)
        recent_hashes = np.fromiter(self.recent.keys(), np.uint64, len(self.recent))
        recent_times = np.fromiter(self.recent.values(), np.int64, len(self.recent))
        if len(hashes) and len(
            recent_hashes
        ):  # a hash noted anew after its hold ended is in both: the newer one counts
            keep = ~np.isin(hashes, recent_hashes)
            hashes, times = hashes[keep], times[keep]
        hashes, times = np.concatenate((hashes, recent_hashes)), np.concatenate((times, recent_times))
        held = times + self.hold_ms > now
        hashes, times = hashes[held], times[held]
        order = np.argsort(hashes)
        self.hashes = unpacked(hashes[order].tobytes())
        packed_times = array("q")
        packed_times.frombytes(times[order].tobytes())
        self.times = packed_times
        self.recent = {}

    def restore(self, chunks: Iterable[bytes]) -> None:
        """From what `take_fresh` gave; of a hash noted twice the later time counts."""
        for chunk in chunks:
            pairs = iter(unpacked(chunk))
            for hashed, time in zip(pairs, pairs, strict=True):
                self.recent[hashed] = max(time, self.recent.get(hashed, time))

    def take_fresh(self, bucket_ms: int) -> Iterator[tuple[int, bytes]]:
        """What was added since the last call, as (bucket of time, packed pairs)."""
        by_bucket: dict[int, list[int]] = {}
        for hashed, time in self.fresh:
            by_bucket.setdefault(time // bucket_ms, []).extend((hashed, time))
        self.fresh = []
        for bucket, pairs in by_bucket.items():
            yield bucket, packed(pairs)
