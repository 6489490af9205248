"""What has ended is collected though most of the process is left alone, and though somebody still holds it for a while."""

import weakref
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import pytest

from stream.kafka import gc_tuning
from stream.kafka.gc_tuning import Leftovers


class Plain:
    """Freed as soon as nobody holds it."""


class Cyclic:
    """Holds itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(gc_tuning, "RECLAIM_AFTER", 0.0)
    yield
    gc_tuning.end()


def test_what_has_ended_is_collected_though_it_was_left_alone() -> None:
    leftovers, thing = Leftovers(), Cyclic()
    gc_tuning.settle()
    leftovers.add(thing)
    gone = weakref.ref(thing)
    del thing
    gc_tuning.settle()
    assert gone() is not None, "nothing looks at what is old"
    leftovers.settle()
    assert gone() is None


def test_what_somebody_still_holds_is_looked_for_again() -> None:
    leftovers, thing = Leftovers(), Cyclic()
    leftovers.add(thing)
    gone = weakref.ref(thing)
    leftovers.settle()
    assert gone() is not None
    del thing
    leftovers.settle()
    assert gone() is None


def test_what_lies_in_a_cycle_beside_it_is_collected_with_it() -> None:
    """A closed consumer is freed at once, and its client lies in a cycle."""
    leftovers, thing, beside = Leftovers(), Plain(), Cyclic()
    gc_tuning.settle()
    gone = weakref.ref(beside)
    leftovers.add(thing)
    del thing, beside
    leftovers.settle()
    assert gone() is None


def test_once_it_is_gone_nothing_old_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[None] = []
    leftovers, thing = Leftovers(), Plain()
    monkeypatch.setattr(gc_tuning, "give_back", lambda: looked.append(None))
    leftovers.settle()
    assert not looked
    leftovers.add(thing)
    del thing
    for _ in range(3):
        leftovers.settle()
    assert len(looked) == 1


def test_it_is_looked_for_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    looked: list[float] = []
    monkeypatch.setattr(gc_tuning, "RECLAIM_AFTER", 2.0)
    monkeypatch.setattr(gc_tuning, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(gc_tuning, "give_back", lambda: looked.append(now))
    monkeypatch.setattr(gc_tuning, "settle", lambda: None)
    leftovers, held = Leftovers(), Cyclic()
    leftovers.add(held)
    for half in range(7200):
        now = half / 2
        leftovers.settle()
    assert looked[:4] == [2.0, 6.0, 14.0, 30.0]
    assert max(after - before for before, after in pairwise(looked)) == gc_tuning.LOOK_AGAIN
