"""The shard's five laws, each a property. Counterexamples that were found stay as examples."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stream.core.policy import Policy
from tests.core.worlds import (
    POLICY,
    Driver,
    Happening,
    Step,
    Told,
    World,
    bounds,
    crowded_worlds,
    records_read,
    rules_of,
    schedules,
    tell,
    worlds,
)
from tests.examples import examples
from tests.recount import recount

BETWEEN_TWO_SLICES = World(
    comments=(Happening("comment"), Happening("comment", after=29_000)),
    checkouts=(Happening("initiated", ago=1),),
)
"""An event for an earlier window comes while a window is being closed, and a checkpoint before the next slice."""
BETWEEN = (("comments", 2), ("only", 1), ("work", 1), ("checkouts", 1), ("checkpoint", 0))

LATE_INTO_OLD_PANES = World(
    views=tuple(
        Happening("enter", after=after, ago=ago) for after, ago in ((0, 0), (12_000, 0), (31_000, 0), (1000, 19_000))
    ),
    comments=(Happening("comment", after=44_000),),
    checkouts=(Happening("paid", after=44_000),),
)
"""A late event into a hopping window whose first panes are old."""
ALL_SETTLED = (
    ("views", 3),
    ("comments", 1),
    ("checkouts", 1),
    ("settle", 0),
    ("settle", 0),
    ("views", 1),
    ("settle", 0),
)

REFUSED_BUT_MOVES_THE_CLOCK = World(
    views=(
        Happening("enter", id=0),
        Happening("enter", after=25_000, ago=25_000, id=0),
        Happening("enter", ago=22_000, id=1),
    ),
    checkouts=(Happening("paid", ref=1), Happening("paid", after=30_000, ref=1), Happening("paid", ago=23_000, ref=2)),
)
"""A clock moved by an event that is then refused as a duplicate decides that the next one is late."""
ONE_BY_ONE = (("views", 1), ("checkouts", 1)) * 3

FAR_BEHIND = World(
    views=(Happening("enter"), Happening("enter", after=29_000)),
    comments=(Happening("comment"), Happening("comment", after=29_000, ago=28_000)),
    checkouts=(Happening("initiated", after=29_000),),
)
"""What a topic says that is left out corrects closed windows: not at once, and not never after a crash."""
LEFT_OUT = (
    *(("views", 2), ("checkouts", 1), ("comments", 1), ("caught_up", 1), ("settle", 0)),
    *(("comments", 1), ("checkpoint", 0), ("crash", 0)),
)

ANOTHER_MEANWHILE = World(checkouts=(Happening("initiated"),) * 5 + (Happening("initiated", session=1),))
"""While the wall clock closes a window of one session, another comes to it."""
HALF_CLOSED = (("checkouts", 1), ("quiet", 1), ("work", 1))

LAW = settings(
    max_examples=examples(400),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def recounted(world: World, policy: Policy = POLICY) -> dict[str, Any]:
    logs = world.records()
    result = recount([record for log in logs.values() for record in log], rules_of(policy))
    return {
        "windows": result.windows,
        "sessions": result.sessions,
        "dead": dict(result.dead),
        "outcomes": {place: number for place, number in result.outcomes.items() if number},
        "not_on_time": {kind: number for kind, number in result.not_on_time.items() if number},
    }


def assert_same(told: Told, expected: dict[str, Any]) -> None:
    got = told.comparable()
    for part in ("outcomes", "not_on_time", "dead", "windows", "sessions"):
        assert got[part].keys() == expected[part].keys(), part
        for key, value in expected[part].items():
            assert got[part][key] == value, f"{part} {key}"


@LAW
@given(worlds, schedules)
@example(BETWEEN_TWO_SLICES, BETWEEN)
@example(LATE_INTO_OLD_PANES, ALL_SETTLED)
@example(REFUSED_BUT_MOVES_THE_CLOCK, ONE_BY_ONE)
@example(ANOTHER_MEANWHILE, HALF_CLOSED)
@example(FAR_BEHIND, LEFT_OUT)
def test_1_last_revisions_are_a_function_of_the_logs_and_equal_the_recount(
    world: World, schedule: tuple[Step, ...]
) -> None:
    assert_same(tell(world, schedule), recounted(world))


@settings(LAW, max_examples=LAW.max_examples // 8)
@given(worlds, schedules)
def test_1_without_delay_and_lateness_an_event_at_its_clock_is_in_time(
    world: World, schedule: tuple[Step, ...]
) -> None:
    strict = replace(POLICY, delay_ms=0, lateness_ms=0)
    assert_same(tell(world, schedule, strict), recounted(world, strict))


@settings(LAW, max_examples=LAW.max_examples // 2)
@given(crowded_worlds, schedules, bounds)
def test_1_what_is_refused_for_want_of_room_is_a_function_of_each_log(
    world: World, schedule: tuple[Step, ...], few: dict[str, int]
) -> None:
    """A session may be let go and come back here, which freezes its totals: they are left out."""
    policy = replace(POLICY, **few)  # type: ignore[arg-type]  # only numbers
    expected = recounted(world, policy) | {"sessions": {}}
    told = tell(world, schedule, policy)
    told.sessions.clear()
    assert_same(told, expected)


@settings(LAW, max_examples=LAW.max_examples // 4)
@given(crowded_worlds, schedules, bounds, st.integers(0, 40))
def test_4_a_restored_snapshot_knows_the_sessions_that_it_knew(
    world: World, schedule: tuple[Step, ...], few: dict[str, int], where: int
) -> None:
    policy = replace(POLICY, **few)  # type: ignore[arg-type]  # only numbers
    calm = tuple(step for step in schedule if step[0] != "crash")
    stopped = (*calm[:where], ("checkpoint", 0), ("crash", 0), *calm[where:])
    whole = (*calm[:where], ("checkpoint", 0), *calm[where:])
    assert tell(world, stopped, policy).comparable() == tell(world, whole, policy).comparable()


@LAW
@given(worlds, schedules)
def test_2_outcomes_add_up_to_the_records_read(world: World, schedule: tuple[Step, ...]) -> None:
    told = tell(world, schedule)
    assert sum(told.outcomes.values()) == records_read(world)
    assert all(number >= 0 for number in told.outcomes.values())
    rejected = sum(number for (_, outcome), number in told.outcomes.items() if outcome in ("rejected", "late"))
    assert rejected == len(told.dead)


@LAW
@given(worlds, schedules)
def test_3_the_watermark_never_goes_back(world: World, schedule: tuple[Step, ...]) -> None:
    driver = Driver(world)
    driver.run([step for step in schedule if step[0] != "crash"])
    known = [watermark for watermark in driver.told.watermarks if watermark is not None]
    assert all(before <= after for before, after in pairwise(known))


@LAW
@given(worlds, schedules, st.integers(0, 40))
@example(BETWEEN_TWO_SLICES, BETWEEN, 4)
@example(LATE_INTO_OLD_PANES, ALL_SETTLED, 5)
@example(FAR_BEHIND, LEFT_OUT, 6)
def test_4_a_restored_snapshot_continues_as_if_nothing_had_happened(
    world: World, schedule: tuple[Step, ...], where: int
) -> None:
    calm = tuple(step for step in schedule if step[0] != "crash")
    stopped = (*calm[:where], ("checkpoint", 0), ("crash", 0), *calm[where:])
    whole = (*calm[:where], ("checkpoint", 0), *calm[where:])
    assert tell(world, stopped).comparable() == tell(world, whole).comparable()


@LAW
@given(worlds, schedules)
def test_5_money_is_integers_all_the_way(world: World, schedule: tuple[Step, ...]) -> None:
    told = tell(world, schedule)
    for value in (*told.windows.values(), *told.sessions.values()):
        for money in _moneys(value):
            assert all(type(minor) is int for minor in money.values())


def _moneys(value: Any) -> list[dict[str, int]]:
    if isinstance(value, list):
        return [money for element in value for money in _moneys(element)]
    if not isinstance(value, dict):
        return []
    own = [inner for name, inner in value.items() if name.endswith("_minor") and isinstance(inner, dict)]
    return own + [money for inner in value.values() for money in _moneys(inner)]


@LAW
@given(worlds, schedules)
def test_business_totals_are_those_of_the_sessions(world: World, schedule: tuple[Step, ...]) -> None:
    told = tell(world, schedule)
    for name in ("views", "product_clicks", "comments", "orders_paid"):
        assert told.totals[name] == sum(value["counts"][name] for value in told.sessions.values())
