"""The rules of Prometheus are fresh, valid, and fire when they should: tried by promtool, without a server."""

import re
from typing import Any, Final

import pytest
import yaml

from deploy.prometheus import generate
from deploy.prometheus.generate import FOLDER, RULES
from tests.deploy import promtool

VALUES: Final = generate.values()
ALERTS: Final = generate.alerts(VALUES)
NAMES: Final = [alert["alert"] for alert in ALERTS]
SEVERITIES: Final = {"page", "ticket", "info"}
"""Those of session alerts too: stream/rules/default.yaml says what each means."""


def test_what_is_generated_is_fresh() -> None:
    """Else: make rules."""
    texts = generate.files()
    assert {file for file, text in texts.items() if not file.exists() or file.read_text() != text} == set()
    there = {*generate.CASES.glob("*"), RULES, *generate.INDEX.parent.glob("*.md")}
    assert there == set(texts), "nothing is left from before"


def test_promtool_finds_nothing_in_the_rules() -> None:
    code, told = promtool.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert code == 0, told


def test_every_alert_fires_and_stays_quiet_one_step_below() -> None:
    code, told = promtool.run("promtool", "test", "rules", *sorted(generate.CASES.glob("*.yaml")))
    assert code == 0, told


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_has_what_people_need_and_cases_of_both_kinds(alert: dict[str, Any]) -> None:
    assert re.fullmatch(r"Liveshop[A-Z]\w+", alert["alert"])
    assert alert["severity"] in SEVERITIES
    assert alert["summary"]
    assert not alert["summary"].endswith(".")
    assert alert["description"].endswith(".")
    fires = [case.fires for case in generate.cases(alert)]
    assert fires.count(True) == 1
    assert fires.count(False) >= 1


def test_names_are_unique_and_every_threshold_is_used() -> None:
    assert len(NAMES) == len(set(NAMES))
    written = "".join(file.read_text() for file in (FOLDER / "recording.yaml", *(FOLDER / "alerts").glob("*.yaml")))
    used = set(re.findall(r"\$\{(\w+)", written))
    assert used == VALUES.keys() - {"runbook"}


def test_a_threshold_is_nowhere_written_out() -> None:
    """Comparisons with 0 and 1 aside, which are no thresholds."""
    for _, alerts in generate.sources():
        for alert in alerts:
            numbers = re.findall(r"(?:[<>]=?|==)\s*(?:bool )?(-?[\d.]+)", alert["expr"])
            assert set(numbers) <= {"0", "1"}, alert["alert"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("> ${n}", "> 10"), ("${n + 1}", "11"), ("${n / 4} ${n * 0.5}", "2.5 5"), ("{{ $labels.n }}", "{{ $labels.n }}")],
)
def test_thresholds_are_filled_in(text: str, expected: str) -> None:
    assert generate.filled(text, {"n": 10}) == expected


def test_a_threshold_that_is_missing_is_no_empty_text() -> None:
    with pytest.raises(KeyError, match="other"):
        generate.filled("${other}", {"n": 10})


@pytest.fixture(scope="module")
def fired(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Labels and annotations of each alert that fires, by name: promtool says what it got where nothing is expected."""
    folder = tmp_path_factory.mktemp("fired")
    cases = [case for alert in ALERTS for case in generate.cases(alert) if case.fires]
    for every in {case.every for case in cases}:
        tests = [
            {
                "interval": every,
                "input_series": [{"series": generate.labelled(each), "values": n} for each, n in case.when.items()],
                "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert}],
            }
            for case in cases
            if case.every == every
        ]
        content = {
            "rule_files": [str(RULES)],
            "evaluation_interval": every,
            "group_eval_order": generate.eval_order(VALUES),
            "tests": tests,
        }
        (folder / f"{every}.yaml").write_text(yaml.safe_dump(content))
    _, told = promtool.run("promtool", "test", "rules", *sorted(folder.glob("*.yaml")))
    found = re.findall(r"Labels:\{(.*)\}\s+Annotations:\{(.*)\}", told)
    pairs = [(dict(_PAIR.findall(labels)), dict(_PAIR.findall(texts))) for labels, texts in found]
    return {labels["alertname"]: (labels, texts) for labels, texts in pairs}


_PAIR: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def test_texts_of_alerts_that_fire_name_what_they_are_about(
    fired: dict[str, tuple[dict[str, str], dict[str, str]]],
) -> None:
    assert fired.keys() == set(NAMES)
    for name, (_, texts) in fired.items():
        assert texts["runbook_url"] == f"{VALUES['runbook']}/{name}.md"
        for text in (texts["description"], texts["summary"]):
            assert not re.search(r"  |<|error|^ | $|\{\{| \.| ,|''", text), text


def test_alerts_on_dead_letters_name_the_reason_that_is_most_of_them(
    fired: dict[str, tuple[dict[str, str], dict[str, str]]],
) -> None:
    """Of their own input: not late ones, which are no fault of the value, and not those of another input."""
    for name, reason in (("LiveshopDeadLettersHigh", "missing_field"), ("LiveshopDeadLettersCritical", "bad_value")):
        assert fired[name][1]["description"].startswith(f"Mostly {reason}. ")


@pytest.mark.parametrize(
    ("expr", "last"),
    [
        ("up == 0", ""),
        ("rate(a_total[5m]) > 0 or b[30m] > 0", "30m"),
        ("job:a:rate5m > 0", "5m"),
        ("a:increase15m == 0 and avg_over_time(b:sum[1h] offset 2m)", "1h"),
    ],
)
def test_how_far_an_expression_looks_back(expr: str, last: str) -> None:
    assert generate.longest(expr) == last


def test_a_page_says_when_it_is_over_once_and_before_whom_to_wake() -> None:
    page = "# A\n\n## Do\n\n1. It.\n\n## Wake\n\nNobody.\n"
    first = generate.with_over(page, "a[5m]\n  > 1")
    assert "at most 5m after its cause has ended" in first
    assert "\na[5m] > 1\n" in first
    assert [line for line in first.splitlines() if line.startswith("## ")] == ["## Do", "## Over", "## Wake"]
    assert generate.with_over(first, "b > 2") == generate.with_over(page, "b > 2")


def test_what_inhibits_another_is_an_alert_that_has_the_same_labels(
    fired: dict[str, tuple[dict[str, str], dict[str, str]]],
) -> None:
    config = yaml.safe_load((FOLDER.parent / "compose" / "alertmanager.yml").read_text())
    for rule in config["inhibit_rules"]:
        for matchers in (rule["source_matchers"], rule["target_matchers"]):
            (pattern,) = [found[1] for each in matchers if (found := re.fullmatch(r'alertname=~?"(.+)"', each))]
            others = {each.partition("=")[0] for each in matchers} - {"alertname"}
            words = re.fullmatch(r"Liveshop\((.+)\)", pattern)
            for name in [f"Liveshop{word}" for word in words[1].split("|")] if words else [pattern]:
                labels, _ = fired[name]
                assert {*rule.get("equal", ()), *others} <= labels.keys(), name
