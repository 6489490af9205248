"""A look at a shard for people and gauges. It changes nothing, and nothing it shows decides anything."""

import heapq
from itertools import chain
from typing import TYPE_CHECKING, Final

from stream.core.packing import head_of
from stream.core.policy import MINUTE
from stream.core.steps import Steps, pieces
from stream.core.windows import FAR_AHEAD, LONG_AGO
from stream.model.names import Kind
from stream.model.results import SessionView, ShardView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.core.panes import Pane
    from stream.core.session import Session
    from stream.core.shard import Shard

RECENT_MS: Final = 2 * MINUTE
PIECE: Final = 512
"""Panes looked at in one step."""


def look(shard: "Shard", top: int) -> Steps[ShardView]:
    """The ``top`` sessions with the most events lately, all others summed. Walks recent panes, open windows and rows."""
    recent = yield from _recent(shard)
    windows_open = yield from shard.windows.open_counts()
    busiest = yield from _busiest(recent, top)
    panes, ids = yield from _numbers(shard)
    views = [_view(shard.sessions.held[key], events, comments) for key, (events, comments) in busiest]
    return ShardView(
        clocks=dict(shard.clocks),
        watermark=shard.watermark,
        sessions_open=shard.sessions.open,
        sessions_held=len(shard.sessions),
        panes=panes,
        windows_open=windows_open,
        windows_closed_held=shard.windows.marks,
        dedupe_ids=ids,
        checkout_keys=shard.checkout_keys.number(shard.judge.clock(Kind.CHECKOUTS)),
        sessions_gone=shard.sessions.gone.number(LONG_AGO if shard.watermark is None else shard.watermark),
        known={kind: known.number(shard.judge.clock(kind)) for kind, known in shard.judge.known.items()},
        state_bytes=shard.log.size,
        busiest=views,
        rest=_rest(shard, views, recent) if len(shard.sessions) > len(views) else None,
        alerts=shard.alerting.standing(),
        left_out=frozenset(shard.left_out),
    )


def _recent(shard: "Shard") -> Steps[dict[bytes, tuple[int, int]]]:
    """(events, comments) of the newest two minutes of event time, by session."""
    newest = shard.newest
    recent: dict[bytes, tuple[int, int]] = {}
    for row in [] if newest is None else shard.rows.between(newest - RECENT_MS + 1, FAR_AHEAD):
        panes: Iterable[tuple[bytes, Pane | bytes]] = chain(row.panes.items(), row.packed.items())
        for number, (key, pane) in enumerate(panes):
            counts = head_of(pane) if isinstance(pane, bytes) else pane
            events, comments = recent.get(key, (0, 0))
            recent[key] = (events + counts.events, comments + counts.comments)
            if not number % PIECE:
                yield
    return recent


def _numbers(shard: "Shard") -> Steps[tuple[int, int]]:
    """Panes, and ids of events, that are held."""
    panes = ids = 0
    for piece in pieces(shard.rows.values(), PIECE):
        panes += sum(row.number() for row in piece)
        ids += sum(len(each) for row in piece for each in row.ids)
        yield
    return panes, ids


def _busiest(recent: dict[bytes, tuple[int, int]], top: int) -> Steps[list[tuple[bytes, tuple[int, int]]]]:
    """The most events first, ties by key."""
    found: list[tuple[bytes, tuple[int, int]]] = []
    for piece in pieces(recent.items(), PIECE):
        found = heapq.nlargest(top, [*found, *piece], key=lambda item: (item[1][0], item[0]))
        yield
    return found


def _view(session: "Session", events: int, comments: int) -> SessionView:
    views, clicks, all_comments, orders = session.shown
    per_minute = comments * MINUTE / RECENT_MS
    return SessionView(session.session_id, views, clicks, all_comments, orders, dict(session.gmv), per_minute, events)


def _rest(shard: "Shard", listed: list[SessionView], recent: dict[bytes, tuple[int, int]]) -> SessionView:
    sessions = shard.sessions
    gmv = sessions.gmv.copy()
    for view in listed:
        gmv.subtract(view.gmv_minor)
    views, clicks, comments, orders = sessions.shown
    return SessionView(
        session_id="_other",
        views=views - sum(view.views for view in listed),
        product_clicks=clicks - sum(view.product_clicks for view in listed),
        comments=comments - sum(view.comments for view in listed),
        orders_paid=orders - sum(view.orders_paid for view in listed),
        gmv_minor={currency: minor for currency, minor in gmv.items() if minor},
        comments_per_minute=sum(comments for _, comments in recent.values()) * MINUTE / RECENT_MS
        - sum(view.comments_per_minute for view in listed),
        events=sum(events for events, _ in recent.values()) - sum(view.events for view in listed),
    )
