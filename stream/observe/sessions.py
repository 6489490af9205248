"""The busiest sessions as series, the rest summed: the only place where a session id becomes a label.

Ids grow without bound, series must not: the shards' own top lists are merged at scrape time, the busiest ``top`` of all
are shown, and a session that leaves the list goes stale by itself.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from stream.model.results import SessionView, ShardView, busiest
from stream.observe import catalog
from stream.observe.shards import gauge

OTHER: Final = "_other"


class Sessions(Collector):
    def __init__(self, views: Callable[[], Sequence[ShardView]], top: int, currency: str) -> None:
        """``currency`` is shown even while nothing was sold in it."""
        self._views = views
        self._top = top
        self._currency = currency

    def collect(self) -> Iterable[Family]:
        views = self._views()
        shown, other = together(views, self._top)
        held = sum(view.sessions_held for view in views)
        yield from _series([*shown, other], self._currency)
        info = [((each.session_id, each.seller_id, each.title, each.seller_name), 1) for each in shown]
        yield gauge(catalog.SESSION_INFO, info)
        yield gauge(catalog.SESSION_ALERTS_FIRING, _firing(views, shown))
        yield gauge(catalog.SESSIONS_TRUNCATED, [((), max(0, held - len(shown)))])


def together(views: Sequence[ShardView], top: int) -> tuple[list[SessionView], SessionView]:
    """The ``top`` sessions of all shards by recent events, ties by id, and the sum of everything else.

    A session seen by two shards (its key was misplaced) is one. One that calls itself ``_other`` is never shown by
    itself: two series of one name would cost the whole scrape.
    """
    named: dict[str, list[SessionView]] = {}
    for view in views:
        for session in view.busiest:
            named.setdefault(session.session_id, []).append(session)
    rest = [view.rest for view in views if view.rest is not None] + named.pop(OTHER, [])
    merged = {session_id: _sum(session_id, parts) for session_id, parts in named.items()}
    shown, others = busiest({session_id: each.events for session_id, each in merged.items()}, top)
    return [merged[each] for each in shown], _sum(OTHER, [*(merged[each] for each in others), *rest])


def _sum(session_id: str, parts: Sequence[SessionView]) -> SessionView:
    gmv: Counter[str] = Counter()
    for part in parts:
        gmv.update(part.gmv_minor)
    return SessionView(
        session_id=session_id,
        views=sum(part.views for part in parts),
        product_clicks=sum(part.product_clicks for part in parts),
        comments=sum(part.comments for part in parts),
        orders_paid=sum(part.orders_paid for part in parts),
        gmv_minor=dict(gmv),
        comments_per_minute=sum(part.comments_per_minute for part in parts),
        events=sum(part.events for part in parts),
        viewers=sum(samples) if (samples := [part.viewers for part in parts if part.viewers is not None]) else None,
        seller_id=max((part.seller_id for part in parts), default=""),
        title=max((part.title for part in parts), default=""),
        seller_name=max((part.seller_name for part in parts), default=""),
        firing=tuple(sorted({alert for part in parts for alert in part.firing})),
    )


def _firing(views: Sequence[ShardView], shown: Sequence[SessionView]) -> list[tuple[tuple[str, str, str], int]]:
    """1 for each alert of a session that is shown; what fires for others is a number of sessions."""
    found = [((each.session_id, alert, severity), 1) for each in shown for alert, severity in each.firing]
    others: Counter[tuple[str, str]] = Counter()
    for view in views:
        others.update({labels: firing for labels, (_, firing) in view.alerts.items()})
    others.subtract(alert for each in shown for alert in each.firing)
    return found + [((OTHER, *labels), number) for labels, number in sorted(others.items()) if number > 0]


def _series(sessions: Sequence[SessionView], currency: str) -> Iterator[Family]:
    yield gauge(catalog.SESSION_VIEWS, [((each.session_id,), each.views) for each in sessions])
    yield gauge(catalog.SESSION_PRODUCT_CLICKS, [((each.session_id,), each.product_clicks) for each in sessions])
    yield gauge(catalog.SESSION_COMMENTS, [((each.session_id,), each.comments) for each in sessions])
    yield gauge(catalog.SESSION_COMMENT_RATE, [((each.session_id,), each.comments_per_minute) for each in sessions])
    yield gauge(catalog.SESSION_ORDERS_PAID, [((each.session_id,), each.orders_paid) for each in sessions])
    yield gauge(catalog.SESSION_EVENTS, [((each.session_id,), each.events) for each in sessions])
    sampled = [((each.session_id,), each.viewers) for each in sessions if each.viewers is not None]
    yield gauge(catalog.SESSION_VIEWERS, sampled)
    gmv = [(each.session_id, code, minor) for each in sessions for code, minor in _gmv(each, currency)]
    yield gauge(catalog.SESSION_GMV, [((session_id, code), minor) for session_id, code, minor in gmv])


def _gmv(session: SessionView, currency: str) -> Iterable[tuple[str, int]]:
    return ({currency: 0} | session.gmv_minor).items()
