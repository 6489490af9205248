"""The names of all that is counted, in the orders in which it is summed and stored."""

from operator import attrgetter
from typing import Final

COUNTERS: Final = (
    "impressions",
    "views",
    "product_impressions",
    "product_clicks",
    "adds_to_cart",
    "likes",
    "shares",
    "follows",
    "watch_ms",
    "comments",
    "checkouts_initiated",
    "checkouts_submitted",
    "checkouts_failed",
    "orders_paid",
    "cod_orders",
    "items_sold",
    "orders_cancelled",
    "orders_refunded",
)
MONIES: Final = ("gmv", "item_value", "local_item_value")
SAMPLES: Final = ("samples", "sample_sum", "peak", "last", "last_at")
LABELS: Final = ("label_at", "seller", "platform", "creator_at", "creator")
SPAN: Final = ("first_event", "last_event")
NEVER: Final = -1
"""Before any event time."""
INTERNAL: Final = ("heartbeats",)
"""Counters that alerts may ask for and results do not show."""
PLAIN: Final = ("events", *COUNTERS, *SAMPLES, *LABELS, *SPAN, *INTERNAL)

SUMMED: Final = ("events", *COUNTERS, *INTERNAL, "samples", "sample_sum")
"""What adds up."""
BREAKDOWNS: Final[tuple[str, ...]] = ("product_clicks_by", "affiliate_clicks", "product_orders", "affiliate_orders")

plain_values: Final = attrgetter(*PLAIN)
counter_values: Final = attrgetter(*COUNTERS)
breakdowns: Final = attrgetter(*BREAKDOWNS)
