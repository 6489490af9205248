"""Every figure that is counted and every rate that follows: two tables, from which all readers derive.

Readers are the counts in Python and in C, their packing, the state's list of columns, late parts and histories, alert
figures, JSON, schemas and docs. A new figure is a row at the end of its table and a line of counting per language
(docs/development.md, A new figure). The order of `FIGURES` is the order in which they are stored: it only grows, and no
row is ever moved or taken out. What was stored before a figure existed is shorter, and stands for nothing counted.

The build reads this module by itself (native/generate.py): it imports the standard library alone.
"""

from enum import Enum, Flag, auto
from typing import Final, NamedTuple

NEVER: Final = -1
"""Before any event time."""


class How(Enum):
    """How two slices of event time combine. Each of them commutes."""

    SUM = auto()
    MAXIMUM = auto()
    """`NEVER` before anything was counted, as the two that follow."""
    MINIMUM = auto()
    LATEST = auto()
    """Of the slice with the latest event time that carries it, ties to the greater. ``by`` names the figure of that time."""
    MONEY = auto()
    """Sums of minor units by currency, which do not saturate in memory."""
    SKETCH = auto()
    """A union of CPC sketches: unique values."""
    BREAKDOWN = auto()
    """Figures or labels by an id or by a name, of the type ``of`` (core/breakdown.py)."""


class Shown(Flag):
    """Where a figure or a rate can be seen."""

    INTERNAL = 0
    WINDOWS = auto()
    SESSIONS = auto()
    ALERTS = auto()
    """Rules may ask for it, or are told by it. So what came late of it is kept apart (core/late.py)."""


RESULTS: Final = Shown.WINDOWS | Shown.SESSIONS
EVERYWHERE: Final = RESULTS | Shown.ALERTS

OLDEST: Final = 2
"""The oldest format of the state that is still read."""
UNNAMED: Final = 3
"""The newest format that does not name its figures: it holds those of `UNNAMED_FIGURES`."""


class Figure(NamedTuple):
    """One row."""

    name: str
    how: How
    shown: Shown
    what: str
    """For docs and schemas."""
    since: int = OLDEST
    """The format of the state from which on each state holds it."""
    written: str = ""
    """Its name in results and rules, where that is another."""
    by: str = ""
    """Of a `How.LATEST`: the figure of its event time. Of a breakdown: another, whose ids it names; both have one bound."""
    of: str = "int"
    """Type of a plain figure (int or str) or of a breakdown (Source, Clicks, Orders, Labels)."""
    before: str = ""
    """A plain figure that stands for it where counts were stored before it existed; without one, nothing was counted."""

    @property
    def shown_as(self) -> str:
        return self.written or self.name


_SUM, _MONEY, _NONE = How.SUM, How.MONEY, Shown.INTERNAL

