"""Counts out of msgpack: msgspec reads, and what it has read is set where counts have it. pure/packing.py is the definition.

What does not fit into 63 bits, and whatever else is odd, is left to the Python version, which saturates or says what is wrong.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp

from stream.core.native cimport table
from stream.core.native.counts cimport Counts
from stream.core.native.slots cimport slot, slot_get
from stream.core.native.table cimport hold
from stream.core.native.uniques cimport Uniques, uniques_of

import msgspec
from datasketches import cpc_sketch

from stream.core.figures import ADDED, HEAD
from stream.core.pure.packing import unpack_into as unpack_into_in_python
from stream.core.pure.packing import unpack_late
from stream.core.state_format import Packed
from stream.core.uniques import LG_K

cdef object _decode = msgspec.msgpack.Decoder(Packed).decode

cdef Py_ssize_t HEAD_SLOTS[table.N_HEAD]
for _place, _name in enumerate(HEAD):
    HEAD_SLOTS[_place] = slot(getattr(Packed, _name))
cdef Py_ssize_t ADDED_SLOTS[table.N_ADDED + 1]
for _place, _figure in enumerate(ADDED):
    ADDED_SLOTS[_place] = slot(getattr(Packed, _figure.name))
cdef Py_ssize_t REST = slot(Packed.rest)
cdef Py_ssize_t GMV = slot(Packed.gmv)
cdef Py_ssize_t ITEM_VALUE = slot(Packed.item_value)
cdef Py_ssize_t LOCAL_ITEM_VALUE = slot(Packed.local_item_value)
cdef Py_ssize_t VIEWERS = slot(Packed.viewers)
cdef Py_ssize_t BUYERS = slot(Packed.buyers)
cdef Py_ssize_t SOURCES = slot(Packed.sources)
cdef Py_ssize_t BREAKDOWNS = slot(Packed.breakdowns)
cdef Py_ssize_t INCOMPLETE = slot(Packed.incomplete)
cdef Py_ssize_t LATE = slot(Packed.late)


class _OddError(Exception):
    """For the Python version."""


cdef bytes SKETCH = bytes(cpc_sketch(LG_K).serialize())
"""An empty one: what is the same of all at its beginning, a byte of flags and those before it aside."""


cdef Uniques _sketch(object packed):
    """It is read by its library when somebody needs it; here only that it is one of ours."""
    cdef const uint8_t* like = <const uint8_t*>PyBytes_AS_STRING(SKETCH)
    cdef const uint8_t* at
    cdef Uniques uniques
    if packed is None:
        return None
    if not PyBytes_CheckExact(packed) or PyBytes_GET_SIZE(packed) < 16:
        raise _OddError
    at = <const uint8_t*>PyBytes_AS_STRING(packed)
    if memcmp(at + 1, like + 1, 3) or memcmp(at + 6, like + 6, 2):
        raise _OddError
    uniques = Uniques.__new__(Uniques)
    uniques.packed = packed
    return uniques


cdef int _fill(Counts counts, object packed) except -1:
    """In the order of pure/packing.unpack_into: the late part speaks of money that is set already. What is odd is left half
    done: the Python version sets all of it, or raises.
    """
    cdef tuple breakdowns = slot_get(packed, BREAKDOWNS)
    cdef object late = slot_get(packed, LATE)
    cdef int each
    for each in range(table.N_HEAD):
        counts.at[table.head_at[each]] = <int64_t>slot_get(packed, HEAD_SLOTS[each])
    _fill_rest(counts, slot_get(packed, REST))
    hold(counts, table.GMV, slot_get(packed, GMV) or None)
    hold(counts, table.ITEM_VALUE, slot_get(packed, ITEM_VALUE) or None)
    hold(counts, table.LOCAL_ITEM_VALUE, slot_get(packed, LOCAL_ITEM_VALUE) or None)
    hold(counts, table.VIEWERS, _sketch(slot_get(packed, VIEWERS)))
    hold(counts, table.BUYERS, _sketch(slot_get(packed, BUYERS)))
    _fill_added(counts, packed)
    counts.incomplete = slot_get(packed, INCOMPLETE)
    hold(counts, table.SOURCES, slot_get(packed, SOURCES))
    hold(counts, table.PRODUCT_CLICKS_BY, breakdowns[0])
    hold(counts, table.AFFILIATE_CLICKS, breakdowns[1])
    hold(counts, table.PRODUCT_ORDERS, breakdowns[2])
    hold(counts, table.AFFILIATE_ORDERS, breakdowns[3])
    if late is not None:
        unpack_late(counts, late)
    return 0


cdef int _fill_rest(Counts counts, list rest) except -1:
    """The plain figures behind the head. What a shorter one lacks was not counted when it was written."""
    cdef Py_ssize_t size = len(rest)
    cdef int each, place
    if size > table.N_REST:
        raise _OddError
    for each in range(size):
        place = table.rest_at[each]
        if place >= 0:
            counts.at[place] = <int64_t>rest[each]
        else:
            hold(counts, ~place, <str?>rest[each])
    for each in range(size, table.N_REST):
        _stand_in(counts, table.rest_at[each], table.stand_ins_at[each])
    return 0


cdef int _stand_in(Counts counts, int place, int before) except -1:
    """For what was not counted: another figure, or what stands where nothing is counted."""
    if place < 0:
        hold(counts, ~place, "")
    else:
        counts.at[place] = counts.at[before] if before >= 0 else table.default_values[place]
    return 0


cdef int _fill_added(Counts counts, object packed) except -1:
    cdef int each
    for each in range(table.N_ADDED):
        value = slot_get(packed, ADDED_SLOTS[each])
        if table.added_sorts_at[each] == table.ADDED_SKETCH:
            value = None if value is None else uniques_of(cpc_sketch.deserialize(value))
        elif table.added_sorts_at[each] == table.ADDED_MONEY and not value:
            value = None
        hold(counts, table.added_at[each], value)
    return 0


def unpack_into(Counts counts not None, data):
    """Sets every figure. Raises whatever comes of bytes that are not packed counts."""
    packed = _decode(data)
    try:
        _fill(counts, packed)
    except (_OddError, OverflowError, TypeError):
        unpack_into_in_python(counts, data)


def unpack(data):
    cdef Counts counts = Counts.__new__(Counts)
    unpack_into(counts, data)
    return counts
