from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.ids import IdSet, TimedHashes, packed
from stream.core.steps import drained

hashes = st.integers(0, 2**64 - 1)


@given(st.lists(hashes), st.lists(hashes), hashes)
def test_a_frozen_set_holds_what_was_put_in(first: list[int], second: list[int], other: int) -> None:
    ids = IdSet()
    ids.live.update(first)
    drained(ids.freeze())
    ids.live.update(second)
    drained(ids.freeze())
    assert not ids.live
    assert all(hashed in ids for hashed in first + second)
    assert (other in ids) == (other in first + second)


@given(st.sets(hashes), st.lists(hashes))
def test_ids_are_found_while_they_are_being_frozen(first: set[int], later: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream.core.ids.PIECE", 2)
        ids = IdSet()
        for _ in range(2):
            ids.live |= first
            coming = iter(later)
            for _ in ids.freeze():
                ids.live.update(islice(coming, 1))
                assert all(hashed in ids for hashed in first)
            ids.live.update(coming)
    assert all(hashed in ids for hashed in (*first, *later))
    assert ids.frozen is None or list(ids.frozen) == sorted(ids.frozen)


@given(st.lists(st.lists(hashes)))
def test_ids_come_back_from_chunks_in_any_cut(chunks: list[list[int]]) -> None:
    ids = IdSet()
    ids.restore(packed(chunk) for chunk in chunks)
    assert all(hashed in ids for chunk in chunks for hashed in chunk)
    assert len(ids) == len({hashed for chunk in chunks for hashed in chunk})


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(("note", "sweep", "restore")), st.integers(0, 5), st.integers(0, 30))),
    st.integers(1, 20),
)
def test_a_hash_is_held_for_its_own_time_whatever_sweeps_come_by(steps: list[tuple[str, int, int]], hold: int) -> None:
    held: dict[int, int] = {}
    seen = TimedHashes(hold)
    chunks: list[bytes] = []
    now = 0
    for action, which, passed in steps:
        now += passed
        hashed = (which * 0x9E3779B97F4A7C15) % 2**64
        assert seen.holds(hashed, now) == (hashed in held and held[hashed] + hold > now)
        if action == "note" and not seen.holds(hashed, now):
            held[hashed] = now
            seen.note(hashed, now)
            chunks += [chunk for _, chunk in seen.take_fresh(10)]
        elif action == "sweep":
            seen.sweep(now)
        elif action == "restore":
            seen = TimedHashes(hold)
            seen.restore(chunks)
    for hashed, since in held.items():
        assert seen.holds(hashed, now) == (since + hold > now)
