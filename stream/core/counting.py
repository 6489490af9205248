"""How one counted event changes a pane. Nothing here decides whether it counts: core/judge.py has judged it.

``limit`` is the number of ids that a breakdown names. With `PLAIN_ONLY` neither breakdowns, names nor uniques are counted:
alerts need none of them, and it takes two thirds of the time.

Each function that counts gives by how many bytes the names in the pane have grown: for nearly every event by none.

A figure that grows by one cannot reach the end of 64 bits: that takes 10^19 events of one session. One that grows by more is
capped, since the pane may be one in C. Money is in Python's integers, which have no end.
"""

from typing import Final

from stream.core.breakdown import LABEL_BYTES, Clicks, Label, Labels, Money, Orders, add_money
from stream.core.panes import Pane
from stream.model.events import (
    HOST_NAMES,
    LABELLED,
    LIFECYCLE,
    OTHER,
    PLATFORMS,
    START,
    Checkout,
    Comment,
    Event,
    Item,
    View,
)
from stream.model.money import capped

PLAIN_ONLY: Final = -1


def _carry(pane: Pane, event: Event, time: int) -> None:
    """Labels: each from the event with the latest event time that carries it, ties to the greater bytes."""
    if time > pane.label_at:
        pane.label_at = time
        pane.seller = event.seller_id
        if event.platform != pane.platform or not event.platform:
            pane.platform = event.platform if event.platform in PLATFORMS else OTHER
    elif time == pane.label_at:
        pane.seller = max(pane.seller, event.seller_id)
        pane.platform = max(pane.platform, event.platform if event.platform in PLATFORMS else OTHER)
    creator = event.creator_id
    if creator is not None and time >= pane.creator_at and (time > pane.creator_at or creator > pane.creator):
        pane.creator_at = time
        pane.creator = creator


def _span(pane: Pane, time: int) -> None:
    if time > pane.last_event:
        if pane.last_event < 0:
            pane.first_event = time
        pane.last_event = time
    elif time < pane.first_event:
        pane.first_event = time


def _on_air(pane: Pane, time: int) -> None:
    """Of views and comments: checkouts may come hours later."""
    _span(pane, time)
    if time > pane.on_air_to:
        if pane.on_air_to < 0:
            pane.on_air_from = time
        pane.on_air_to = time
    elif time < pane.on_air_from:
        pane.on_air_from = time
    if time > pane.aired_to:  # noqa: PLR1730  # a third of the time of max()
        pane.aired_to = time


def _count_host(pane: Pane, event: View, limit: int) -> int:
    """The broadcast starts or ends. A start opens the session as any view does; an end does not."""
    time = event.event_time
    pane.events += 1
    _carry(pane, event, time)
    if event.action == START:
        _on_air(pane, time)
        pane.started_at = time if pane.started_at < 0 else min(pane.started_at, time)
        pane.start_to = max(pane.start_to, time)
        pane.host_start = max(pane.host_start, time)
        return 0 if limit == PLAIN_ONLY else _count_host_names(pane, event)
    _span(pane, time)
    pane.end_to = max(pane.end_to, time)
    pane.host_end = max(pane.host_end, time)
    return 0


def _count_host_names(pane: Pane, event: View) -> int:
    """What a start says for display, each field on its own; an empty one says nothing."""
    more = 0
    for field in HOST_NAMES:
        name = getattr(event, field)
        if name:
            label = _label(pane, "host_names", field, len(HOST_NAMES))
            if label is not None:
                more += _put_in(label, field, event.event_time, name)
    pane.name_bytes += more
    return more


def count_view(pane: Pane, event: View, limit: int) -> int:  # noqa: C901, PLR0912  # by frequency, the common case in place; a table of functions costs more
    action, product = event.action, event.product_id
    if action in LIFECYCLE:
        return _count_host(pane, event, limit)
    pane.events += 1
    _carry(pane, event, event.event_time)
    _on_air(pane, event.event_time)
    if action == "heartbeat":
        pane.heartbeats += 1
    elif action == "enter":
        pane.views += 1
        if limit != PLAIN_ONLY:
            pane.note_viewer(event.viewer_id, event.source)
    elif action == "product_impression":
        pane.product_impressions += 1
    elif action == "like":
        pane.likes = capped(pane.likes + (1 if event.count is None else event.count))
    elif action == "product_click":
        pane.product_clicks += 1
        if limit != PLAIN_ONLY:
            pane.note_click(event.source, product, event.affiliate_id, limit)
    elif action == "impression":
        pane.impressions += 1
    elif action == "add_to_cart":
        pane.adds_to_cart += 1
    elif action == "share":
        pane.shares += 1
    elif action == "follow":
        pane.follows += 1
    elif action == "gift":
        pane.gifts = capped(pane.gifts + (1 if event.count is None else event.count))
        pane.gift_value = capped(pane.gift_value + (event.gift_value or 0))
    elif action == "pin" and product is not None and limit != PLAIN_ONLY:
        count_pin(pane, product, limit)
    watch_ms = event.watch_ms
    if watch_ms is not None:
        pane.watch_ms = capped(pane.watch_ms + watch_ms)
    viewers, time = event.concurrent_viewers, event.event_time
    if viewers is not None:
        pane.samples += 1
        pane.sample_sum = capped(pane.sample_sum + viewers)
        pane.peak = max(pane.peak, viewers)
        if time > pane.last_at or (time == pane.last_at and viewers > pane.last):
            pane.last_at = time
            pane.last = viewers
    if product is None or limit == PLAIN_ONLY or action not in LABELLED:
        return 0
    return count_label(pane, product, event.product_name or "", event.basket_number or 0, time, limit)


