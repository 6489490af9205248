"""Packing in Python: see core/packing.py. What native/packing.pyx does the same, faster."""

from operator import attrgetter
from typing import Any, Final

import msgspec
from datasketches import cpc_sketch

from stream.core.columns import MONIES, PLAIN, SUMMED, breakdowns
from stream.core.late import newest, pack_late, unpack_late
from stream.core.pure.counts import Counts
from stream.core.stored import Packed
from stream.model.money import MAX_SUM

HEAD: Final = ("events", "views", "product_clicks", "comments", "orders_paid", "last_event", "label_at")
"""The last two of all events, late ones too."""
REST: Final = tuple(name for name in PLAIN if name not in HEAD)
OLD_REST: Final = len(REST) - 1
"""Before heartbeats were counted, which came last."""

_head_values: Final = attrgetter(*HEAD)
_rest_values: Final = attrgetter(*REST)
_sums: Final = attrgetter(*SUMMED)
_monies: Final = attrgetter(*MONIES)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Packed).decode


def pack(counts: Counts) -> bytes:
    """The figures of ``Head`` first."""
    late = counts.late
    values = (
        *(_head_values(counts) if late is None else (*_head_values(counts)[:-2], *newest(counts))),
        counts.gmv,
        _rest_values(counts),
        counts.item_value,
        counts.local_item_value,
        _sketch(counts.viewers),
        _sketch(counts.buyers),
        counts.sources,
        breakdowns(counts),
        counts.incomplete,
        late and pack_late(counts),
    )
    if not _is_beyond(counts):
        try:
            return _encode(values)
        except OverflowError:  # only a part of a sum can be so large: nothing that was counted
            pass
    return _encode(_saturated(msgspec.to_builtins(values, builtin_types=(bytes,))))


def _is_beyond(counts: Counts) -> bool:
    """A sum has grown beyond 2^63 - 1. Up to 2^64 msgpack would take it; parts of sums are no larger than these."""
    if max(_sums(counts)) > MAX_SUM:
        return True
    return any(minor > MAX_SUM for money in _monies(counts) for minor in money.values())


def pack_item(marks: tuple[int, ...], counts: Counts) -> bytes:
    """As the state holds it: the marks of the windows that start with a pane, and the pane packed."""
    return _encode((marks, pack(counts)))


def unpack_into(counts: Counts, data: bytes) -> None:
    """Sets every figure. Raises whatever comes of bytes that are not packed counts."""
    packed = _decode(data)
    rest = packed.rest
    if len(rest) == OLD_REST:
        rest.append(0)
    try:
        _set_plain(counts, _head_values(packed), rest)
    except OverflowError:  # counts in C; an earlier version wrote sums up to 2^64
        _set_plain(counts, _saturated(_head_values(packed)), _saturated(rest))
    counts.gmv, counts.item_value, counts.local_item_value = packed.gmv, packed.item_value, packed.local_item_value
    counts.incomplete = packed.incomplete
    if packed.late is not None:
        unpack_late(counts, packed.late)
    counts.viewers = packed.viewers and cpc_sketch.deserialize(packed.viewers)
    counts.buyers = packed.buyers and cpc_sketch.deserialize(packed.buyers)
    counts.sources = packed.sources
    (
        counts.product_clicks_by,
        counts.affiliate_clicks,
        counts.product_orders,
        counts.affiliate_orders,
    ) = packed.breakdowns


def _set_plain(counts: Counts, head: tuple[Any, ...], rest: list[Any]) -> None:
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


def _sketch(sketch: cpc_sketch | None) -> bytes | None:
    return None if sketch is None else bytes(sketch.serialize())


def _saturated(values: Any) -> Any:
    """Sums beyond 64 bits."""
    if isinstance(values, int) and not isinstance(values, bool):
        return min(values, MAX_SUM)
    if isinstance(values, dict):
        return {name: _saturated(value) for name, value in values.items()}
    return [_saturated(value) for value in values] if isinstance(values, list | tuple) else values
