"""What each event adds to which figure; and what is counted without breakdowns is what is counted with them."""

from typing import Any

import pytest

from stream.core.breakdown import LABEL_BYTES, Sales, Source
from stream.core.counting import PLAIN_ONLY, count_checkout, count_comment, count_view
from stream.core.counts import BREAKDOWNS, MONIES, PLAIN, Counts, estimate, total
from stream.core.figures import DEFAULTS, SKETCHES
from stream.core.panes import Pane
from stream.core.policy import Policy
from stream.core.session import Session
from stream.core.shard import Shard
from stream.model.events import Checkout, View
from stream.model.money import MAX_SUM
from stream.model.names import KINDS
from stream.replay.file_source import batches
from stream.sandbox.traffic import Plan, Traffic
from tests.core.test_decode import ITEM
from tests.core.test_session import T0, order, view
from tests.core.test_sessions import said
from tests.replay.tools import arriving

START = 1_760_000_000_000


def counted(limit: int) -> dict[tuple[int, bytes], Counts]:
    """All panes of ten seconds of busy traffic, by start and session."""
    shard = Shard(Policy(max_ids=limit))
    messages = Traffic(Plan(rate=600, sessions=5, bad=0.01), START).step(START + 10_000)
    for _, kind, records in batches(arriving(messages), 1):
        shard.read(kind, records)
    assert all(shard.clocks[kind] is not None for kind in KINDS)
    return {(start, key): pane for start, row in shard.rows.items() for key, pane in row.panes.items()}


def test_plain_figures_are_the_same_without_breakdowns_and_uniques() -> None:
    whole, plain = counted(1000), counted(PLAIN_ONLY)
    assert whole.keys() == plain.keys()
    for place, pane in whole.items():
        for name in (*PLAIN, *MONIES):
            assert getattr(pane, name) == getattr(plain[place], name), (place, name)
    assert any(pane.viewers and pane.sources and pane.product_clicks_by for pane in whole.values())
    assert not any(pane.viewers or pane.sources or pane.product_clicks_by for pane in plain.values())
    assert any(pane.gmv and pane.item_value for pane in plain.values())


# -- one event


def pane_of(*events: Any, limit: int = 3) -> Pane:
    pane = Pane(Session(b"s1"), T0)
    for event in events:
        count = (
            count_view if isinstance(event, View) else count_checkout if isinstance(event, Checkout) else count_comment
        )
        count(pane, event, limit)
    return pane


CARRIED = {"label_at": T0, "seller": "seller", "platform": "shopee", "first_event": T0, "last_event": T0, "events": 1}
AIRED = CARRIED | {"on_air_from": T0, "on_air_to": T0, "aired_to": T0}
UNDONE = {"label_at": T0, "seller": "seller", "platform": "shopee", "events": 1}


def plain(pane: Pane) -> dict[str, Any]:
    """The plain figures that are not as they were before anything was counted."""
    return {name: value for name in PLAIN if (value := getattr(pane, name)) != DEFAULTS[name]}