FIGURES: Final = (
    Figure("impressions", _SUM, EVERYWHERE, "times the session was shown in a feed"),
    Figure("views", _SUM, EVERYWHERE, "viewers who entered the room"),
    Figure("product_impressions", _SUM, EVERYWHERE, "times a product was shown"),
    Figure("product_clicks", _SUM, EVERYWHERE, "clicks on a product"),
    Figure("adds_to_cart", _SUM, EVERYWHERE, "products put into a cart"),
    Figure("likes", _SUM, EVERYWHERE, "sum of the bundles in which likes come"),
    Figure("shares", _SUM, EVERYWHERE, "times the session was shared"),
    Figure("follows", _SUM, EVERYWHERE, "viewers who began to follow"),
    Figure("watch_ms", _SUM, EVERYWHERE, "time watched, in ms"),
    Figure("comments", _SUM, EVERYWHERE, "comments"),
    Figure("checkouts_initiated", _SUM, EVERYWHERE, "checkouts begun"),
    Figure("checkouts_submitted", _SUM, EVERYWHERE, "checkouts sent off to be paid"),
    Figure("checkouts_failed", _SUM, EVERYWHERE, "attempts to pay that failed"),
    Figure("orders_paid", _SUM, EVERYWHERE, "orders: paid checkouts and initiated COD ones"),
    Figure("cod_orders", _SUM, EVERYWHERE, "orders to be paid on delivery"),
    Figure("items_sold", _SUM, EVERYWHERE, "sum of the quantities of all orders"),
    Figure("orders_cancelled", _SUM, EVERYWHERE, "orders cancelled, whenever they were made"),
    Figure("orders_refunded", _SUM, EVERYWHERE, "orders refunded, whenever they were made"),
    Figure("samples", _SUM, _NONE, "events that tell how many viewers are there"),
    Figure("sample_sum", _SUM, _NONE, "sum of what they tell"),
    Figure(
        "peak", How.MAXIMUM, RESULTS, "the most viewers at a time; absent without a sample", written="concurrent_peak"
    ),
    Figure(
        "last",
        How.LATEST,
        RESULTS,
        "viewers as told last; absent without a sample",
        written="concurrent_last",
        by="last_at",
    ),
    Figure("last_at", How.MAXIMUM, _NONE, "event time of what was told last"),
    Figure("label_at", How.MAXIMUM, Shown.ALERTS, "event time of the labels that each event carries"),
    Figure("seller", How.LATEST, EVERYWHERE, "seller", written="seller_id", by="label_at", of="str"),
    Figure("platform", How.LATEST, EVERYWHERE, "platform", by="label_at", of="str"),
    Figure("creator_at", How.MAXIMUM, Shown.ALERTS, "event time of the latest event with a creator"),
    Figure("creator", How.LATEST, EVERYWHERE, "creator", written="creator_id", by="creator_at", of="str"),
    Figure("first_event", How.MINIMUM, EVERYWHERE, "event time of the first event, cancels and refunds aside"),
    Figure("last_event", How.MAXIMUM, EVERYWHERE, "event time of the last event, cancels and refunds aside"),
    Figure("heartbeats", _SUM, Shown.ALERTS, "signs that a viewer is still there", since=3),
    Figure("gmv", _MONEY, EVERYWHERE, "value of orders; not reduced by cancels and refunds", written="gmv_minor"),
    Figure("item_value", _MONEY, EVERYWHERE, "quantity x unit price of what was ordered", written="item_value_minor"),
    Figure("local_item_value", _MONEY, EVERYWHERE, "item value of local items", written="local_item_value_minor"),
    Figure(
        "viewers", How.SKETCH, RESULTS, "unique viewers who entered, estimated (CPC sketch)", written="unique_viewers"
    ),
    Figure("buyers", How.SKETCH, RESULTS, "unique viewers who ordered, estimated", written="unique_buyers"),
    Figure("sources", How.BREAKDOWN, RESULTS, "figures by the viewer's source", written="by_source", of="Source"),
    Figure("product_clicks_by", How.BREAKDOWN, RESULTS, "clicks by product", written="products", of="Clicks"),
    Figure("affiliate_clicks", How.BREAKDOWN, RESULTS, "clicks by affiliate", written="by_affiliate", of="Clicks"),
    Figure("product_orders", How.BREAKDOWN, RESULTS, "orders by product", written="products", of="Orders"),
    Figure("affiliate_orders", How.BREAKDOWN, RESULTS, "orders by affiliate", written="by_affiliate", of="Orders"),
    Figure("events", _SUM, Shown.ALERTS, "counted events of any kind: figures change if and only if it does"),
    Figure("gifts", _SUM, EVERYWHERE, "gifts: the sum of the bundles in which they come", since=4),
    Figure("gift_value", _SUM, EVERYWHERE, "what the gifts are worth, in the platform's own unit", since=4),
    Figure("discounted_orders", _SUM, EVERYWHERE, "orders with a discount above 0", since=4),
    Figure("on_air_from", How.MINIMUM, _NONE, "event time of the first view or comment", since=4, before="first_event"),
    Figure("on_air_to", How.MAXIMUM, _NONE, "event time of the last view or comment", since=4, before="last_event"),
    Figure(
        *(
            "cross_border_item_value",
            _MONEY,
            EVERYWHERE,
            "item value of items marked as not local: sent from another country",
        ),
        since=4,
        written="cross_border_item_value_minor",
    ),
    Figure(
        "discount", _MONEY, EVERYWHERE, "what buyers did not pay thanks to discounts", since=4, written="discount_minor"
    ),
    Figure(
        *("product_pins", How.BREAKDOWN, RESULTS, "how often a product was pinned"),
        since=4,
        written="products",
        by="product_clicks_by",
        of="Clicks",
    ),
    Figure(
        *("aired_to", How.MAXIMUM, Shown.ALERTS, "the same as on_air_to; alerts know that of the on-time events"),
        since=4,
        before="on_air_to",
    ),
    Figure(
        *("product_labels", How.BREAKDOWN, RESULTS, "what products are called: names and basket numbers, for display"),
        since=4,
        written="products",
        of="Labels",
    ),
    Figure("started_at", How.MINIMUM, RESULTS, "event time of the host's first start", since=4),
    Figure("start_to", How.MAXIMUM, _NONE, "event time of the host's last start", since=4),
    Figure(
        *("end_to", How.MAXIMUM, RESULTS, "event time of the host's last end; absent with a start at or after it"),
        since=4,
        written="ended_at",
    ),
    Figure("host_start", How.MAXIMUM, Shown.ALERTS, "the same as start_to; alerts know that of the on-time events", 4),
    Figure("host_end", How.MAXIMUM, Shown.ALERTS, "the same as end_to; alerts know that of the on-time events", 4),
    Figure(
        *(
            "host_names",
            How.BREAKDOWN,
            RESULTS,
            "what its host calls the broadcast, its seller and its creator, for display",
        ),
        since=4,
        written="title, seller_name, creator_name",
        of="Labels",
    ),
)
"""Every figure, in the order in which they are stored."""

