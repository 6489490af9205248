"""The shapes of what the state stores: what msgspec reads them by, and nothing else."""

from typing import Any

import msgspec

from stream.core.breakdown import Clicks, Money, Orders, Source


class Head(msgspec.Struct, array_like=True, gc=False):
    """The beginning of packed counts, which is read without unpacking the rest: what a session knows of its panes."""

    events: int
    views: int
    product_clicks: int
    comments: int
    orders_paid: int
    last_event: int
    label_at: int
    gmv: Money


class Plain(msgspec.Struct, array_like=True, gc=False):
    """The plain figures after the head, as far as a look at a pane wants them."""

    impressions: int
    product_impressions: int
    adds_to_cart: int
    likes: int
    shares: int
    follows: int
    watch_ms: int
    checkouts_initiated: int
    checkouts_submitted: int
    checkouts_failed: int
    cod_orders: int
    items_sold: int
    orders_cancelled: int
    orders_refunded: int
    samples: int
    sample_sum: int
    peak: int
    last: int
    last_at: int
    seller: str
    platform: str


class Glance(Head, array_like=True, gc=False):
    """What people see of a pane, read without unpacking the rest."""

    plain: Plain

    @property
    def platform(self) -> str:
        return self.plain.platform

    @property
    def last(self) -> int:
        return self.plain.last


class Packed(Head, array_like=True, gc=False):
    """Packed counts: what one pane holds."""

    rest: list[Any]
    item_value: Money
    local_item_value: Money
    viewers: bytes | None
    buyers: bytes | None
    sources: dict[str, Source] | None
    breakdowns: tuple[Clicks | None, Clicks | None, Orders | None, Orders | None]
    incomplete: bool
    late: Any = None


class Tail(msgspec.Struct, array_like=True, gc=False):
    """The last fields of `Packed`, those that are no plain figures."""

    sources: dict[str, Source] | None
    breakdowns: tuple[Clicks | None, Clicks | None, Orders | None, Orders | None]
    incomplete: bool
    late: Any = None


class Meta(msgspec.Struct):
    """What a checkpoint says of the shard as a whole. New fields need a default."""

    owner: dict[str, str]
    policy: dict[str, Any]
    generation: int
    positions: dict[str, int]
    clocks: dict[str, int | None]
    watermark: int | None
    horizon: list[int]
    drop_line: int
    gaps: dict[str, int | None]
    alerted_through: int | None = None
    """Slides that end here or earlier are judged."""
    silent: tuple[dict[str, int], list[bytes]] | None = None
    """While a rebuild tells no alerts: until the inputs have passed these ends, and what was told before."""
    checkout_floor: int = -(2**62)
    gone_floor: int = -(2**62)
    """Checkout keys and let-go sessions of before are forgotten: there were too many."""
    admitted: dict[str, dict[int, int]] | None = None
    """New sessions by topic and start of the pane; None of a version that knew no bound on them."""
    transactional_id: str = ""
    """Of the producer that wrote it; empty of a version that did not say."""
    partitions: int | None = None
    """How many there were of each topic: keys are placed by it. None of a version that did not write it."""
    moved_to: str | None = None
    """The prefix of the topics to which what is not counted here was moved: nothing more is counted here."""
    topic_ids: dict[str, str] = {}
    """Kafka's ids of the topics read and written, by their names in the code. Empty of a version that did not ask."""


class Section(msgspec.Struct, array_like=True):
    """A piece of the content of a checkpoint; only the first has a meta and what is dropped."""

    meta: bytes = b""
    drops: list[bytes] = []
    dropped_buckets: list[bytes] = []
    puts: list[tuple[bytes, bytes]] = []
    additions: list[tuple[bytes, bytes]] = []
