"""The native table of hashes and the one in Python are the same to everybody outside; each test runs with both."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.native import BUILT

PURE, NATIVE = "stream.core.pure.hashtable", "stream.core.native.hashtable"
built = pytest.mark.skipif(not BUILT, reason="built without a C compiler")
BOTH = pytest.mark.parametrize("name", [PURE, pytest.param(NATIVE, marks=built)])

hashes = st.integers(0, 2**64 - 1) | st.integers(0, 40) | st.integers(2**64 - 40, 2**64 - 1)
numbers = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-3, 3)
changes = st.lists(
    st.tuples(st.just("put"), hashes, numbers)
    | st.tuples(st.just("remove"), hashes, st.just(0))
    | st.tuples(st.just("forget"), st.just(0), numbers),
    max_size=200,
)


def made(name: str, steps: list[tuple[str, int, int]]) -> tuple[Any, dict[int, int]]:
    """A table after these steps, and what must be in it."""
    table, expected = import_module(name).HashTable(), dict[int, int]()
    for what, hashed, number in steps:
        if what == "put":
            table.put(hashed, number)
            expected[hashed] = number
        elif what == "forget":
            table.forget_below(number)
            expected = {each: other for each, other in expected.items() if other >= number}
        elif hashed in expected:
            table.remove(hashed)
            del expected[hashed]
        else:
            with pytest.raises(KeyError):
                table.remove(hashed)
    return table, expected


@BOTH
@given(changes)
def test_it_holds_what_was_put_last(name: str, steps: list[tuple[str, int, int]]) -> None:
    table, expected = made(name, steps)
    assert len(table) == len(expected)
    for _, hashed, _ in steps:
        assert table.get(hashed, 7) == expected.get(hashed, 7)
        assert table.get(hashed ^ 1, 7) == expected.get(hashed ^ 1, 7)


@BOTH
@given(changes, numbers, numbers)
def test_pairs_are_in_the_order_of_the_hashes(
    name: str, steps: list[tuple[str, int, int]], first: int, end: int
) -> None:
    table, expected = made(name, steps)
    pairs = np.frombuffer(table.pairs(first, end), np.uint64)
    found = list(zip(pairs[::2].tolist(), pairs[1::2].view(np.int64).tolist(), strict=True))
    assert found == sorted((hashed, number) for hashed, number in expected.items() if first <= number < end)


@BOTH
def test_thousands_that_come_and_go_leave_no_trace(name: str) -> None:
    table = import_module(name).HashTable()
    for round_ in range(3):
        for hashed in range(5000):
            table.put(hashed * 2**50 % 2**64 + hashed, round_)
        for hashed in range(0, 5000, 2):
            table.remove(hashed * 2**50 % 2**64 + hashed)
        assert len(table) == 2500
        table.forget_below(round_ + 1)
        assert len(table) == 0


@built
def test_an_entry_costs_32_bytes_at_most() -> None:
    table = import_module(NATIVE).HashTable()
    for hashed in range(100_000):
        table.put(hashed * 0x9E3779B97F4A7C15 % 2**64, 0)
    assert table.__sizeof__() <= 33 * len(table)
