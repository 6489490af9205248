"""Sums beyond 64 bits: what is written, told and stored is the saturated recount, whatever the order, batches and restarts.

Events are as large as an event may be, times 2^60: else a sum of small worlds would never come near the end of 64 bits.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.alerts.figures import FIELDS, FIGURES, SILENCE, Column, added, names_of
from stream.core.alerts.history import History, Lookback
from stream.core.alerts.rules import CompiledRule, Rules
from stream.core.counting import count_checkout, count_view
from stream.core.counts import total
from stream.core.decode import Decoded, decode_all
from stream.core.ontime import column_of, count_late
from stream.core.packing import pack, unpack, unpack_into
from stream.core.panes import Pane
from stream.core.render import in_python, window_value
from stream.core.session import Session
from stream.model.alerts import Alert, Rule, Severity, Status, read_alert
from stream.model.events import Checkout, View
from stream.model.money import MAX_SUM
from stream.model.names import Kind
from stream.operate.consistency import different
from tests import recount as recounts
from tests.core.alerts.test_alerting import QUIETED, compared, plain_rule
from tests.core.test_laws import LAW, assert_same, recounted
from tests.core.worlds import POLICY, SECOND, T0, Driver, Happening, Step, World, rules_of, schedules, worlds
from tests.realert import Look, PlainRule, realert
from tests.test_schemas import check

SCALE = 2**60
"""Eight of a kind are too many. A power of two, so that the double of a sum is exact."""
COUNTED = 2**55
"""Too little for a counter to be cut. Of one that is, the on-time part is another than its recount (core/ontime.py)."""
counter_scale = [SCALE]


@contextmanager
def counters_by(scale: int) -> Iterator[None]:
    counter_scale[0] = scale
    try:
        yield
    finally:
        counter_scale[0] = SCALE


VIEW_SIZES = ("count", "gift_value", "watch_ms", "concurrent_viewers")


def grown(event: Decoded) -> Decoded:
    """A larger event than any that could be read."""
    scale = counter_scale[0]
    if isinstance(event, View):
        sizes = {name: scale * value for name in VIEW_SIZES if (value := getattr(event, name))}
        return msgspec.structs.replace(event, **sizes)
    if isinstance(event, Checkout):
        items = tuple(
            msgspec.structs.replace(
                item, quantity=scale * item.quantity, unit_price_minor=SCALE // scale * item.unit_price_minor
            )
            for item in event.items
        )
        discount = event.discount_minor and SCALE * event.discount_minor
        amount = SCALE * event.amount_minor
        return msgspec.structs.replace(event, amount_minor=amount, discount_minor=discount, items=items)
    return event


def grown_fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the recount."""
    scale = counter_scale[0]
    fields = {name: scale * value if name in VIEW_SIZES and value else value for name, value in event.items()}
    if "items" in fields:
        fields["amount_minor"] *= SCALE
        fields["discount_minor"] = fields["discount_minor"] and SCALE * fields["discount_minor"]
        fields["items"] = [
            {
                **item,
                "quantity": scale * item["quantity"],
                "unit_price_minor": SCALE // scale * item["unit_price_minor"],
            }
            for item in fields["items"]
        ]
    return fields


@pytest.fixture(autouse=True, scope="module")
def recount_of_grown() -> Iterator[None]:
    def of_grown(count: Callable[..., None]) -> Callable[..., None]:
        return lambda tally, event, bound: count(tally, grown_fields(event), bound)

    with pytest.MonkeyPatch.context() as patch:
        for kind, count in list(recounts.COUNTING.items()):
            patch.setitem(recounts.COUNTING, kind, of_grown(count))
        yield


class Grown(Driver):
    """A worker in miniature that reads larger events."""

    def _read(self, kind: Kind, number: int) -> None:
        position = self.shard.positions.get(kind, 0)
        records = self.logs[kind][position : position + number]
        events = decode_all(kind, records, self.policy.max_value)
        self.shard.count(kind, records, [grown(event) for event in events])


