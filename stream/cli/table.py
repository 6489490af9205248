"""What workers do, for people: a line, a live table, a summary; and as JSON."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.cli.output import UNCUT, lines, text
from stream.cli.scrape import SessionRow, Snapshot
from stream.cli.timestamps import clock, in_zone
from stream.model.alerts import Alert, Status
from stream.model.money import EXPONENTS, capped, readable
from stream.model.names import KINDS, Outcome
from stream.observe.sessions import OTHER

GAP: Final = 2
"""Between two columns."""
WHOLE_ID: Final = 24
"""Columns that an id has at least, if it needs them. One of more than a third of the terminal goes on in the next line;
none is ever cut."""
LEAST_ROWS: Final = 3
MOST_ROWS: Final = 200
LEAST_TITLE: Final = 16
TITLE_SHARE: Final = 5
"""A title has at least one of so many columns of the terminal, if it needs them: what no other column takes is its own."""
LONGEST_NAME: Final = 24
"""Columns of a seller's name that are shown."""
ALERTS_SHARE: Final = 4
"""Alerts have at most one of so many lines of the terminal."""


def line(snapshot: Snapshot, rate: float | None) -> str:
    """One line for a log."""
    alerts = f" · firing {firing(snapshot)}" if firing(snapshot) else ""
    unready = f" · {_unready(snapshot)}" if snapshot.unready else ""
    return f"{clock(snapshot.wall)}  {_head(snapshot, rate)} · {_until(snapshot)}{alerts}{unready}"


def _unready(snapshot: Snapshot) -> str:
    return f"not ready: {', '.join(sorted(snapshot.unready))} (/readyz says more)"


def _head(snapshot: Snapshot, rate: float | None) -> str:
    per_second = "-" if rate is None else f"{rate:,.0f}"
    parts = [
        f"events/s {per_second}",
        f"read {snapshot.read:,}",
        f"lag {snapshot.lag.total():,}" if snapshot.lag else "lag unknown",
        f"sessions {snapshot.sessions_open:,}",
        f"windows {windows(snapshot) or 'none yet'}",
    ]
    return " · ".join(parts)


def _until(snapshot: Snapshot) -> str:
    """``results up to 13:04:10 WIB (13 s ago, 10 s of it the delay)``."""
    if snapshot.results_until is None or snapshot.behind is None:
        return "no results yet"
    at = clock(snapshot.results_until) if snapshot.behind < DAY else in_zone(int(snapshot.results_until * 1000))
    delay = f", {snapshot.delay:g} s of it the delay" if snapshot.delay and snapshot.delay <= snapshot.behind else ""
    return f"results up to {at} ({snapshot.behind:,.0f} s ago{delay})"


DAY: Final = 86_400
"""Seconds: of a time longer ago the date is said, too."""


def windows(snapshot: Snapshot) -> str:
    """``1m 40, 5m 38``: window records written, corrections included."""
    named = groupby(sorted(snapshot.windows.items()), key=lambda item: item[0][0])
    sums = [(name, sum(number for _, number in items)) for name, items in named]
    return ", ".join(f"{name} {number:,}" for name, number in sums if number)


def firing(snapshot: Snapshot) -> str:
    """``checkout_failures 3, comment_surge 1``: sessions for which an alert fires now."""
    return ", ".join(f"{alert} {number:,}" for (alert, _), number in sorted(snapshot.firing.items()) if number)


def fired(snapshot: Snapshot) -> dict[str, int]:
    """How often each alert has fired, of those that have."""
    found = sorted(snapshot.fired.items())
    return {alert: number for (alert, status), number in found if number and status == Status.FIRING}


# -- the live table


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    cell: Callable[[SessionRow], Text]
    dropped: int
    """Where it does not fit: 1 is left out first, 0 never."""
    is_id: bool = False


def _conversion(row: SessionRow) -> Text:
    return text("" if row.conversion is None else f"{row.conversion:.2%}")


def _seller(row: SessionRow) -> Text:
    """The seller's name, cut where it is long. Without a name its id, which is never cut."""
    return shortened(row.seller_name, LONGEST_NAME) if row.seller_name else text(row.seller_id)


def shortened(value: str, most: int) -> Text:
    """A name in at most so many columns of the terminal."""
    cell = text(value)
    cell.truncate(most, overflow="ellipsis")
    return cell


def _alerts(row: SessionRow) -> Text:
    """The alerts that fire, one under the other. For the sum of others: how many."""
    if row.session_id == OTHER:
        return text(f"{row.firing.total():,} firing" if row.firing else "")
    return lines("\n").join(map(text, sorted(row.firing)))