@pytest.mark.parametrize(
    ("fields", "figures"),
    [
        ({"action": "enter"}, AIRED | {"views": 1}),
        ({"action": "heartbeat"}, AIRED | {"heartbeats": 1}),
        ({"action": "leave", "watch_ms": 7}, AIRED | {"watch_ms": 7}),
        ({"action": "product_impression", "product_id": "p"}, AIRED | {"product_impressions": 1}),
        ({"action": "product_click", "product_id": "p"}, AIRED | {"product_clicks": 1}),
        ({"action": "impression"}, AIRED | {"impressions": 1}),
        ({"action": "add_to_cart", "product_id": "p"}, AIRED | {"adds_to_cart": 1}),
        ({"action": "share"}, AIRED | {"shares": 1}),
        ({"action": "follow"}, AIRED | {"follows": 1}),
        ({"action": "like"}, AIRED | {"likes": 1}),
        ({"action": "like", "count": 5}, AIRED | {"likes": 5}),
        ({"action": "gift"}, AIRED | {"gifts": 1}),
        ({"action": "gift", "count": 5, "gift_value": 9}, AIRED | {"gifts": 5, "gift_value": 9}),
        ({"action": "pin", "product_id": "p"}, AIRED),
        ({"action": "unpin", "product_id": "p"}, AIRED),
        ({"action": "start"}, AIRED | {"started_at": T0, "start_to": T0, "host_start": T0}),
        ({"action": "end"}, CARRIED | {"end_to": T0, "host_end": T0}),
        ({"action": "enter", "creator_id": "c"}, AIRED | {"views": 1, "creator_at": T0, "creator": "c"}),
        ({"action": "enter", "platform": "kiosk"}, AIRED | {"views": 1, "platform": "other"}),
        ({"action": "enter", "platform": ""}, AIRED | {"views": 1, "platform": "other"}),
        (
            {"action": "heartbeat", "concurrent_viewers": 8},
            AIRED | {"heartbeats": 1, "samples": 1, "sample_sum": 8, "peak": 8, "last": 8, "last_at": T0},
        ),
    ],
)
@pytest.mark.parametrize("limit", [3, PLAIN_ONLY])
def test_a_view_changes_these_plain_figures_and_no_others(
    fields: dict[str, Any], figures: dict[str, Any], limit: int
) -> None:
    assert plain(pane_of(view(**fields), limit=limit)) == figures


@pytest.mark.parametrize(
    ("fields", "figures", "gmv"),
    [
        ({"status": "initiated"}, CARRIED | {"checkouts_initiated": 1}, {}),
        (
            {"status": "initiated", "is_cod": True},
            CARRIED | {"checkouts_initiated": 1, "cod_orders": 1, "orders_paid": 1, "items_sold": 1},
            {"IDR": 100},
        ),
        ({"status": "submitted"}, CARRIED | {"checkouts_submitted": 1}, {}),
        ({"status": "failed"}, CARRIED | {"checkouts_failed": 1}, {}),
        ({"status": "paid"}, CARRIED | {"orders_paid": 1, "items_sold": 1}, {"IDR": 100}),
        (
            {"status": "paid", "discount_minor": 5},
            CARRIED | {"orders_paid": 1, "items_sold": 1, "discounted_orders": 1},
            {"IDR": 100},
        ),
        ({"status": "paid", "discount_minor": 0}, CARRIED | {"orders_paid": 1, "items_sold": 1}, {"IDR": 100}),
        ({"status": "cancelled"}, UNDONE | {"orders_cancelled": 1}, {}),
        ({"status": "refunded"}, UNDONE | {"orders_refunded": 1}, {}),
    ],
)
@pytest.mark.parametrize("limit", [3, PLAIN_ONLY])
def test_a_checkout_changes_these_plain_figures_and_no_others(
    fields: dict[str, Any], figures: dict[str, Any], gmv: dict[str, int], limit: int
) -> None:
    pane = pane_of(order(**fields), limit=limit)
    assert plain(pane) == figures
    assert pane.gmv == gmv
    assert pane.discount == ({"IDR": 5} if fields.get("discount_minor") else {})


def test_a_comment_is_a_comment() -> None:
    assert plain(pane_of(said(event_time=T0))) == AIRED | {"comments": 1}


def test_times_are_of_the_first_and_the_last_in_any_order() -> None:
    pane = pane_of(*(view(event_time=T0 + each) for each in (5, 3, 8, 4)), said(event_time=T0 + 1))
    assert (pane.first_event, pane.last_event, pane.on_air_from, pane.on_air_to, pane.aired_to) == (
        *(T0 + 1, T0 + 8, T0 + 1, T0 + 8, T0 + 8),
    )
    pane = pane_of(order(event_time=T0 + 5), order(event_time=T0 + 2), view(event_time=T0 + 3, action="end"))
    assert (pane.first_event, pane.last_event, pane.on_air_from, pane.on_air_to) == (T0 + 2, T0 + 5, -1, -1)
    for action, first, last in (("start", "started_at", "start_to"), ("end", None, "end_to")):
        pane = pane_of(*(view(event_time=T0 + each, action=action) for each in (5, 3, 8, 4)))
        assert first is None or getattr(pane, first) == T0 + 3
        assert getattr(pane, last) == getattr(pane, f"host_{action}") == T0 + 8


