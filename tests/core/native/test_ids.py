"""The native set of ids and the one in Python are the same to everybody outside; each test runs with both."""

from importlib import import_module
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.cooperative import drained
from stream.core.hashes import packed, unpacked
from tests.core.native import BUILT

PURE, NATIVE = "stream.core.pure.ids", "stream.core.native.ids"
built = pytest.mark.skipif(not BUILT, reason="built without a C compiler")
BOTH = pytest.mark.parametrize("name", [PURE, pytest.param(NATIVE, marks=built)])

hashes = st.integers(0, 2**64 - 1) | st.integers(0, 300) | st.integers(2**64 - 300, 2**64 - 1)
rows = st.builds(
    lambda first, step, number: [(first + step * place) % 2**64 for place in range(number)],
    hashes,
    hashes,
    st.integers(0, 2000),
)
lists = st.lists(hashes) | rows


@BOTH
@given(lists)
def test_an_id_is_new_once(name: str, noted: list[int]) -> None:
    ids = import_module(name).IdSet()
    seen: set[int] = set()
    for hashed in noted:
        assert ids.note(hashed) is (hashed not in seen)
        seen.add(hashed)
        assert hashed in ids
    assert len(ids) == len(seen)
    assert all((hashed ^ 1 in ids) == (hashed ^ 1 in seen) for hashed in noted)


@BOTH
@given(lists, lists)
def test_what_is_fresh_comes_once_and_in_order(name: str, first: list[int], second: list[int]) -> None:
    ids = import_module(name).IdSet()
    taken: list[int] = []
    for noted in (first, second):
        new = [hashed for hashed in noted if ids.note(hashed)]
        assert ids.fresh is bool(new)
        chunk = ids.take_fresh()
        assert isinstance(chunk, bytes)
        assert list(unpacked(chunk)) == new
        assert not ids.fresh
        taken += new
    assert taken == list(dict.fromkeys(first + second))


@BOTH
@given(lists, lists, hashes)
def test_a_frozen_set_holds_what_was_put_in(name: str, first: list[int], second: list[int], other: int) -> None:
    ids = import_module(name).IdSet()
    for noted in (first, second):
        for hashed in noted:
            ids.note(hashed)
        drained(ids.freeze())
        assert ids.busy == 0
    assert not any(ids.note(hashed) for hashed in first + second)
    assert (other in ids) == (other in first + second)
    assert len(ids) == len({*first, *second})


@BOTH
@given(lists, st.lists(hashes, max_size=20))
def test_ids_are_found_while_they_are_being_frozen(name: str, first: list[int], later: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{name}.PIECE", 100)
        ids = import_module(name).IdSet()
        seen: set[int] = set()

        def note(hashed: int) -> None:
            assert ids.note(hashed) is (hashed not in seen)
            seen.add(hashed)

        coming = iter(later)
        for noted in (first[::2], first[1::2]):
            for hashed in noted:
                note(hashed)
            for _ in ids.freeze():
                assert all(hashed in ids for hashed in noted)
                assert len(ids) == len(seen)
                for hashed in islice(coming, 1):
                    note(hashed)
    assert all(hashed in ids for hashed in seen)


@BOTH
def test_a_freezing_that_was_left_unfinished_loses_nothing(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{name}.PIECE", 100)
        ids = import_module(name).IdSet()
        for hashed in range(1, 1001):
            ids.note(hashed << 50 | hashed)
        next(ids.freeze())
    assert all(hashed << 50 | hashed in ids for hashed in range(1, 1001))


@BOTH
@given(st.lists(st.lists(hashes)))
def test_ids_come_back_from_chunks_in_any_cut(name: str, chunks: list[list[int]]) -> None:
    ids = import_module(name).IdSet()
    ids.restore(packed(chunk) for chunk in chunks)
    assert all(hashed in ids for chunk in chunks for hashed in chunk)
    assert len(ids) == len({hashed for chunk in chunks for hashed in chunk})
    assert not ids.fresh
    assert not any(ids.note(hashed) for chunk in chunks for hashed in chunk)


@built
@pytest.mark.parametrize("wrong", [-1, 2**64, "1", None])
def test_what_is_no_hash_is_not_noted(wrong: object) -> None:
    with pytest.raises((OverflowError, TypeError)):
        import_module(NATIVE).IdSet().note(wrong)


@built
def test_the_native_set_takes_16_bytes_an_id_and_8_when_frozen() -> None:
    native = import_module(NATIVE)
    ids = native.IdSet()
    for number in range(1, 100_000):
        ids.note(number * 0x9E3779B97F4A7C15 % 2**64)
        if number > 1000 and not number % 97:
            ids.take_fresh()
            assert ids.__sizeof__() < 17 * number + 500
    drained(ids.freeze())
    assert ids.__sizeof__() < 8 * len(ids) + 2000