COLUMNS: Final = (
    Column("session", lambda row: text("all others" if row.session_id == OTHER else row.session_id), 0, is_id=True),
    Column("title", lambda row: text(row.title), 8),
    Column("seller", _seller, 7, is_id=True),
    Column("alert", _alerts, 9),
    Column("views", lambda row: text(f"{row.views:,}"), 4),
    Column("clicks", lambda row: text(f"{row.clicks:,}"), 2),
    Column("orders", lambda row: text(f"{row.orders:,}"), 5),
    Column("GMV", lambda row: text(money(row.gmv_minor)), 6),
    Column("conversion", _conversion, 3),
    Column("comments/min", lambda row: text(f"{row.comments_per_minute:,.1f}"), 1),
)


def render(snapshot: Snapshot, rate: float | None, rows: int, *, width: int = UNCUT) -> RenderableType:
    """The live table, no wider than ``width``: ``rows`` busiest sessions, the rest in one."""
    return Group(*_above(snapshot, rate), _table(snapshot, rows, width))


def screenful(
    snapshot: Snapshot,
    rate: float | None,
    *,
    console: Console,
    notes: Sequence[str],
    alerts: Sequence[Alert] = (),
    most: int = MOST_ROWS,
) -> RenderableType:
    """The live table with as many sessions as fit the terminal, at most ``most``; notes stand in its last lines."""
    above = Group(*_above(snapshot, rate))
    beneath = Group(*_newest(alerts, console), *map(text, notes))
    room = console.height - _height(above, console) - _height(beneath, console)
    rows = max(LEAST_ROWS, min(most, room))
    table = _table(snapshot, rows, console.width)
    while rows > LEAST_ROWS and (excess := _height(table, console) - room) > 0:
        rows = max(LEAST_ROWS, min(rows - excess, snapshot.sessions - 1))
        table = _table(snapshot, rows, console.width)
    blank = max(0, room - _height(table, console))
    return Group(above, table, *[text("")] * blank, beneath)


def _height(what: RenderableType, console: Console) -> int:
    return len(console.render_lines(what, pad=False))


def _above(snapshot: Snapshot, rate: float | None) -> list[Text]:
    alerts = text(f"firing {firing(snapshot)}", "bold red") if firing(snapshot) else text("no alert fires", "dim")
    unready = [text(_unready(snapshot), "bold red")] if snapshot.unready else []
    return [text(_head(snapshot, rate), "bold"), *unready, text(_until(snapshot)), text(_outcomes(snapshot)), alerts]


def _newest(alerts: Sequence[Alert], console: Console) -> list[Text]:
    """As many alerts as fit their share of the terminal, the newest last."""
    shown: list[Text] = []
    left = console.height // ALERTS_SHARE
    for alert in reversed(alerts):
        said = text(alert_line(alert), "red" if alert.status is Status.FIRING else "green")
        left -= _height(said, console)
        if left < 0:
            break
        shown.insert(0, said)
    return shown


def alert_line(alert: Alert) -> str:
    """``13:05:00 WIB  firing  checkout_failures (page)  session 7301, seller s1: 9 of 12 attempts to pay failed``."""
    whose = f"session {alert.session_id}" + (f", seller {alert.seller_id}" if alert.seller_id else "")
    return f"{clock(alert.at / 1000)}  {alert.status}  {alert.alert} ({alert.severity})  {whose}: {alert.summary}"


def _table(snapshot: Snapshot, rows: int, width: int) -> Table:
    shown, rest = snapshot.busiest(rows)
    every = [*shown, *([] if rest is None else [rest])]
    cells = {column.name: [column.cell(row) for row in every] for column in COLUMNS}
    columns = _fitting(cells, width)
    widths = _widths(columns, cells, width)
    if "title" in widths:
        cells["title"] = [_named(row, widths) for row in every]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column in columns:
        table.add_column(
            column.name,
            justify="left" if column.is_id or column.name in {"title", "alert"} else "right",
            no_wrap=not column.is_id and column.name != "title",
            overflow="fold",
            width=widths[column.name],
        )
    for number, row in enumerate(every):
        style = "dim" if row is rest else "bold red" if row.firing else ""
        table.add_row(*(cells[column.name][number] for column in columns), style=style)
    return table


def _fitting(cells: dict[str, list[Text]], width: int) -> list[Column]:
    """The columns that fit. Left out are those that matter least, and those that are empty in every row."""
    columns = [column for column in COLUMNS if column.name == "session" or any(cells[column.name])]
    titled = any(cells["title"])
    for column in sorted((each for each in columns if each.dropped), key=lambda each: _dropped(each, titled)):
        taken = sum(_width(each, cells[each.name], width) + GAP for each in columns) - GAP
        if taken <= width:
            break
        columns.remove(column)
    return columns


def _dropped(column: Column, titled: bool) -> float:
    """A seller that stands beside a title matters less than most numbers."""
    return BESIDE_TITLE if column.name == "seller" and titled else column.dropped


BESIDE_TITLE: Final = 3.5


