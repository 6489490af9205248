"""Counts added to counts: see pure/counts.py. -1 is NEVER."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t

from stream.core.native.breakdowns cimport add_money, add_sources
from stream.core.native.counts cimport SUMS, Counts


cdef extern from *:
    """
    #define liveshop_add_overflows(one, other, sum) __builtin_add_overflow(one, other, sum)
    """
    bint add_overflows "liveshop_add_overflows"(int64_t one, int64_t other, int64_t* sum) noexcept nogil


cdef inline int64_t sum_of(int64_t one, int64_t other) noexcept nogil:
    """Saturates: an overflow of C's own is undefined."""
    cdef int64_t sum
    if add_overflows(one, other, &sum):
        return INT64_MAX if other > 0 else INT64_MIN
    return sum


cdef inline void add_sums(int64_t* sums, const int64_t* more) noexcept:
    cdef int place
    for place in range(SUMS):
        sums[place] = sum_of(sums[place], more[place])


cdef inline add_rest(Counts into, Counts other):
    into._gmv = _added_money(into._gmv, other._gmv)
    into._item_value = _added_money(into._item_value, other._item_value)
    into._local_item_value = _added_money(into._local_item_value, other._local_item_value)
    _add_samples(into, other)
    _add_labels(into, other)
    _add_span(into, other)
    if other.late is not None:
        other.late.show(into)
    if other.sources:
        if into.sources is None:
            into.sources = {}
        add_sources(into.sources, other.sources)
    into.incomplete = into.incomplete or other.incomplete


cdef inline dict _added_money(dict into, dict more):
    if not more:
        return into
    if into is None:
        return more.copy()
    add_money(into, more)
    return into


cdef inline void _add_samples(Counts into, Counts other) noexcept:
    if not other.samples:
        return
    into.peak = max(into.peak, other.peak)
    if other.last_at > into.last_at or (other.last_at == into.last_at and other.last > into.last):
        into.last_at, into.last = other.last_at, other.last


cdef inline _add_labels(Counts into, Counts other):
    if other.label_at > into.label_at:
        into.label_at, into.seller, into.platform = other.label_at, other.seller, other.platform
    if other.creator_at > into.creator_at:
        into.creator_at, into.creator = other.creator_at, other.creator


cdef inline void _add_span(Counts into, Counts other) noexcept:
    if other.last_event == -1:
        return
    into.last_event = max(into.last_event, other.last_event)
    into.first_event = other.first_event if into.first_event == -1 else min(into.first_event, other.first_event)