def test_labels_are_of_the_latest_event_and_of_two_at_a_time_the_greater() -> None:
    def carried(*events: tuple[int, str, str, str | None]) -> tuple[Any, ...]:
        pane = pane_of(
            *(
                view(event_time=T0 + at, seller_id=seller, platform=platform, creator_id=creator)
                for at, seller, platform, creator in events
            )
        )
        return pane.label_at - T0, pane.seller, pane.platform, pane.creator_at - T0, pane.creator

    assert carried((2, "b", "shopee", "x"), (1, "c", "tokopedia", "y")) == (2, "b", "shopee", 2, "x")
    assert carried((1, "c", "tokopedia", "y"), (2, "b", "shopee", None)) == (2, "b", "shopee", 1, "y")
    assert carried((1, "c", "shopee", "y"), (2, "b", "shopee", "x")) == (2, "b", "shopee", 2, "x")
    assert carried((1, "a", "shopee", "x"), (1, "b", "lazada", "y")) == (1, "b", "shopee", 1, "y")
    assert carried((1, "b", "blibli", "y"), (1, "a", "kiosk", "x")) == (1, "b", "other", 1, "y")


def test_of_what_viewers_are_there_the_most_the_last_and_the_sum_are_kept() -> None:
    def sampled(*samples: tuple[int, int]) -> tuple[int, ...]:
        pane = pane_of(*(view(event_time=T0 + at, concurrent_viewers=viewers) for at, viewers in samples))
        return pane.samples, pane.sample_sum, pane.peak, pane.last, pane.last_at - T0

    assert sampled((1, 9), (3, 4), (2, 7)) == (3, 20, 9, 4, 3)
    assert sampled((1, 4), (1, 9), (1, 6)) == (3, 19, 9, 9, 1)
    assert sampled((1, 0)) == (1, 0, 0, 0, 1)


def test_what_is_added_up_saturates() -> None:
    pane = Pane(Session(b"s"), T0)
    for name in ("likes", "gifts", "gift_value", "watch_ms", "sample_sum", "items_sold"):
        setattr(pane, name, MAX_SUM - 1)
    for event in (
        view(action="like", count=3),
        view(action="gift", count=3, gift_value=3),
        view(action="leave", watch_ms=3, concurrent_viewers=3),
    ):
        count_view(pane, event, 3)
    count_checkout(pane, order(items=[ITEM | {"quantity": 3}]), 3)
    for name in ("likes", "gifts", "gift_value", "watch_ms", "sample_sum", "items_sold"):
        assert getattr(pane, name) == MAX_SUM


def test_money_of_items_is_by_currency_and_by_where_they_come_from() -> None:
    items = [
        ITEM | {"quantity": 2},
        ITEM | {"quantity": 3, "local": True},
        ITEM | {"product_id": "p2", "unit_price_minor": 7, "local": False},
        ITEM | {"product_id": "p2", "unit_price_minor": 7, "quantity": 2, "local": False},
    ]
    pane = pane_of(order(items=items), order(items=items[:1], currency="USD", discount_minor=4))
    assert pane.item_value == {"IDR": 10 + 15 + 7 + 14, "USD": 10}
    assert (pane.local_item_value, pane.cross_border_item_value) == ({"IDR": 15}, {"IDR": 21})
    assert (pane.items_sold, pane.discount, pane.gmv) == (2 + 3 + 1 + 2 + 2, {"USD": 4}, {"IDR": 100, "USD": 100})
    assert pane.product_orders is not None
    assert pane.product_orders.named == {"p1": Sales(2, {"IDR": 25, "USD": 10}), "p2": Sales(1, {"IDR": 21})}


def test_uniques_and_sources_are_of_who_enters_clicks_and_buys() -> None:
    pane = pane_of(
        view(viewer_id="a", source="for_you"),
        view(viewer_id="b"),
        view(viewer_id="a", source="moon"),
        view(viewer_id="c", action="like", source="ads"),
        view(viewer_id="a", action="product_click", product_id="p", source="for_you"),
        order(viewer_id="a", source="for_you"),
        order(viewer_id="z"),
        order(viewer_id="q", status="failed"),
    )
    whole = total([pane])
    assert [estimate(getattr(whole, name)) for name in SKETCHES] == [2, 2]
    assert pane.sources == {
        "for_you": Source(1, 1, 1, {"IDR": 100}),
        "unknown": Source(1, 0, 1, {"IDR": 100}),
        "other": Source(1, 0, 0, {}),
    }