ALL_AT_ONCE = World(
    views=tuple(Happening("like", after=500, amount=7) for _ in range(9)),
    checkouts=tuple(Happening("paid", after=500, ref=ref, amount=7) for ref in range(1, 6)),
)
LATE_FIRST = World(
    checkouts=tuple(
        Happening("paid", after=500, ago=ago, ref=ref, amount=5)
        for ref, ago in enumerate((0, 9000, 9000, 9000, 0, 0, 0), 1)
    ),
    views=(Happening("enter", after=20_000),),
)
"""What is late would already be too much, and comes before most of what is on time."""


@LAW
@given(worlds, schedules)
@example(ALL_AT_ONCE, (("checkouts", 3), ("checkpoint", 0), ("crash", 0)))
@example(LATE_FIRST, (("checkouts", 4), ("checkpoint", 0), ("crash", 0)))
def test_results_are_the_saturated_recount(world: World, schedule: tuple[Step, ...]) -> None:
    told = Grown(world).run(schedule)
    assert_same(told, recounted(world))
    for value in (*told.windows.values(), *told.sessions.values()):
        assert all(0 <= number <= MAX_SUM for number in whole_numbers(value))


def whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from whole_numbers(part)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


def test_saturated_results_are_as_the_schemas_say() -> None:
    told = Grown(ALL_AT_ONCE, POLICY, COMPILED).run(())
    assert max(number for value in told.sessions.values() for number in whole_numbers(value)) == MAX_SUM
    for name, values in (("session-windows", told.windows), ("sessions", told.sessions)):
        for value in values.values():
            check(name, value)
    assert told.alerts
    for alert in told.alerts:
        check("alerts", json.loads(alert.value()))


@LAW
@given(worlds, schedules)
def test_a_restored_shard_is_the_same(world: World, schedule: tuple[Step, ...]) -> None:
    """As `liveshop state verify` compares them."""
    driver = Grown(world)
    driver.run([step for step in schedule if step[0] not in {"crash", *QUIETED}])
    before = driver.shard
    driver.crash()
    assert different(before, driver.shard) == []


# -- alerts

SHOWN = (
    *("gmv_minor", "item_value_minor", "discount_minor", "gift_value", "likes", "watch_ms", "items_sold"),
    *("orders_paid", "events"),
)
OWN = " ".join(f"{{{name}:,.0f}}" for name in (*SHOWN, "gpm_minor", "aov_minor"))


def rule(alert: str, when: str, **more: Any) -> Rule:
    usual: dict[str, Any] = {"window_ms": 20 * SECOND, "baseline_ms": 30 * SECOND, "severity": Severity.INFO}
    return Rule(alert=alert, when=when, **(usual | {"summary": OWN, "runbook": "none"} | more))


RULES = [
    rule("any", "w.events > 0.0"),
    rule("rich", "w.gmv_minor >= 9.0e18"),
    rule("richer", "w.gmv_minor > base.gmv_minor"),
    rule("liked", "w.likes > base.likes", min={"likes": 2.0**56}),
    rule("dear", "w.gpm_minor > 5.0e18 || w.aov_minor > 5.0e18"),
]
COMPILED = Rules(RULES, POLICY.pane_ms)
CONDITIONS: list[Callable[[Look], bool]] = [
    lambda seen: seen.w["events"] > 0,
    lambda seen: seen.w["gmv_minor"] >= 9.0e18,
    lambda seen: float(seen.w["gmv_minor"]) > float(seen.base["gmv_minor"]),
    lambda seen: seen.w["likes"] >= 2**56 and float(seen.w["likes"]) > float(seen.base["likes"]),
    lambda seen: any(
        seen.w["gmv_minor"] * times / seen.w[of] > 5.0e18
        for of, times in (("views", 1000), ("orders_paid", 1))
        if seen.w[of]
    ),
]
Seen = dict[tuple[str, str, int], dict[str, int]]


def plain_rules(seen: Seen) -> list[PlainRule]:
    """What the second opinion looks at is noted in ``seen``."""

    def noted(alert: str, holds: Callable[[Look], bool]) -> Callable[[Look], bool]:
        def look(at: Look) -> bool:
            seen[alert, at.events[0][1]["session_id"], at.end] = at.w
            return holds(at)

        return look

    return [plain_rule(rule, noted(rule.alert, holds)) for rule, holds in zip(RULES, CONDITIONS, strict=True)]


