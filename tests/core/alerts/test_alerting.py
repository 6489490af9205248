"""The laws of alerts: they are a function of the logs, whatever becomes of the worker; and each is told once."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from stream.core.alerts import alerting
from stream.core.alerts.rules import Rules
from stream.core.policy import Policy, WindowSpec
from stream.model.alerts import Rule, Severity, Status
from tests.core.worlds import POLICY, SECOND, Driver, Happening, Step, Told, World, rules_of, schedules, worlds
from tests.examples import examples
from tests.realert import PlainRule, on_time, realert, told_of

LAW = settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(autouse=True, scope="module")
def one_by_one() -> Iterator[None]:
    """A checkpoint, a crash or more records may come after any session that was asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerting, "FEW", 1)
        yield


def rule(alert: str, when: str, **more: Any) -> Rule:
    usual: dict[str, Any] = {"window_ms": 10 * SECOND, "severity": Severity.TICKET, "summary": "", "runbook": "none"}
    return Rule(alert=alert, when=when, **(usual | more))


def plain_rule(of: Rule, holds: Any) -> PlainRule:
    return PlainRule(
        alert=of.alert,
        holds=holds,
        window_ms=of.window_ms,
        baseline_ms=of.baseline_ms,
        for_ms=of.for_ms,
        keep_ms=of.keep_firing_for_ms,
        sellers=of.sellers,
        platforms=of.platforms,
    )


CLICKS = rule("clicks", "w.product_clicks >= 2.0", summary="{product_clicks:.0f} clicks")
STALLED = rule(
    "stalled", "w.seconds_since_last_event >= 15.0 && base.events > 1.0", baseline_ms=30 * SECOND, for_ms=10 * SECOND
)
FAILURES = rule("failures", "w.checkouts_failed >= w.orders_paid", window_ms=30 * SECOND, min={"checkouts_failed": 1})
SURGE = rule(
    "surge",
    "w.comments > median.comments",
    baseline_ms=40 * SECOND,
    min={"comments": 1},
    keep_firing_for_ms=20 * SECOND,
)
MONEY = rule(
    "money", "w.gmv_minor > base.gmv_minor", window_ms=20 * SECOND, baseline_ms=20 * SECOND, sellers={"seller1"}
)
BUSY = rule("busy", "w.events + w.heartbeats > 3.0", platforms={"shopee"}, keep_firing_for_ms=10 * SECOND)
SEASONED = rule("seasoned", "base.minutes > 0.3", baseline_ms=200 * SECOND)
UNDONE = rule("undone", "w.orders_cancelled + base.orders_cancelled >= 1.0", baseline_ms=200 * SECOND)
GIVEN = rule("given", "w.gifts > 1.0 && w.gift_value > base.gift_value", baseline_ms=30 * SECOND)
CHEAP = rule("cheap", "w.discount_rate > 0.2 && w.discounted_orders > 0.0", window_ms=20 * SECOND)
FOREIGN = rule("foreign", "w.local_share < 0.6", window_ms=20 * SECOND)
RULES = [CLICKS, STALLED, FAILURES, SURGE, MONEY, BUSY, SEASONED, UNDONE, GIVEN, CHEAP, FOREIGN]


def median(numbers: list[int]) -> float:
    half = len(numbers) // 2
    return numbers[half] if len(numbers) % 2 else (numbers[half - 1] + numbers[half]) / 2


def share(part: int, whole: int, otherwise: float) -> float:
    return part / whole if whole else otherwise


PLAIN_RULES = [
    plain_rule(CLICKS, lambda seen: seen.w["product_clicks"] >= 2),
    plain_rule(STALLED, lambda seen: seen.silent_ms >= 15 * SECOND and seen.base["events"] > 1),
    plain_rule(FAILURES, lambda seen: 1 <= seen.w["checkouts_failed"] >= seen.w["orders_paid"]),
    plain_rule(
        SURGE,
        lambda seen: (
            seen.w["comments"] >= 1
            and bool(seen.medians("comments"))
            and seen.w["comments"] > median(seen.medians("comments"))
        ),
    ),
    plain_rule(MONEY, lambda seen: seen.w["gmv_minor"] > seen.base["gmv_minor"]),
    plain_rule(BUSY, lambda seen: seen.w["events"] + seen.w["heartbeats"] > 3),
    plain_rule(SEASONED, lambda seen: min(seen.end - seen.window_ms - seen.begun, seen.baseline_ms) / 60_000 > 0.3),
    plain_rule(UNDONE, lambda seen: seen.w["orders_cancelled"] + seen.base["orders_cancelled"] >= 1),
    plain_rule(GIVEN, lambda seen: seen.w["gifts"] > 1 and seen.w["gift_value"] > seen.base["gift_value"]),
    plain_rule(
        CHEAP,
        lambda seen: (
            seen.w["discounted_orders"] > 0
            and share(seen.w["discount_minor"], seen.w["gmv_minor"] + seen.w["discount_minor"], 0) > 0.2
        ),
    ),
    plain_rule(
        FOREIGN,
        lambda seen: (
            share(
                seen.w["local_item_value_minor"],
                seen.w["local_item_value_minor"] + seen.w["cross_border_item_value_minor"],
                1,
            )
            < 0.6
        ),
    ),
]
COMPILED = Rules(RULES, POLICY.pane_ms)

