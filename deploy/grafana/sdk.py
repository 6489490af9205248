"""From what a dashboard says (`board.py`) to Grafana's own model, by its foundation SDK."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.board import ANNOTATIONS, LITERALS, Annotation, Board, Limits, Panel, Query, Row, Variable
from deploy.prometheus.generate import filled
from stream.model.money import EXPONENTS

TAG: Final = "liveshop"
COLUMNS: Final = 24
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
QUIET, TICKET, PAGE = "green", "orange", "red"
OF_GRAFANA: Final = ("__url_time_range", "job")
"""Variables that are written with braces and are not thresholds."""

AnyPanel: TypeAlias = timeseries.Panel | stat.Panel | table.Panel


def values_for(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the rules, and what follows from them."""
    kept = {name: f"${{{name}}}" for name in OF_GRAFANA}
    return {**values, **kept, "minor_units": 10 ** EXPONENTS[values["currency"]]}


def rendered(board: Board, values: Mapping[str, Any]) -> dict[str, Any]:
    """The dashboard as JSON has it."""
    known = values_for(values)
    whole = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(f"now-{board.hours}h", "now")
        .refresh("10s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(_to_the_others())
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in board.variables:
        whole.with_variable(_variable(variable))
    for annotation in ANNOTATIONS:
        whole.annotation(_annotation(annotation))
    _place(whole, board, known)
    found: dict[str, Any] = json.loads(json.dumps(whole.build(), cls=JSONEncoder))
    _complete(found)
    return found


def _complete(found: dict[str, Any]) -> None:
    """What the SDK has no words for: texts of Prometheus's annotations."""
    for each, annotation in zip(found["annotations"]["list"], ANNOTATIONS, strict=True):
        each |= {"titleFormat": annotation.title, "textFormat": annotation.description, "step": "15s"}


def _to_the_others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(TAG)
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(True)
        .include_vars(True)
    )


def _variable(variable: Variable) -> dashboard.QueryVariable:
    built = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .description(variable.description)
        .datasource(SOURCE)
        .query({"query": variable.query, "refId": variable.name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.DISABLED)
        .multi(variable.several)
        .include_all(variable.several)
        .regex(variable.pattern)
    )
    return built.all_value(".*") if variable.several else built


def _annotation(annotation: Annotation) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(annotation.name)
        .datasource(SOURCE)
        .expr(annotation.expr)
        .icon_color(annotation.colour)
        .enable(True)
    )


# --- panels ----------------------------------------------------------------------------------------------------------


def _place(whole: dashboard.Dashboard, board: Board, values: Mapping[str, Any]) -> None:
    """From left to right, then below: ids in the same order, so that links to a panel last."""
    number, top = 1, 0
    for row in board.rows:
        whole.with_row(dashboard.Row(row.title).id(number).grid_pos(model.GridPos(h=1, w=COLUMNS, x=0, y=top)))
        places, top = _places(row, top + 1)
        for panel, place in zip(row.panels, places, strict=True):
            number += 1
            whole.with_panel(_panel(panel, row, values).id(number).grid_pos(place))
        number += 1


def _places(row: Row, top: int) -> tuple[list[model.GridPos], int]:
    """Where each panel lies, and where the next row begins: each in the highest gap it fits in, the leftmost of those."""
    heights, places = [top] * COLUMNS, []
    for panel in row.panels:
        x = min(range(COLUMNS - panel.width + 1), key=lambda x: (max(heights[x : x + panel.width]), x))
        y = max(heights[x : x + panel.width])
        heights[x : x + panel.width] = [y + panel.height] * panel.width
        places.append(model.GridPos(h=panel.height, w=panel.width, x=x, y=y))
    return places, max(heights)


def _panel(panel: Panel, row: Row, values: Mapping[str, Any]) -> AnyPanel:
    built: AnyPanel
    match panel.style:
        case "stat":
            built = _stat(panel)
        case "table":
            built = _table(panel, values)
        case _:
            built = _lines(panel)
    built.title(panel.title).description(panel.description).datasource(SOURCE)
    built.unit(filled(panel.unit, values)).thresholds(_thresholds(panel.limits, values))
    built.links([_link(title, url) for title, url in links(panel, row, values)])
    if panel.decimals is not None:
        built.decimals(panel.decimals)
    if panel.empty:
        built.no_value(panel.empty)
    for number, query in enumerate(panel.queries):
        built.with_target(_target(query, chr(ord("A") + number), panel, values))
    return built


