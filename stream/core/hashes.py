"""64-bit hashes by the thousand: as bytes, as arrays, in order."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

import numpy as np


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


def firsts(ordered: Any) -> Any:
    """Places in a sorted numpy array where another number begins."""
    return np.flatnonzero(np.append(np.ones(min(1, len(ordered)), bool), ordered[1:] != ordered[:-1]))
