"""What a rule says of a session: least values first, absent figures, errors, and what an alert shows."""

import re
from dataclasses import replace

import pytest

from stream.core.alerts.rules import CompiledRule, RuleError, Rules
from stream.core.policy import MINUTE
from stream.model.alerts import Alert, Rule, Severity, Status, alert_id, read_alert
from tests.history import Minutes, rule

BUSY = Minutes([{"views": 100, "product_clicks": 40, "orders_paid": 4}] * 40)


def compiled(one: Rule) -> CompiledRule:
    return CompiledRule(one, MINUTE)


def test_a_rule_holds_and_shows_what_it_refers_to() -> None:
    verdict = compiled(rule("w.ctor < 2.0 * base.ctor", least={"base.orders_paid": 100, "views": 1})).judge(BUSY)
    assert verdict.holds
    assert verdict.evaluated
    assert verdict.values == {"base.ctor": 0.1, "base.orders_paid": 120, "ctor": 0.1, "views": 500}


def test_values_are_whole_or_of_six_decimals() -> None:
    values = compiled(rule("w.ctor_high > 0.0 && median.views > 0.0")).values(BUSY)
    assert values == {"ctor_high": 0.149407, "median.views": 500}
    assert isinstance(values["median.views"], int)


@pytest.mark.parametrize(
    ("least", "holds"),
    [
        ({"views": 500}, True),
        ({"views": 500.5}, False),
        ({"views": 500, "product_clicks": 201}, False),
        ({"attendance": 500}, True),
        ({"attendance": 501}, False),
        ({"base.views": 3000}, True),
        ({"base.views": 3001}, False),
        ({"median.views": 501}, False),
        ({"ctr": 0.4}, True),
        ({"ctr": 0.41}, False),
        ({"seconds_since_last_event": 30}, True),
        ({"seconds_since_last_event": 31}, False),
        ({"payment_rate": 0}, False),
    ],
)
def test_least_values_decide_before_the_expression(least: dict[str, float], holds: bool) -> None:
    verdict = compiled(rule("true", least=least)).judge(BUSY)
    assert (verdict.holds, verdict.evaluated) == (holds, holds)


def test_a_session_below_the_cheap_least_value_costs_no_baseline() -> None:
    history = Minutes([{"views": 100}] * 40)
    compiled(rule("true", least={"base.views": 10_000, "views": 501})).judge(history)
    compiled(rule("true", least={"base.views": 10_000, "seconds_since_last_event": 60})).judge(history)
    assert history.asked == [(35 * MINUTE, 40 * MINUTE)]


def test_an_absent_figure_makes_a_rule_not_hold_without_an_error() -> None:
    verdict = compiled(rule("w.payment_rate < 0.5")).judge(BUSY)
    assert (verdict.holds, verdict.error, verdict.evaluated) == (False, None, True)


def test_an_absent_figure_can_be_done_without() -> None:
    assert compiled(rule("w.payment_rate < 0.5 || w.ctor < 0.5")).judge(BUSY).holds
    assert compiled(rule("!has(w.payment_rate)")).judge(BUSY).holds


def test_a_division_by_zero_is_told_and_stops_no_other_rule() -> None:
    bad, good = Rules([rule("w.views / w.likes > 1.0"), replace(rule("w.views > 1.0"), alert="b")], MINUTE)
    verdict = bad.judge(BUSY)
    assert (verdict.holds, verdict.error, verdict.evaluated) == (False, "division by zero", True)
    assert good.judge(BUSY).holds


def test_all_mistakes_of_all_rules_are_told_at_once() -> None:
    wrong = rule("w.vievs > 1.0", window=0, summary="{vievs} {", least={"base.likez": 3})
    with pytest.raises(RuleError) as caught:
        Rules([wrong, replace(rule("base.views > 1.0", baseline=0), alert="b"), rule()], MINUTE)
    assert [(each.alert, each.key) for each in caught.value.mistakes] == [
        ("a", "window"),
        ("a", "min"),
        ("a", "summary"),
        ("a", "summary"),
        ("a", "when"),
        ("b", "when"),
        ("a", "alert"),
    ]
    assert "rule b: when: base.views: the rule has no baseline" in str(caught.value)


@pytest.mark.parametrize(
    ("window", "baseline", "complaint"),
    [(3, 30, "window: not a multiple of the slide, 120s"), (2, 31, "baseline: not a multiple"), (2, 1440, "above 24h")],
)
def test_spans_are_whole_slides_and_bounded(window: int, baseline: int, complaint: str) -> None:
    with pytest.raises(RuleError, match=re.escape(complaint)):
        CompiledRule(rule(window=window, baseline=baseline), 2 * MINUTE)


