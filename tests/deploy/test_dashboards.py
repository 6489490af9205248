"""Dashboards are fresh, say what they show, and colour by the thresholds of the rules. What they find: test_panels.py."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from grafana_foundation_sdk.models import units

from deploy.grafana import generate
from deploy.grafana.board import LITERALS, NO_LIMITS, Board, Limits, Panel, Query, Row, Variable
from deploy.grafana.queries import fill, panels
from deploy.grafana.sdk import rendered, threshold
from deploy.prometheus import generate as rules
from stream.observe import catalog
from tests.deploy import promtool
from tests.deploy.promql import selectors
from tests.live import PROJECT

VALUES: Final = rules.values()
ALERTS: Final = {alert["alert"]: alert for alert in rules.alerts(VALUES)}
RAW: Final = {alert["alert"]: alert for _, listed in rules.sources() for alert in listed}
JSON: Final[dict[str, Any]] = {board.uid: json.loads(generate.path(board).read_text()) for board in generate.BOARDS}
PANELS: Final = [
    pytest.param(panel, drawn, id=f"{board.title}: {panel.title}")
    for board in generate.BOARDS
    for panel, drawn in zip(board.panels(), panels(JSON[board.uid]), strict=True)
]
UNITS: Final = {value for value in vars(units).values() if isinstance(value, str)}
PAGES: Final = VALUES["runbook"].rpartition("/")[0]
FILLED: Final = {"job": "liveshop", "instance": ".*", "session": "7301", "__rate_interval": "1m"}
NOT_OURS: Final = ("up", "ALERTS", "process_", "python_")
"""Of Prometheus, and of its Python client."""


def test_what_is_generated_is_fresh() -> None:
    """Else: make dashboards."""
    assert generate.stale() == []


def test_a_stale_dashboard_and_one_too_many_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert len(generate.stale()) == len(generate.BOARDS)
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "other.json").write_text("{}")
    assert generate.main(["--check"]) == 1
    generate.main([])
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize(("panel", "drawn"), PANELS)
def test_a_panel_says_what_it_shows(panel: Panel, drawn: dict[str, Any]) -> None:
    defaults = drawn["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    assert drawn["description"] == panel.description
    assert re.search(r"[.)]$", panel.description)
    assert drawn["title"]
    assert [target["refId"] for target in drawn["targets"]] == ["A", "B", "C", "D", "E", "F", "G"][: len(panel.queries)]
    assert "noValue" in defaults or not panel.empty
    names = [query.legend for query in panel.queries]
    assert len(set(names)) == len(names), "a name tells one query from another"


@pytest.mark.parametrize(("panel", "drawn"), PANELS)
def test_a_panel_leads_to_what_can_be_done(panel: Panel, drawn: dict[str, Any]) -> None:
    urls = [link["url"] for link in drawn["links"]]
    assert set(panel.alerts) <= ALERTS.keys()
    assert urls[:-1] == [f"{VALUES['runbook']}/{alert}.md" for alert in panel.alerts]
    for url in urls:
        name, _, anchor = url.removeprefix(f"{PAGES}/").partition("#")
        page = PROJECT / "docs" / "operate" / name
        assert page.exists(), url
        if anchor:
            headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, url


@pytest.mark.parametrize(("panel", "drawn"), PANELS)
def test_thresholds_are_those_of_the_rules(panel: Panel, drawn: dict[str, Any]) -> None:
    steps = [step["value"] for step in drawn["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert steps[0] is None
    assert steps[1:] == sorted(threshold(name, VALUES) for name in panel.limits.names)
    compared = "".join(str(RAW[alert]) for alert in panel.alerts)
    for name in set(panel.limits.names) - LITERALS.keys():
        assert f"${{{name}}}" in compared, f"{name} belongs to another alert"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (NO_LIMITS, [("text", None)]),
        (Limits("delay_ticket_seconds", "delay_page_seconds"), [("green", None), ("orange", 15), ("red", 120)]),
        (Limits(ticket="gmv_ratio", below=True), [("orange", None), ("green", 0.4)]),
        (Limits("gmv_ratio", "late_ratio", below=True), [("red", None), ("orange", 0.02), ("green", 0.4)]),
        (Limits(page="any"), [("green", None), ("red", 1e-6)]),
    ],
)
def test_a_colour_holds_from_its_threshold_on(limits: Limits, expected: list[tuple[str, float | None]]) -> None:
    panel = Panel("t", "stat", "short", "d", (Query("up"),), limits=limits)
    board = Board("u", "t", "d", 1, (), (Row("r", (panel,)),))
    _, drawn = rendered(board, VALUES)["panels"]
    steps = drawn["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step["value"]) for step in steps] == expected


def test_every_alert_is_on_a_panel() -> None:
    shown = {alert for board in generate.BOARDS for panel in board.panels() for alert in panel.alerts}
    assert shown == ALERTS.keys()


def test_every_limit_that_is_a_single_number_is_on_a_panel_of_its_alert() -> None:
    """Those left out are of alerts that compare something that no panel shows by itself."""
    drawn = {name for board in generate.BOARDS for panel in board.panels() for name in panel.limits.names}
    compared = {
        name for alert in RAW.values() for name in re.findall(r"[<>] \$\{(\w+)\}$", alert["expr"], re.MULTILINE)
    }
    by_themselves = {
        *("no_orders_views", "no_events_rate"),  # how much there has to be for the alert to be asked
        *("pane_gone", "misplaced_keys", "lost_offsets"),  # 0: any at all
    }
    assert compared - drawn == by_themselves


def test_every_query_can_be_asked(tmp_path: Path) -> None:
    """promtool reads them as rules."""
    asked = [
        {"record": f"board:{number}:query", "expr": fill(query, FILLED)} for number, query in enumerate(_queries())
    ]
    file = tmp_path / "dashboards.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboards", "rules": asked}]}))
    code, told = promtool.run("promtool", "check", "rules", file)
    assert code == 0, told


def test_every_metric_is_declared_or_recorded() -> None:
    """Labels, and that there are such series: test_exported.py."""
    declared = {name for metric in (*catalog.CATALOG, *catalog.SUPERVISOR) for name in _series(metric)}
    recorded = {
        rule["record"] for group in rules.rules(VALUES)["groups"] for rule in group["rules"] if "record" in rule
    }
    asked = {selector.name for query in _queries() for selector in selectors(query)}
    assert {name for name in asked - declared - recorded if not name.startswith(NOT_OURS)} == set()


def _series(metric: catalog.Metric) -> list[str]:
    if metric.kind == "histogram":
        return [f"{metric.name}_{part}" for part in ("bucket", "count", "sum")]
    return [metric.name]


def _queries() -> list[str]:
    """Of panels and annotations."""
    return [
        query
        for board in JSON.values()
        for query in (
            *(target["expr"] for panel in panels(board) for target in panel["targets"]),
            *(each["expr"] for each in board["annotations"]["list"]),
        )
    ]


@pytest.mark.parametrize("board", generate.BOARDS, ids=lambda board: board.title)
def test_panels_fill_the_grid_without_overlaps(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in JSON[board.uid]["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in JSON[board.uid]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    bottom = max(y for _, y in taken) + 1
    assert taken == {(x, y) for x in range(24) for y in range(bottom)}, "a hole looks as if something were missing"


@pytest.mark.parametrize("board", generate.BOARDS, ids=lambda board: board.title)
def test_a_dashboard_is_provisioned_whole(board: Board) -> None:
    found = JSON[board.uid]
    assert found["uid"] == board.uid
    assert found["id"] is None if "id" in found else True
    assert found["title"] == board.title
    assert [each["name"] for each in found["annotations"]["list"]] == ["Alerts", "Rebalances", "Deployments"]
    source, *others = found["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert [each["name"] for each in others] == [variable.name for variable in board.variables]
    for panel in panels(found):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for link in found["links"]:
        assert link["tags"] == found["tags"]


def test_only_variables_that_a_dashboard_has_are_asked_for() -> None:
    for board in generate.BOARDS:
        names = {variable.name for variable in board.variables} | {"__rate_interval"}
        for panel in board.panels():
            for query in panel.queries:
                assert set(re.findall(r"\$(\w+)", query.expr)) <= names, panel.title


def test_a_variable_has_a_description() -> None:
    variables: set[Variable] = {variable for board in generate.BOARDS for variable in board.variables}
    assert all(variable.description.endswith(".") for variable in variables)


PAGE: Final = (PROJECT / "docs" / "operate" / "dashboards.md").read_text()


def test_the_page_lists_the_panels_that_may_be_empty_and_why() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", PAGE.partition("## Panels that may be empty")[2], re.MULTILINE)
    empty = {
        (board.title, panel.title, query.empty)
        for board in generate.BOARDS
        for panel in board.panels()
        for query in panel.queries
        if query.empty
    }
    assert set(rows[1:]) == empty


def test_the_page_has_a_heading_for_each_row_and_a_small_picture_of_each_dashboard() -> None:
    for board in generate.BOARDS:
        section = re.split(r"^## ", PAGE.partition(f"\n## {board.title}\n")[2], flags=re.MULTILINE)[0]
        assert re.findall(r"^### (.+)$", section, re.MULTILINE) == [row.title for row in board.rows]
        (picture,) = re.findall(r"!\[.*\]\((.+)\)", section)
        assert (PROJECT / "docs" / "operate" / picture).stat().st_size < 300_000


def test_links_of_the_page_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }
    for target in re.findall(r"(?<!!)\[[^\]]+\]\(([^)]+)\)", PAGE):
        name, _, anchor = target.partition("#")
        assert (PROJECT / "docs" / "operate" / name).exists(), target
        assert name or anchor in headings, target
