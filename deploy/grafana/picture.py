"""Draws the dashboards as pages of HTML and SVG, from what a Prometheus answers to every query of theirs: no Grafana needed.

::

    python -m deploy.grafana.picture --prometheus http://127.0.0.1:9090 --to FOLDER [--minutes 60] [--until SECONDS]

Writes FOLDER/<dashboard>.html, one file each, with nothing from elsewhere.
"""

import argparse
import html
import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from deploy.grafana import charts
from deploy.grafana.charts import COLOURS, Mark
from deploy.grafana.queries import Dashboard, Prometheus, Span, answer, choose, fill, legend

DASHBOARDS: Final = Path(__file__).parent / "dashboards"
COLUMN, UNIT = 54, 25
"""Pixels of a column, of which there are 24, and of a unit of height."""
POINTS: Final = 180
LEGEND: Final = 33
"""Pixels of its two lines."""
INNER: Final = 12
"""Pixels around what is in a panel, left and right together."""
STYLE: Final = """
:root{--bg:#f6f7f9;--card:#fff;--ink:#12161c;--dim:#667085;--line:#e4e7ec}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:12px/1.35 "DejaVu Sans",system-ui,sans-serif;
font-variant-numeric:tabular-nums}
header{padding:12px 14px 2px;display:flex;gap:14px;align-items:baseline}header b{font-size:17px}
header span,.none{color:var(--dim)}
main{position:relative;margin:6px 8px}
section,h2{position:absolute;margin:0}h2{font-size:13px;padding:5px 6px}
section{background:var(--card);border:1px solid var(--line);border-radius:5px;padding:5px 6px;overflow:hidden}
h3{margin:0 0 2px;font-size:11.5px;font-weight:600;white-space:nowrap}
svg text{fill:var(--dim);font-size:9.5px}.grid{stroke:var(--line)}
.legend{color:var(--dim);font-size:10px;line-height:13px;height:27px;overflow:hidden}
.legend span{margin-right:10px;white-space:nowrap;display:inline-block}
.legend i{display:inline-block;width:10px;margin-right:4px;vertical-align:3px}.legend b{color:var(--ink);font-weight:500}
.stat{display:flex;justify-content:space-around;text-align:center;align-items:center;padding-top:4px;min-height:42px}
.stat b{display:block;line-height:1.1;white-space:nowrap}.stat small{color:var(--dim)}
.course{position:absolute;left:0;bottom:0;right:0}
.none{display:grid;place-items:center;height:70%;text-align:center}
table{border-collapse:collapse;width:100%}
td,th{text-align:right;padding:2px 6px;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--dim);font-weight:500;font-size:10.5px}.l{text-align:left}
"""


def page(dashboard: Dashboard, prometheus: Prometheus, span: Span, **wanted: str) -> str:
    """The whole dashboard. Raises OSError when a query is refused, ValueError when a variable offers nothing."""
    chosen = choose(dashboard, prometheus, span, **wanted)
    marks = list(annotations(dashboard, prometheus, span, chosen))
    parts, bottom = [], 0
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        bottom = max(bottom, place["y"] + place["h"])
        at = f"left:{place['x'] * COLUMN}px;top:{place['y'] * UNIT}px"
        if panel["type"] == "row":
            parts.append(f'<h2 style="{at}">{html.escape(panel["title"])}</h2>')
            continue
        width, height = place["w"] * COLUMN - 6, place["h"] * UNIT - 6
        found = answer(panel, prometheus, span, chosen)
        inside = _inside(panel, found, span, (width - INNER - 2, height - 24), marks)
        size = f"width:{width}px;height:{height}px"
        parts.append(f'<section style="{at};{size}"><h3>{html.escape(panel["title"])}</h3>{inside}</section>')
    shown = ", ".join(f"{name} {value}" for name, value in chosen.items() if name in {"job", "session"})
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(span.end))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(dashboard["title"])}</title>'
        f"<style>{STYLE}</style><header><b>{html.escape(dashboard['title'])}</b><span>{html.escape(shown)}</span>"
        f"<span>{(span.end - span.start) / 60:.0f} minutes until {until}</span></header>"
        f'<main style="height:{bottom * UNIT}px;width:{24 * COLUMN}px">{"".join(parts)}</main></html>'
    )


def _inside(
    panel: Mapping[str, Any], found: charts.Found, span: Span, size: tuple[int, int], marks: Iterable[Mark]
) -> str:
    width, height = size
    if not any(series for _, series in found):
        return f'<div class="none">{html.escape(panel["fieldConfig"]["defaults"].get("noValue", "No data"))}</div>'
    if panel["type"] == "table":
        return charts.table(panel, found, height)
    lines = charts.lines_of(panel, found)
    if panel["type"] == "stat":
        return charts.stat(panel, lines, span, width, height)
    return charts.chart(panel, lines, span, (width, height - LEGEND), marks)


def annotations(dashboard: Dashboard, prometheus: Prometheus, span: Span, chosen: Mapping[str, str]) -> Iterable[Mark]:
    """Neighbouring points of one series are one mark, as in Grafana."""
    for each in dashboard["annotations"]["list"]:
        colour = COLOURS[each["iconColor"]]
        for series in prometheus.query_range(fill(each["expr"], chosen), span):
            title = legend(each["titleFormat"], series.labels)
            start = before = series.points[0][0]
            for at, _ in series.points[1:]:
                if at - before > 1.5 * span.step:
                    yield Mark(start, before, colour, title)
                    start = at
                before = at
            yield Mark(start, before, colour, title)


def last(minutes: float, now: float | None = None) -> Span:
    end = time.time() if now is None else now
    return Span(end - 60 * minutes, end, max(1.0, round(60 * minutes / POINTS)))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.grafana.picture", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--prometheus", required=True, metavar="URL")
    parser.add_argument("--to", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--until", type=float, metavar="SECONDS", help="since 1970; now where it is not given")
    given = parser.parse_args(arguments)
    given.to.mkdir(parents=True, exist_ok=True)
    for file in sorted(DASHBOARDS.glob("*.json")):
        target = given.to / f"{file.stem}.html"
        target.write_text(
            page(
                json.loads(file.read_text()), Prometheus(given.prometheus.rstrip("/")), last(given.minutes, given.until)
            )
        )
        print(target)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