@LAW
@given(worlds, schedules)
@example(ALL_AT_ONCE, ())
@example(LATE_FIRST, (("checkouts", 4), ("checkpoint", 0), ("crash", 0)))
def test_alerts_are_decided_on_the_saturated_recount(world: World, schedule: tuple[Step, ...]) -> None:
    calm = tuple(step for step in schedule if step[0] not in QUIETED)
    records = [record for log in world.records().values() for record in log]
    seen: Seen = {}
    with counters_by(COUNTED):
        told = Grown(world, POLICY, COMPILED).run(calm)
        assert compared(told) == realert(records, rules_of(POLICY), POLICY.session_end_after_ms, plain_rules(seen))
    for alert in told.alerts:
        assert read_alert(alert.value()) == alert
        assert all(abs(number) <= MAX_SUM for number in whole_numbers(json.loads(alert.value())))
        if alert.status is Status.FIRING:
            recounted_ = seen[alert.alert, alert.session_id, alert.at]
            assert {name: alert.values[name] for name in SHOWN} == {name: recounted_[name] for name in SHOWN}


columns = (
    st.tuples(*[st.sampled_from((0, 1, 2, 10**13, MAX_SUM - 1, MAX_SUM))] * len(FIELDS))
    .map(lambda values: dict(zip(FIELDS, values, strict=True)))
    .map(
        lambda of: tuple(
            {**of, "cod_orders": min(of["cod_orders"], of["orders_paid"], of["checkouts_initiated"])}.values()
        )
    )
)


@given(st.lists(columns, min_size=1, max_size=4))
def test_columns_saturate_in_any_order(several: list[Column]) -> None:
    expected = tuple(min(sum(values), MAX_SUM) for values in zip(*several, strict=True))
    assert added(several) == added(several[::-1]) == expected
    by_parts = several[0]
    for one in several[1:]:
        by_parts = added([by_parts, one])
    assert by_parts == expected


@given(st.lists(columns, min_size=1, max_size=4))
def test_whatever_a_rule_may_show_can_be_told(several: list[Column]) -> None:
    history = History(0, SECOND)
    for number, column in enumerate(several, 1):
        history.note(number * SECOND, column)
    end = len(several) * SECOND
    shown = [
        *FIGURES,
        *(f"base.{name}" for name in names_of("base")),
        *(f"median.{name}" for name in names_of("median")),
    ]
    summary = " ".join(f"{{{name}}} {{{name}:,.9f}} {{{name}:.1%}}" for name in shown)
    compiled = CompiledRule(
        rule("all", f"{SILENCE} >= 0.0", window_ms=SECOND, baseline_ms=3 * SECOND, summary=summary), SECOND
    )
    verdict = compiled.judge(Lookback(history, end, end))
    assert verdict.holds
    alert = Alert(
        alert="all",
        session_id="s",
        seller_id="s",
        status=Status.FIRING,
        severity=Severity.INFO,
        since=end,
        at=end,
        run="live",
        summary=compiled.summary(verdict.values),
        runbook="none",
        values=verdict.values,
        id="0",
    )
    assert read_alert(alert.value()) == alert
    assert all(abs(number) <= MAX_SUM for number in whole_numbers(json.loads(alert.value())))


def test_the_reported_case_is_told() -> None:
    """One view and 1,900 paid checkouts of 10^13, with a rule on gpm_minor: 1.9 * 10^19 is beyond 64 bits, signed or not."""
    column = tuple({"views": 1, "orders_paid": 1900, "gmv_minor": 1900 * 10**13}.get(name, 0) for name in FIELDS)
    history = History(0, SECOND)
    history.note(SECOND, column)
    compiled = CompiledRule(
        rule("dear", "w.gpm_minor > 1.0", window_ms=SECOND, baseline_ms=0, summary="{gpm_minor}"), SECOND
    )
    verdict = compiled.judge(Lookback(history, SECOND, SECOND))
    assert verdict.values == {"gpm_minor": MAX_SUM}
    assert orjson.loads(orjson.dumps(verdict.values)) == verdict.values


