"""Figures as JSON: the values of live.session-windows and live.sessions, byte for byte a function of the figures.

Rounding is half-even from exact integers: ratios to 6 decimals, averages to 1, money to whole minor units. Sums
saturate at 2^63 - 1 before anything is derived from them.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

import orjson

from stream.core.breakdown import Clicks, Money, Orders, Sales
from stream.core.counts import COUNTERS, NEVER, Counts, estimate
from stream.core.switch import NATIVE
from stream.model.money import MAX_SUM, capped

natively: "Callable[[bytes, Counts, str], bytes | None] | None" = None
if NATIVE:
    from stream.core.native.rendering import value_of as natively

UNIQUE_ERROR: Final = 0.015316
"""Relative standard error of the unique counts: ln(2) / sqrt(2^11)."""
LISTED: Final = 20
"""Elements of a ranked list before the rest is summed."""

Value = dict[str, Any]
_counters: Final = attrgetter(*COUNTERS)


def divide(numerator: int, denominator: int) -> int:
    """The quotient rounded half-even, of whole numbers; denominator > 0."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + (twice > denominator or (twice == denominator and quotient % 2))


def ratio(numerator: int, denominator: int) -> float:
    """To 6 decimals."""
    return divide(numerator * 1_000_000, denominator) / 1_000_000 if numerator else 0.0


def money(amounts: Money) -> Money:
    if not amounts:
        return {}
    if len(amounts) > 1:
        return {currency: capped(amounts[currency]) for currency in sorted(amounts)}
    return {currency: capped(minor) for currency, minor in amounts.items()}


def counts_of(counts: Counts) -> dict[str, int]:
    values: tuple[int, ...] = _counters(counts)
    if max(values) > MAX_SUM:
        values = tuple(map(capped, values))
    return dict(zip(COUNTERS, values, strict=True))


_RATIOS: Final = {
    "comment_rate": ("comments", "views"),
    "ctor": ("orders_paid", "product_clicks"),
    "ctr": ("product_clicks", "views"),
    "enter_room_rate": ("views", "impressions"),
    "follow_rate": ("follows", "views"),
    "like_rate": ("likes", "views"),
    "live_ctr": ("product_clicks", "product_impressions"),
    "order_rate": ("orders_paid", "views"),
    "share_rate": ("shares", "views"),
}
"""Name of a rate: (numerator, denominator) among the counts as written. In the order of the names."""
_RATIO_PARTS: Final = [(name, *parts) for name, parts in _RATIOS.items()]


def rates_of(numbers: Mapping[str, int], gmv: Money, items: Money, local: Money, currency: str) -> Value:
    """All rates of domain.md that have a denominator, by name in sorted order."""
    rates: Value = {
        name: ratio(numbers[over], below) for name, over, under in _RATIO_PARTS if (below := numbers[under])
    }
    plain = len(rates)
    prepaid = numbers["checkouts_initiated"] - numbers["cod_orders"]
    if prepaid > 0:
        rates["payment_rate"] = ratio(numbers["orders_paid"] - numbers["cod_orders"], prepaid)
    if gmv and numbers["orders_paid"]:
        rates["aov_minor"] = {name: divide(minor, numbers["orders_paid"]) for name, minor in gmv.items()}
    if gmv and numbers["views"]:
        rates["gpm_minor"] = {name: capped(divide(1000 * minor, numbers["views"])) for name, minor in gmv.items()}
    if items.get(currency):
        rates["local_share"] = ratio(local.get(currency, 0), items[currency])
    return rates if len(rates) == plain else dict(sorted(rates.items()))


def by_source(counts: Counts) -> Value:
    """A source appears when one of its figures is not 0."""
    sources = counts.sources or {}
    return {
        name: {
            "views": capped(source.views),
            "product_clicks": capped(source.clicks),
            "orders_paid": capped(source.orders),
            "gmv_minor": money(source.gmv),
        }
        for name, source in sorted(sources.items())
        if source.views or source.clicks or source.orders or any(source.gmv.values())
    }