QUIETED = ("only", "exclude", "quiet", "caught_up")
"""Steps after which a topic may be left out: what is decided then is no function of the logs."""


HOPPING = (WindowSpec("30s", 30 * SECOND, 10 * SECOND), WindowSpec("20s", 20 * SECOND, 20 * SECOND))
BRIEF = replace(POLICY, session_end_after_ms=12 * SECOND, lateness_ms=60 * SECOND)
POLICIES = (
    BRIEF,
    replace(POLICY, session_end_after_ms=0),
    replace(POLICY, delay_ms=0, lateness_ms=0),
    replace(POLICY, delay_ms=25 * SECOND, lateness_ms=0),
    replace(POLICY, windows=HOPPING, session_end_after_ms=15 * SECOND, lateness_ms=60 * SECOND),
    replace(POLICY, windows=HOPPING[:1]),
)
"""Broadcasts that end while their events may still come late, no delay, no tumbling windows …"""


def run(world: World, schedule: tuple[Step, ...], rules: Rules | None = COMPILED, policy: Policy = POLICY) -> Told:
    return Driver(world, policy, rules).run(schedule)


def compared(told: Told) -> list[Any]:
    return sorted(told_of(alert_fields(alert)) for alert in told.alerts)


def alert_fields(alert: Any) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in ("at", "alert", "session_id", "status", "since", "seller_id")}


def recomputed(world: World, policy: Policy = POLICY) -> list[Any]:
    records = [record for log in world.records().values() for record in log]
    return realert(records, rules_of(policy), policy.session_end_after_ms, PLAIN_RULES)


SILENT_AND_BACK = World(
    views=tuple(Happening("enter", after=after) for after in (0, 1000, 29_000, 29_000, 29_000, 29_000))
)

FAR_ON = Happening("comment", after=100_000, session=3)
LATE_INTO_THE_BROADCAST_BEFORE = World(
    views=tuple(
        Happening("enter", after=after, ago=ago)
        for after, ago in ((8000, 0), (30_000, 0), (10_000, 0), (6000, 46_000), (4000, 0), (10_000, 0))
    ),
    comments=(FAR_ON,),
    checkouts=(FAR_ON,),
)
"""A session has ended and come back when an event of its first minute comes late."""
CANCELLED_BEFORE_IT_BEGAN = World(
    views=tuple(Happening("enter", after=after) for after in (28_000, *[10_000] * 4)),
    comments=(FAR_ON,),
    checkouts=(
        Happening("cancelled", after=8000, ref=1),
        Happening("cancelled", after=45_000, session=3, ref=2),
        Happening("submitted", ago=46_000, ref=3),
        Happening("submitted", after=50_000, session=3, ref=4),
    ),
)
"""A cancel before a broadcast, and a late event in the same slide."""
STEP_BY_STEP = (("comments", 9), ("checkouts", 2), *(("views", 1), ("settle", 0)) * 6, ("checkouts", 1), ("settle", 0))
ALL_ELSE_FIRST = (("comments", 9), ("checkouts", 9), *(("views", 1), ("settle", 0)) * 6)


@LAW
@given(worlds, schedules)
@example(SILENT_AND_BACK, ())
def test_alerts_are_a_function_of_the_logs_and_equal_the_second_opinion(
    world: World, schedule: tuple[Step, ...]
) -> None:
    told = run(world, tuple(step for step in schedule if step[0] not in QUIETED))
    assert compared(told) == recomputed(world)
    assert not any(alert.idle for alert in told.alerts)


