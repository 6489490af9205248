"""A rules file: every mistake with its line, and what a right one gives."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.policy import MINUTE
from stream.errors import UsageError
from stream.model.alerts import Rule, Severity
from stream.rules.reading import (
    LARGEST,
    MOST_IDS,
    MOST_NODES,
    MOST_PROBLEMS,
    MOST_RULES,
    RulesError,
    kept_rules,
    load_rules,
    read_rules,
    rules_text,
)

RIGHT = """
rules:
  - alert: few_orders
    window: 5m
    baseline: 30m
    when: >-
      w.ctor < 0.5
      * base.ctor
    min: {product_clicks: 200, base.orders_paid: 1.5e1}
    for: 90s
    keep_firing_for: 1h
    severity: ticket
    summary: "{ctor:.1%} of {product_clicks}"
    runbook: https://wiki.example/few
    sellers: [s9, 7301, 0x10]
    sessions: ["1"]
    platforms: [shopee]
  - {alert: any, window: 1m, when: w.events > 0, severity: info, summary: s, runbook: r}
"""

MISTAKES = """\
f:3: rule checkout_failures: unknown key 'windw'; did you mean window?
f:4: rule checkout_failures: window: a duration needs a unit: write 5s for seconds (ms, s, m, h, d are known)
f:5: rule checkout_failures: when: w.failure_ratee_low is not known; did you mean w.failure_rate_low?
f:5: rule checkout_failures: when: base.attempts: the rule has no baseline
f:5: rule checkout_failures: when: 2 * base.attempts mixes a whole number with a decimal one, which CEL refuses: write 2.0
f:7: rule checkout_failures: min: w.atempts is not known; did you mean w.attempts?
f:7: rule checkout_failures: min: the least value of views must be a number
f:9: rule checkout_failures: for: not a duration: write whole numbers and units (ms, s, m, h, d), such as 10s or 5m30s
f:10: rule checkout_failures: severity: 'pge' is none of page, ticket, info; did you mean page?
f:11: rule checkout_failures: summary: w.checkouts_faild is not known; did you mean w.checkouts_failed?
f:11: rule checkout_failures: summary: a figure is {name}, {name:.0f}, {name:,.0f} or {name:.1%}; braces have no other use
f:12: rule checkout_failures: runbook: a text is needed
f:13: rule checkout_failures: an alert of this name is there already
f:14: rule checkout_failures: window: not a multiple of the slide, 60s (what all sizes and slides of windows divide by)
f:15: rule checkout_failures: when: gives a number, and must be true or false: compare it, as in w.views > 0.5
f:18: rule checkout_failures: severity is given twice
f:19: rule checkout_failures: summary: a text is needed
f:21: rule checkout_failures: sellers: a list of ids is needed, as in [s9, s12]; without the key it is for all
f:22: rule 3: a rule is written as keys and values, such as alert: checkout_failures
f:23: rule 4: when is missing
f:23: rule 4: severity is missing
f:23: rule 4: summary is missing
f:24: rule 4: alert: 'Wrong-Name' is no name: small letters, digits and _, beginning with a letter
"""


def problems(text: str) -> list[str]:
    with pytest.raises(RulesError) as caught:
        read_rules(text, "f", MINUTE)
    return [problem.located("f") for problem in caught.value.problems]


def test_a_right_file_is_read() -> None:
    first, second = read_rules(RIGHT, "f", MINUTE)
    assert first == Rule(
        alert="few_orders",
        window_ms=5 * MINUTE,
        baseline_ms=30 * MINUTE,
        when="w.ctor < 0.5 * base.ctor",
        min={"product_clicks": 200.0, "base.orders_paid": 15.0},
        for_ms=90_000,
        keep_firing_for_ms=60 * MINUTE,
        severity=Severity.TICKET,
        summary="{ctor:.1%} of {product_clicks}",
        runbook="https://wiki.example/few",
        sellers=frozenset({"s9", "7301", "0x10"}),
        sessions=frozenset({"1"}),
        platforms=frozenset({"shopee"}),
    )
    assert (second.alert, second.baseline_ms, second.min, second.sellers) == ("any", 0, {}, frozenset())


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    text = """\
rules:
  - alert: checkout_failures
    windw: 5m
    window: 5
    when: w.failure_ratee_low > 2 * base.attempts
    min:
      atempts: 20
      views: many
    for: 1x
    severity: pge
    summary: "{checkouts_faild:.0f} of {"
    runbook:
  - alert: checkout_failures
    window: 90s
    when: |
      w.views
    severity: page
    severity: page
    summary: [s]
    runbook: x
    sellers: s9
  - just text
  - window: 1m
    alert: Wrong-Name