def ranked(clicks: Clicks | None, orders: Orders | None, currency: str, id_name: str, money_name: str) -> list[Value]:
    """By money in ``currency`` descending, clicks descending, id ascending; then the rest, then the unnamed."""
    if clicks is None and orders is None:
        return []
    clicks = clicks or Clicks()
    orders = orders or Orders()
    rows = _rows(clicks.named, orders.named, currency)
    rows.sort()  # ids differ, so that no two sales are compared
    listed: list[Value] = [
        {
            id_name: id_,
            "product_clicks": -number,
            "orders_paid": capped(sales.orders),
            money_name: money(sales.money) if sales.money else {},
        }
        for _, number, id_, sales in rows[:LISTED]
    ]
    if rows[LISTED:]:
        rest = Sales()
        for _, _, _, sales in rows[LISTED:]:
            rest.add(sales.orders, sales.money)
        number = sum(clicks.named.get(row[2], 0) for row in rows[LISTED:])
        listed.append(_sum("rest", len(rows) - LISTED, number, rest, money_name))
    if clicks.beyond or orders.beyond.orders:
        listed.append(_sum("unnamed", True, clicks.beyond, orders.beyond, money_name))
    return listed


_NO_SALES: Final = Sales()


def _rows(clicked: Mapping[str, int], sold: Mapping[str, Sales], currency: str) -> list[tuple[int, int, str, Sales]]:
    """(-money, -clicks, id, sales) of each id."""
    rows = [
        (
            0 if (sales := sold.get(id_, _NO_SALES)) is _NO_SALES else -capped(sales.money.get(currency, 0)),
            -capped(number),
            id_,
            sales,
        )
        for id_, number in clicked.items()
    ]
    rows += [
        (-capped(sales.money.get(currency, 0)), 0, id_, sales) for id_, sales in sold.items() if id_ not in clicked
    ]
    return rows


def _sum(name: str, what: object, clicks: int, sales: Sales, money_name: str) -> Value:
    head = {name: what, "product_clicks": capped(clicks), "orders_paid": capped(sales.orders)}
    return {**head, money_name: money(sales.money)}


def labels_of(counts: Counts) -> Value:
    labels = {"seller_id": counts.seller, "creator_id": counts.creator, "platform": counts.platform}
    return {name: text for name, text in labels.items() if text}


def figures_of(counts: Counts, currency: str) -> Value:
    """Everything a window and a session have in common, from ``counts`` on."""
    numbers = counts_of(counts)
    gmv, items, local = money(counts.gmv), money(counts.item_value), money(counts.local_item_value)
    value: Value = {"counts": numbers, "gmv_minor": gmv, "item_value_minor": items, "local_item_value_minor": local}
    if counts.samples:
        value["concurrent_last"] = counts.last
        value["concurrent_peak"] = counts.peak
        value["concurrent_avg"] = divide(10 * capped(counts.sample_sum), capped(counts.samples)) / 10
    value["unique_viewers"] = estimate(counts.viewers)
    value["unique_buyers"] = estimate(counts.buyers)
    value["unique_error"] = UNIQUE_ERROR
    value["rates"] = rates_of(numbers, gmv, items, local, currency)
    value["by_source"] = by_source(counts)
    value["by_affiliate"] = ranked(
        counts.affiliate_clicks, counts.affiliate_orders, currency, "affiliate_id", "gmv_minor"
    )
    value["products"] = ranked(
        counts.product_clicks_by, counts.product_orders, currency, "product_id", "item_value_minor"
    )
    if counts.incomplete:
        value["incomplete"] = True
    return value


def window_value(session_id: str, counts: Counts, currency: str, head: Value) -> bytes:
    """``head``: run, generation, window, start, end, revision, reason."""
    return _value_of({"session_id": session_id, **labels_of(counts), **head}, counts, currency)


def session_value(session_id: str, counts: Counts, currency: str, head: Value) -> bytes:
    """``head``: run, generation, revision, status."""
    value: Value = {"session_id": session_id, **labels_of(counts), **head}
    if counts.last_event != NEVER:
        value["first_event"], value["last_event"] = counts.first_event, counts.last_event
    return _value_of(value, counts, currency)


def _value_of(head: Value, counts: Counts, currency: str) -> bytes:
    value = None if natively is None else natively(orjson.dumps(head), counts, currency)
    return in_python(head, counts, currency) if value is None else value


def in_python(head: Value, counts: Counts, currency: str) -> bytes:
    """What native/rendering.pyx writes too, where it is built."""
    return orjson.dumps({**head, **figures_of(counts, currency)})
