"""Ids of one topic and pane, in Python's own sets and arrays."""

from array import array
from collections.abc import Iterable
from typing import Final

import numpy as np

from stream.core.cooperative import Steps, pieces
from stream.core.hashes import firsts, is_in, packed, unpacked

PIECE: Final = 2_048
"""Ids packed or forgotten in one step: about 0.3 ms; several steps go between two looks at the clock, in every shard."""


class IdSet:
    """Ids of one topic and pane: a set while the pane is busy, a sorted array of 8 bytes an id once it is quiet."""

    __slots__ = ("_freezing", "_fresh", "_frozen", "_live")

    def __init__(self) -> None:
        self._live: set[int] = set()
        self._fresh: list[int] = []
        """Added since the last checkpoint."""
        self._freezing: set[int] = set()
        """On its way to the array."""
        self._frozen: array[int] | None = None
        """Not None as soon as there is anything outside of ``_live``."""

    def __contains__(self, hashed: int) -> bool:
        return hashed in self._live or (self._frozen is not None and self._is_apart(hashed))

    def _is_apart(self, hashed: int) -> bool:
        return hashed in self._freezing or (self._frozen is not None and is_in(self._frozen, hashed))

    def __len__(self) -> int:
        return self.busy + len(self._freezing) + (len(self._frozen) if self._frozen is not None else 0)

    @property
    def busy(self) -> int:
        """How many are not frozen, nor about to be."""
        return len(self._live)

    def note(self, hashed: int) -> bool:
        """True when it is new."""
        if hashed in self._live or (self._frozen is not None and self._is_apart(hashed)):
            return False
        self._live.add(hashed)
        self._fresh.append(hashed)
        return True

    @property
    def fresh(self) -> bool:
        """Is there anything for `take_fresh`?"""
        return bool(self._fresh)

    def take_fresh(self) -> bytes:
        """What was noted since the last call, in order, 8 bytes each."""
        taken, self._fresh = self._fresh, []
        return packed(taken)

    def freeze(self) -> Steps[None]:
        """Packs the set; ids that come later, or between two steps, are in a new one. Found throughout."""
        if not self._live:
            return
        whole, self._live, self._freezing = self._live, set(), self._live
        before, self._frozen = self._frozen, array("Q") if self._frozen is None else self._frozen
        hashes = np.empty(len(whole), np.uint64)
        for number, piece in enumerate(pieces(whole, PIECE)):
            hashes[number * PIECE : number * PIECE + len(piece)] = np.array(piece, np.uint64)
            yield
        if before is not None:
            hashes = np.concatenate((hashes, np.frombuffer(before, np.uint64)))
        self._frozen, self._freezing = unpacked(np.sort(hashes).tobytes()), set()
        while whole:  # taking down a large set at once takes long, too
            yield
            for _ in range(min(PIECE, len(whole))):
                whole.pop()

    def restore(self, chunks: Iterable[bytes]) -> None:
        """From what `take_fresh` gave, in place of what was frozen."""
        hashes = np.sort(np.frombuffer(b"".join(chunks), np.uint64))
        self._frozen = unpacked(hashes[firsts(hashes)].tobytes())
