"""docs/operate/metrics.md counts series as they are."""

import re
from typing import Final

from prometheus_client import generate_latest

from deploy.prometheus import generate
from stream.config import Settings
from stream.model.names import KINDS
from stream.model.results import Tally
from stream.observe import catalog
from stream.observe.metrics import Metrics
from stream.rules.reading import read_rules, shipped_text
from tests.deploy import promtool
from tests.live import PROJECT
from tests.observe.views import session, view

PAGE: Final = (PROJECT / "docs" / "operate" / "metrics.md").read_text()
ROWS: Final = re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
"""Of the first table."""
DEFAULT_RULES: Final = len(read_rules(shipped_text(), "default"))
BOUNDS: Final = ("sessions", "pane_events", "checkout_keys", "gone_sessions")


def series(partitions: int, sessions: int = 0, rules: int = 0, windows: str = "1m") -> int:
    """On the page of a worker with so many partitions, busiest sessions, alert rules and kinds of windows."""
    metrics = Metrics(Settings(windows=windows, top_sessions=sessions))
    metrics.rules([(f"r{number}", "info") for number in range(rules)])
    metrics.assigned(frozenset(range(partitions)))
    metrics.brokers(3)
    for partition in range(partitions):
        busiest = [session(f"{partition}.{number}") for number in range(sessions)]
        bounds = dict.fromkeys(BOUNDS, 0.1)
        metrics.shard(partition, view(*busiest, rest=session("_other"), alerts={}, bounds=bounds, windows_open={}))
        metrics.committed(partition, Tally(), 0.1)
        for kind in KINDS:
            metrics.lag(partition, kind, 1, 1.0)
            metrics.hidden(partition, kind, 0.0)
    lines = generate_latest(metrics.registry).decode().splitlines()
    return sum(1 for line in lines if line and not line.startswith("#"))


def test_the_table_is_what_a_worker_shows() -> None:
    """The part of the process and of Python may differ by a few from one Python and system to the next."""
    fixed, window, rule, partition, shown = (int(number.replace(",", "")) for _, number in ROWS)
    each = series(2) - series(1)
    assert abs(series(1) - each - fixed) <= 5
    assert series(1, windows="1m,5m/1m") - series(1) == window
    assert series(1, rules=1) - series(1) == rule
    assert each == partition
    assert series(1, sessions=3) - series(1, sessions=2) == shown


def test_the_sums_are_right() -> None:
    fixed, window, rule, partition, shown = (int(number.replace(",", "")) for _, number in ROWS)
    base = fixed + window + DEFAULT_RULES * rule + 20 * shown
    assert f"= {base} + {partition} p series" in PAGE
    for workers, partitions, said, samples in re.findall(
        r"^\| (\d+) workers?, (\d+) partitions.* \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE
    ):
        number = int(workers) * base + int(partitions) * partition
        assert (said, samples) == (f"{number:,}", f"{round(number / 15):,}")
    assert f"= {2000 * shown:,} series are added a day" in PAGE


def test_configurations_of_prometheus_are_valid() -> None:
    for name in ("prometheus.yml", "prometheus-cluster.yml"):
        code, told = promtool.run("promtool", "check", "config", generate.FOLDER / name)
        assert code == 0, told


def test_no_label_has_values_that_strangers_make_but_the_ids_and_names_of_the_busiest_sessions_and_their_sellers() -> (
    None
):
    labels = {label for metric in catalog.CATALOG for label in metric.labels}
    fixed = {"type", "outcome", "topic", "reason", "window", "error", "activity", "currency", "alert", "severity"}
    fixed |= {"status", "partition", "platform", "source", "bound", "version", "python", "core", "native", "settings"}
    assert {metric.name for metric in catalog.CATALOG if "seller_id" in metric.labels} == {catalog.SESSION_INFO.name}
    assert labels - fixed == {"session_id", "seller_id", "title", "seller_name"}
    for label in ("title", "seller_name"):
        assert {metric.name for metric in catalog.CATALOG if label in metric.labels} == {catalog.SESSION_INFO.name}
