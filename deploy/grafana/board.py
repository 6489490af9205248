"""What a dashboard says, before it is Grafana's: rows of panels, their queries, the thresholds of the rules.

In a query ``${name}`` is a value of deploy/prometheus/values.yaml, as in the rules, and ``$name`` a variable of Grafana.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

Style = Literal["stat", "lines", "area", "share", "bars", "table"]
"""``area``: lines that are stacked; ``share``: parts of a whole, stacked; ``bars``: numbers of a time span, stacked."""

ANY: Final = "any"
"""A threshold: whatever is more than 0."""
ONE: Final = "one"
"""A threshold: 1, as Prometheus says true."""
LITERALS: Final = {ANY: 1e-6, ONE: 1.0}
"""Those that need no place in values.yaml. Grafana colours from a threshold on, rules fire above it: hence not 0."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Names in values.yaml, or in LITERALS: where a figure asks for a ticket, and where for a page.

    ``below``: it is too low, not too high.
    """

    ticket: str = ""
    page: str = ""
    below: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.ticket, self.page) if name)


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Query:
    """``legend``: with labels as ``{{label}}``; of a table the name of the column.

    ``empty``: why it is right that it finds nothing; a query that says nothing always finds something in a line that
    works. ``usual``: what a figure is compared with, drawn with dashes.
    """

    expr: str
    legend: str = ""
    empty: str = ""
    unit: str = ""
    usual: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """``alerts``: those that are about it, whose pages it links to. ``width`` of 24, ``height`` of 30 pixels each."""

    title: str
    style: Style
    unit: str
    description: str
    queries: tuple[Query, ...]
    alerts: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    width: int = 8
    height: int = 8
    columns: dict[str, str] = field(default_factory=dict)
    """Of a table: labels that are shown, and their titles."""
    link: str = ""
    """Of a table: where its first column leads, with ``$value``."""
    most: float | None = None
    """The end of the axis, where there is one."""
    decimals: int | None = None

    @property
    def empty(self) -> str:
        """What is shown in place of nothing."""
        return next((query.empty for query in self.queries if query.empty), "")


@dataclass(frozen=True, slots=True)
class Row:
    """A question, and the panels that answer it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """``query`` as Grafana's Prometheus data source knows it. ``several``: more than one may be chosen, at first all."""

    name: str
    label: str
    query: str
    description: str
    several: bool = False
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    name: str
    expr: str
    title: str
    colour: str
    description: str


@dataclass(frozen=True, slots=True)
class Board:
    uid: str
    title: str
    description: str
    hours: int
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels


JOB: Final = Variable(
    "job",
    "Installation",
    "label_values(liveshop_build_info, job)",
    "The job under which Prometheus scrapes the workers.",
)
WORKER: Final = Variable(
    "instance",
    "Worker",
    'label_values(liveshop_build_info{job="$job"}, instance)',
    "Only for panels that show one line for each worker.",
    several=True,
)
SESSION: Final = Variable(
    "session",
    "Session",
    'query_result(topk(100, session:liveshop_session_events_recent:sum{job="$job"}))',
    "The busiest first. A session is here while it is among the busiest of its worker (--top-sessions).",
    pattern='/session_id="(.*?)"[,}]/',
)

ANNOTATIONS: Final = (
    Annotation(
        "Alerts",
        'max by (alertname, severity) (ALERTS{alertstate="firing",alertname=~"Liveshop.+"})',
        "{{alertname}} ({{severity}})",
        "red",
        "While a rule of deploy/prometheus fires.",
    ),
    Annotation(
        "Rebalances",
        'sum by (job) (changes(liveshop_rebalances_total{job="$job"}[1m])) > 0',
        "partitions change hands",
        "orange",
        "A worker has come, has gone, or was missed.",
    ),
    Annotation(
        "Deployments",
        'count by (version, settings) (liveshop_build_info{job="$job"})'
        ' unless count by (version, settings) (last_over_time(liveshop_build_info{job="$job"}[1h] offset 1m))',
        "version {{version}}, settings {{settings}}",
        "blue",
        "A version, or settings, that no worker had in the hour before.",
    ),
)
"""Drawn into every panel."""
