"""What all shards of a process may hold of records between fetching them and committing what became of them.

One budget (`buffer_memory`) is shared by all shards, since one partition may need all of it and the others none:

- a half is for batches that are unpacked. A shard unpacks as long as there is room for all. When there is none, shards
  take turns: one at a time unpacks a batch more, or some that fit another half, counts what may be counted, and gives
  the rest back, to be fetched again. So nobody waits for another that waits for him, and nobody waits for ever;
- a half is for results. A shard makes a checkpoint when it holds its part of them, and another part while one is written;
- what is fetched and still packed has an eighth besides.

Pure but for the lock.
"""

import asyncio
from typing import Final

MB: Final = 1024 * 1024
RESULTS: Final = (MB, 16 * MB)
"""Bytes of results of one shard that make a checkpoint: at least and at most. One shard needs no more to be quick, and
below the least it would make a transaction of every few records."""
FETCH: Final = (64 * 1024, MB)
"""Compressed bytes fetched of one partition at a time: at least and at most. A larger batch still comes, alone."""
TOPICS: Final = 3
ENOUGH: Final = 2**62
"""Without a bound: of who reads one shard at a time, and nothing besides."""


class Memory:
    """Of one process."""

    def __init__(self, size: int) -> None:
        """``size`` in bytes."""
        self._size = size
        self.shards = 1
        self.unpacked = 0
        """Bytes of batches that are unpacked and not counted yet."""
        self.turn = asyncio.Lock()
        """Held by the shard that unpacks though there is no room."""

    @property
    def shards(self) -> int:
        """Among whom it is divided."""
        return self._shards

    @shards.setter
    def shards(self, number: int) -> None:
        self._shards = number
        self.results = _between(RESULTS, self._size // 4 // number)
        """Bytes of results that make a shard's checkpoint; asked for at each piece."""
        self.fetch = _between(FETCH, self._size // 8 // number // TOPICS)
        """Compressed bytes to fetch of a partition at a time."""

    @property
    def room(self) -> int:
        """Bytes that batches may have together."""
        return self._size // 2

    @property
    def turn_room(self) -> int:
        """Bytes that the batches of a shard may have in its turn, besides what others hold; one may be larger."""
        return self._size // 2

    @property
    def is_full(self) -> bool:
        return self.unpacked >= self.room


def _between(bounds: tuple[int, int], value: int) -> int:
    least, most = bounds
    return max(least, min(most, value))


class Account:
    """What one shard holds of it. To be closed when the shard ends."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.unpacked = 0
        self._in_turn = False
        self._first = False
        """The first batch of a turn is unpacked whatever room there is."""
        self._postponed = False
        """There was no room for a batch."""

    @property
    def needs_turn(self) -> bool:
        """Nothing may be unpacked now but in turn."""
        return self._postponed or self.memory.is_full

    def may_unpack(self) -> bool:
        """Whether to unpack one more batch."""
        if self._in_turn:
            return self._first or self.unpacked < self.memory.turn_room
        return not self.needs_turn

    def takes(self, size: int) -> bool:
        """Whether there is room for a batch that was unpacked; nobody knows its size before."""
        if self._in_turn:
            fits = self._first or self.unpacked + size <= self.memory.turn_room
        else:
            fits = self.memory.unpacked + size <= self.memory.room
            self._postponed = not fits
        self._first = False
        if fits:
            self.set(self.unpacked + size)
        return fits

    def set(self, size: int) -> None:
        """Bytes of what is still held."""
        self.memory.unpacked += size - self.unpacked
        self.unpacked = size

    def begin_turn(self) -> None:
        """The shard may unpack beyond what there is room for. It holds ``memory.turn``."""
        self._in_turn = self._first = True

    def end_turn(self) -> None:
        """Room is needed again: what there is none for is to be given back."""
        self._in_turn = self._first = self._postponed = False

    def close(self) -> None:
        self.set(0)