def _widths(columns: Sequence[Column], cells: dict[str, list[Text]], width: int) -> dict[str, int]:
    """Widths by name of the column. A title has what the others leave."""
    widths = {column.name: _width(column, cells[column.name], width) for column in columns}
    if "title" in widths:
        spare = width - sum(widths.values()) - GAP * (len(widths) - 1)
        widths["title"] = min(_widest("title", cells["title"]), widths["title"] + max(0, spare))
    return widths


def _named(row: SessionRow, widths: dict[str, int]) -> Text:
    """The title; where there is none and the sellers have no column, the seller."""
    if row.title:
        return shortened(row.title, widths["title"])
    return text("") if "seller" in widths or row.session_id == OTHER else _seller(row)


def _width(column: Column, cells: Sequence[Text], width: int) -> int:
    widest = _widest(column.name, cells)
    if column.name == "title":
        return min(widest, max(LEAST_TITLE, width // TITLE_SHARE))
    return min(widest, max(WHOLE_ID, width // 3)) if column.is_id else widest


def _widest(name: str, cells: Sequence[Text]) -> int:
    return max(cell_len(part) for cell in [text(name), *cells] for part in cell.plain.split("\n"))


def money(minor: Counter[str]) -> str:
    """``Rp 53.500``; several currencies with a plus between."""
    return " + ".join(readable(value, currency) for currency, value in sorted(minor.items()) if value) or "-"


def _outcomes(snapshot: Snapshot) -> str:
    return "  ".join(f"{outcome} {snapshot.outcome(outcome):,}" for outcome in Outcome)


def outcome_lines(snapshot: Snapshot) -> list[str]:
    """Every outcome of the outcome table, by input, with the reasons of what was refused."""
    table = [f"  {'':14}{'all':>10}" + "".join(f"{kind:>12}" for kind in KINDS)]
    for outcome in Outcome:
        by_kind = "".join(f"{snapshot.outcomes[kind, outcome]:>12,}" for kind in KINDS)
        table.append(f"  {outcome:14}{snapshot.outcome(outcome):>10,}{by_kind}{_why(snapshot, outcome)}")
    return table


def _why(snapshot: Snapshot, outcome: Outcome) -> str:
    if outcome is not Outcome.REJECTED:
        return ""
    found = [
        f"{reason} {number:,}" for reason, number in sorted(snapshot.reasons.items()) if number and reason != "late"
    ]
    return f"   ({', '.join(found)})" if found else ""


def as_dict(snapshot: Snapshot, rate: float | None, rows: int | None = None) -> dict[str, Any]:
    """The same as JSON values. Money in minor units by currency."""
    shown, rest = snapshot.busiest(rows)
    return {
        "read": snapshot.read,
        "events_per_second": None if rate is None else round(rate, 1),
        "results_until_seconds": snapshot.results_until,
        "delay_seconds": snapshot.delay,
        "watermark_lag_seconds": None if snapshot.behind is None else round(snapshot.behind, 3),
        "not_ready": sorted(snapshot.unready),
        "lag_records": dict(sorted(snapshot.lag.items())),
        "outcomes": {outcome.value: snapshot.outcome(outcome) for outcome in Outcome},
        "dead_letters": {reason: number for reason, number in sorted(snapshot.reasons.items()) if number},
        "windows": _nested(snapshot.windows),
        "alerts_firing": {alert: number for (alert, _), number in sorted(snapshot.firing.items()) if number},
        "alerts_fired": fired(snapshot),
        "sessions_open": snapshot.sessions_open,
        "sessions_held": snapshot.sessions_held,
        "minor_digits": _minor_digits(shown if rest is None else (*shown, rest)),
        "sessions": [_session_dict(row) for row in shown],
        "others": None if rest is None else _session_dict(rest),
    }


def _minor_digits(rows: Iterable[SessionRow]) -> dict[str, int]:
    """Digits of the minor unit by currency: 81900000 with 2 is Rp 819.000."""
    codes = sorted({code for row in rows for code in row.gmv_minor})
    return {code: EXPONENTS[code] for code in codes if code in EXPONENTS}


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (name, reason), number in sorted(counts.items()):
        nested.setdefault(name, {})[reason] = number
    return nested


def _session_dict(row: SessionRow) -> dict[str, Any]:
    return {
        "session_id": row.session_id,
        "title": row.title,
        "seller_id": row.seller_id,
        "seller_name": row.seller_name,
        "alerts_firing": dict(sorted(row.firing.items())),
        "views": row.views,
        "product_clicks": row.clicks,
        "orders_paid": row.orders,
        "gmv_minor": {currency: capped(minor) for currency, minor in sorted(row.gmv_minor.items())},
        "conversion": None if row.conversion is None else round(row.conversion, 6),
        "comments": row.comments,
        "comments_per_minute": row.comments_per_minute,
        "events_recent": row.events,
    }
