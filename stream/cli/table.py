"""A look at the workers, for people: a line, a live table, a summary; and as JSON."""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.cli.output import text
from stream.cli.scrape import Look, SessionRow
from stream.model.alerts import Status
from stream.model.money import capped, readable
from stream.model.names import KINDS, Outcome


def line(look: Look, rate: float | None) -> str:
    """One line for a log."""
    alerts = f" · firing {firing(look)}" if firing(look) else ""
    return f"{_time(look)}  {_head(look, rate)}{alerts}"


def _time(look: Look) -> str:
    return time.strftime("%H:%M:%S", time.localtime(look.wall))


def _head(look: Look, rate: float | None) -> str:
    per_second = "-" if rate is None else f"{rate:,.0f}"
    behind = "-" if look.behind is None else f"{look.behind:.1f} s"
    parts = [
        f"events/s {per_second}",
        f"read {look.read:,}",
        f"lag {look.lag.total():,}",
        f"watermark {behind} behind",
        f"sessions {look.sessions_open:,}",
        f"windows {windows(look) or 'none yet'}",
    ]
    return " · ".join(parts)


def windows(look: Look) -> str:
    """``1m 40, 5m 38``: window records written, corrections included."""
    named = groupby(sorted(look.windows.items()), key=lambda item: item[0][0])
    sums = [(name, sum(number for _, number in items)) for name, items in named]
    return ", ".join(f"{name} {number:,}" for name, number in sums if number)


def firing(look: Look) -> str:
    """``checkout_failures 3, comment_surge 1``: sessions for which an alert fires now."""
    return ", ".join(f"{alert} {number:,}" for (alert, _), number in sorted(look.firing.items()) if number)


def fired(look: Look) -> dict[str, int]:
    """How often each alert has fired, of those that have."""
    found = sorted(look.fired.items())
    return {alert: number for (alert, status), number in found if number and status == Status.FIRING}


def render(look: Look, rate: float | None, rows: int, notes: Sequence[str] = ()) -> RenderableType:
    """The live table: ``rows`` busiest sessions, the rest in one, and ``notes`` beneath."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("session")
    for name in ("views", "clicks", "orders", "GMV", "conversion", "comments/min"):
        table.add_column(name, justify="right")
    shown, rest = look.busiest(rows)
    for row in shown:
        table.add_row(text(row.session_id), *_cells(row))
    if rest is not None:
        table.add_row("all others", *_cells(rest), style="dim")
    alerts = text(f"firing {firing(look)}", "bold red") if firing(look) else text("no alert fires", "dim")
    head = text(_head(look, rate), "bold")
    return Group(head, text(_outcomes(look)), alerts, table, *map(text, notes))


def fitting(height: int, notes: Sequence[str], most: int) -> int:
    """How many sessions fit a terminal of that many lines, with the three lines above, the head, the rest and notes."""
    return max(3, min(most, height - len(notes) - 7))


def _cells(row: SessionRow) -> list[Text]:
    conversion = "" if row.conversion is None else f"{row.conversion:.2%}"
    cells = (
        *(f"{row.views:,}", f"{row.clicks:,}", f"{row.orders:,}"),
        *(money(row.gmv_minor), conversion, f"{row.comments_per_minute:,.1f}"),
    )
    return [text(cell) for cell in cells]


def money(minor: Counter[str]) -> str:
    """``Rp 53.500``; several currencies with a plus between."""
    return " + ".join(readable(value, currency) for currency, value in sorted(minor.items()) if value) or "-"


def _outcomes(look: Look) -> str:
    return "  ".join(f"{outcome} {look.outcome(outcome):,}" for outcome in Outcome)


def outcome_lines(look: Look) -> list[str]:
    """Every outcome of the outcome table, by input, with the reasons of what was refused."""
    table = [f"  {'':14}{'all':>10}" + "".join(f"{kind:>12}" for kind in KINDS)]
    for outcome in Outcome:
        by_kind = "".join(f"{look.outcomes[kind, outcome]:>12,}" for kind in KINDS)
        table.append(f"  {outcome:14}{look.outcome(outcome):>10,}{by_kind}{_why(look, outcome)}")
    return table


def _why(look: Look, outcome: Outcome) -> str:
    if outcome is not Outcome.REJECTED:
        return ""
    found = [f"{reason} {number:,}" for reason, number in sorted(look.reasons.items()) if number and reason != "late"]
    return f"   ({', '.join(found)})" if found else ""


def as_dict(look: Look, rate: float | None, rows: int | None = None) -> dict[str, Any]:
    """The same as JSON values. Money in minor units by currency."""
    shown, rest = look.busiest(rows)
    return {
        "read": look.read,
        "events_per_second": None if rate is None else round(rate, 1),
        "watermark_lag_seconds": None if look.behind is None else round(look.behind, 3),
        "lag_records": dict(sorted(look.lag.items())),
        "outcomes": {outcome.value: look.outcome(outcome) for outcome in Outcome},
        "dead_letters": {reason: number for reason, number in sorted(look.reasons.items()) if number},
        "windows": _nested(look.windows),
        "alerts_firing": {alert: number for (alert, _), number in sorted(look.firing.items()) if number},
        "alerts_fired": fired(look),
        "sessions_open": look.sessions_open,
        "sessions_held": look.sessions_held,
        "sessions": [_session_dict(row) for row in shown],
        "others": None if rest is None else _session_dict(rest),
    }


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (name, reason), number in sorted(counts.items()):
        nested.setdefault(name, {})[reason] = number
    return nested


def _session_dict(row: SessionRow) -> dict[str, Any]:
    return {
        "session_id": row.session_id,
        "views": row.views,
        "product_clicks": row.clicks,
        "orders_paid": row.orders,
        "gmv_minor": {currency: capped(minor) for currency, minor in sorted(row.gmv_minor.items())},
        "conversion": None if row.conversion is None else round(row.conversion, 6),
        "comments": row.comments,
        "comments_per_minute": row.comments_per_minute,
        "events_recent": row.events,
    }
