"""Hashes with a number each, in Python's own dict."""

import numpy as np


class HashTable:
    """64-bit hashes, and a signed 64-bit number for each; the smallest number is not for use."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def get(self, hashed: int, default: int) -> int:
        return self._numbers.get(hashed, default)

    def put(self, hashed: int, number: int) -> None:
        self._numbers[hashed] = number

    def remove(self, hashed: int) -> None:
        """Raises KeyError for one that is not there."""
        del self._numbers[hashed]

    def forget_below(self, limit: int) -> None:
        """Entries with a smaller number."""
        self._numbers = {hashed: number for hashed, number in self._numbers.items() if number >= limit}

    def pairs(self, first: int, end: int) -> bytes:
        """Those with a number in ``[first, end)``: hash and number, 16 bytes each, in the order of the hashes."""
        found = sorted(item for item in self._numbers.items() if first <= item[1] < end)
        hashes = np.array([hashed for hashed, _ in found], np.uint64)
        numbers = np.array([number for _, number in found], np.int64)
        return np.stack((hashes, numbers.view(np.uint64)), axis=1).tobytes()
