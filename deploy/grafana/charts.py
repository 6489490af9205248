"""A panel's answer as HTML and SVG. Pixels throughout; what is drawn is what was found, gaps included."""

import html
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from deploy.grafana.queries import Series, Span, legend
from deploy.grafana.units import shown

PALETTE: Final = ("#0e7c6b", "#c2741d", "#3b6fb5", "#a23b72", "#6b7a1f", "#6a51a3", "#8c564b", "#4b5563")
COLOURS: Final = {"green": "#0e7c6b", "orange": "#b54708", "red": "#c4320a", "text": "#12161c", "blue": "#3b6fb5"}
LEFT, RIGHT, TOP, BOTTOM = 52, 6, 6, 16
TICKS: Final = 4
SHORT: Final = 600.0
"""Seconds up to which times are shown with seconds."""
GAP: Final = 3.5
"""Steps without a point from which on a line is not drawn through."""

Found = Sequence[tuple[Mapping[str, Any], Sequence[Series]]]


class Line(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dashed: bool


class Mark(NamedTuple):
    """An annotation: from and to, seconds since 1970."""

    start: float
    end: float
    colour: str
    title: str


class Box(NamedTuple):
    """Where a chart lies, and what of time and values it shows."""

    width: int
    height: int
    span: Span
    low: float
    high: float

    def x(self, at: float) -> float:
        share = (at - self.span.start) / (self.span.end - self.span.start)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)


def lines_of(panel: Mapping[str, Any], found: Found) -> list[Line]:
    """By name within each query, as the legend has them."""
    dashed = _dashed(panel)
    lines: list[Line] = []
    for target, series in found:
        named = sorted((legend(target.get("legendFormat", ""), each.labels), each.points) for each in series)
        for name, points in named:
            lines.append(Line(name, points, PALETTE[len(lines) % len(PALETTE)], name in dashed))
    return lines


def _dashed(panel: Mapping[str, Any]) -> set[str]:
    return {
        each["matcher"]["options"]
        for each in panel["fieldConfig"]["overrides"]
        if any(one["id"] == "custom.lineStyle" for one in each["properties"])
    }


def chart(
    panel: Mapping[str, Any], lines: Sequence[Line], span: Span, size: tuple[int, int], marks: Iterable[Mark]
) -> str:
    """Axes, limits, annotations, lines; the legend below."""
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    drawn = _stacked(lines) if stacked else [(line, None) for line in lines]
    tops = [value for line, _ in drawn for _, value in line.points]
    width, height = size
    box = Box(width, height, span, *_extent(tops, defaults.get("max")))
    bars = defaults["custom"].get("drawStyle") == "bars"
    parts = [*_axes(box, defaults["unit"]), *_marks(box, marks), *_limits(box, defaults)]
    for line, under in reversed(drawn) if stacked else drawn:
        parts += _bars(box, line, under) if bars else _line(box, line, under, stacked=stacked)
    return f'<svg width="{width}" height="{height}">{"".join(parts)}</svg>{_legend(lines, defaults["unit"], width)}'


def _extent(values: Sequence[float], most: float | None) -> tuple[float, float]:
    """From 0 unless something is below it, up to a round number."""
    low, high = min(0.0, *values), max(values)
    high = most if most is not None and high <= most * 1.001 else high
    return (low, high) if high > low else (low, low + 1.0)


def _step(extent: float) -> float:
    """Between ticks: 1, 2 or 5 times a power of ten."""
    raw = extent / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= raw), 10 * power)


def _axes(box: Box, unit: str) -> Iterable[str]:
    step = _step(box.high - box.low)
    tick = math.ceil(box.low / step) * step
    while tick <= box.high * 1.0001:
        y = box.y(tick)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{box.width - RIGHT}"/>'
        yield f'<text x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{html.escape(shown(tick, unit))}</text>'
        tick += step
    clock = "%H:%M" if box.span.end - box.span.start > SHORT else "%H:%M:%S"
    for share in (0.1, 0.37, 0.63, 0.9):
        at = box.span.start + share * (box.span.end - box.span.start)
        label = time.strftime(clock, time.gmtime(at))
        yield f'<text x="{box.x(at):.1f}" y="{box.height - 3}" text-anchor="middle">{label}</text>'