def test_a_count_is_told_exactly_though_its_double_is_compared() -> None:
    exact = 2**53 + 1
    history = History(0, SECOND)
    history.note(SECOND, tuple(exact if name == "gmv_minor" else 0 for name in FIELDS))
    compiled = CompiledRule(rule("rich", "w.gmv_minor > 1.0", window_ms=SECOND, baseline_ms=0, summary=""), SECOND)
    assert compiled.judge(Lookback(history, SECOND, SECOND)).values == {"gmv_minor": exact}


# -- one pane and its sums, step by step

sizes = st.sampled_from((1, 2, 2**40, 2**62, 2**62 - 1, MAX_SUM - 1, MAX_SUM))
Arrival = tuple[str, int, bool]
arrivals = st.lists(st.tuples(st.sampled_from(("like", "watch", "paid")), sizes, st.booleans()), max_size=8)


def arrive(pane: Pane, arrival: Arrival) -> None:
    what, size, late = arrival
    common: Any = {
        "event_id": "e",
        "event_time": T0,
        "session_id": "s",
        "seller_id": "s",
        "viewer_id": "v",
        "platform": "",
    }
    event: Any
    if what == "paid":
        event = Checkout(
            **common, checkout_id="k", status="paid", amount_minor=size, currency="IDR", items=(), affiliate_id="a"
        )
    else:
        event = View(**common, action="like" if what == "like" else "leave", count=size, watch_ms=size)
    count: Callable[..., int] = count_checkout if what == "paid" else count_view
    if late:
        count_late(count, pane, event, 5)
    else:
        count(pane, event, 5)


def pane_of(several: Sequence[Arrival], *, kept: bool) -> Pane:
    """``kept``: packed and unpacked after each event."""
    pane = Pane(Session(b"s"), T0)
    for arrival in several:
        arrive(pane, arrival)
        if kept:
            data = pack(pane)
            pane = Pane(pane.session, T0)
            unpack_into(pane, data)
    return pane


@given(arrivals, st.permutations(range(8)))
def test_a_pane_is_the_same_in_any_order_and_however_often_it_is_kept(several: list[Arrival], order: list[int]) -> None:
    other = [several[place] for place in order if place < len(several)]
    panes = [pane_of(events, kept=kept) for events in (several, other) for kept in (False, True)]
    assert len({window_value("s", total([pane]), "IDR", {}) for pane in panes}) == 1
    assert len({column_of(pane, "IDR") for pane in panes}) == 1


@given(arrivals)
def test_what_was_on_time_is_what_it_would_be_alone(several: list[Arrival]) -> None:
    """Exactly so of money. Of a counter that is cut as a whole nobody knows what was on time: all of it is said to be."""
    column, on_time_alone = (
        column_of(pane_of(events, kept=True), "IDR") for events in (several, [each for each in several if not each[2]])
    )
    whole = column_of(pane_of([(what, size, False) for what, size, _ in several], kept=False), "IDR")
    for name, found, alone, all_of_it in zip(FIELDS, column, on_time_alone, whole, strict=True):
        assert found == (MAX_SUM if all_of_it == MAX_SUM and not name.endswith("_minor") else alone), name


@given(st.lists(arrivals, min_size=1, max_size=5), st.permutations(range(5)), st.booleans())
def test_totals_are_the_same_however_panes_are_grouped(
    panes: list[list[Arrival]], order: list[int], kept: bool
) -> None:
    parts: list[Any] = [pane_of(events, kept=False) for events in panes]
    whole = window_value("s", total(parts), "IDR", {})
    assert whole == in_python({"session_id": "s", **json.loads(whole)}, total(parts), "IDR")
    other = [parts[place] for place in order if place < len(parts)]
    if kept:
        other = [unpack(pack(part)) for part in other]
    by_twos = total([unpack(pack(total(other[:2]))), *other[2:]])
    assert json.loads(window_value("s", by_twos, "IDR", {})) == json.loads(whole)
