"""What a dashboard asks, asked without a Grafana: variables filled in, and the answers of a Prometheus.

It reads the JSON that Grafana reads, so what it finds is what Grafana would.
"""

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

SECONDS: Final = 60.0
"""For one answer."""
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LABEL_VALUES: Final = re.compile(r"label_values\((.*), (\w+)\)")
_RESULT: Final = re.compile(r"query_result\((.*)\)")

Dashboard = Mapping[str, Any]


class Series(NamedTuple):
    """Points of time, seconds since 1970, and values. What is not a number is left out."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float:
        return self.points[-1][1]


class Span(NamedTuple):
    """From and to, seconds since 1970, and seconds from point to point."""

    start: float
    end: float
    step: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    """``url`` without a path. Raises OSError when it does not answer, or refuses a query: the text says what is wrong."""

    url: str

    def query(self, expr: str, at: float) -> list[Series]:
        return _series(self._get("query", query=expr, time=at)["result"], "value")

    def query_range(self, expr: str, span: Span) -> list[Series]:
        asked = self._get("query_range", query=expr, start=span.start, end=span.end, step=span.step)
        return _series(asked["result"], "values")

    def label_values(self, label: str, selector: str, span: Span) -> list[str]:
        asked = self._get(f"label/{label}/values", **{"match[]": selector, "start": span.start, "end": span.end})
        return [str(each) for each in asked]

    def _get(self, path: str, **arguments: Any) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the address is the caller's
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise OSError(f"{arguments}: {error.read().decode(errors='replace')}") from None


def _series(result: Sequence[Any], name: str) -> list[Series]:
    found = []
    for each in result:
        points = [each[name]] if name == "value" else each[name]
        numbers = [(float(at), float(value)) for at, value in points]
        finite = [(at, value) for at, value in numbers if math.isfinite(value)]
        if finite:
            found.append(Series(each["metric"], finite))
    return found


def fill(text: str, variables: Mapping[str, str]) -> str:
    """With values for variables, written ``$name`` or ``${name}``. KeyError for one that has none."""
    return _VARIABLE.sub(lambda found: variables[found[1] or found[2]], text)


def panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """All but the titles of rows."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def options(variable: Mapping[str, Any], prometheus: Prometheus, span: Span, chosen: Mapping[str, str]) -> list[str]:
    """What a variable offers, in its order."""
    text = fill(variable["query"]["query"], chosen)
    if found := _LABEL_VALUES.fullmatch(text):
        return prometheus.label_values(found[2], found[1], span)
    if (found := _RESULT.fullmatch(text)) is None:
        raise ValueError(f"a query of a variable that is not known here: {text}")
    pattern = re.compile(variable["regex"].strip("/"))
    shown = (_as_text(series) for series in prometheus.query(found[1], span.end))
    return [match[1] for each in shown if (match := pattern.search(each))]


def _as_text(series: Series) -> str:
    """As Grafana shows a result that a variable's pattern is to take apart."""
    name = series.labels.get("__name__", "")
    labels = ",".join(f'{label}="{value}"' for label, value in series.labels.items() if label != "__name__")
    return f"{name}{{{labels}}} {series.last} {series.points[-1][0] * 1000:.0f}"


def choose(dashboard: Dashboard, prometheus: Prometheus, span: Span, **wanted: str) -> dict[str, str]:
    """A value for each variable: the wanted one, else all where several may be chosen, else the first."""
    chosen = {"__rate_interval": "1m", "__interval": f"{span.step:g}s", "datasource": "prometheus"}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        offered = options(variable, prometheus, span, chosen)
        if not offered:
            raise ValueError(f"the variable {variable['name']} offers nothing")
        first = variable["allValue"] if variable["multi"] else offered[0]
        chosen[variable["name"]] = wanted.get(variable["name"], first)
    return chosen


def answer(
    panel: Mapping[str, Any], prometheus: Prometheus, span: Span, variables: Mapping[str, str]
) -> list[tuple[dict[str, Any], list[Series]]]:
    """Each query of a panel and what it finds."""
    found = []
    for target in panel["targets"]:
        expr = fill(target["expr"], variables)
        instant = target.get("instant", False)
        found.append((target, prometheus.query(expr, span.end) if instant else prometheus.query_range(expr, span)))
    return found


def legend(text: str, labels: Mapping[str, str]) -> str:
    """As Grafana fills it in: ``{{label}}``."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), text)