"""
    assert problems(text) == MISTAKES.splitlines()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "f:1: empty: a list of rules is needed, under the key rules"),
        ("# only words", "f:1: empty: a list of rules is needed, under the key rules"),
        ("[1, 2]", "f:1: a list of rules is needed, under the key rules"),
        ("{}", "f:1: a list of rules is needed, under the key rules"),
        ("\nrule: []", "f:2: unknown key 'rule'; did you mean rules?"),
        ("rules:\n", "f:1: rules must be one list of rules; to have no alerts, set rules to none"),
        ("rules: []\n", "f:1: rules must be one list of rules; to have no alerts, set rules to none"),
        ("rules: [\n", "f:2: not YAML: expected the node content, but found '<stream end>'"),
        ("rules:\n\t- a", "f:2: not YAML: found character '\\t' that cannot start any token"),
        (
            "rules: !!python/name:os.system\n",
            "f:1: rules must be one list of rules; to have no alerts, set rules to none",
        ),
        ("a: 1\n---\nb: 1\n", "f:2: not YAML: but found another document"),
        ("rules:\n \x00", "f:2: not YAML: the character '\\x00' is not allowed"),
        ("[" * 1200, "f:1: not YAML: more than 20 lists and mappings within one another"),
        ("\n" + "- " * 1200, "f:2: not YAML: more than 20 lists and mappings within one another"),
        ("%YAML 1." + "1" * 5000 + "\n---\nrules: []", "f:1: not YAML: ValueError"),
        ("? [a]\n: 1", "f:1: unknown key that is no text"),
        ("rules: [*nobody]", "f:1: not YAML: found undefined alias 'nobody'"),
    ],
)
def test_a_file_that_is_no_list_of_rules(text: str, problem: str) -> None:
    assert problems(text)[0] == problem


@pytest.mark.parametrize("value", [".nan", ".inf", "1e999", "nan", "''", "[1]", "{a: 1}"])
def test_a_least_value_is_a_number(value: str) -> None:
    text = RIGHT.replace("1.5e1", value)
    assert problems(text) == ["f:9: rule few_orders: min: the least value of base.orders_paid must be a number"]


@pytest.mark.parametrize("value", ["20", "[a, b]", "x"])
def test_least_values_have_names(value: str) -> None:
    text = RIGHT.replace("{product_clicks: 200, base.orders_paid: 1.5e1}", value)
    assert problems(text) == [
        "f:9: rule few_orders: min: figures with their least values are needed, as in {attempts: 20}"
    ]


# -- what the setting names


def test_none_turns_alerts_off() -> None:
    assert load_rules("none", MINUTE) == ()


def test_a_file_is_named_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RIGHT)
    assert [each.rule.alert for each in load_rules(str(file), MINUTE)] == ["few_orders", "any"]


def test_a_file_must_suit_the_slide(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RIGHT)
    with pytest.raises(RulesError, match=r"rules\.yaml:4: rule few_orders: window: not a multiple of the slide, 120s"):
        load_rules(str(file), 2 * MINUTE)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot be read: No such file"), (b"\xff\xfe", "is not UTF-8"), (b"#" * (LARGEST + 1), "is larger than")],
)
def test_a_file_that_cannot_be_had(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    file = tmp_path / "rules.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=complaint):
        load_rules(str(file), MINUTE)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_rules(str(tmp_path), MINUTE)


# -- files of any size and shape

RULE = "{{alert: a{0}, window: 1m, when: w.events > 0, severity: info, summary: s, runbook: r}}"
ALIASED = RULE.format(1).replace("{", "&r {", 1)
HOSTILE: dict[str, Callable[[int], str]] = {
    "many rules": lambda n: "rules:\n" + "".join(f"  - {RULE.format(i)}\n" for i in range(n // 80)),
    "one rule many times": lambda n: f"rules:\n  - {ALIASED}\n" + "  - *r\n" * (n // 7),
    "unknown keys": lambda n: "".join(f"k{i}: 1\n" for i in range(n // 8)),
    "unknown keys in a rule": lambda n: "rules:\n  - alert: a\n" + "".join(f"    w{i}: 1\n" for i in range(n // 12)),
    "lists within lists": lambda n: "[" * n,
    "mappings within mappings": lambda n: "{a: " * (n // 4),
    "lists in block style": lambda n: "- " * (n // 2),
    "keys that are lists": lambda n: "? " * (n // 2),
    "a billion laughs": lambda n: laughs(n // 30) + "rules: *a9\n",
    "a key of a billion laughs": lambda n: laughs(n // 30) + "? *a9\n: 1\n",
    "a rule with a key of a billion laughs": lambda n: laughs(n // 30) + "rules:\n  - ? *a9\n    : 1\n",
    "a long list of ids many times": lambda n: (
        "rules:\n  - {alert: a, sellers: &s ["
        + ",".join(f"s{i}" for i in range(n // 10))
        + "]}\n"
        + "".join(f"  - {{alert: a{i}, sellers: *s}}\n" for i in range(n // 80))
    ),
    "a long text": lambda n: "a" * n,
    "an open quote": lambda n: '"' + "a" * n,
    "commas": lambda n: "[" + "a," * (n // 2) + "]",
    "a long name of an alias": lambda n: "[*" + "a" * n + "]",
    "anchors": lambda n: "[" + ",".join(f"&a{i} b" for i in range(n // 12)) + "]",
    "least values": lambda n: "rules:\n  - {min: {" + ",".join(f"v{i}: 1" for i in range(n // 12)) + "}}",
    "holes in a summary": lambda n: "rules:\n  - {summary: '" + "".join(f"{{v{i}}}" for i in range(n // 10)) + "'}",
    "braces in a summary": lambda n: "rules:\n  - {summary: '" + "{a" * (n // 2) + "'}",
    "a long number": lambda n: "rules:\n  - {min: {views: " + "9" * n + "}}",
    "a long duration": lambda n: "rules:\n  - {for: " + "9" * n + "s}",
    "a long condition": lambda n: "rules:\n  - {when: '" + "(" * n + "'}",
    "conditions of many divisors": lambda n: (
        "rules:\n"
        + "".join(f"  - {{alert: a{i}, when: '{'1.0/(' * 30}w.views{')' * 30} > 0.5'}}\n" for i in range(n // 280))
    ),
    "documents": lambda n: "---\n" * (n // 4),
}


def laughs(number: int) -> str:
    """Each list holds the one before ten times."""
    lists = (f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, max(10, min(number, 30))))
    return "a0: &a0 [x]\n" + "".join(lists)


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_file_of_any_shape_is_refused_quickly_in_few_words(shape: str) -> None:
    for size in (2_000, 100_000):
        text = HOSTILE[shape](size)
        began = time.process_time()
        try:
            read_rules(text, "f", MINUTE)
            found = []
        except RulesError as error:
            found = error.problems
        assert time.process_time() - began < 30
        assert found or shape == "many rules"
        assert len(found) <= MOST_PROBLEMS + 1
        assert all(len(problem.text) < 1000 and problem.line <= text.count("\n") + 1 for problem in found)


def test_the_bounds_of_a_file_are_named() -> None:
    def first(text: str) -> str:
        return problems(text)[0]

    rules = "rules:\n" + "".join(f"  - {RULE.format(i)}\n" for i in range(MOST_RULES + 1))
    assert first(rules) == f"f:{MOST_RULES + 2}: more than 500 rules"
    assert "more than 40,000 keys and values" in first("[" + "a," * MOST_NODES + "]")
    ids = ", ".join(f"s{i}" for i in range(MOST_IDS // 2 + 1))
    text = RIGHT.replace("[s9, 7301, 0x10]", f"&ids [{ids}]").replace('sessions: ["1"]', "sessions: *ids")
    assert first(text) == "f:15: rule few_orders: sessions: more than 20,000 ids in the file"
    assert first(RIGHT.replace("runbook: r", f"runbook: {'r' * 1001}")).endswith(
        "runbook: longer than 1,000 characters"
    )
    least = ", ".join(f"w.views: {number}" for number in range(51))
    assert "min: more than 50 figures" in first(RIGHT.replace("product_clicks: 200, base.orders_paid: 1.5e1", least))
    assert "for: a duration is at most 36500d" in first(RIGHT.replace("for: 90s", "for: 36501d"))


@given(st.integers(0, len(RIGHT)), st.integers(0, 12), st.text("\n -:[]{}&*!|>'\"%@`#,.0a?<\t", max_size=6))
def test_a_garbled_file_is_read_or_refused_with_lines(place: int, gone: int, put: str) -> None:
    text = RIGHT[:place] + put + RIGHT[place + gone :]
    lines = [1]
    try:
        read_rules(text, "f", MINUTE)
    except RulesError as error:
        lines = [problem.line for problem in error.problems]
    assert lines
    assert 0 < min(lines) <= max(lines) <= text.count("\n") + 2


def test_a_rule_needs_no_runbook() -> None:
    rule = read_rules(RIGHT.replace(", runbook: r", ""), "f")[-1]
    assert rule.runbook == ""


@pytest.mark.parametrize("pane_ms", [1000, 7000, MINUTE])
@pytest.mark.parametrize("setting", ["default", "none"])
def test_rules_that_are_kept_as_text_are_the_same_again(setting: str, pane_ms: int) -> None:
    again = kept_rules(rules_text(setting), "the plan", pane_ms)
    assert [each.rule for each in again] == [each.rule for each in load_rules(setting, pane_ms)]


def test_rules_of_a_file_are_kept_too(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RIGHT)
    again = kept_rules(rules_text(str(file)), "the plan", MINUTE // 2)
    assert [each.rule for each in again] == [each.rule for each in load_rules(str(file), MINUTE // 2)]
