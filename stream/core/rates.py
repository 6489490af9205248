"""Every rate that follows from figures, and every count that follows from counts: two tables, as core/figures.py.

Figures go by the names that results and rules know (`Figure.shown_as`). A rate whose denominator is not above 0 is absent.
A new one is a row here (docs/development.md, A new figure).
"""

from enum import Enum, auto
from typing import Final, NamedTuple

from stream.core.figures import EVERYWHERE, Shown


class Derived(NamedTuple):
    """A count, or money by currency, that follows from others: the sum of ``plus`` less ``minus``."""

    name: str
    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()
    what: str = ""
    shown: Shown = EVERYWHERE
    first: bool = False
    """Not of the sums of ``plus`` and ``minus``, but of the first time of each that is known; 0 when one has none."""


class Of(Enum):
    """What a rate divides, and so what it is."""

    COUNTS = auto()
    """A count by a count: a ratio."""
    MONEY = auto()
    """Money times ``scale`` by a count: whole minor units by currency."""
    SHARE = auto()
    """Money by money in the policy's currency: a ratio."""
    SHARES = auto()
    """Money by money: a ratio by currency."""


class Rate(NamedTuple):
    """One row."""

    name: str
    over: str
    """Numerator: a figure or a `Derived`."""
    under: str
    of: Of
    shown: Shown
    what: str
    scale: int = 1
    least: int = 1
    """With a smaller denominator the rate is absent."""
    digits: int = 6
    """Decimals of a ratio."""
    bounds: bool = False
    """Rules know its Wilson bounds as ``<name>_low`` and ``<name>_high``: for shares of one count in another."""


DERIVED: Final = (
    Derived("attempts", ("checkouts_failed", "orders_paid"), ("cod_orders",), "attempts to pay that have ended"),
    Derived("prepaid_orders", ("orders_paid",), ("cod_orders",), "orders paid in advance"),
    Derived(
        "prepaid_checkouts", ("checkouts_initiated",), ("cod_orders",), "checkouts begun, those of COD orders aside"
    ),
    Derived("orders_undone", ("orders_cancelled", "orders_refunded"), (), "orders cancelled or refunded"),
    Derived("attendance", ("views", "heartbeats"), (), "signs that somebody watches"),
    Derived(
        "before_discount_minor", ("gmv_minor", "discount_minor"), (), "what would have been paid without discounts"
    ),
    Derived(
        *("known_origin_value_minor", ("local_item_value_minor", "cross_border_item_value_minor"), ()),
        "item value of which shops say where it comes from",
    ),
    Derived(
        *("on_air_ms", ("ended_at", "on_air_to"), ("started_at", "on_air_from")),
        "from the start of the broadcast, else its first view or comment, to its end, else the last",
        Shown.SESSIONS,
        first=True,
    ),
)


def _ratio(name: str, over: str, under: str, what: str, shown: Shown = EVERYWHERE) -> Rate:
    return Rate(name, over, under, Of.COUNTS, shown, what, bounds=True)


RATES: Final = (
    _ratio("cancel_rate", "orders_undone", "orders_paid", "orders undone by orders", Shown.ALERTS),
    _ratio("comment_rate", "comments", "views", "comments by views"),
    _ratio("ctor", "orders_paid", "product_clicks", "click to order: orders by product clicks"),
    _ratio("ctr", "product_clicks", "views", "product clicks by views"),
    _ratio("enter_room_rate", "views", "impressions", "views by impressions"),
    _ratio("failure_rate", "checkouts_failed", "attempts", "failed attempts to pay by attempts", Shown.ALERTS),
    _ratio("follow_rate", "follows", "views", "follows by views"),
    _ratio("like_rate", "likes", "views", "likes by views"),
    _ratio("live_ctr", "product_clicks", "product_impressions", "product clicks by product impressions"),
    _ratio("order_rate", "orders_paid", "views", "the session's conversion: orders by views"),
    _ratio("payment_rate", "prepaid_orders", "prepaid_checkouts", "orders by checkouts begun, COD aside"),
    _ratio("share_rate", "shares", "views", "shares by views"),
    Rate("aov_minor", "gmv_minor", "orders_paid", Of.MONEY, EVERYWHERE, "average value of an order"),
    Rate("gpm_minor", "gmv_minor", "views", Of.MONEY, EVERYWHERE, "GMV of a thousand views", scale=1000),
    Rate(
        *("local_share", "local_item_value_minor", "known_origin_value_minor", Of.SHARE, EVERYWHERE),
        "local items by local and cross-border ones, in value and in the configured currency",
    ),
    Rate(
        *("discount_rate", "discount_minor", "before_discount_minor", Of.SHARES, EVERYWHERE),
        "discounts by GMV and discounts",
    ),
    Rate(
        *("gmv_per_hour_minor", "gmv_minor", "on_air_ms", Of.MONEY, Shown.SESSIONS),
        "GMV by the hours from the start, else the first view or comment, to the end, else the last, from ten minutes on",
        scale=3_600_000,
        least=600_000,
    ),
)
