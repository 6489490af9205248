"""Events as they arrive: views, comments and checkouts, decoded and checked by msgspec in one pass.

Rule: a value that decodes into one of these structs has every required field, the right types and the right ranges.
core/decode.py checks what a type cannot say: control characters, ``/`` in ids that become keys, known currencies, price
times quantity, and the product of a pin.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, max_length=128)]
MOST_MS: Final = 2**42
"""In the year 2109."""
LEAST_MS: Final = 10**11
"""In the year 1973. An event time below it is in another unit, unless the broker's clock is as small (core/units.py)."""
EventTime = Annotated[int, Meta(ge=0, le=MOST_MS)]
"""Milliseconds since 1970, UTC."""
Money = Annotated[int, Meta(ge=0, le=10**13)]
"""Minor units of a currency."""
GiftValue = Annotated[int, Meta(ge=0, le=10**13)]
"""What all gifts of one event are worth, in the unit of the platform. The range is that of money: some platforms use it."""
ProductName = Annotated[str, Meta(max_length=200)]
"""For display, in any script; an empty one names nothing."""
HostName = Annotated[str, Meta(max_length=200)]
"""What a host calls the broadcast, its seller or its creator; as `ProductName`."""
BasketNumber = Annotated[int, Meta(ge=1, le=10**6)]
"""What a host calls "number 7": the product's place in the basket."""

Action = Literal[
    "impression",
    "enter",
    "heartbeat",
    "leave",
    "product_impression",
    "product_click",
    "add_to_cart",
    "like",
    "share",
    "follow",
    "gift",
    "pin",
    "unpin",
    "start",
    "end",
]
Status = Literal["initiated", "submitted", "paid", "failed", "cancelled", "refunded"]

SOURCES: Final = frozenset(
    (
        "for_you",
        "following",
        "search",
        "share",
        "live_feed",
        "shop_tab",
        "profile",
        "affiliate_link",
        "push",
        "ads",
        "other",
    )
)
UNKNOWN: Final = "unknown"
"""The source of an event that names none."""
OTHER: Final = "other"
"""Any source or platform that is not on the list."""
PLATFORMS: Final = frozenset(("tiktok_shop", "tokopedia", "shopee", "lazada", "blibli"))

NO_SLASH: Final = ("session_id", "seller_id", "creator_id", "affiliate_id")
"""Ids that become parts of keys."""
PINS: Final = frozenset(("pin", "unpin"))
"""Actions of the host, which are of one product: they need a ``product_id``."""
LABELLED: Final = frozenset((*PINS, "product_impression", "product_click", "add_to_cart"))
"""Actions whose product may be named: of others ``product_name`` and ``basket_number`` are ignored."""
START: Final = "start"
END: Final = "end"
LIFECYCLE: Final = frozenset((START, END))
"""Actions of the host that say when a broadcast starts and ends. They count in no figure but the times of that."""
HOST_NAMES: Final = ("title", "seller_name", "creator_name")
"""What a start may say, for display. Of other actions it is ignored."""
MAX_ITEMS: Final = 200
"""Items of one checkout."""
MAX_ITEM_VALUE: Final = 10**13
"""Bound of quantity x unit_price_minor of one item, in minor units."""


class Common(Struct, frozen=True, gc=False):
    event_id: Id
    event_time: EventTime
    session_id: Id
    seller_id: Id
    viewer_id: Id
    platform: str


class View(Common, frozen=True, gc=False, kw_only=True):
    action: Action
    creator_id: Id | None = None
    affiliate_id: Id | None = None
    source: str | None = None
    product_id: Id | None = None
    product_name: ProductName | None = None
    basket_number: BasketNumber | None = None
    count: Annotated[int, Meta(ge=1, le=10**6)] | None = None
    gift_value: GiftValue | None = None
    watch_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None
    concurrent_viewers: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    # last: fields are looked for in this order, and hardly any event has these
    title: HostName | None = None
    seller_name: HostName | None = None
    creator_name: HostName | None = None


class Comment(Common, frozen=True, gc=False, kw_only=True):
    text: str
    creator_id: Id | None = None
    affiliate_id: Id | None = None
    source: str | None = None
    comment_id: Id | None = None
    language: str | None = None


class Item(Struct, frozen=True, gc=False):
    product_id: Id
    quantity: Annotated[int, Meta(ge=1, le=10**4)]
    unit_price_minor: Money
    local: bool | None = None
    """Made in the country (True), or sent from another (False). None: the shop does not say."""


class Checkout(Common, frozen=True, gc=False, kw_only=True):
    checkout_id: Id
    status: Status
    amount_minor: Money
    currency: str
    items: Annotated[tuple[Item, ...], Meta(max_length=MAX_ITEMS)]
    creator_id: Id | None = None
    affiliate_id: Id | None = None
    source: str | None = None
    attempt: Annotated[int, Meta(ge=0, le=1000)] | None = None
    order_id: Id | None = None
    payment_method: str | None = None
    is_cod: bool | None = None
    failure_code: str | None = None
    discount_minor: Money | None = None
    """What the buyer did not pay thanks to vouchers and promotions. It is not part of ``amount_minor``."""
    voucher_id: Id | None = None


Event = View | Comment | Checkout