def _marks(box: Box, marks: Iterable[Mark]) -> Iterable[str]:
    """A region with its beginning as a dashed line."""
    for mark in marks:
        start, end = max(mark.start, box.span.start), min(mark.end, box.span.end)
        x, wide = box.x(start), max(0.0, box.x(end) - box.x(start))
        high = box.height - TOP - BOTTOM
        yield f'<rect x="{x:.1f}" y="{TOP}" width="{wide:.1f}" height="{high}" fill="{mark.colour}" opacity=".06"/>'
        yield f'<path d="M{x:.1f} {TOP}v{high}" stroke="{mark.colour}" stroke-dasharray="2 3" opacity=".7"/>'


def _limits(box: Box, defaults: Mapping[str, Any]) -> Iterable[str]:
    if defaults["custom"].get("thresholdsStyle", {}).get("mode", "off") == "off":
        return
    steps = defaults["thresholds"]["steps"]
    for before, step in pairwise(steps):
        value = step["value"]
        if box.low <= value <= box.high:
            bad = step["color"] if step["color"] != "green" else before["color"]
            colour = COLOURS[bad]
            yield f'<path d="M{LEFT} {box.y(value):.1f}H{box.width - RIGHT}" stroke="{colour}" stroke-dasharray="5 4"/>'


def _stacked(lines: Sequence[Line]) -> list[tuple[Line, dict[float, float] | None]]:
    """Each on the sum of those before it."""
    under: dict[float, float] = {}
    found: list[tuple[Line, dict[float, float] | None]] = []
    for line in lines:
        before = dict(under)
        for at, value in line.points:
            under[at] = under.get(at, 0.0) + value
        found.append((line._replace(points=[(at, under[at]) for at, _ in line.points]), before))
    return found


def _pieces(points: Sequence[tuple[float, float]], step: float) -> Iterable[list[tuple[float, float]]]:
    """Where nothing was measured there is a gap."""
    piece: list[tuple[float, float]] = []
    for point in points:
        if piece and point[0] - piece[-1][0] > GAP * step:
            yield piece
            piece = []
        piece.append(point)
    if piece:
        yield piece


def _line(box: Box, line: Line, under: dict[float, float] | None, *, stacked: bool) -> Iterable[str]:
    for piece in _pieces(line.points, box.span.step):
        path = "L".join(f"{box.x(at):.1f} {box.y(value):.1f}" for at, value in piece)
        if under is not None:
            back = "L".join(f"{box.x(at):.1f} {box.y(under.get(at, 0.0)):.1f}" for at, _ in reversed(piece))
            yield f'<path d="M{path}L{back}Z" fill="{line.colour}" opacity=".3"/>'
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        if len(piece) == 1:
            yield f'<circle cx="{box.x(piece[0][0]):.1f}" cy="{box.y(piece[0][1]):.1f}" r="2" fill="{line.colour}"/>'
        wide = 1 if stacked or line.dashed else 1.6
        yield f'<path d="M{path}" fill="none" stroke="{line.colour}" stroke-width="{wide}"{dash}/>'


def _bars(box: Box, line: Line, under: dict[float, float] | None) -> Iterable[str]:
    wide = max(1.0, box.x(box.span.start + box.span.step) - LEFT)
    for at, value in line.points:
        low = (under or {}).get(at, 0.0)
        y, high = box.y(value), box.y(low) - box.y(value)
        yield f'<rect x="{box.x(at) - wide:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{line.colour}"/>'


