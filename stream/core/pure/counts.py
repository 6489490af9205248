"""Counts in Python: see core/counts.py. What native/counts.pyx does the same, faster.

Sums are not cut here, as they are in C: model/money.py says where, and why that is the same.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from stream.core.breakdown import Clicks, Money, Orders, Source, add_money
from stream.core.columns import BREAKDOWNS, MONIES, NEVER, PLAIN, SUMMED, breakdowns, plain_values
from stream.core.uniques import united

if TYPE_CHECKING:
    from datasketches import cpc_sketch

    from stream.core.late import Late

_summed_values: Final = attrgetter(*SUMMED)


class Counts:
    """One column of figures. ``events`` is the number of counted events: the figures changed iff it did."""

    __slots__ = (
        *PLAIN,
        *MONIES,
        "affiliate_clicks",
        "affiliate_orders",
        "buyers",
        "incomplete",
        "late",
        "product_clicks_by",
        "product_orders",
        "sources",
        "viewers",
    )

    events: int
    impressions: int
    views: int
    product_impressions: int
    product_clicks: int
    adds_to_cart: int
    likes: int
    shares: int
    follows: int
    watch_ms: int
    comments: int
    checkouts_initiated: int
    checkouts_submitted: int
    checkouts_failed: int
    orders_paid: int
    cod_orders: int
    items_sold: int
    orders_cancelled: int
    orders_refunded: int
    samples: int
    sample_sum: int
    peak: int
    last: int
    last_at: int
    label_at: int
    seller: str
    platform: str
    creator_at: int
    creator: str
    first_event: int
    last_event: int
    heartbeats: int

    def __init__(self) -> None:
        self.events = self.impressions = self.views = self.product_impressions = self.product_clicks = 0
        self.adds_to_cart = self.likes = self.shares = self.follows = self.watch_ms = self.comments = 0
        self.checkouts_initiated = self.checkouts_submitted = self.checkouts_failed = 0
        self.orders_paid = self.cod_orders = self.items_sold = self.orders_cancelled = self.orders_refunded = 0
        self.samples = self.sample_sum = self.heartbeats = 0
        self.peak = self.last = self.last_at = NEVER
        self.label_at = self.creator_at = self.first_event = self.last_event = NEVER
        self.seller = self.platform = self.creator = ""
        self.gmv: Money = {}
        self.item_value: Money = {}
        self.local_item_value: Money = {}
        self.viewers: cpc_sketch | None = None
        self.buyers: cpc_sketch | None = None
        self.sources: dict[str, Source] | None = None
        self.product_clicks_by: Clicks | None = None
        self.affiliate_clicks: Clicks | None = None
        self.product_orders: Orders | None = None
        self.affiliate_orders: Orders | None = None
        self.incomplete = False
        self.late: Late | None = None
        """What of it came late, where anything did: labels and span of that are not in its own."""

    def add(self, other: "Counts") -> None:
        """Adds another slice of event time: no two have an event time in common, so what is latest needs no tie broken.

        Adds all but the uniques (`unite`) and the breakdowns by id (`breakdowns`), whose bounds differ.
        """
        for name, more in zip(SUMMED, _summed_values(other), strict=True):
            if more:
                setattr(self, name, getattr(self, name) + more)
        self.add_rest(other)

    def add_rest(self, other: "Counts") -> None:
        """The same for all that is not a plain sum."""
        if other.gmv:
            add_money(self.gmv, other.gmv)
        if other.item_value:
            add_money(self.item_value, other.item_value)
        if other.local_item_value:
            add_money(self.local_item_value, other.local_item_value)
        self._add_samples(other)
        self._add_labels(other)
        self._add_span(other)
        if other.late is not None:
            other.late.show(self)
        if other.sources:
            self._add_sources(other.sources)
        self.incomplete = self.incomplete or other.incomplete

    def _add_samples(self, other: "Counts") -> None:
        if not other.samples:
            return
        self.peak = max(self.peak, other.peak)
        self.last_at, self.last = max((self.last_at, self.last), (other.last_at, other.last))

    def _add_labels(self, other: "Counts") -> None:
        if other.label_at > self.label_at:
            self.label_at, self.seller, self.platform = other.label_at, other.seller, other.platform
        if other.creator_at > self.creator_at:
            self.creator_at, self.creator = other.creator_at, other.creator

    def _add_span(self, other: "Counts") -> None:
        if other.last_event == NEVER:
            return
        self.last_event = max(self.last_event, other.last_event)
        self.first_event = other.first_event if self.first_event == NEVER else min(self.first_event, other.first_event)

    def _add_sources(self, sources: dict[str, Source]) -> None:
        if self.sources is None:
            self.sources = {}
        for name, more in sources.items():
            mine = self.sources.get(name)
            if mine is None:
                self.sources[name] = Source(more.views, more.clicks, more.orders, dict(more.gmv))
            else:
                mine.add(more)


def merge_breakdowns(into: Counts, part: Counts, only: Mapping[str, AbstractSet[str]] | None = None) -> None:
    """Adds the breakdowns by id; with ``only`` (by breakdown), other ids go into the unnamed sums."""
    for name, more in zip(BREAKDOWNS, breakdowns(part), strict=True):
        if more is not None:
            _merge_breakdown(into, name, more, None if only is None else only[name])


def _merge_breakdown(into: Counts, name: str, more: Clicks | Orders, only: AbstractSet[str] | None) -> None:
    mine = getattr(into, name)
    if mine is None:
        mine = type(more)()
        setattr(into, name, mine)
    mine.merge(more, only)


def total(parts: Sequence[Counts], only: Mapping[str, AbstractSet[str]] | None = None) -> Counts:
    """The sum of panes with everything in it; its sketches are results of a union, so that `estimate` may read them.

    Column by column: half the time of adding part after part. It may share what it holds with a single part: to be read.
    """
    if len(parts) == 1 and only is None and parts[0].late is None:
        return _alone(parts[0])
    whole = Counts()
    for name, column in zip(SUMMED, zip(*map(_summed_values, parts), strict=True), strict=True):
        setattr(whole, name, sum(column))
    for part in parts:
        whole.add_rest(part)
        merge_breakdowns(whole, part, only)
    whole.viewers = united(part.viewers for part in parts)
    whole.buyers = united(part.buyers for part in parts)
    return whole


def _alone(part: Counts) -> Counts:
    whole = Counts()
    for name, value in zip(PLAIN, plain_values(part), strict=True):
        setattr(whole, name, value)
    whole.gmv, whole.item_value, whole.local_item_value = part.gmv, part.item_value, part.local_item_value
    whole.sources, whole.incomplete = part.sources, part.incomplete
    for name, figures in zip(BREAKDOWNS, breakdowns(part), strict=True):
        if figures is not None and figures.spilled:
            _merge_breakdown(whole, name, figures, None)
        else:
            setattr(whole, name, figures)
    whole.viewers, whole.buyers = united((part.viewers,)), united((part.buyers,))
    return whole
