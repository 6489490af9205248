"""A look at a shard for people and gauges. It changes nothing, and nothing it shows decides anything.

It is a module over the parts, not a piece of each: most of what it shows is read from several of them together.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from stream.core.cooperative import Steps, pieces
from stream.core.figures import MOMENTS, NEVER
from stream.core.packing import glance_at, unpack
from stream.core.policy import MINUTE
from stream.core.windows import FAR_AHEAD
from stream.model.events import OTHER
from stream.model.names import Kind
from stream.model.results import SessionView, ShardView, busiest

if TYPE_CHECKING:
    from stream.core.alerts.alerting import Alerting
    from stream.core.judge import Judge
    from stream.core.panes import Pane, Rows
    from stream.core.policy import Policy
    from stream.core.promotions import Promotions
    from stream.core.session import Session
    from stream.core.sessions import Sessions
    from stream.core.state_format import Glance
    from stream.core.statelog import StateLog
    from stream.core.watermark import Watermark
    from stream.core.windows import Windows

_PLATFORM: Final = MOMENTS.index("platform")
NONE: Final[Mapping[bytes, bytes]] = MappingProxyType({})
RECENT_MS: Final = 2 * MINUTE
PIECE: Final = 512
"""Panes looked at in one step."""


class Shown(Protocol):
    """Those of a shard that are looked at."""

    policy: "Policy"
    rows: "Rows"
    sessions: "Sessions"
    judge: "Judge"
    event_time: "Watermark"
    windows: "Windows"
    alerting: "Alerting"
    promotions: "Promotions"
    log: "StateLog"


@dataclass(slots=True)
class _Recent:
    """The newest two minutes of event time, by key of the session."""

    done: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Events and comments."""
    samples: dict[bytes, int] = field(default_factory=dict)
    """Concurrent viewers, as the newest sample says; of sessions that have one."""
    platforms: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Events."""

    @property
    def viewers(self) -> int:
        return sum(self.samples.values())


def look(shard: Shown, top: int) -> Steps[ShardView]:
    """The ``top`` sessions with the most events lately, all others summed. Walks recent panes, open windows and rows."""
    recent = yield from _recent(shard)
    windows_open = yield from shard.windows.open_counts()
    busiest = yield from _busiest(recent.done, top)
    panes, ids, fullest = yield from _numbers(shard)
    views = [
        _view(shard, shard.sessions.held[key], events, comments, recent.samples.get(key))
        for key, (events, comments) in busiest
    ]
    known = {kind: known.number(shard.judge.clock(kind)) for kind, known in shard.judge.known.items()}
    checkout_keys = shard.judge.checkout_keys.number(shard.judge.clock(Kind.CHECKOUTS))
    gone = shard.sessions.gone.number(shard.event_time.passed)
    return ShardView(
        clocks=dict(shard.judge.clocks),
        watermark=shard.event_time.now,
        sessions_open=shard.sessions.open,
        sessions_held=len(shard.sessions),
        panes=panes,
        windows_open=windows_open,
        windows_closed_held=shard.windows.marks,
        dedupe_ids=ids,
        checkout_keys=checkout_keys,
        sessions_gone=gone,
        known=known,
        state_bytes=shard.log.size,
        busiest=views,
        rest=_rest(shard, views, recent) if len(shard.sessions) > len(views) else None,
        alerts=shard.alerting.pending_and_firing(),
        promotions_waiting=len(shard.promotions.waiting),
        idle=shard.event_time.wall is not None,
        left_out=frozenset(shard.event_time.left_out),
        viewers=recent.viewers,
        platforms=dict(recent.platforms),
        bounds={
            "sessions": max(known.values(), default=0) / shard.policy.max_sessions,
            "pane_events": fullest / shard.policy.max_pane_events,
            "checkout_keys": checkout_keys / shard.policy.max_checkout_keys,
            "gone_sessions": gone / shard.policy.max_gone_sessions,
        },
    )


def _recent(shard: Shown) -> Steps[_Recent]:
    newest, recent = shard.judge.newest, _Recent()
    for row in [] if newest is None else shard.rows.between(newest - RECENT_MS + 1, FAR_AHEAD):
        for piece in pieces(row.panes.items(), PIECE):
            _add(recent, piece)
            yield
        for packed in pieces(row.packed.items(), PIECE):
            _add(recent, [(key, glance_at(data)) for key, data in packed], dict(packed))
            yield
    return recent


def _add(recent: _Recent, piece: Iterable[tuple[bytes, "Pane | Glance"]], packed: Mapping[bytes, bytes] = NONE) -> None:
    """Rows come in order, and no two have an event time in common: the newest sample comes last. All is in locals, and
    nothing is done twice: this is most of what a look costs.
    """
    done, samples, platforms = recent.done, recent.samples, recent.platforms
    for key, pane in piece:
        events = pane.events
        before = done.get(key)
        done[key] = (events, pane.comments) if before is None else (before[0] + events, before[1] + pane.comments)
        platforms[pane.platform or _late_platform(packed.get(key, pane))] += events
        viewers = pane.last
        if viewers != NEVER:
            samples[key] = viewers


def _late_platform(pane: "Pane | Glance | bytes") -> str:
    """Of a pane all of whose events came too late for alerts: those are kept beside its own figures."""
    late = getattr(unpack(pane) if isinstance(pane, bytes) else pane, "late", None)
    return (late.moments[_PLATFORM] if late is not None else "") or OTHER


def _numbers(shard: Shown) -> Steps[tuple[int, int, int]]:
    """Panes, and ids of events, that are held; and the most ids that one topic has in one pane."""
    panes = ids = fullest = 0
    for piece in pieces(shard.rows.values(), PIECE):
        panes += sum(row.number() for row in piece)
        numbers = [len(each) for row in piece for each in row.ids]
        ids, fullest = ids + sum(numbers), max(fullest, *numbers)
        yield
    return panes, ids, fullest


def _busiest(recent: dict[bytes, tuple[int, int]], top: int) -> Steps[list[tuple[bytes, tuple[int, int]]]]:
    """The most events first, ties by key."""
    found: list[tuple[bytes, tuple[int, int]]] = []
    for piece in pieces(recent.items(), PIECE):
        least = found[-1][1][0] if found and len(found) == top else 0
        busy = {key: done for key, done in piece if done[0] >= least}
        if busy:
            busy.update(found)
            names, _ = busiest({key: events for key, (events, _) in busy.items()}, top)
            found = [(key, busy[key]) for key in names]
        yield
    return found


def _seller(shard: Shown, key: bytes) -> str:
    """As the newest pane with on-time events says."""
    newest = shard.judge.newest
    for row in [] if newest is None else reversed(shard.rows.between(newest - RECENT_MS + 1, FAR_AHEAD)):
        pane = row.panes.get(key) or (unpack(row.packed[key]) if key in row.packed else None)
        if pane is not None and pane.seller:
            return str(pane.seller)
    return ""


def _view(shard: Shown, session: "Session", events: int, comments: int, viewers: int | None) -> SessionView:
    views, clicks, all_comments, orders = session.shown
    return SessionView(
        session_id=session.session_id,
        views=views,
        product_clicks=clicks,
        comments=all_comments,
        orders_paid=orders,
        gmv_minor=dict(session.gmv),
        comments_per_minute=comments * MINUTE / RECENT_MS,
        events=events,
        viewers=viewers,
        seller_id=_seller(shard, session.key),
        title=session.host_names.get("title", ""),
        seller_name=session.host_names.get("seller_name", ""),
        firing=shard.alerting.firing_for(session.key),
    )


def _rest(shard: Shown, listed: list[SessionView], recent: _Recent) -> SessionView:
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
        comments_per_minute=sum(comments for _, comments in recent.done.values()) * MINUTE / RECENT_MS
        - sum(view.comments_per_minute for view in listed),
        events=sum(events for events, _ in recent.done.values()) - sum(view.events for view in listed),
        viewers=recent.viewers - sum(view.viewers or 0 for view in listed),
    )
