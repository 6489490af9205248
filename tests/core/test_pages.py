"""Pages of sessions at rest: who is in, who is let go, and what comes back from a state that holds dead copies."""

import zlib
from random import Random

import msgspec
import pytest

from stream.core.framing import StateError
from stream.core.pages import Pages, Resting

ABSENT = None


def resting(number: int, due: int = 100, data: bytes = b"data") -> Resting:
    return Resting(b"s%d" % number, due, data + b"%d" % number)


def in_it(pages: Pages) -> dict[bytes, tuple[bytes, bool]]:
    return {each.key: (each.data, incomplete) for _, each, incomplete in pages.each()}


class State:
    """The items that a state holds of the pages."""

    def __init__(self) -> None:
        self.items: dict[int, bytes] = {}

    def take(self, pages: Pages) -> None:
        for number in pages.gone:
            self.items.pop(number, None)
        self.items |= {number: pages.value(number) for number in pages.stale}
        pages.gone, pages.stale = [], {}

    def restored(self, known: dict[bytes, int], gone: set[bytes], size: int) -> Pages:
        pages = Pages(size)
        found = list(pages.restore(self.items, lambda _, each: each.key in known or each.key in gone))
        assert sorted(each.key for each in found) == sorted(in_it(pages))
        return pages


def test_who_is_taken_is_not_in_any_more() -> None:
    pages = Pages()
    pages.add([resting(1), resting(2)])
    assert pages.find(b"s1") == pages.take(b"s1") == (b"data1", False)
    assert pages.take(b"s1") is pages.find(b"s3") is ABSENT
    assert b"s1" not in pages
    assert b"s2" in pages
    assert len(pages) == 1
    assert not pages.gone
    pages.take(b"s2")
    assert pages.gone == [0]


def test_each_is_let_go_when_it_is_due() -> None:
    pages = Pages()
    pages.add([resting(1, due=10), resting(2, due=30)])
    pages.add([resting(3, due=20), resting(4, due=10)])
    pages.take(b"s4")
    assert [each.key for each in pages.let_go(9)] == []
    assert [each.key for each in pages.let_go(10)] == [b"s1"]
    assert [each.key for each in pages.let_go(29)] == [b"s3"]
    assert [each.key for each in pages.let_go(1000)] == [b"s2"]
    assert len(pages) == 0
    assert sorted(pages.gone) == [0, 1]


def test_pages_half_dead_are_merged() -> None:
    pages = Pages(4)
    for first in (0, 4, 8):
        pages.add([resting(number) for number in range(first, first + 4)])
    for number in (0, 1, 4, 5, 6):
        pages.take(b"s%d" % number)
    assert not pages.merge()
    for number in (8, 9, 10):
        pages.take(b"s%d" % number)
    assert pages.merge()
    assert sorted(pages.gone) == [0, 1, 2]
    assert sorted(in_it(pages)) == [b"s11", b"s2", b"s3", b"s7"]


def pages_of(*sizes: int, size: int = 4) -> tuple[Pages, list[list[bytes]]]:
    """Pages of so many sessions, and who is in each."""
    pages, keys = Pages(size), list[list[bytes]]()
    for first, number in enumerate(sizes):
        found = [resting(100 * first + each) for each in range(number)]
        pages.add(found)
        keys.append([each.key for each in found])
    return pages, keys


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(
    ("sizes", "dead", "dropped"),
    [
        ((4, 4), 2, 2),
        ((4, 4), 1, 0),  # each is three quarters alive
        ((3, 3), 1, 0),
        ((4, 4, 4), 2, 2),  # enough for one page, the third waits
        ((4, 2), 2, 1),  # the second is dropped at once, the first is alone
    ],
)
def test_a_page_is_half_dead_when_no_more_than_half_is_alive(
    sizes: tuple[int, ...], dead: int, dropped: int, restored: bool
) -> None:
    pages, keys = pages_of(*sizes)
    gone = [key for page in keys for key in page[:dead]]
    if restored:
        values = {number: pages.value(number) for number in range(len(sizes))}
        pages = Pages(4)
        list(pages.restore(values, lambda _, each: each.key in gone))
    else:
        for key in gone:
            pages.take(key)
    left = in_it(pages)
    assert pages.merge() is (dropped > 1)
    assert len(pages.gone) == dropped
    assert in_it(pages) == left == {key: found for key, found in left.items() if key not in gone}
    assert not pages.merge()