BY_NAME: Final = {figure.name: figure for figure in FIGURES}
NAMES: Final = list(BY_NAME)


def _names(*how: How, shown: Shown | None = None) -> tuple[str, ...]:
    rows = (figure for figure in FIGURES if figure.how in how)
    return tuple(figure.name for figure in rows if shown is None or shown & figure.shown)


# -- what readers ask for

PLAIN: Final = _names(How.SUM, How.MAXIMUM, How.MINIMUM, How.LATEST)
"""Whole numbers and texts."""
TEXTS: Final = tuple(name for name in PLAIN if BY_NAME[name].of == "str")
SUMMED: Final = _names(How.SUM)
MAXIMA: Final = _names(How.MAXIMUM)
MINIMA: Final = _names(How.MINIMUM)
LATEST: Final = tuple((name, BY_NAME[name].by) for name in _names(How.LATEST))
"""With the figure that holds the event time."""
MONIES: Final = _names(How.MONEY)
SKETCHES: Final = _names(How.SKETCH)
BREAKDOWNS: Final = tuple(name for name in _names(How.BREAKDOWN) if BY_NAME[name].of != "Source")
"""By id, with a bound. By source there are few."""
NAMED_BY: Final = {name: BY_NAME[name].by or name for name in BREAKDOWNS}
"""By breakdown, the one whose ids it names."""
DEFAULTS: Final = {
    name: "" if name in TEXTS else 0 if BY_NAME[name].how is How.SUM else NEVER for name in PLAIN
}  # fmt: skip
"""Of plain figures, before anything is counted."""

COUNTERS: Final = _names(How.SUM, shown=RESULTS)
"""What results show as ``counts``."""
ALERTING: Final = tuple(figure for figure in FIGURES if figure.shown & Shown.ALERTS)
LATE_SUMS: Final = tuple(figure.name for figure in ALERTING if figure.how is How.SUM)
"""The sums of which a late part is kept."""
MOMENTS: Final = tuple(figure.name for figure in ALERTING if figure.name in PLAIN and figure.how is not How.SUM)
"""Labels and times of which a late part is kept."""
COLUMN: Final = tuple(figure.shown_as for figure in ALERTING if figure.how in {How.SUM, How.MONEY})
"""What the history of alerts holds of a slide, by the names that rules know. Money is in the policy's currency."""

# -- as they are stored

HEAD: Final = ("events", "views", "product_clicks", "comments", "orders_paid", "last_event", "label_at")
"""The first of packed counts. The last two of all events, late ones too."""
REST: Final = tuple(name for name in PLAIN if name not in HEAD)
"""The other plain figures."""
UNNAMED_FIGURES: Final = tuple(figure.name for figure in FIGURES if figure.since <= UNNAMED)
STAND_INS: Final = tuple((REST.index(name), name, BY_NAME[name].before) for name in REST if BY_NAME[name].before)
"""Place in `REST`, figure, and what stands for it in counts that are shorter."""
ADDED: Final = tuple(figure for figure in FIGURES if figure.since > UNNAMED and figure.name not in PLAIN)
"""Those that are not plain and came later: each is a field of packed counts behind all that there was before."""


def layout() -> str:
    """All of the table that native code is built from."""
    return "; ".join(
        f"{row.name} {row.how.name} {row.shown.value} {row.since} {row.shown_as} {row.by} {row.of} {row.before}"
        for row in FIGURES
    )
