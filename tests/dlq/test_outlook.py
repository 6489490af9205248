"""The outlook on an event is what a shard then makes of it."""

import json
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.decode import decode_one
from stream.core.policy import DAY, HOUR, MINUTE, SECOND
from stream.core.statelog import newest_provenance
from stream.dlq import redrive
from stream.dlq.outlook import NOTHING_FORGOTTEN, Clocks, outlook
from stream.model.events import Common
from stream.model.names import KINDS, Kind, Outcome, Reason
from tests.core.test_shard import BASES, T0, Room
from tests.dlq.tools import Rec

BOUNDS = (0, MINUTE, 310 * SECOND, HOUR, HOUR + MINUTE, DAY, 2 * DAY)
moments = st.builds(
    lambda bound, more: bound + more, st.sampled_from(BOUNDS), st.integers(-2, 2) | st.integers(-DAY, DAY)
)


def judged(
    clocks: dict[Kind, int], kind: Kind, time: int, now: int, checkout_floor: int = NOTHING_FORGOTTEN
) -> Outcome | Reason:
    """What a shard with these clocks makes of it, which has forgotten the checkout keys of before the floor."""
    room = Room()
    for each, clock in sorted(clocks.items(), key=lambda pair: pair[1]):
        room.see(each, clock, checkout_id="first")
    room.shard.judge.checkout_keys.floor = checkout_floor
    room.settle()
    room.see(kind, time, seen=now, event_id="redriven")
    before = sum((each.tally.outcomes for each in room.outputs), Counter[tuple[Kind, Outcome]]())
    room.settle()
    after = sum((each.tally.outcomes for each in room.outputs), Counter[tuple[Kind, Outcome]]())
    [(found_kind, outcome)] = (after - before).elements()
    assert found_kind is kind
    refused = [
        letter for each in room.outputs for letter in each.dead_letters if b"redriven" in (letter.record.value or b"")
    ]
    return refused[-1].reason if refused else outcome


@given(st.dictionaries(st.sampled_from(KINDS), moments), st.sampled_from(KINDS), moments, st.integers(-MINUTE, 3 * DAY))
@example({}, Kind.VIEWS, 0, 0)
@example({Kind.CHECKOUTS: DAY}, Kind.CHECKOUTS, 0, 2 * DAY)
@example({Kind.CHECKOUTS: DAY}, Kind.CHECKOUTS, 1, 2 * DAY)
@example({Kind.VIEWS: 310 * SECOND}, Kind.VIEWS, 0, DAY)
@example({Kind.VIEWS: 310 * SECOND}, Kind.VIEWS, 1, DAY)
@example({Kind.VIEWS: 2 * HOUR}, Kind.COMMENTS, 0, DAY)
@example({Kind.VIEWS: 2 * HOUR}, Kind.CHECKOUTS, 0, DAY)
@example({}, Kind.VIEWS, MINUTE + 1, 0)
def test_it_is_what_a_shard_says(clocks: dict[Kind, int], kind: Kind, time: int, now: int) -> None:
    clocks = {each: T0 + clock for each, clock in clocks.items()}
    value = json.dumps(BASES[kind] | {"event_id": "redriven", "event_time": T0 + time}).encode()
    event = decode_one(kind, Rec(value, str(BASES[kind]["session_id"]).encode(), timestamp=T0 + now), 10**6)
    assert isinstance(event, Common)
    found = outlook(Clocks(Room().policy, clocks), kind, event, T0 + now)
    assert found == judged(clocks, kind, T0 + time, T0 + now)


@given(st.integers(-2, 2), moments)
@example(0, 310 * SECOND)
@example(1, 310 * SECOND)
@example(1, HOUR)
@example(1, 0)
def test_a_late_order_whose_copies_are_forgotten_comes_back(newer: int, clock: int) -> None:
    """``newer``: the floor, against the order's event time."""
    clocks, floor, now = {Kind.CHECKOUTS: T0 + clock}, T0 + newer, T0 + 2 * DAY
    value = json.dumps(BASES[Kind.CHECKOUTS] | {"event_id": "redriven", "event_time": T0}).encode()
    key = str(BASES[Kind.CHECKOUTS]["session_id"]).encode()
    event = decode_one(Kind.CHECKOUTS, Rec(value, key, timestamp=now), 10**6)
    assert isinstance(event, Common)
    found = outlook(Clocks(Room().policy, clocks, floor), Kind.CHECKOUTS, event, now)
    assert found == judged(clocks, Kind.CHECKOUTS, T0, now, floor)
    if newer > 0 and clock >= 310 * SECOND:
        assert found is Reason.LATE


def test_a_checkpoint_says_its_clocks_and_which_checkout_keys_are_forgotten_in_the_names_that_a_redrive_reads() -> None:
    room = Room()
    room.see(Kind.CHECKOUTS, T0)
    room.shard.judge.checkout_keys.floor = T0 - HOUR
    room.settle()
    head = newest_provenance(room.state, redrive._Head)
    assert (head.clocks[Kind.CHECKOUTS], head.checkout_floor) == (T0, T0 - HOUR)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_state_nothing_is_late(kind: Kind) -> None:
    assert judged({}, kind, T0 - 2 * DAY, T0) is Outcome.COUNTED
