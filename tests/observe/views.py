"""Views and tallies to show, and logging as it was before."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from stream.model.names import Closed, Kind, Outcome, Reason
from stream.model.results import SessionView, ShardView, Tally
from stream.observe import logs


def session(session_id: str, events: int = 1, **more: Any) -> SessionView:
    figures: dict[str, Any] = {
        "views": 10,
        "product_clicks": 4,
        "comments": 3,
        "orders_paid": 1,
        "gmv_minor": {"IDR": 5_350_000},
        "comments_per_minute": 1.5,
        "viewers": 70,
    }
    return SessionView(session_id=session_id, events=events, **{**figures, **more})


def view(*busiest: SessionView, rest: SessionView | None = None, **more: Any) -> ShardView:
    figures: dict[str, Any] = {
        "clocks": dict.fromkeys(Kind, 1_700_000_010_000),
        "watermark": 1_700_000_000_500,
        "sessions_open": 2,
        "sessions_held": 5,
        "panes": 7,
        "windows_open": {"1m": 3, "5m": 4},
        "windows_closed_held": 6,
        "dedupe_ids": 100,
        "checkout_keys": 8,
        "sessions_gone": 9,
        "known": {Kind.VIEWS: 4, Kind.COMMENTS: 3, Kind.CHECKOUTS: 0},
        "state_bytes": 4096,
        "viewers": 300,
        "platforms": {"shopee": 40, "tiktok_shop": 2},
        "bounds": {"sessions": 0.25, "pane_events": 0.5},
    }
    return ShardView(busiest=list(busiest), rest=rest, **{**figures, **more})


def tally() -> Tally:
    return Tally(
        outcomes=Counter({(Kind.VIEWS, Outcome.COUNTED): 90, (Kind.VIEWS, Outcome.REJECTED): 10}),
        refused=Counter({(Kind.VIEWS, Reason.MISSING_FIELD): 10}),
        not_on_time=Counter({Kind.VIEWS: 4}),
        windows=Counter({("1m", Closed.CLOSED): 2, ("5m", Closed.CORRECTION): 1}),
        session_records=3,
        views=40,
        product_clicks=12,
        comments=5,
        orders_paid=2,
        gmv_minor=Counter({"IDR": 9_100_000, "USD": 1999}),
        conversions=[0.0225, 0.2],
        source_views=Counter({"for_you": 30, "ads": 10}),
        source_orders=Counter({"for_you": 2}),
        misplaced=Counter({Kind.VIEWS: 1}),
        totals_frozen=1,
        lost_offsets=7,
    )


def judged(records: int, rejected: int = 0, late: int = 0, kind: Kind = Kind.VIEWS) -> Tally:
    """A checkpoint of ``records`` records of a topic, of which so many were rejected or late."""
    counted = records - rejected - late
    outcomes = {Outcome.COUNTED: counted, Outcome.REJECTED: rejected, Outcome.LATE: late}
    return Tally(
        outcomes=Counter({(kind, outcome): count for outcome, count in outcomes.items()}),
        refused=Counter({(kind, Reason.MISSING_FIELD): rejected, (kind, Reason.LATE): late}),
    )


@contextmanager
def logging_restored() -> Iterator[None]:
    """Undoes ``logs.configure``, which is the process's own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in logs.LIBRARIES:
            logging.getLogger(name).setLevel(logging.NOTSET)