def links(panel: Panel, row: Row, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and address: the page of each alert that is about it, and what its row is for."""
    pages = values["runbook"].rstrip("/")
    anchor = "".join(each for each in row.title.lower() if each.isalnum() or each in " -").replace(" ", "-")
    of_alerts = [(f"{alert}: what to do", f"{pages}/{alert}.md") for alert in panel.alerts]
    return [*of_alerts, ("What this row is for", f"{pages.rpartition('/')[0]}/dashboards.md#{anchor}")]


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).url(url).type(model.DashboardLinkType.LINK).target_blank(True)


def threshold(name: str, values: Mapping[str, Any]) -> float:
    return LITERALS[name] if name in LITERALS else float(values[name])


def _thresholds(limits: Limits, values: Mapping[str, Any]) -> dashboard.ThresholdsConfig:
    """Ascending: a colour holds from its value on, the first from the least on."""
    if not limits.names:
        return _steps([("text", None)])
    found = [(threshold(name, values), colour) for name, colour in _coloured(limits)]
    if not limits.below:
        return _steps([(QUIET, None), *((colour, value) for value, colour in sorted(found))])
    found.sort()  # what is below a limit has its colour
    from_there_on = [*(colour for _, colour in found[1:]), QUIET]
    return _steps([(found[0][1], None), *((c, value) for (value, _), c in zip(found, from_there_on, strict=True))])


def _coloured(limits: Limits) -> list[tuple[str, str]]:
    return [(name, colour) for name, colour in ((limits.ticket, TICKET), (limits.page, PAGE)) if name]


def _steps(steps: list[tuple[str, float | None]]) -> dashboard.ThresholdsConfig:
    built = [model.Threshold(color=colour, value=value) for colour, value in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(built)


def _target(query: Query, ref: str, panel: Panel, values: Mapping[str, Any]) -> prometheus.Dataquery:
    built = prometheus.Dataquery().expr(filled(query.expr, values)).ref_id(ref).datasource(SOURCE)
    built.legend_format(query.legend)
    if panel.style == "table":
        return built.instant().format(PromQueryFormat.TABLE)
    return built.range().format(PromQueryFormat.TIME_SERIES)


def _stat(panel: Panel) -> stat.Panel:
    colours = common_model.BigValueColorMode.VALUE if panel.limits.names else common_model.BigValueColorMode.NONE
    several = len(panel.queries) > 1 or "{{" in panel.queries[0].legend
    drawn = not several and not panel.unit.startswith("dateTime")
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(common_model.BigValueGraphMode.AREA if drawn else common_model.BigValueGraphMode.NONE)
        .color_mode(colours)
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .text_mode(common_model.BigValueTextMode.VALUE_AND_NAME if several else common_model.BigValueTextMode.VALUE)
    )


def _lines(panel: Panel) -> timeseries.Panel:
    stacked, bars = panel.style in {"area", "share", "bars"}, panel.style == "bars"
    style = common_model.GraphDrawStyle.BARS if bars else common_model.GraphDrawStyle.LINE
    mode = common_model.StackingMode.NORMAL if stacked else common_model.StackingMode.NONE
    drawn = (
        common_model.GraphThresholdsStyleMode.DASHED
        if set(panel.limits.names) - LITERALS.keys()
        else common_model.GraphThresholdsStyleMode.OFF
    )
    built = (
        timeseries.Panel()
        .draw_style(style)
        .line_width(1 if stacked else 2)
        .fill_opacity(70 if bars else 30 if stacked else 0)
        .stacking(common.StackingConfig().mode(mode).group("A"))
        .show_points(common_model.VisibilityMode.NEVER)
        .span_nulls(False)
        .axis_soft_min(0)
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(drawn))
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
        .legend(
            common.VizLegendOptions()
            .display_mode(common_model.LegendDisplayMode.LIST)
            .placement(common_model.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )
    for query in panel.queries:
        if query.usual:
            dashes = [_property("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}), _property("custom.lineWidth", 1)]
            built.override_by_name(query.legend, dashes)
    return built.max(panel.most) if panel.most is not None else built


def _table(panel: Panel, values: Mapping[str, Any]) -> table.Panel:
    """One line for each set of labels: the queries' values beside each other."""
    names = [query.legend for query in panel.queries]
    several = len(names) > 1
    columns = [f"Value #{chr(ord('A') + place)}" for place in range(len(names))] if several else ["Value"]
    titles = {**panel.columns, **dict(zip(columns, names, strict=True))}
    built = table.Panel().show_header(True)
    if several:
        built.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    order = {name: place for place, name in enumerate(titles)}
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": titles}
    built.with_transformation(model.DataTransformerConfig(id_val="organize", options=organize))
    built.sort_by([common.TableSortByFieldState().display_name(names[0]).desc(True)])
    for query in panel.queries:
        if query.unit:
            built.override_by_name(query.legend, [_property("unit", filled(query.unit, values))])
    if panel.link:
        first = next(iter(panel.columns.values()))
        url = filled(panel.link.replace("$value", "${__value.raw:percentencode}"), {**values, **_VALUE})
        built.override_by_name(first, [_property("links", [{"title": "Look closer", "url": url}])])
    return built


_VALUE: Final = {"__value": "${__value}"}


def _property(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)
