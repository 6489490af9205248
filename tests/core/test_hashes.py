"""64-bit hashes as bytes and in order."""

import numpy as np
import pytest

from stream.core.hashes import firsts, is_in, packed, unpacked

LARGEST = 2**64 - 1


def test_hashes_come_back_from_bytes() -> None:
    assert list(unpacked(packed([5, 0, LARGEST]))) == [5, 0, LARGEST]
    assert (packed([]), list(unpacked(b""))) == (b"", [])
    assert len(packed([1, 2])) == 16


def test_one_is_found_in_order_and_others_are_not() -> None:
    ordered = unpacked(packed([3, 5, LARGEST]))
    assert [is_in(ordered, each) for each in (2, 3, 4, 5, 6, LARGEST)] == [False, True, False, True, False, True]
    assert not is_in(unpacked(b""), 0)
    assert not is_in(unpacked(packed([3])), 4)


@pytest.mark.parametrize(
    ("ordered", "places"),
    [([], []), ([7], [0]), ([7, 7], [0]), ([1, 1, 2, 3, 3], [0, 2, 3]), ([1, 2, 2, 2], [0, 1])],
)
def test_places_are_where_another_number_begins(ordered: list[int], places: list[int]) -> None:
    assert firsts(np.array(ordered, np.uint64)).tolist() == places
