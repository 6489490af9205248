"""Sums of panes, and their columns, in C; pure/counts.py and pure/ontime.py are the definition."""

from libc.stdint cimport INT64_MAX, int64_t

from stream.core.native.adding cimport add_rest, add_sums
from stream.core.native.breakdowns cimport merged, settled_of
from stream.core.native.counts cimport SUMS, Counts
from stream.core.native.uniques cimport uniques_of

from stream.core.pure.ontime import column_of as column_in_python
from stream.core.uniques import united

cdef enum:
    HEARTBEATS = 19    # its place in columns.SUMMED, behind the counters


def merge_breakdowns(Counts into not None, Counts part not None, only=None):
    """Adds them; with ``only`` (by breakdown), other ids go into the unnamed sums."""
    _merge_breakdowns(into, part, only)


cdef _merge_breakdowns(Counts into, Counts part, object only):
    if part.product_clicks_by is not None:
        into.product_clicks_by = merged(into.product_clicks_by, part.product_clicks_by, only, "product_clicks_by")
    if part.affiliate_clicks is not None:
        into.affiliate_clicks = merged(into.affiliate_clicks, part.affiliate_clicks, only, "affiliate_clicks")
    if part.product_orders is not None:
        into.product_orders = merged(into.product_orders, part.product_orders, only, "product_orders")
    if part.affiliate_orders is not None:
        into.affiliate_orders = merged(into.affiliate_orders, part.affiliate_orders, only, "affiliate_orders")


def total(parts, only=None):
    """The sum of panes with everything in it; its sketches are results of a union, so that `estimate` may read them.

    It may share what it holds with a single part: to be read.
    """
    cdef Counts whole
    cdef Counts part
    cdef int64_t[SUMS] sums
    cdef int64_t[SUMS] more
    if len(parts) == 1 and only is None:
        part = parts[0]
        if part.late is None:
            return _alone(part)
    whole = Counts.__new__(Counts)
    whole.read_sums(sums)
    for part in parts:
        part.read_sums(more)
        add_sums(sums, more)
        add_rest(whole, part)
        _merge_breakdowns(whole, part, only)
    whole.write_sums(sums)
    whole._viewers = uniques_of(united([(<Counts>each)._viewers.unpacked() for each in parts
                                      if (<Counts>each)._viewers is not None]))
    whole._buyers = uniques_of(united([(<Counts>each)._buyers.unpacked() for each in parts
                                     if (<Counts>each)._buyers is not None]))
    return whole


cdef Counts _alone(Counts part):
    cdef Counts whole = Counts.__new__(Counts)
    cdef int64_t[SUMS] sums
    part.read_sums(sums)
    whole.write_sums(sums)
    whole.peak, whole.last, whole.last_at = part.peak, part.last, part.last_at
    whole.label_at, whole.seller, whole.platform = part.label_at, part.seller, part.platform
    whole.creator_at, whole.creator = part.creator_at, part.creator
    whole.first_event, whole.last_event = part.first_event, part.last_event
    whole._gmv, whole._item_value, whole._local_item_value = part._gmv, part._item_value, part._local_item_value
    whole.sources, whole.incomplete = part.sources, part.incomplete
    whole.product_clicks_by = settled_of(part.product_clicks_by)
    whole.affiliate_clicks = settled_of(part.affiliate_clicks)
    whole.product_orders = settled_of(part.product_orders)
    whole.affiliate_orders = settled_of(part.affiliate_orders)
    if part._viewers is not None:
        whole._viewers = uniques_of(united((part._viewers.unpacked(),)))
    if part._buyers is not None:
        whole._buyers = uniques_of(united((part._buyers.unpacked(),)))
    return whole


def column_of(Counts counts not None, str currency not None):
    """The on-time figures, in the order of `figures.FIELDS`. All saturate."""
    cdef int64_t[SUMS] sums
    if counts.late is not None:
        return column_in_python(counts, currency)
    counts.read_sums(sums)
    if not counts.orders_paid:
        return (*[sums[place] for place in range(1, HEARTBEATS + 1)], 0, 0, 0, sums[0])
    return (
        *[sums[place] for place in range(1, HEARTBEATS + 1)],
        _amount(counts._gmv, currency),
        _amount(counts._item_value, currency),
        _amount(counts._local_item_value, currency),
        sums[0],
    )


cdef object _amount(dict money, str currency):
    return 0 if money is None else min(money.get(currency, 0), INT64_MAX)