def test_a_page_that_is_dead_when_it_is_restored_is_dropped_and_hides_no_other() -> None:
    pages, keys = pages_of(4, 4, 4)
    values = {number: pages.value(number) for number in range(3)}
    again = Pages(4)
    found = list(again.restore(values, lambda _, each: each.key in keys[1]))
    assert [each.key for each in found] == [*keys[2], *keys[0]]
    assert (again.gone, len(again)) == ([1], 8)
    again.add([resting(900)])
    assert list(again.stale) == [3], "no number is used twice"


def test_lost_offsets_wake_a_page_at_a_time_and_nobody_is_let_go_untold() -> None:
    pages, state = Pages(2), State()
    pages.add([resting(1), resting(2)])
    pages.mark_incomplete()
    pages.add([resting(3), resting(4)])
    assert in_it(pages) == {b"s1": (b"data1", True), b"s2": (b"data2", True)} | {
        b"s3": (b"data3", False),
        b"s4": (b"data4", False),
    }
    assert [each.key for each in pages.let_go(100)] == [b"s3", b"s4"]
    state.take(pages)
    pages = state.restored({}, set(), 2)
    assert sorted(each.key for each in pages.take_incomplete()) == [b"s1", b"s2"]
    assert pages.take_incomplete() == []


def test_those_that_are_due_and_not_told_yet_hold_up_nobody_and_wait() -> None:
    pages = Pages(2)
    pages.add([resting(1, due=10), resting(2, due=20)])
    pages.mark_incomplete()
    pages.add([resting(3, due=30), resting(4, due=10)])
    assert [each.key for each in pages.let_go(10)] == [b"s4"]
    assert [each.key for each in pages.let_go(30)] == [b"s3"]
    assert sorted(in_it(pages)) == [b"s1", b"s2"]
    again = Pages(2)
    again.add(pages.take_incomplete())
    assert list(pages.let_go(30)) == []
    assert [each.key for each in again.let_go(30)] == [b"s1", b"s2"]


def test_a_key_of_the_same_hash_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.core.pages.hash_id", len)
    pages = Pages()
    pages.add([resting(1)])
    assert b"s2" in pages  # and so it is not put in
    assert pages.take(b"s2") is pages.find(b"s2") is ABSENT
    assert pages.take(b"s1") == (b"data1", False)


@pytest.mark.parametrize("seed", range(6))
def test_restored_it_holds_what_it_held(seed: int) -> None:
    """Sessions come and go for long; dead copies come to life in no restart."""
    rng, size = Random(seed), 4
    pages, state = Pages(size), State()
    awake: dict[bytes, int] = {}
    gone: set[bytes] = set()
    version = number = 0
    for step in range(800):
        act = rng.random()
        if act < 0.3 or len(awake) > 3 * size:
            chosen = rng.sample(sorted(awake), min(size, len(awake)))
            if len(chosen) == size:
                pages.add([Resting(key, step + 50 + rng.randrange(300), b"%d" % awake.pop(key)) for key in chosen])
        elif act < 0.6:
            number += 1
            awake[b"new%d" % number] = version = version + 1
        elif act < 0.8 and len(pages):
            key = rng.choice(sorted(in_it(pages)))
            found = pages.take(key)
            assert found is not None
            awake[key] = version = int(found[0]) + 1000
        elif act < 0.9:
            gone.update(each.key for each in pages.let_go(step))
            pages.merge()
        else:
            state.take(pages)
            expected = in_it(pages)
            pages = state.restored(awake, gone, size)
            assert in_it(pages) == expected
            assert len(pages) == len(expected)
    assert len(state.items) * size < 4 * max(1, len(pages)) + 4 * size


def test_a_page_is_small() -> None:
    """A tenth of what there is in it, of sessions that are much alike; each with 32 bytes in the index."""
    pages = Pages()
    pages.add([resting(number, data=b"x" * 150) for number in range(64)])
    assert len(pages.value(0)) < 64 * 50


def test_what_is_no_page_is_a_damaged_state() -> None:
    pages, other = Pages(), Pages()
    pages.add([resting(1)])
    value = pages.value(0)
    with pytest.raises(StateError, match="page"):
        list(other.restore({0: value[:4] + b"\0" * (len(value) - 4)}, lambda *_: False))


@pytest.mark.parametrize("data", [zlib.compress(b"\0" * (2 << 20)), zlib.compress(b"session" * 100)[:-9]])
def test_a_page_that_is_too_large_or_cut_off_is_a_damaged_state(data: bytes) -> None:
    value = msgspec.msgpack.encode((False, data))
    with pytest.raises(StateError, match=r"^a page of sessions is cut off, or too large$"):
        list(Pages().restore({0: value}, lambda *_: False))