def count_pin(pane: Pane, product: str, limit: int) -> None:
    """Pins share the bound of clicks: both are counted from views."""
    session = pane.session
    if pane.product_clicks_by is None:
        pane.product_clicks_by = Clicks()
    if pane.product_pins is None:
        pane.product_pins = Clicks()
    known = session.named["product_clicks_by"]
    if pane.product_clicks_by.name(product, limit, known):
        session.stale = True
    pane.product_pins.count_as(pane.product_clicks_by, product, known)


def count_label(pane: Pane, product: str, name: str, number: int, time: int, limit: int) -> int:  # noqa: PLR0917  # once per event that has one
    """What a product is called; neither decides any figure. Without a name the text is empty, without a number it is 0."""
    if not name and not number:
        return 0
    labels = pane.product_labels
    label: Label | None = None if labels is None else labels.named.get(product)
    if label is not None:
        more = label.take(time, name, number)
    else:
        label = _label(pane, "product_labels", product, limit)
        more = 0 if label is None else _put_in(label, product, time, name, number)
    if more:
        pane.name_bytes += more
    return more


def _label(pane: Pane, figure: str, id_: str, limit: int) -> Label | None:
    """The label of an id among those of a figure; None beyond the bound."""
    labels: Labels | None = getattr(pane, figure)
    if labels is None:
        labels = Labels()
        setattr(pane, figure, labels)
    session = pane.session
    known = session.named[figure]
    knew = len(known)
    label = labels.named.get(id_) or labels.label(id_, limit, known)
    session.stale = session.stale or len(known) > knew
    return label


def _put_in(label: Label, id_: str, time: int, name: str, number: int = 0) -> int:
    """Gives by how many bytes the label has grown, with its id if it is new."""
    known = label.name or label.number
    return label.take(time, name, number) + (0 if known else LABEL_BYTES + len(id_.encode()))


def count_comment(pane: Pane, event: Comment, _limit: int) -> int:
    pane.events += 1
    _carry(pane, event, event.event_time)
    _on_air(pane, event.event_time)
    pane.comments += 1
    return 0


def count_checkout(pane: Pane, event: Checkout, limit: int) -> int:
    """A ``paid`` of a COD checkout never comes here: its order was counted at its ``initiated``."""
    pane.events += 1
    _carry(pane, event, event.event_time)
    status = event.status
    if status == "cancelled":
        pane.orders_cancelled += 1
        return 0
    if status == "refunded":
        pane.orders_refunded += 1
        return 0
    _span(pane, event.event_time)
    if status == "initiated":
        pane.checkouts_initiated += 1
        if event.is_cod:
            pane.cod_orders += 1
            _count_order(pane, event, limit)
    elif status == "submitted":
        pane.checkouts_submitted += 1
    elif status == "failed":
        pane.checkouts_failed += 1
    else:
        _count_order(pane, event, limit)
    return 0


def _count_order(pane: Pane, event: Checkout, limit: int) -> None:
    currency = event.currency
    gmv = {currency: event.amount_minor}
    pane.orders_paid += 1
    add_money(pane.gmv, gmv)
    if event.discount_minor:
        pane.discounted_orders += 1
        add_money(pane.discount, {currency: event.discount_minor})
    for item in event.items:
        value = item.quantity * item.unit_price_minor
        pane.items_sold = capped(pane.items_sold + item.quantity)
        pane.item_value[currency] = pane.item_value.get(currency, 0) + value
        if item.local is not None:  # what says nothing is in neither of the two
            add_money(pane.local_item_value if item.local else pane.cross_border_item_value, {currency: value})
    if limit != PLAIN_ONLY:
        _break_down_order(pane, event, gmv, limit)


def _break_down_order(pane: Pane, event: Checkout, gmv: Money, limit: int) -> None:
    session = pane.session
    pane.note_buyer(event.viewer_id)
    source = pane.source_of(event.source)
    source.orders += 1
    add_money(source.gmv, gmv)
    if event.affiliate_id is not None:
        if pane.affiliate_orders is None:
            pane.affiliate_orders = Orders()
        if pane.affiliate_orders.count(event.affiliate_id, gmv, limit, session.named["affiliate_orders"]):
            session.stale = True
    if event.items:
        if pane.product_orders is None:
            pane.product_orders = Orders()
        for product, value in _values(event.items).items():
            if pane.product_orders.count(product, {event.currency: value}, limit, session.named["product_orders"]):
                session.stale = True


def _values(items: tuple[Item, ...]) -> dict[str, int]:
    """Value by product: an order counts once for a product, however often it is named."""
    values: dict[str, int] = {}
    for item in items:
        values[item.product_id] = values.get(item.product_id, 0) + item.quantity * item.unit_price_minor
    return values
