"""Every metric, label and value that a rule, a page of an alert, or a panel asks for is one that real workers export under
traffic.
"""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from deploy.grafana.generate import BOARDS, path
from deploy.grafana.queries import panels
from deploy.prometheus import generate
from stream.children import Child, liveshop
from stream.observe import catalog
from stream.sandbox.broker import EmbeddedKafka
from tests.cli.test_processes import Supervised
from tests.deploy.prometheus import SECONDS, Prometheus, prometheus
from tests.deploy.promql import missing
from tests.deploy.test_alert_pages import PAGES as ALERT_PAGES
from tests.deploy.test_alert_pages import queries
from tests.live import create_topics, wait_for

pytestmark = pytest.mark.kafka

RULES = generate.rules(generate.values())
QUERIES = [(rule.get("record") or rule["alert"], rule["expr"]) for group in RULES["groups"] for rule in group["rules"]]
PAGES = [(file.stem, query) for file in sorted(ALERT_PAGES.glob("*.md")) for query in queries(file.read_text())]
PANELS = [
    (f"{board.title}: {panel['title']}", target["expr"])
    for board in BOARDS
    for panel in panels(json.loads(path(board).read_text()))
    for target in panel["targets"]
    if "ALERTS{" not in target["expr"]  # it is there while one fires
]
NEED_LONGER = {
    "LiveshopGmvLow": "compares with the same hour of yesterday",
    "LiveshopPlatformSilent": "compares with the hour before",
    "LiveshopNoEvents": "compares with the hour before",
    "LiveshopMemoryGrowing": "looks at the growth of six hours",
    "LiveshopStateGrowing": "looks at the growth of six hours",
}
"""Alerts of which a minute of ordinary traffic says nothing, and why. promtool tries them."""
OF_THIS_MACHINE = "LiveshopNotNative"
"""Says whether there was a compiler."""
RECORDED = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}


@pytest.fixture(scope="module")
def watched(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Two worker processes behind one page count simulated traffic, and Prometheus evaluates the rules over it."""
    folder, prefix = tmp_path_factory.mktemp("watched"), "exported."
    create_topics(kafka.bootstrap, prefix, 4)
    command = liveshop("simulate", "--brokers", kafka.bootstrap, "--topic-prefix", prefix, "--rate", "400")
    traffic = Child(command, log=folder / "simulate.log")
    try:
        with Supervised(kafka.bootstrap, prefix, folder / "worker.log") as worker:
            worker.await_ready(SECONDS)
            target = worker.url().removeprefix("http://")
            with prometheus(folder, [target], [generate.RULES]) as asked:
                yield asked
            worker.stop()
    finally:
        traffic.stop()


def test_every_rule_alert_page_and_panel_asks_for_what_workers_export(watched: Prometheus) -> None:
    wrong: dict[str, list[str]] = {}

    def all_there() -> bool:
        nonlocal wrong
        exported = watched.exported()
        found = ((name, missing(query, exported)) for name, query in (*QUERIES, *PAGES, *PANELS))
        wrong = {name: what for name, what in found if what}
        return not wrong

    try:
        wait_for("every metric and label is there", all_there, SECONDS, every=1.0)
    except AssertionError:
        pytest.fail(f"they ask for what no worker exports: {wrong}")


def test_every_rule_is_evaluated_without_an_error(watched: Prometheus) -> None:
    wait_for("all rules are evaluated", lambda: all(rule["health"] == "ok" for rule in watched.rules()), SECONDS, 1.0)
    assert {rule["name"] for rule in watched.rules()} == {name for name, _ in QUERIES}


WHILE_ONE_FIRES: Final = {catalog.SESSION_ALERTS_FIRING.name}
"""Ordinary traffic has none of them."""


def test_no_alert_fires_or_is_pending_under_ordinary_traffic(watched: Prometheus) -> None:
    """Not for half a minute on end. At the start one bad record is a large share of few."""
    looked_at = {alert["alert"]: generate.longest(alert["expr"]) for alert in generate.alerts(generate.values())}
    assert {name for name, last in looked_at.items() if last.endswith(("h", "d"))} == NEED_LONGER.keys()
    told: list[dict[str, str]] = []

    def quiet() -> bool:
        nonlocal told
        (scraped,) = watched.query('count_over_time(up{job="liveshop"}[30s])') or [{"value": [0, "0"]}]
        begun = watched.query(f'max_over_time(ALERTS{{alertname!="{OF_THIS_MACHINE}"}}[30s])')
        told = [each["metric"] for each in begun]
        return int(scraped["value"][1]) >= 25 and not told

    try:
        wait_for("half a minute without an alert", quiet, SECONDS, every=1.0)
    except AssertionError:
        pytest.fail(f"ordinary traffic calls: {told}")


def test_workers_export_all_that_they_declare_and_what_is_recorded_has_the_labels_of_its_name(
    watched: Prometheus,
) -> None:
    names = {metric.name for metric in (*catalog.CATALOG, *catalog.SUPERVISOR)} - WHILE_ONE_FIRES

    def of(exported: set[str], name: str) -> bool:
        return name in exported or f"{name}_count" in exported

    wait_for("all are there", lambda: all(of(set(watched.exported()), name) for name in names), SECONDS, every=1.0)
    wait_for("all rules have recorded", lambda: set(watched.exported()) >= RECORDED, SECONDS, every=1.0)
    exported = watched.exported()
    for name in RECORDED:
        level = name.partition(":")[0].replace("session", "job_session_id")
        shown = {"_".join(sorted(labels, key=level.find)) for labels in exported[name]}
        assert shown == {level}, f"{name} has not the labels that it says"


def test_a_rule_that_asks_for_something_else_would_be_found(watched: Prometheus) -> None:
    wait_for("views are there", lambda: "liveshop_events_total" in watched.exported(), SECONDS)
    exported = watched.exported()
    assert missing('rate(liveshop_events_total{outcome="countd"}[5m])', exported)
    assert missing("liveshop_event_total", exported)
    assert missing("sum by (partitoin) (liveshop_stuck_seconds)", exported)