def _legend(lines: Sequence[Line], unit: str, width: int) -> str:
    """As many as fit into two rows, the rest as a number."""
    entries: list[str] = []
    room = 2 * (width - 20)
    for line in lines:
        value = shown(line.points[-1][1], unit)
        room -= 34 + 6 * (len(line.name) + len(value))
        if room < 0:
            entries.append(f"<span>and {len(lines) - len(entries)} more</span>")
            break
        style = f"border-top:2px {'dashed' if line.dashed else 'solid'} {line.colour}"
        entries.append(f'<span><i style="{style}"></i>{html.escape(line.name)} <b>{html.escape(value)}</b></span>')
    return f'<div class="legend">{"".join(entries)}</div>'


def colour_of(value: float, defaults: Mapping[str, Any]) -> str:
    """By the thresholds: that of the last step that it has reached."""
    steps = defaults["thresholds"]["steps"]
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return COLOURS[reached[-1]]


def stat(panel: Mapping[str, Any], lines: Sequence[Line], span: Span, width: int, height: int) -> str:
    """The newest value in its colour, with its course; several side by side."""
    defaults = panel["fieldConfig"]["defaults"]
    unit, decimals = defaults["unit"], defaults.get("decimals")
    texts = [(line, shown(line.points[-1][1], unit, decimals)) for line in lines]
    several = panel["options"]["textMode"] == "value_and_name"
    drawn = panel["options"]["graphMode"] == "area"
    size = min(34.0, width / len(texts) / (0.62 * max(len(text) for _, text in texts)))
    parts = [
        f'<div><b style="font-size:{size:.0f}px;color:{colour_of(line.points[-1][1], defaults)}">{html.escape(text)}</b>'
        + (f"<small>{html.escape(line.name)}</small>" if several else "")
        + "</div>"
        for line, text in texts
    ]
    course = _course(lines[0], span, width, max(16, height - 58)) if drawn else ""
    return f'<div class="stat">{"".join(parts)}</div>{course}'


def _course(line: Line, span: Span, width: int, height: int) -> str:
    values = [value for _, value in line.points]
    low, high = min(0.0, *values), max(values)
    if high <= low:
        return ""
    points = [
        ((at - span.start) / (span.end - span.start) * width, height - (value - low) / (high - low) * (height - 2))
        for at, value in line.points
    ]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    area = f'<path d="M{points[0][0]:.1f} {height}L{path}L{points[-1][0]:.1f} {height}Z" fill="#cfe8e3" opacity=".6"/>'
    drawn = f'<path d="M{path}" fill="none" stroke="#0e7c6b"/>'
    return f'<svg class="course" width="{width}" height="{height}">{area}{drawn}</svg>'


def table(panel: Mapping[str, Any], found: Found, height: int) -> str:
    """One line for each set of labels, the highest first value on top, as many as there is room for."""
    options = next(each for each in panel["transformations"] if each["id"] == "organize")["options"]
    organize = {
        name: options["renameByName"][name] for name in sorted(options["indexByName"], key=options["indexByName"].get)
    }
    labels = {name: title for name, title in organize.items() if not name.startswith("Value")}
    values = [title for name, title in organize.items() if name.startswith("Value")]
    rows: dict[tuple[str, ...], list[float | None]] = {}
    for place, (_, series) in enumerate(found):
        for each in series:
            row = rows.setdefault(tuple(each.labels.get(name, "") for name in labels), [None] * len(values))
            row[place] = each.last
    units = _units(panel)
    head = "".join(f'<th class="l">{html.escape(title)}</th>' for title in labels.values())
    head += "".join(f"<th>{html.escape(title)}</th>" for title in values)
    body = [
        "".join(f'<td class="l">{html.escape(label)}</td>' for label in key)
        + "".join(
            f"<td>{'' if value is None else html.escape(shown(value, units.get(title, 'short')))}</td>"
            for title, value in zip(values, row, strict=True)
        )
        for key, row in sorted(rows.items(), key=lambda item: (-(item[1][0] or 0.0), item[0]))
    ]
    fitting = body[: max(1, height // 22 - 1)]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in fitting)}</table>"


def _units(panel: Mapping[str, Any]) -> dict[str, str]:
    return {
        each["matcher"]["options"]: one["value"]
        for each in panel["fieldConfig"]["overrides"]
        for one in each["properties"]
        if one["id"] == "unit"
    }
