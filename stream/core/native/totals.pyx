"""Sums of panes, and their columns, in C; pure/counts.py and pure/ontime.py are the definition."""

from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memcpy

from stream.core.native cimport table
from stream.core.native.adding cimport add_rest, add_sums
from stream.core.native.breakdowns cimport merged, settled_of
from stream.core.native.counts cimport Counts
from stream.core.native.table cimport held_by, hold
from stream.core.native.uniques cimport Uniques, uniques_of

from stream.core.figures import NAMED_BY
from stream.core.pure.ontime import column_of as column_in_python
from stream.core.uniques import united

cdef tuple _NAMES = tuple(NAMED_BY.values())


def merge_breakdowns(Counts into not None, Counts part not None, only=None):
    """Adds them; with ``only`` (by breakdown), other ids go into the unnamed sums."""
    _merge_breakdowns(into, part, only)


cdef int _merge_breakdowns(Counts into, Counts part, object only) except -1:
    cdef int each, place
    for each in range(table.N_BREAKDOWNS):
        place = table.breakdowns_at[each]
        if part.held[place] != NULL:
            hold(into, place, merged(held_by(into, place), <object>part.held[place], only, <str>_NAMES[each]))
    return 0


def total(parts, only=None):
    """The sum of panes with everything in it; its sketches are results of a union, so that `estimate` may read them.

    It may share what it holds with a single part: to be read.
    """
    cdef Counts whole
    cdef Counts part
    if len(parts) == 1 and only is None:
        part = parts[0]
        if part.late is None:
            return _alone(part)
    whole = Counts.__new__(Counts)
    for part in parts:
        add_sums(whole, part)
        add_rest(whole, part)
        _merge_breakdowns(whole, part, only)
    _unite(whole, parts)
    return whole


cdef int _unite(Counts whole, object parts) except -1:
    cdef int each, place
    cdef Counts part
    cdef list sketches
    for each in range(table.N_SKETCHES):
        place = table.sketches_at[each]
        sketches = []
        for part in parts:
            if part.held[place] != NULL:
                sketches.append((<Uniques>part.held[place]).unpacked())
        hold(whole, place, uniques_of(united(sketches)))
    return 0


cdef Counts _alone(Counts part):
    cdef Counts whole = Counts.__new__(Counts)
    cdef int place
    memcpy(whole.at, part.at, sizeof(part.at))
    for place in range(table.HELD):
        if part.held[place] != NULL:
            hold(whole, place, <object>part.held[place])
    for each in range(table.N_BREAKDOWNS):
        place = table.breakdowns_at[each]
        if part.held[place] != NULL:
            hold(whole, place, settled_of(<object>part.held[place]))
    _unite(whole, (part,))
    whole.incomplete = part.incomplete
    return whole


def column_of(Counts counts not None, str currency not None):
    """The on-time figures, in the order of `figures.COLUMN`. All saturate."""
    cdef int each, place
    cdef list column
    if counts.late is not None:
        return column_in_python(counts, currency)
    column = []
    for each in range(table.N_COLUMN):
        place = table.column_at[each]
        column.append(counts.at[place] if place >= 0 else _amount(counts, ~place, currency))
    return tuple(column)


cdef object _amount(Counts counts, int place, str currency):
    return 0 if counts.held[place] == NULL else min((<dict>counts.held[place]).get(currency, 0), INT64_MAX)
