"""Queries with variables, numbers with units, and charts: what draws a dashboard without a Grafana."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from deploy.grafana import charts, generate
from deploy.grafana.charts import Line, Mark
from deploy.grafana.queries import Prometheus, Span, choose, fill, legend, options
from deploy.grafana.sdk import rendered
from deploy.grafana.session import SESSION_BOARD
from deploy.grafana.units import shown
from deploy.prometheus import generate as rules

SPAN = Span(1000.0, 1600.0, 10.0)
SESSION = rendered(SESSION_BOARD, rules.values())
JOB, BUSIEST = (each for each in SESSION["templating"]["list"] if each["type"] == "query")


class _Answering(Prometheus):
    """Knows two sessions."""

    def _get(self, path: str, **_: Any) -> Any:
        if path.startswith("label/"):
            return ["liveshop", "other"]
        name, value = {"__name__": "session:x:sum"}, [1600, "3"]
        return {
            "result": [
                {"metric": name | {"job": "liveshop", "session_id": "7301"}, "value": value},
                {"metric": name | {"job": "liveshop", "session_id": "88, x"}, "value": value},
                {"metric": name | {"job": "liveshop", "session_id": "none"}, "value": [1600, "NaN"]},
            ],
        }


def test_variables_offer_what_there_is_and_the_first_is_chosen() -> None:
    prometheus = _Answering("")
    assert options(JOB, prometheus, SPAN, {}) == ["liveshop", "other"]
    assert options(BUSIEST, prometheus, SPAN, {"job": "liveshop"}) == ["7301", "88, x"]
    chosen = choose(SESSION, prometheus, SPAN)
    assert (chosen["job"], chosen["session"]) == ("liveshop", "7301")
    assert choose(SESSION, prometheus, SPAN, session="9")["session"] == "9"


def test_a_variable_without_a_value_is_an_error_and_no_empty_text() -> None:
    assert fill('x{job="$job"}[${span}]', {"job": "a", "span": "5m"}) == 'x{job="a"}[5m]'
    with pytest.raises(KeyError, match="job"):
        fill("$job", {})


def test_a_legend_has_the_labels_that_there_are() -> None:
    assert legend("{{topic}} {{ none }}!", {"topic": "live.views"}) == "live.views !"


@contextmanager
def refusing() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(400, explain="parse error")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_query_that_is_refused_says_why() -> None:
    with refusing() as url, pytest.raises(OSError, match="parse error"):
        Prometheus(url).query("x", 0.0)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "short", "0"),
        (999, "short", "999"),
        (1234, "short", "1.23 K"),
        (0.0123, "percentunit", "1.23 %"),
        (0.5, "s", "500 ms"),
        (90, "s", "1.5 min"),
        (0, "s", "0 s"),
        (3 * 2**20, "bytes", "3 MiB"),
        (12_345_678, "currencyIDR", "Rp12.3M"),
        (60, "cpm", "60/min"),
        (1_700_000_000_000, "dateTimeAsIso", "2023-11-14 22:13:20"),
    ],
)
def test_numbers_are_shown_with_their_units(value: float, unit: str, expected: str) -> None:
    assert shown(value, unit) == expected


def test_every_unit_of_a_dashboard_can_be_shown() -> None:
    units = {panel["fieldConfig"]["defaults"]["unit"] for panel in _drawn()}
    assert all(shown(1.0, unit) for unit in units)


def _drawn() -> Iterator[Mapping[str, Any]]:
    values = rules.values()
    for board in generate.BOARDS:
        yield from (panel for panel in rendered(board, values)["panels"] if panel["type"] != "row")


def _panel(title: str) -> Mapping[str, Any]:
    (panel,) = (panel for panel in _drawn() if panel["title"] == title)
    return panel


def test_minutes_without_a_measurement_are_gaps() -> None:
    points = [(1000.0, 1.0), (1010.0, 2.0), (1200.0, 3.0), (1210.0, 4.0)]
    drawn = charts.chart(
        _panel("Delay by input"), [Line("views", points, "#123456", dashed=False)], SPAN, (400, 200), []
    )
    lines = re.findall(r'<path d="M([^"]+)" fill="none" stroke="#123456"', drawn)
    assert [len(line.split("L")) for line in lines] == [2, 2]


def test_limits_and_annotations_are_drawn_where_they_lie() -> None:
    delay = _panel("Delay by input")
    line = Line("views", [(1000.0, 0.0), (1600.0, 60.0)], "#123456", dashed=False)
    drawn = charts.chart(delay, [line], SPAN, (400, 200), [Mark(1300.0, 1400.0, "#ff0000", "stuck")])
    assert drawn.count('stroke-dasharray="5 4"') == 1, "15 s; 120 s are beyond the axis"
    assert drawn.count('<rect x="223.0"') == 1


def test_what_is_stacked_lies_on_what_is_below() -> None:
    lines = [Line(name, [(1000.0, 1.0), (1010.0, 3.0)], name, dashed=False) for name in ("#a", "#b")]
    (first, _), (second, under) = charts._stacked(lines)
    assert first.points == [(1000.0, 1.0), (1010.0, 3.0)]
    assert second.points == [(1000.0, 2.0), (1010.0, 6.0)]
    assert under == {1000.0: 1.0, 1010.0: 3.0}


@pytest.mark.parametrize(("value", "colour"), [(0.0, "green"), (14.9, "green"), (15.0, "orange"), (120.0, "red")])
def test_a_figure_has_the_colour_of_its_threshold(value: float, colour: str) -> None:
    assert charts.colour_of(value, _panel("Delay by input")["fieldConfig"]["defaults"]) == charts.COLOURS[colour]


def test_texts_from_outside_are_no_markup() -> None:
    line = Line("<script>", [(1000.0, 1.0)], "#123456", dashed=False)
    drawn = charts.chart(_panel("Delay by input"), [line], SPAN, (400, 200), [])
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