@settings(LAW, max_examples=LAW.max_examples // 3)
@given(worlds, schedules, st.sampled_from(POLICIES))
@example(LATE_INTO_THE_BROADCAST_BEFORE, ALL_ELSE_FIRST, BRIEF)
@example(CANCELLED_BEFORE_IT_BEGAN, STEP_BY_STEP, BRIEF)
@example(LATE_INTO_THE_BROADCAST_BEFORE, (*ALL_ELSE_FIRST[:8], ("crash", 0)), BRIEF)
def test_they_are_whatever_the_windows_and_bounds(world: World, schedule: tuple[Step, ...], policy: Policy) -> None:
    told = run(world, tuple(step for step in schedule if step[0] not in QUIETED), policy=policy)
    assert compared(told) == recomputed(world, policy)


@LAW
@given(worlds, schedules, st.integers(0, 40))
def test_alerts_of_a_restored_snapshot_continue_as_if_nothing_had_happened(
    world: World, schedule: tuple[Step, ...], where: int
) -> None:
    calm = tuple(step for step in schedule if step[0] != "crash" and step[0] not in QUIETED)
    stopped = (*calm[:where], ("checkpoint", 0), ("crash", 0), *calm[where:])
    whole = (*calm[:where], ("checkpoint", 0), *calm[where:])
    assert run(world, stopped).alerts == run(world, whole).alerts


CALM = Rules([rule("calm", "w.comments < 1.0")], POLICY.pane_ms)
LONG_SILENCE = World(
    views=tuple(
        Happening("enter", after=after, session=session) for after, session in ((0, 0), (200_000, 1), (90_000, 2))
    ),
    comments=(Happening("comment", after=400_000, session=3),),
    checkouts=(Happening("submitted", after=400_000, session=3),),
)


@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, windows=POLICY.windows[:1])], ids=["hopping", "tumbling"])
@pytest.mark.parametrize("steps", range(40))
def test_a_crash_amid_the_judging_of_what_follows_a_silence_changes_no_alert(steps: int, policy: Policy) -> None:
    """The first slide of all, and slides that were passed over since nobody was on air."""
    schedule = (("views", 9), ("comments", 9), ("checkouts", 9), ("work", steps), ("checkpoint", 0))
    told = run(LONG_SILENCE, (*schedule, ("crash", 0)), CALM, policy)
    assert told.alerts == run(LONG_SILENCE, (), CALM, policy).alerts
    assert len(told.alerts) == 8, "one firing and one resolved for each"


@LAW
@given(worlds, schedules)
def test_every_firing_is_told_once_and_resolved_once_whatever_was_left_out(
    world: World, schedule: tuple[Step, ...]
) -> None:
    told = run(world, schedule)
    by_key: dict[bytes, list[Any]] = {}
    for alert in told.alerts:
        by_key.setdefault(alert.key(), []).append(alert)
    for alerts in by_key.values():
        assert [alert.status for alert in alerts] == [Status.FIRING, Status.RESOLVED] * (len(alerts) // 2)
        for fired, resolved in zip(alerts[::2], alerts[1::2], strict=True):
            assert (fired.id, fired.since, fired.values) == (resolved.id, resolved.since, resolved.values)
            assert fired.at <= resolved.at
        assert len({alert.id for alert in alerts[::2]}) == len(alerts) // 2


@LAW
@given(worlds, schedules)
def test_nothing_is_decided_for_a_slide_that_is_past(world: World, schedule: tuple[Step, ...]) -> None:
    """No correction fires: alerts are told in the order of their slides, also when topics had been left out."""
    told = run(world, schedule)
    assert all(before.at <= after.at for before, after in pairwise(told.alerts))


latecomers = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.builds(
            Happening,
            what=st.sampled_from(("enter", "product_click", "heartbeat")),
            ago=st.sampled_from((2500, 9000, 15_000, 19_000)),
            session=st.integers(0, 2),
            ref=st.integers(0, 5),
        ),
    ),
    max_size=5,
)


@LAW
@given(worlds, latecomers, schedules)
def test_late_events_never_change_an_alert(
    world: World, late: list[tuple[int, Happening]], schedule: tuple[Step, ...]
) -> None:
    """Though they are counted, carry labels, open sessions and change windows."""
    views = [replace(each, id=1000 + n if each.id is None else each.id) for n, each in enumerate(world.views)]
    alone = replace(world, views=tuple(views))
    for number, (place, happening) in enumerate(late):
        views.insert(place, replace(happening, id=2000 + number))
    more = replace(world, views=tuple(views))
    records = [record for log in more.records().values() for record in log]
    in_time = {event["event_id"] for events in on_time(records, rules_of(POLICY)).values() for _, event in events}
    assume(not in_time & {f"e{2000 + number}" for number in range(len(late))})
    calm = tuple(step for step in schedule if step[0] not in QUIETED)
    assert run(more, calm).alerts == run(alone, ()).alerts


@LAW
@given(worlds, schedules)
def test_what_is_counted_does_not_depend_on_rules(world: World, schedule: tuple[Step, ...]) -> None:
    assert run(world, schedule).comparable() == run(world, schedule, None).comparable()
