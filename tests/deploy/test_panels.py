"""Every query of every panel, variable and annotation finds something where real workers count simulated traffic.

Ten minutes of traffic, in which payments fail, are played within seconds; meanwhile a second worker comes, and is killed.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.grafana import generate
from deploy.grafana.picture import annotations, last, page
from deploy.grafana.queries import answer, choose, fill, options, panels
from stream.sandbox.broker import EmbeddedKafka
from tests.deploy.line import Line, a_line
from tests.live import wait_for

pytestmark = pytest.mark.kafka

BOARDS: Final[dict[str, Any]] = {board.title: json.loads(generate.path(board).read_text()) for board in generate.BOARDS}
MAY_BE_EMPTY: Final = {
    (board.title, panel.title, chr(ord("A") + place)): query.empty
    for board in generate.BOARDS
    for panel in board.panels()
    for place, query in enumerate(panel.queries)
    if query.empty
}
"""By dashboard, panel and query: why that is right. docs/operate/dashboards.md lists them."""
MINUTES: Final = 10
"""Of traffic, by event time."""
SPEED: Final = 20
LOOK_BACK: Final = 5.0
"""Minutes that the dashboards show: all that happens here."""
SECONDS: Final = 180.0


@pytest.fixture(scope="module")
def line(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """After all of it has happened."""
    with a_line(kafka.bootstrap, "panels.", tmp_path_factory.mktemp("line")) as line:
        line.scrape()
        start = int(1000 * (time.time() - 60 * MINUTES))
        ends = ("--for", f"{MINUTES}m", "--start-ms", str(start), "--outage", "2m-9m")
        file = line.recorded("--rate", "60", "--sessions", "5", *ends)
        line.worker(0).await_ready()
        traffic = line.traffic("--from", str(file), "--speed", str(SPEED))
        second = line.worker(1)
        second.await_ready()
        wait_for("Prometheus knows the second worker", lambda: found(line, "sum(liveshop_ready)") == 2)
        second.child.kill()
        wait_for(
            "the first has all partitions again",
            lambda: found(line, f'sum(liveshop_shard_running{{instance="{line.instance(0)}"}})') == 4,
        )
        wait_for("all traffic is sent", lambda: traffic.code is not None, SECONDS)
        yield line


def found(line: Line, query: str) -> float | None:
    """The value now."""
    series = line.prometheus.query(query, time.time())
    return series[0].last if series else None


@pytest.mark.parametrize("title", BOARDS)
def test_every_query_of_every_panel_finds_something(line: Line, title: str) -> None:
    empty: list[tuple[str, str, str]] = []

    def none() -> bool:
        nonlocal empty
        span = last(LOOK_BACK)
        chosen = choose(BOARDS[title], line.prometheus, span)
        empty = [
            (title, panel["title"], target["refId"])
            for panel in panels(BOARDS[title])
            for target, series in answer(panel, line.prometheus, span, chosen)
            if not series
        ]
        return not set(empty) - MAY_BE_EMPTY.keys()

    try:
        wait_for("every query finds something", none, SECONDS, every=1.0)
    except AssertionError:
        pytest.fail(f"nothing is found by {set(empty) - MAY_BE_EMPTY.keys()}")


def test_the_outage_is_seen(line: Line) -> None:
    """So that panels of alerts are empty for want of an alert, not for want of a right query."""
    span = last(LOOK_BACK)
    (panel,) = (panel for panel in panels(BOARDS["Live shopping"]) if panel["title"] == "Which alerts")

    def fired() -> list[str]:
        chosen = choose(BOARDS["Live shopping"], line.prometheus, span)
        ((_, series),) = answer(panel, line.prometheus, last(LOOK_BACK), chosen)
        return [each.labels["alert"] for each in series]

    assert "checkout_failures" in wait_for("an alert of payments", fired, SECONDS, every=1.0)


@pytest.mark.parametrize("title", BOARDS)
def test_every_variable_offers_something(line: Line, title: str) -> None:
    span = last(LOOK_BACK)
    chosen = choose(BOARDS[title], line.prometheus, span)
    for variable in BOARDS[title]["templating"]["list"]:
        if variable["type"] == "query":
            offered = options(variable, line.prometheus, span, chosen)
            assert offered, variable["name"]
            assert "_other" not in offered, "that is no session"


def test_every_annotation_marks_what_has_happened(line: Line) -> None:
    """But for alerts of the pipeline, which need minutes to fire: that query is only asked."""
    board = BOARDS["Pipeline"]
    chosen = choose(board, line.prometheus, last(LOOK_BACK))
    marks = list(annotations(board, line.prometheus, last(LOOK_BACK), chosen))
    assert {"partitions change hands"} < {mark.title for mark in marks}
    assert any(mark.title.startswith("version 0.") for mark in marks)
    (alerts,) = (each for each in board["annotations"]["list"] if each["name"] == "Alerts")
    line.prometheus.query_range(fill(alerts["expr"], chosen), last(LOOK_BACK))


@pytest.mark.parametrize("title", BOARDS)
def test_a_picture_shows_every_panel(line: Line, title: str, tmp_path: Path) -> None:
    drawn = page(BOARDS[title], line.prometheus, last(LOOK_BACK))
    (tmp_path / "page.html").write_text(drawn)
    assert drawn.count("<section") == sum(1 for _ in panels(BOARDS[title]))
    assert "No data" not in drawn
    assert drawn.count("<svg") > 5
