"""Event times far apart cost no more than times that are near: every loop over time is bounded by what exists.

What is counted are the lines of Python that run, not seconds: the same for every machine.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest

from stream.core.alerts.history import History
from stream.core.decode import decode_batch
from stream.core.policy import DAY, HOUR, MINUTE, SECOND, Policy, WindowSpec
from stream.model.names import KINDS, Kind, Outcome
from stream.replay.backtest import Backtest, Report
from stream.replay.file_source import batches
from stream.replay.timeline import firing
from stream.rules.reading import SHIPPED, load_rules
from tests.core.test_shard import Room
from tests.replay.tools import event

LATEST = 2**42
"""The largest event time, in the year 2109."""
FAR = LATEST - 10**11
"""As far before it as an event time may be: anything earlier is taken for seconds."""
POLICY = Policy()
HOPPING = replace(POLICY, windows=(WindowSpec("5m", 5 * MINUTE, SECOND), WindowSpec("1s", SECOND, SECOND)))
NEAR = 12 * HOUR
"""Far enough that everything of the first event is over."""


@contextmanager
def counted() -> Iterator[list[int]]:
    """Lines of liveshop's Python that run meanwhile."""
    number = [0]

    def trace(frame: FrameType, what: str, _: Any) -> Callable[..., Any] | None:
        if "/stream/" not in frame.f_code.co_filename:
            return None
        number[0] += what == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield number
    finally:
        sys.settrace(before)


def lived(policy: Policy, times: Sequence[int], *, order: str) -> int:
    """The lines that a shard's whole life takes, with events at these times."""
    room = Room(policy, rules=load_rules(SHIPPED, policy.pane_ms))
    with counted() as lines:
        for number, time in enumerate(times):
            for kind in KINDS if order == "in every topic" else KINDS[number % 3 :][:1]:
                room.see(kind, time, session_id=f"s{number % 2}", checkout_id=f"k{number}", seen=LATEST)
            if order != "in one checkpoint":
                _turn(room)
        _turn(room)
        room.shard.keep_up(KINDS)
        room.only(Kind.VIEWS)
        _turn(room)
        room.shard.quiet(LATEST + HOUR)
        _turn(room)
        room.crash()
        room.shard.view(20)
        room.shard.finish()
        _turn(room)
    counted_views = sum(outputs.tally.outcomes[Kind.VIEWS, Outcome.COUNTED] for outputs in room.outputs)
    assert counted_views, "the events are such as are counted"
    return lines[0]


def _turn(room: Room) -> None:
    room.settle()
    room.shard.view(20)


ORDERS = ("in every topic", "in one topic after another", "in one checkpoint")


@pytest.mark.parametrize("policy", [POLICY, HOPPING], ids=["usual", "hopping"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_a_shard_takes_as_many_steps_however_far_apart_its_events_are(policy: Policy, order: str, back: bool) -> None:
    def times(distance: int) -> list[int]:
        found = [LATEST - distance, LATEST - distance + 1, LATEST - 1, LATEST]
        return found[::-1] if back else found

    near, far = (lived(policy, times(distance), order=order) for distance in (NEAR, FAR))
    assert far < 1.5 * near


def test_a_look_at_open_windows_skips_the_time_between_them() -> None:
    """(p: with events at time 0 and now, one look took longer than anybody waited.)"""
    lines = {}
    for distance in (NEAR, FAR):
        room = Room()
        room.see(Kind.VIEWS, LATEST - distance, seen=LATEST)
        room.see(Kind.VIEWS, LATEST, seen=LATEST)
        with counted() as number:
            assert room.shard.view(20).windows_open == {"1m": 2, "5m": 10}
        lines[distance] = number[0]
    assert lines[FAR] == lines[NEAR]


@pytest.mark.parametrize("apart", [MINUTE, HOUR])
def test_each_event_in_a_time_of_its_own_costs_the_same_however_many_there_are(apart: int) -> None:
    """(p: with 16,000 of them each cost five times as much as with 4,000: all rows were walked through for each window.)"""

    def cost(number: int) -> float:
        room = Room(rules=load_rules(SHIPPED, POLICY.pane_ms))
        for each in range(number, 0, -1):
            room.see(Kind.VIEWS, LATEST - each * apart, seen=LATEST, session_id=f"s{each % 7}")
            room.only(Kind.VIEWS)
        with counted() as lines:
            while room.shard.work(100):
                pass
            outputs = room.shard.collect()
            assert outputs is not None
            room.shard.view(20)
        assert outputs.tally.outcomes[Kind.VIEWS, Outcome.COUNTED] == number
        return lines[0] / number

    assert cost(400) < 1.5 * cost(100)


def test_a_history_keeps_no_more_than_rules_may_ask_for() -> None:
    history = History(0, MINUTE)
    assert history.note(MINUTE, (1,))
    assert history.note(LATEST // MINUTE * MINUTE, (2,))
    assert len(history) == 1
    history.begin(0)
    assert history.note(LATEST // MINUTE * MINUTE + DAY, (3,))
    assert len(history) == DAY // MINUTE + 1
    late = History(LATEST // MINUTE * MINUTE, MINUTE)
    late.begin(0)
    assert len(late) == 0


def test_a_backtest_takes_as_many_steps_however_far_apart_its_events_are() -> None:
    def report(distance: int) -> tuple[int, Report]:
        first, test = LATEST - distance, Backtest(POLICY, load_rules(SHIPPED, POLICY.pane_ms))
        arrived = [
            (LATEST, kind, b"7", event(kind, number, 0, event_time=time))
            for kind in KINDS
            for number, time in enumerate((first, first + 1, LATEST - 1, LATEST))
        ]
        with counted() as lines:
            for partition, kind, records in batches(arrived, 1):
                test.machine(partition).count(kind, records, decode_batch(kind, records, POLICY.max_value))
            made = test.report(LATEST + HOUR)
            for incident in made.alerts.incidents:
                firing([incident], made.span)
        return lines[0], made

    (near, _), (far, made) = report(NEAR), report(FAR)
    assert made.records == made.outcomes[Outcome.COUNTED] + 4, (
        "of each later topic the first two are too old for the shard"
    )
    assert far < 1.5 * near
