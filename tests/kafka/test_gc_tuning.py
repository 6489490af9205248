"""What has ended is collected though most of the process is left alone, and though somebody still holds it for a while."""

import weakref
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import pytest

from stream.kafka import gc_tuning
from stream.kafka.gc_tuning import FULL_EVERY, MEASURED, RETRY_AFTER, LoopLoad, Reclaimer


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
    gc_tuning.unfreeze()


def test_what_has_ended_is_collected_though_it_was_left_alone() -> None:
    reclaimer, thing = Reclaimer(), Cyclic()
    gc_tuning.collect()
    reclaimer.add(thing)
    gone = weakref.ref(thing)
    del thing
    gc_tuning.collect()
    assert gone() is not None, "nothing looks at what is old"
    reclaimer.collect()
    assert gone() is None


def test_what_somebody_still_holds_is_looked_for_again() -> None:
    reclaimer, thing = Reclaimer(), Cyclic()
    reclaimer.add(thing)
    gone = weakref.ref(thing)
    reclaimer.collect()
    assert gone() is not None
    del thing
    reclaimer.collect()
    assert gone() is None


def test_what_lies_in_a_cycle_beside_it_is_collected_with_it() -> None:
    """A closed consumer is freed at once, and its client lies in a cycle."""
    reclaimer, thing, beside = Reclaimer(), Plain(), Cyclic()
    gc_tuning.collect()
    gone = weakref.ref(beside)
    reclaimer.add(thing)
    del thing, beside
    reclaimer.collect()
    assert gone() is None


def test_once_it_is_gone_nothing_old_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[None] = []
    reclaimer, thing = Reclaimer(), Plain()
    monkeypatch.setattr(gc_tuning, "trim_memory", lambda: looked.append(None))
    reclaimer.collect()
    assert not looked
    reclaimer.add(thing)
    del thing
    for _ in range(3):
        reclaimer.collect()
    assert len(looked) == 1


def test_it_is_looked_for_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def clock() -> float:
        return now

    looked: list[float] = []
    monkeypatch.setattr(gc_tuning, "RECLAIM_AFTER", 2.0)
    monkeypatch.setattr(gc_tuning, "time", SimpleNamespace(monotonic=clock, perf_counter=clock, thread_time=clock))
    monkeypatch.setattr(gc_tuning, "trim_memory", lambda: looked.append(now))
    monkeypatch.setattr(gc_tuning, "collect", lambda: None)
    reclaimer, held = Reclaimer(), Cyclic()
    reclaimer.add(held)
    for half in range(7200):
        now = half / 2
        reclaimer.collect()
    assert looked[:4] == [2.0, 6.0, 14.0, 30.0]
    assert max(after - before for before, after in pairwise(looked)) == gc_tuning.RETRY_AT_MOST


# -- what nobody has noted: a full collection now and then


