"""Plain events judged and counted in C: a shard becomes the same, byte by byte, as from events decoded by Python."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings

from stream.core import judge
from stream.core import shard as shards
from stream.core.decode import Events, decode_all, decode_batch
from stream.core.panes import Pane, Row
from stream.core.policy import Policy
from stream.core.session import Session
from stream.model.money import MAX_SUM
from stream.model.names import KINDS, Kind
from stream.model.results import Outputs, Record
from tests.core.test_laws import LAW
from tests.core.worlds import (
    POLICY,
    SECOND,
    Driver,
    Happening,
    Step,
    Told,
    World,
    bounds,
    crowded_worlds,
    schedules,
    worlds,
)

pytest.importorskip("stream.core.native.judging", reason="built without a C compiler")

Decode = Callable[[Kind, Sequence[Record], int], Events]


class Keeping(Told):
    """Everything that was written, as it was: state and numbers for the metrics included."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Outputs] = []

    def take(self, outputs: Outputs) -> None:
        self.outputs.append(outputs)


def checkpoints(world: World, schedule: tuple[Step, ...], decode: Decode, policy: Policy = POLICY) -> list[Outputs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "decode_batch", lambda *given, **_: decode(*given))
        driver = Driver(world, policy)
        driver.told = told = Keeping()
        driver.run(schedule)
    return told.outputs


FULL = {"max_new_sessions": 3, "max_sessions": 4, "max_checkout_keys": 4, "max_pane_events": 2}
"""Bounds with which a pane takes two events of a topic."""


@LAW
@given(worlds, schedules)
@example(World(views=(Happening("enter", after=9_500, ref=1), Happening("enter", after=500, ref=1))), ())
def test_a_shard_is_the_same(world: World, schedule: tuple[Step, ...]) -> None:
    assert checkpoints(world, schedule, decode_batch) == checkpoints(world, schedule, decode_all)


@settings(LAW, max_examples=LAW.max_examples // 2)
@given(crowded_worlds, schedules, bounds)
@example(World(views=(Happening("enter", after=1, ref=1),) * 4), (), FULL)
@example(World(views=(Happening("enter", after=1, ref=1),) * 4), (("views", 2), ("views", 1)), FULL)
def test_it_is_the_same_where_more_sessions_come_than_there_is_room_for(
    world: World, schedule: tuple[Step, ...], few: dict[str, int]
) -> None:
    policy = replace(POLICY, **few)  # type: ignore[arg-type]  # only numbers
    assert checkpoints(world, schedule, decode_batch, policy) == checkpoints(world, schedule, decode_all, policy)


BEHIND = World(
    views=(Happening("enter", after=29_000),) * 6,
    comments=(Happening("comment", after=60_000), Happening("comment", after=59_999), Happening("comment", after=1)),
)
"""Panes that end 52 s before the newest view are gone: the second comment is in the last millisecond of one of these."""


@settings(LAW, max_examples=LAW.max_examples // 2)
@given(worlds, schedules)
@example(BEHIND, (("views", 6), ("settle", 0), ("comments", 1), ("comments", 2)))
def test_it_is_the_same_where_a_topic_is_so_far_behind_that_its_panes_are_gone(
    world: World, schedule: tuple[Step, ...]
) -> None:
    policy = replace(POLICY, state_retention_ms=52 * SECOND)
    assert checkpoints(world, schedule, decode_batch, policy) == checkpoints(world, schedule, decode_all, policy)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of", [Kind.VIEWS, Kind.COMMENTS])
def test_no_kind_of_event_is_counted_as_another(kind: Kind, of: Kind) -> None:
    """A kind that nothing counts is refused before an event of it is judged; so are events of another kind."""
    records = World(views=(Happening("enter"),), comments=(Happening("comment"),)).records()[of]
    shard = Driver(World()).shard
    events = decode_batch(of, records, POLICY.max_value)
    if kind is of:
        shard.count(kind, records, events)
        assert shard.collect() is not None
        return
    with pytest.raises(ValueError, match=f"events of {of}, judged as {kind}"):
        shard.count(kind, records, events)


def test_every_kind_is_counted_by_a_function_of_its_own() -> None:
    assert set(judge.COUNT) == set(KINDS)
    assert len(set(judge.COUNT.values())) == len(KINDS)


def nearly_full(row: Row, session: Session) -> Pane:
    """A new pane's sums are at the end of 64 bits but for little."""
    pane = Row.open(row, session)
    if not pane.events:
        pane.likes, pane.watch_ms, pane.sample_sum, pane.items_sold = MAX_SUM - 3, MAX_SUM - 8, MAX_SUM, MAX_SUM - 1
    return pane


@LAW
@given(worlds, schedules)
@example(World(views=(Happening("like", amount=7), Happening("like", amount=7))), ())
def test_sums_in_c_saturate_as_those_in_python(world: World, schedule: tuple[Step, ...]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "Row", type("Row", (Row,), {"__slots__": (), "open": nearly_full}))
        assert checkpoints(world, schedule, decode_batch) == checkpoints(world, schedule, decode_all)
