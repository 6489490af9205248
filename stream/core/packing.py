"""Counts as bytes, and back: msgpack. What a quiet pane is held as, and what the state holds.

Money saturates, so that all of it can be packed; no count comes near 2^63.
"""

from operator import attrgetter
from typing import Any, Final

import msgspec
from datasketches import cpc_sketch

from stream.core.breakdown import Clicks, Money, Orders, Sales
from stream.core.counts import BREAKDOWNS, PLAIN, Counts, Source, breakdowns
from stream.core.ontime import newest, pack_late, unpack_late
from stream.core.stored import Head
from stream.model.money import MAX_SUM

HEAD: Final = ("events", "views", "product_clicks", "comments", "orders_paid", "last_event", "label_at")
"""The last two of all events, late ones too."""
REST: Final = tuple(name for name in PLAIN if name not in HEAD)
OLD_REST: Final = len(REST) - 1
"""Before heartbeats were counted, which came last."""

_head_values: Final = attrgetter(*HEAD)
_rest_values: Final = attrgetter(*REST)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


head_of: Final = msgspec.msgpack.Decoder(Head).decode


def pack(counts: Counts) -> bytes:
    """The figures of ``Head`` first."""
    late = counts.late
    return _encode(
        (
            *(_head_values(counts) if late is None else (*_head_values(counts)[:-2], *newest(counts))),
            _money(counts.gmv),
            _rest_values(counts),
            _money(counts.item_value),
            _money(counts.local_item_value),
            _sketch(counts.viewers),
            _sketch(counts.buyers),
            _sources(counts.sources),
            [part and _breakdown(part) for part in breakdowns(counts)],
            counts.incomplete,
            late and pack_late(counts),
        )
    )


def unpack_into(counts: Counts, data: bytes) -> None:
    """Sets every figure. Raises whatever comes of bytes that are not packed counts."""
    values = _decode(data)
    rest = values[len(HEAD) + 1]
    if len(rest) == OLD_REST:
        rest.append(0)
        values.append(None)
    _set_plain(counts, values[: len(HEAD)], rest)
    counts.gmv = values[len(HEAD)]
    counts.item_value, counts.local_item_value, viewers, buyers, sources, parts, counts.incomplete, late = values[
        len(HEAD) + 2 :
    ]
    if late is not None:
        unpack_late(counts, late)
    counts.viewers = viewers and cpc_sketch.deserialize(viewers)
    counts.buyers = buyers and cpc_sketch.deserialize(buyers)
    counts.sources = sources and {name: Source(*figures) for name, figures in sources.items()}
    for name, part in zip(BREAKDOWNS, parts, strict=True):
        if part is not None:
            setattr(counts, name, _unbreakdown(part))


def _set_plain(counts: Counts, head: list[Any], rest: list[Any]) -> None:
    """In one assignment each: three times as fast as a loop over the names."""
    (
        counts.events,
        counts.views,
        counts.product_clicks,
        counts.comments,
        counts.orders_paid,
        counts.last_event,
        counts.label_at,
    ) = head
    (
        counts.impressions,
        counts.product_impressions,
        counts.adds_to_cart,
        counts.likes,
        counts.shares,
        counts.follows,
        counts.watch_ms,
        counts.checkouts_initiated,
        counts.checkouts_submitted,
        counts.checkouts_failed,
        counts.cod_orders,
        counts.items_sold,
        counts.orders_cancelled,
        counts.orders_refunded,
        counts.samples,
        counts.sample_sum,
        counts.peak,
        counts.last,
        counts.last_at,
        counts.seller,
        counts.platform,
        counts.creator_at,
        counts.creator,
        counts.first_event,
        counts.heartbeats,
    ) = rest


def unpack(data: bytes) -> Counts:
    counts = Counts()
    unpack_into(counts, data)
    return counts


def _money(money: Money) -> Money:
    return money and {currency: min(minor, MAX_SUM) for currency, minor in money.items()}


def _sketch(sketch: cpc_sketch | None) -> bytes | None:
    return None if sketch is None else bytes(sketch.serialize())


def _sales(sales: Sales) -> Any:
    return (sales.orders, _money(sales.money))


def _breakdown(part: Clicks | Orders) -> Any:
    if isinstance(part, Clicks):
        return (part.named, part.beyond, part.spilled)
    named = {id_: _sales(sales) for id_, sales in part.named.items()}
    return (named, _sales(part.beyond), {id_: _sales(sales) for id_, sales in part.spilled.items()})


def _unbreakdown(packed: Any) -> Clicks | Orders:
    named, beyond, spilled = packed
    if isinstance(beyond, int):
        return Clicks(named, beyond, spilled)
    return Orders(
        {id_: Sales(*sales) for id_, sales in named.items()},
        Sales(*beyond),
        {id_: Sales(*sales) for id_, sales in spilled.items()},
    )


def _sources(sources: dict[str, Source] | None) -> Any:
    return sources and {
        name: (source.views, source.clicks, source.orders, _money(source.gmv)) for name, source in sources.items()
    }