@pytest.mark.parametrize(
    ("window", "baseline", "mistakes"),
    [
        (1440, 0, []),
        (1380, 60, []),
        (1441, 0, ["rule a: window: window and baseline are above 24h"]),
        (1380, 61, ["rule a: baseline: window and baseline are above 24h"]),
        (0, 0, ["rule a: window: not a multiple of the slide, 60s (what all sizes and slides of windows divide by)"]),
        (-1, 0, ["rule a: window: not a multiple of the slide, 60s (what all sizes and slides of windows divide by)"]),
        (
            1,
            -1,
            ["rule a: baseline: not a multiple of the slide, 60s (what all sizes and slides of windows divide by)"],
        ),
    ],
)
def test_spans_are_positive_and_a_day_at_most(window: int, baseline: int, mistakes: list[str]) -> None:
    assert mistakes_of(rule(window=window, baseline=baseline)) == mistakes


def mistakes_of(*rules: Rule) -> list[str]:
    try:
        Rules(rules, MINUTE)
    except RuleError as error:
        return str(error).split("; ")
    return []


def test_without_a_baseline_nothing_may_refer_to_one() -> None:
    young = rule("w.views > 1.0", baseline=0, least={"base.views": 1}, summary="{median.views}")
    assert mistakes_of(young) == [
        "rule a: min: base.views: the rule has no baseline",
        "rule a: summary: median.views: the rule has no baseline",
    ]
    assert mistakes_of(rule("base.views > 1.0", baseline=1, least={"base.views": 1})) == []


def test_a_least_value_is_a_number() -> None:
    assert mistakes_of(rule(least={"views": float("nan"), "ctr": float("inf")})) == [
        "rule a: min: the least value of views must be a number",
        "rule a: min: the least value of ctr must be a number",
    ]


def test_a_name_is_used_once() -> None:
    b, c = (replace(rule(), alert=name) for name in "bc")
    assert mistakes_of(c, b, rule(), b, c, c) == [
        "rule b: alert: the name is used twice",
        "rule c: alert: the name is used twice",
    ]


def test_without_a_least_silence_an_event_may_have_come_just_now() -> None:
    history = Minutes([{"views": 5}])
    history.end = history.last_event
    assert compiled(rule("w.views >= 0.0")).judge(history).holds
    assert not compiled(rule("true", least={"seconds_since_last_event": 0.001})).judge(history).evaluated


def test_a_figure_that_is_no_count_may_be_its_least_value() -> None:
    once = Minutes([{"views": 1, "product_clicks": 1}])
    assert compiled(rule("true", least={"seconds_since_last_event": 30, "base.minutes": 0})).judge(once).holds
    assert compiled(rule("true", least={"order_rate": 0})).judge(once).holds


def test_history_is_kept_for_the_longest_rule() -> None:
    rules = Rules([rule(window=5, baseline=30), replace(rule(window=15, baseline=0), alert="b")], MINUTE)
    assert rules.span_ms == 35 * MINUTE
    assert Rules([], MINUTE).span_ms == 0


def test_a_summary_shows_figures_and_what_is_absent() -> None:
    one = compiled(rule("true", summary="{w.views:,.0f} views, {ctor:.1%}, {payment_rate:.0%}, base {base.views}"))
    assert one.summary(one.values(BUSY)) == "500 views, 10.0%, none, base 3000"


@pytest.mark.parametrize(
    "summary", ["{views!r}", "{views.real}", "{views[0]}", "{}", "{views:>99999999}", "{{views}}", "}"]
)
def test_a_summary_is_no_program(summary: str) -> None:
    with pytest.raises(RuleError, match="summary"):
        compiled(rule("true", summary=summary))


def test_a_rule_concerns_all_or_those_named() -> None:
    everyone = rule()
    few = replace(everyone, sellers=frozenset({"s9"}), platforms=frozenset({"shopee"}))
    assert everyone.concerns("7301", "s1", "lazada")
    assert few.concerns("7301", "s9", "shopee")
    assert not few.concerns("7301", "s9", "lazada")
    assert not few.concerns("7301", "s1", "shopee")
    assert not replace(everyone, sessions=frozenset({"1"})).concerns("7301", "s9", "shopee")


def test_an_alert_is_written_as_the_contract_says() -> None:
    alert = Alert(
        alert="checkout_failures",
        session_id="7301",
        seller_id="s9",
        status=Status.FIRING,
        severity=Severity.PAGE,
        since=1700000120000,
        at=1700000180000,
        run="live",
        summary="…",
        runbook="checkout-failures",
        values={"checkouts_failed": 9, "attempts": 21, "failure_rate_low": 0.244},
        id=alert_id("checkout_failures", "7301", 1700000120000),
    )
    assert alert.key() == b"checkout_failures/7301"
    assert alert.value().decode() == (
        '{"alert":"checkout_failures","at":1700000180000,"id":"' + alert.id + '","run":"live",'
        '"runbook":"checkout-failures","seller_id":"s9","session_id":"7301","severity":"page","since":1700000120000,'
        '"status":"firing","summary":"…","values":{"attempts":21,"checkouts_failed":9,"failure_rate_low":0.244}}'
    )
    assert read_alert(alert.value()) == alert
    assert len(alert.id) == 16
    money = replace(alert, values={"gmv_minor": 81900000}, minor_digits={"IDR": 2})
    assert b'","minor_digits":{"IDR":2},"run":"live",' in money.value()
    assert read_alert(money.value()) == money
