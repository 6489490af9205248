"""Counts added to counts: see pure/counts.py. -1 is NEVER."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t

from stream.core.native cimport table
from stream.core.native.breakdowns cimport add_money, add_sources
from stream.core.native.counts cimport Counts
from stream.core.native.table cimport Figures, held_by, hold


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


cdef inline void add_to(Figures figures, int place, int64_t more) noexcept:
    figures.at[place] = sum_of(figures.at[place], more)


cdef inline void add_sums(Figures into, Figures other) noexcept:
    cdef int place
    for place in range(table.SUMS):
        into.at[place] = sum_of(into.at[place], other.at[place])


cdef inline int add_rest(Counts into, Counts other) except -1:
    """All that is not a plain sum; neither uniques nor breakdowns by id."""
    cdef int place
    for place in range(table.N_MONIES):
        _add_money(into, other, table.monies_at[place])
    add_moments(into, other)
    if other.late is not None:
        into.show_late(other.late)
    if other.held[table.SOURCES] != NULL:
        sources = held_by(other, table.SOURCES)
        if sources:
            if into.held[table.SOURCES] == NULL:
                hold(into, table.SOURCES, {})
            add_sources(held_by(into, table.SOURCES), sources)
    into.incomplete = into.incomplete or other.incomplete
    return 0


cdef inline int _add_money(Figures into, Figures other, int place) except -1:
    cdef dict more
    if other.held[place] == NULL:
        return 0
    more = held_by(other, place)
    if not more:
        return 0
    if into.held[place] == NULL:
        hold(into, place, more.copy())
    else:
        add_money(held_by(into, place), more)
    return 0


cdef inline int add_moments(Figures into, Figures other) except -1:
    """What is a maximum, a minimum, or the latest by event time."""
    cdef int each, place
    for each in range(table.N_LATEST):
        _take_latest(into, other, table.latest_at[each], table.latest_by_at[each])
    for each in range(table.N_MAXIMA):
        place = table.maxima_at[each]
        into.at[place] = max(into.at[place], other.at[place])
    for each in range(table.N_MINIMA):
        place = table.minima_at[each]
        if other.at[place] != -1:
            into.at[place] = other.at[place] if into.at[place] == -1 else min(into.at[place], other.at[place])
    return 0


cdef inline int _take_latest(Figures into, Figures other, int place, int when) except -1:
    """What holds the event time is a maximum, and follows."""
    cdef int64_t theirs = other.at[when]
    if theirs > into.at[when]:
        if place >= 0:
            into.at[place] = other.at[place]
        else:
            hold(into, ~place, held_by(other, ~place))
    elif theirs == into.at[when] and theirs != -1:
        if place >= 0:
            into.at[place] = max(into.at[place], other.at[place])
        else:
            hold(into, ~place, max(held_by(into, ~place), held_by(other, ~place)))
    return 0