class World:
    """A clock that stands still, and a collector that takes so long for each of so many objects."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, objects: int, each: float = 2e-7) -> None:
        self.now = self._cpu = 0.0
        self.objects = objects
        self.each = each
        self.suspended = 0.0
        """Seconds for which the machine stands still in each full collection."""
        self.told: list[float] = []
        clocks = {"monotonic": self._now, "perf_counter": self._now, "thread_time": self._busy}
        monkeypatch.setattr(gc_tuning, "time", SimpleNamespace(**clocks))
        nothing = {"freeze": lambda: None, "unfreeze": lambda: None}
        collector = SimpleNamespace(collect=self._collect, get_freeze_count=lambda: self.objects, **nothing)
        monkeypatch.setattr(gc_tuning, "gc", collector)
        monkeypatch.setattr(gc_tuning, "trim_memory", lambda: None)
        self.reclaimer = Reclaimer(self.told.append)

    def _now(self) -> float:
        return self.now

    def _busy(self) -> float:
        return self._cpu

    def _collect(self, generation: int = 2) -> None:
        if generation == 2:
            self._cpu += self.objects * self.each
            self.now += self.objects * self.each + self.suspended

    def beats(self, seconds: float, load: LoopLoad) -> int:
        """Half a second each. Returns how many full collections there were."""
        before = len(self.told)
        for _ in range(int(2 * seconds)):
            self.now += 0.5
            self.reclaimer.collect(load)
        return len(self.told) - before


DAY = 86_400.0


def test_an_idle_worker_looks_at_everything_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, 100_000)
    assert world.beats(FULL_EVERY - 10, LoopLoad.IDLE) == 0
    assert world.beats(20, LoopLoad.IDLE) == 1
    assert world.told == [pytest.approx(0.02)]
    assert world.beats(DAY, LoopLoad.IDLE) == pytest.approx(DAY / FULL_EVERY, abs=2)


def test_never_while_records_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, 1000)
    assert world.beats(DAY, LoopLoad.BUSY) == 0
    assert world.beats(1, LoopLoad.IDLE) == 1


def test_a_large_state_is_looked_at_only_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take 0.2 s, four times the goal for stalls."""
    world = World(monkeypatch, 1_000_000)
    assert world.beats(DAY, LoopLoad.IDLE) == 0
    assert world.beats(RETRY_AFTER + 1, LoopLoad.QUIET) == 1


def test_one_so_large_that_the_membership_might_be_lost_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, 50_000_000)
    assert world.beats(DAY, LoopLoad.QUIET) == 0


def test_what_the_last_one_took_says_what_the_next_one_will(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, 100_000, each=2e-6)  # a slow machine: 0.2 s, where 0.03 s was guessed
    assert world.beats(2 * FULL_EVERY, LoopLoad.IDLE) == 1
    assert world.beats(DAY, LoopLoad.IDLE) == 0
    world.objects = 20_000  # 0.04 s, and twice that would be too long
    assert world.beats(DAY, LoopLoad.IDLE) == 0
    world.objects = 10_000
    assert world.beats(RETRY_AFTER + 1, LoopLoad.IDLE) == 1


def test_none_begins_that_may_take_longer_than_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the state grows to, as long as the time per object does not double from one to the next."""
    world = World(monkeypatch, 20_000)
    for turn in range(200):
        world.objects += 2_000
        world.each = (1e-7, 1.9e-7, 1.2e-7)[turn % 3]
        world.beats(FULL_EVERY + RETRY_AFTER, LoopLoad.IDLE)
    assert len(world.told) > 20
    assert max(world.told) <= gc_tuning.STALL


def test_the_slowest_of_the_last_few_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, 100_000, each=4e-7)
    assert world.beats(FULL_EVERY + 1, LoopLoad.IDLE) == 1
    world.each = 1e-8
    assert world.beats(DAY, LoopLoad.IDLE) == 0, "twice 0.04 s is too long"
    assert world.beats(MEASURED * (FULL_EVERY + RETRY_AFTER), LoopLoad.QUIET) >= MEASURED
    assert world.beats(FULL_EVERY + RETRY_AFTER, LoopLoad.IDLE) == 1


def test_a_machine_that_was_suspended_meanwhile_does_not_end_it_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, 50_000)
    world.suspended = 3600.0
    assert world.beats(FULL_EVERY + 1, LoopLoad.IDLE) == 1
    world.suspended = 0.0
    assert world.beats(FULL_EVERY + RETRY_AFTER, LoopLoad.IDLE) == 1


def test_a_cycle_that_was_left_alone_is_gone_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc_tuning, "FULL_EVERY", 0.0)
    monkeypatch.setattr(gc_tuning, "STALL", 60.0)
    reclaimer, thing = Reclaimer(), Cyclic()
    gc_tuning.collect()
    gone = weakref.ref(thing)
    del thing
    reclaimer.collect(LoopLoad.BUSY)
    assert gone() is not None
    reclaimer.collect(LoopLoad.IDLE)
    assert gone() is None
