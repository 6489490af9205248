"""A promotion replaces a session whole, or not at all, however its records lie among those of the inputs."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.core.policy import DAY, Policy
from stream.model.names import KINDS, PROMOTED
from stream.model.promotions import promotion_id
from tests.core.promoted import Live, Promoted, ends_of, promotion, replayed
from tests.core.worlds import POLICY, SECOND, Happening, Step, World, schedules, worlds
from tests.examples import examples

STRICT = replace(POLICY, lateness_ms=0, late_totals_ms=0)
"""Of the live worker: it counts less than the replay, which takes what came late."""
LAW = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
OVER = 200 * SECOND
"""After so long without an event all windows are final, and all sessions have ended."""


def followed(world: World) -> World:
    """Another session goes on for long, so that the others are over."""
    tail = (Happening("enter", after=OVER, session=9),) * 3
    comments = tuple(replace(each, what="comment") for each in tail)
    checkouts = tuple(replace(each, what="initiated") for each in tail)
    return World(world.views + tail, world.comments + comments, world.checkouts + checkouts)


def promoting(world: World, policy: Policy = STRICT) -> tuple[Promoted, Promoted]:
    """A live worker, and the replay that is promoted to it: nothing of the live one has been read."""
    return Promoted(world, policy), replayed(world, POLICY)


def of(session: str, live: Live) -> tuple[dict[str, Any], Any]:
    windows, sessions = live.comparable()
    return {key: value for key, value in windows.items() if key.startswith(f"{session}/")}, sessions.get(session)


WORLD = followed(
    World(
        views=(*(Happening("enter", after=3000, ref=n) for n in range(8)), Happening("enter", ago=15_000, ref=9)),
        comments=(Happening("comment", after=5000),),
        checkouts=(Happening("paid", after=9000, ref=1), Happening("paid", after=20_000, ago=19_000, ref=2)),
    )
)


def known(live: Promoted) -> None:
    """The live worker has counted all there is."""
    live.end()


def test_a_session_is_replaced_with_all_its_windows_and_its_totals() -> None:
    live, after = promoting(WORLD)
    known(live)
    assert of("s0", live.live) != of("s0", after.live)
    live.promote(promotion("s0", live.live, live.shard, after))
    live.end()
    assert live.live.outcomes() == [("applied", "")]
    assert of("s0", live.live) == of("s0", after.live)
    written = [json.loads(value) for key, value in live.live.windows.items() if key.startswith("s0/")]
    assert {(value["run"], value["reason"], value["generation"]) for value in written} == {("live", "replay", 0)}
    assert live.live.verdicts[0]["revision"] == json.loads(live.live.sessions["s0"])["revision"]


def test_what_is_gone_in_the_replay_is_gone() -> None:
    live, after = promoting(WORLD)
    known(live)
    window = next(key for key in after.live.windows if key.startswith("s0/"))
    del after.live.windows[window]
    live.promote(promotion("s0", live.live, live.shard, after))
    live.end()
    assert live.live.outcomes() == [("applied", "")]
    assert window not in live.live.windows


def test_a_session_that_was_never_counted_live_is_there_after_it_and_gone_when_it_is_undone() -> None:
    live, after = promoting(replace_session(WORLD, 0, None))
    after = replayed(WORLD, POLICY)
    known(live)
    ends = ends_of(live)
    assert "s0" not in live.live.sessions
    live.promote(promotion("s0", live.live, None, after, ends=ends))
    live.end()
    assert of("s0", live.live) == of("s0", after.live)
    nothing = replayed(replace_session(WORLD, 0, None), POLICY)
    first = promotion_id("r", "s0", 0, "")
    live.promote(promotion("s0", live.live, None, nothing, ends=ends, compared=first, undo=True))
    live.end()
    assert live.live.outcomes() == [("applied", ""), ("applied", "")]
    assert of("s0", live.live) == ({}, None)


def replace_session(world: World, session: int, other: int | None) -> World:
    """All of one session is of another, or nothing."""

    def log(happenings: tuple[Happening, ...]) -> tuple[Happening, ...]:
        return tuple(
            each if each.session != session else replace(each, what="garbage") if other is None else each
            for each in happenings
        )

    return World(log(world.views), log(world.comments), log(world.checkouts))


def test_twice_is_nothing_and_undone_is_what_was_before() -> None:
    live, after = promoting(WORLD)
    known(live)
    before, old = of("s0", live.live), replayed(WORLD, STRICT)
    records = promotion("s0", live.live, live.shard, after)
    for _ in range(2):
        live.promote(records)
        live.end()
    first = promotion_id("r", "s0", 0, "")
    live.promote(promotion("s0", live.live, live.shard, old, compared=first, undo=True))
    live.end()
    assert [outcome for outcome, _ in live.live.outcomes()] == ["applied", "already", "applied"]
    assert of("s0", live.live) == before
    live.promote(records)
    live.end()
    assert live.live.outcomes()[-1] == ("refused", "another promotion of this session came first")


def test_one_that_waits_already_is_told_of_once() -> None:
    live, after = promoting(WORLD)
    records = promotion("s0", Live(), None, after)
    for _ in range(2):
        live.promote(records)
    live.step(PROMOTED, 1000)
    live.checkpoint()
    assert live.shard.view(1).promotions_waiting == 1
    live.end()
    assert live.live.outcomes() == [("applied", "")]
    assert live.shard.view(1).promotions_waiting == 0


def test_a_refusal_is_counted() -> None:
    live, _ = promoting(WORLD)
    live.promote([(b"s0", b"garbage")])
    live.step(PROMOTED, 1000)
    assert live.shard.promotions.tally.promotions == {"refused": 1}


def test_what_changed_after_the_end_of_the_replay_is_not_lost() -> None:
    """A refund that the replay has not read."""
    live, after = promoting(WORLD)
    known(live)
    ends = ends_of(live) | {"checkouts": 1}
    live.promote(promotion("s0", live.live, live.shard, after, ends=ends))
    before = of("s0", live.live)
    live.end()
    assert live.live.outcomes() == [("refused", "the session has changed since, by checkouts")]
    assert of("s0", live.live) == before


def test_it_waits_until_all_that_the_replay_has_read_is_counted_here_too() -> None:
    live, after = promoting(WORLD)
    known(live)
    ends = ends_of(live) | {"checkouts": len(live.logs[KINDS[2]]) + 1}
    live.promote(promotion("s0", live.live, live.shard, after, ends=ends))
    live.end()
    assert live.live.outcomes() == []


def test_one_that_waits_is_looked_into_once() -> None:
    """Each may have a megabyte, and is asked about at each checkpoint."""
    live, after = promoting(WORLD)
    for kind in KINDS:
        live.step(kind, len(live.logs[kind]) - 3)
    live.promote(promotion("s0", Live(), None, after, ends={"views": 1}))
    live.step(PROMOTED, 1000)
    live.settle()
    [waiting] = live.shard.promotions.waiting.whole()
    looked = waiting.needs
    live.settle()
    assert looked is not None
    assert waiting.needs is looked
    live.end()
    assert [outcome for outcome, _ in live.live.outcomes()] == ["refused"]


def test_of_another_generation_is_refused_unless_it_was_applied_before_the_rebuild() -> None:
    live, after = promoting(WORLD)
    records = promotion("s0", Live(), None, after, generation=1)
    live.promote(records)
    live.end()
    assert live.live.outcomes() == [("refused", "compared with generation 1, and this is 0")]
    again, _ = promoting(WORLD)
    again.shard.promotions.waiting.accept([promotion_id("r", "s0", 1, "")])
    again.shard.begin_at({})
    again.promote(records)
    again.step("checkpoint", 0)
    again.step("crash", 0)
    again.end()
    assert again.live.outcomes() == [("applied", "")]
    assert not again.shard.promotions.waiting.accepted
    assert of("s0", again.live) == of("s0", after.live)


def test_later_orders_are_added_to_what_was_promoted() -> None:
    """One an hour late, and one of then: both are in the totals of the replay of everything."""
    late = replace(POLICY, lateness_ms=0)
    tail = (Happening("paid", after=OVER, ago=3 * OVER, ref=4), Happening("refunded", after=OVER, ref=1))
    whole = World(WORLD.views, WORLD.comments, WORLD.checkouts + tail)
    live = Promoted(whole, late)
    live.logs[KINDS[2]], rest = live.logs[KINDS[2]][: -len(tail)], live.logs[KINDS[2]]
    known(live)
    first = replayed(WORLD, POLICY)
    live.promote(promotion("s0", live.live, live.shard, first))
    live.end()
    live.logs[KINDS[2]] = rest
    live.end()
    live.shard.finish()
    live.settle()
    assert live.live.outcomes() == [("applied", "")]
    assert of("s0", live.live)[1] == of("s0", replayed(whole, POLICY).live)[1]


def test_a_session_that_was_let_go_is_replaced_days_later() -> None:
    short = replace(STRICT, session_keep_ms=30 * SECOND)
    live, after = Promoted(WORLD, short), replayed(WORLD, replace(POLICY, session_keep_ms=DAY))
    for kind in KINDS:
        live.step(kind, len(live.logs[kind]) - 1)
    for _ in range(3):
        live.settle()
    known(live)
    assert live.shard.sessions.find(b"s0") is None
    live.step("crash", 0)
    live.promote(promotion("s0", live.live, None, after))
    live.end()
    assert live.live.outcomes() == [("applied", "")]
    assert of("s0", live.live) == of("s0", after.live)
    assert live.shard.sessions.find(b"s0") is None, "it is let go again"
    old = replayed(WORLD, replace(short, session_keep_ms=DAY))
    first = promotion_id("r", "s0", 0, "")
    live.promote(promotion("s0", live.live, None, old, compared=first, undo=True))
    live.end()
    assert live.live.outcomes()[1:] == [("applied", "")]


def test_nobody_knows_of_sessions_that_were_let_go_too_long_ago() -> None:
    live, after = promoting(WORLD)
    live.shard.sessions.ledger.floor = 2**60
    live.logs = {kind: log[-2:] for kind, log in live.logs.items()}
    known(live)
    live.promote(promotion("s0", live.live, None, after, ends={"views": 0}))
    live.end()
    assert live.live.outcomes() == [("refused", "nobody knows any more when the session last changed")]


@LAW
@given(worlds, schedules, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=12))
def test_whatever_the_interleaving_the_last_revisions_are_those_of_the_replay(
    world: World, schedule: tuple[Step, ...], among: list[tuple[int, int]]
) -> None:
    live, after = promoting(followed(world))
    before = Promoted(followed(world), STRICT).end()
    sessions = sorted(after.live.sessions.keys() - {"s9"})
    for session in sessions:
        live.promote(promotion(session, before, None, after))
    steps = list(schedule)
    for place, number in among:
        steps.insert(place, (PROMOTED, number))
    for name, number in steps:
        live.step(name, number)
    live.end()
    assert live.live.outcomes() == [("applied", "")] * len(sessions)
    for session in sessions:
        assert of(session, live.live) == of(session, after.live)


@LAW
@given(worlds, schedules, st.integers(0, 40), st.integers(0, 40))
def test_a_worker_that_comes_back_goes_on_with_what_waits(
    world: World, schedule: tuple[Step, ...], read: int, where: int
) -> None:
    def run(*crash: Step) -> Live:
        live, after = promoting(followed(world))
        for session in sorted(after.live.sessions.keys() - {"s9"}):
            live.promote(promotion(session, Live(), None, after))
        calm = [step for step in schedule if step[0] != "crash"]
        calm.insert(read, (PROMOTED, 3))
        for name, number in (*calm[:where], ("checkpoint", 0), *crash, *calm[where:]):
            live.step(name, number)
        found = live.end()
        assert isinstance(found, Live)
        return found

    whole, stopped = run(), run(("crash", 0))
    for session in whole.sessions.keys() - {"s9"}:
        assert of(session, stopped) == of(session, whole)
    assert sorted(stopped.outcomes()) == sorted(whole.outcomes())


@pytest.mark.parametrize("value", [b"", b"{}", b'{"record":"window"}', b"\xff", b'{"record":"manifest","format":9}'])
def test_garbage_is_refused_and_stops_nothing(value: bytes) -> None:
    live, after = promoting(WORLD)
    live.promote([(b"s0", value)])
    live.promote(promotion("s0", Live(), None, after))
    live.end()
    assert [outcome for outcome, _ in live.live.outcomes()] == ["refused", "applied"]
