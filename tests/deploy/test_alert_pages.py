"""Each alert has a page: what it means, what to look at, what to do, when it is over, whom to wake.

Its queries can be asked.
"""

import re
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.prometheus import generate
from tests.deploy import promtool
from tests.live import PROJECT

PAGES: Final = PROJECT / "docs" / "operate" / "alerts"
ALERTS: Final = {alert["alert"]: alert for alert in generate.alerts(generate.values())}
HEADINGS: Final = ["Means", "Look at", "Do", "Over", "Wake"]
INDEX: Final = "README.md"


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {heading: content.strip() for heading, content in zip(parts[1::2], parts[2::2], strict=True)}


def queries(text: str) -> list[str]:
    """Each line of a block of PromQL is a query."""
    blocks = re.findall(r"^```promql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_there_is_a_page_for_each_alert_and_no_other() -> None:
    assert {file.name for file in PAGES.glob("*.md")} == {f"{name}.md" for name in ALERTS} | {INDEX}


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_has_the_headings_and_says_how_urgent_it_is(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n\nSeverity: {ALERTS[name]['severity']}. ")
    found = sections(text)
    assert list(found) == HEADINGS
    assert all(found.values())
    assert queries(found["Look at"]), "what to look at is a query that can be copied"
    assert re.match(r"1\. ", found["Do"])
    assert found["Wake"].startswith("Nobody") == (ALERTS[name]["severity"] == "ticket"), "a page wakes somebody"


@pytest.mark.parametrize("file", sorted(PAGES.glob("*.md")), ids=lambda file: file.stem)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text()):
        name, _, anchor = target.partition("#")
        there = (file.parent / name).resolve()
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, target


def test_thresholds_that_pages_name_are_those_of_the_alert() -> None:
    names = generate.values().keys()
    raw = {alert["alert"]: str(alert) for _, listed in generate.sources() for alert in listed}
    for name in ALERTS:
        for said in names & set(re.findall(r"`(\w+)`", sections((PAGES / f"{name}.md").read_text())["Means"])):
            assert f"${{{said}}}" in raw[name], f"{name} says {said}"


def test_every_query_of_a_page_can_be_asked(tmp_path: Path) -> None:
    """promtool reads them as rules."""
    asked: list[dict[str, Any]] = [
        {"record": f"page:{file.stem}:q{number}", "expr": query}
        for file in sorted(PAGES.glob("*.md"))
        for number, query in enumerate(queries(file.read_text()))
    ]
    rules = tmp_path / "pages.yaml"
    rules.write_text(generate.as_text({"groups": [{"name": "pages", "rules": asked}]}))
    code, told = promtool.run("promtool", "check", "rules", rules)
    assert code == 0, told