def test_breakdowns_are_by_product_and_affiliate_within_their_bound_and_the_session_hears_of_each() -> None:
    session = Session(b"s")
    for event, name in (
        (view(action="product_click", product_id="p"), "product_clicks_by"),
        (view(action="product_click", affiliate_id="a"), "affiliate_clicks"),
        (view(action="pin", product_id="q"), "product_clicks_by"),
        (view(action="add_to_cart", product_id="p", product_name="tea"), "product_labels"),
        (order(affiliate_id="a", items=[]), "affiliate_orders"),
        (order(), "product_orders"),
    ):
        count: Any = count_view if isinstance(event, View) else count_checkout
        for is_news in (True, False):
            session.stale = False
            count(Pane(session, T0), event, 3)
            assert session.stale is is_news, name
        assert session.named[name]
    assert set(session.named) <= set(BREAKDOWNS)
    plain_only = pane_of(
        view(action="product_click", product_id="p", affiliate_id="a", product_name="tea"),
        view(action="pin", product_id="p"),
        view(),
        order(affiliate_id="a"),
        limit=PLAIN_ONLY,
    )
    assert [name for name in (*BREAKDOWNS, *SKETCHES, "sources") if getattr(plain_only, name)] == []


def test_pins_have_the_bound_of_clicks() -> None:
    clicks = [view(action="product_click", product_id=product) for product in "ab"]
    pins = [view(action="pin", product_id=product) for product in "abbc"]
    pane = pane_of(*clicks[:1], *pins, *clicks[1:], limit=2)
    assert pane.product_pins is not None
    assert pane.product_clicks_by is not None
    assert (pane.product_pins.named, pane.product_pins.beyond) == ({"a": 1, "b": 2}, 1)
    assert pane.product_clicks_by.named == {"a": 1, "b": 1}


def test_what_a_product_is_called_takes_memory_once_and_only_where_it_may_be_named() -> None:
    pane = Pane(Session(b"s"), T0)

    def held(action: str = "pin", **fields: object) -> int:
        return count_view(pane, view(action=action, **fields), 2)

    assert [
        held(product_id="p1", product_name="tea"),
        held(product_id="p1", product_name="green tea", basket_number=4),
        held(product_id="p2", basket_number=4),
        held(product_id="p3", product_name="too many"),
        held(product_id="p1"),
        held("like", product_id="p4", product_name="no action of a product"),
        held("enter", product_name="no product"),
    ] == [LABEL_BYTES + 2 + 3, 0, LABEL_BYTES + 2, 0, 0, 0, 0]
    assert pane.product_labels is not None
    assert {id_: (label.name, label.number) for id_, label in pane.product_labels.named.items()} == {
        "p1": ("tea", 4),
        "p2": ("", 4),
    }
    full = Pane(pane.session, T0)
    for product in ("x", "y"):
        count_view(full, view(action="pin", product_id=product, product_name="z"), 2)
    spilled = view(action="pin", product_id="p1", product_name="tea")
    assert [count_view(full, spilled, 2) for _ in range(2)] == [LABEL_BYTES + 2 + 3, 0]


def test_what_starts_say_of_the_broadcast_takes_memory_once_each() -> None:
    pane = Pane(Session(b"s"), T0)
    starts = (
        view(action="start", title="sale"),
        view(action="start", seller_name="shop", creator_name="dewi"),
        view(action="start", event_time=T0 + 1, title="another"),
        view(action="start"),
    )
    held = [count_view(pane, start, 3) for start in starts]
    assert all(more > 0 for more in held[:2])
    assert held[2:] == [3, 0], "a longer title"
    assert pane.name_bytes == sum(held)
    assert count_view(Pane(Session(b"s"), T0), starts[0], PLAIN_ONLY) == 0
