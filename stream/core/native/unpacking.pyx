"""Counts out of msgpack, by hand; pure/packing.py is the definition.

It knows what packing.pyx writes. Whatever else there is is `_OddError`, and left to the Python version, which reads older
and newer versions, or says what is wrong.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from stream.core.native cimport table
from stream.core.native.counts cimport Counts
from stream.core.native.slots cimport slot, slot_get
from stream.core.native.table cimport hold
from stream.core.native.uniques cimport Uniques, uniques_of

import msgspec
from datasketches import cpc_sketch

from stream.core.figures import ADDED
from stream.core.pure.packing import unpack_into as unpack_into_in_python
from stream.core.pure.packing import unpack_late
from stream.core.state_format import Tail
from stream.core.uniques import LG_K

cdef object _decode_tail = msgspec.msgpack.Decoder(Tail).decode

cdef Py_ssize_t TAIL_SOURCES = slot(Tail.sources)
cdef Py_ssize_t TAIL_BREAKDOWNS = slot(Tail.breakdowns)
cdef Py_ssize_t TAIL_INCOMPLETE = slot(Tail.incomplete)
cdef Py_ssize_t TAIL_LATE = slot(Tail.late)
cdef Py_ssize_t[table.N_ADDED + 1] ADDED_SLOTS
for _place, _figure in enumerate(ADDED):
    ADDED_SLOTS[_place] = slot(getattr(Tail, _figure.name))

cdef enum:
    FIELDS = 17        # of packed counts of the first layout
    IN_TAIL = 4        # of them, which `Tail` reads
    LEAST = 24         # plain figures behind the head in the oldest state


class _OddError(Exception):
    """For the Python version."""


cdef struct Cursor:
    const uint8_t* at
    const uint8_t* end


cdef inline const uint8_t* _take(Cursor* cursor, size_t size) except NULL:
    """The next bytes, where there are so many."""
    if <size_t>(cursor.end - cursor.at) < size:
        raise _OddError
    cursor.at += size
    return cursor.at - size


cdef inline uint64_t _read_big_endian(Cursor* cursor, int size) except? 7:
    cdef const uint8_t* at = _take(cursor, size)
    cdef uint64_t value = 0
    cdef int place
    for place in range(size):
        value = value << 8 | at[place]
    return value


cdef int64_t _read_whole(Cursor* cursor) except? -7:
    """Beyond 63 bits it is odd."""
    cdef uint8_t tag = _take(cursor, 1)[0]
    cdef uint64_t value
    if tag < 0x80:
        return tag
    if tag >= 0xE0:
        return <int64_t>tag - 256
    if 0xCC <= tag <= 0xCF:
        value = _read_big_endian(cursor, 1 << (tag - 0xCC))
        if value > <uint64_t>INT64_MAX:
            raise _OddError
        return <int64_t>value
    if tag == 0xD3:
        return <int64_t>_read_big_endian(cursor, 8)
    raise _OddError


cdef size_t _read_size(Cursor* cursor, uint8_t fixed, size_t fixed_below, uint8_t tag, int widths) except? 7:
    """``widths``: how many sizes of sizes there are behind ``tag``: 3 from 8 bits on, 2 from 16."""
    cdef uint8_t first = _take(cursor, 1)[0]
    if fixed <= first < fixed + fixed_below:
        return first - fixed
    if tag <= first < tag + widths:
        return _read_big_endian(cursor, 1 << (first - tag + 3 - widths))
    raise _OddError


cdef str _read_text(Cursor* cursor):
    cdef size_t size = _read_size(cursor, 0xA0, 32, 0xD9, 3)
    cdef const uint8_t* at = _take(cursor, size)
    return PyUnicode_DecodeUTF8(<const char*>at, size, NULL)


cdef dict _read_numbers(Cursor* cursor):
    """None where there are none."""
    cdef size_t size = _read_size(cursor, 0x80, 16, 0xDE, 2)
    cdef dict numbers
    cdef str name
    if size == 0:
        return None
    numbers = {}
    for _ in range(size):
        name = _read_text(cursor)
        numbers[name] = _read_whole(cursor)
    return numbers


cdef bytes SKETCH = bytes(cpc_sketch(LG_K).serialize())
"""An empty one: what is the same of all at its beginning, a byte of flags and those before it aside."""


cdef Uniques _read_sketch(Cursor* cursor):
    """It is read by its library when somebody needs it; here only that it is one of ours."""
    cdef const uint8_t* like = <const uint8_t*>PyBytes_AS_STRING(SKETCH)
    cdef const uint8_t* at
    cdef size_t size
    cdef Uniques uniques
    if cursor.at < cursor.end and cursor.at[0] == 0xC0:
        cursor.at += 1
        return None
    size = _read_size(cursor, 0, 0, 0xC4, 3)
    at = _take(cursor, size)
    if size < 16 or memcmp(at + 1, like + 1, 3) or memcmp(at + 6, like + 6, 2):
        raise _OddError
    uniques = Uniques.__new__(Uniques)
    uniques.packed = PyBytes_FromStringAndSize(<const char*>at, size)
    return uniques


cdef int _read_into(Counts counts, bytes data) except -1:
    """What cannot be read is left half read: the Python version sets all of it, or raises."""
    cdef Cursor cursor
    cdef size_t fields
    cdef int each
    cursor.at = <const uint8_t*>PyBytes_AS_STRING(data)
    cursor.end = cursor.at + PyBytes_GET_SIZE(data)
    fields = _read_size(&cursor, 0x90, 16, 0xDC, 2)
    if not FIELDS <= fields <= FIELDS + table.N_ADDED:
        raise _OddError
    for each in range(table.N_HEAD):
        counts.at[table.head_at[each]] = _read_whole(&cursor)
    hold(counts, table.GMV, _read_numbers(&cursor))
    _read_rest(counts, &cursor)
    hold(counts, table.ITEM_VALUE, _read_numbers(&cursor))
    hold(counts, table.LOCAL_ITEM_VALUE, _read_numbers(&cursor))
    hold(counts, table.VIEWERS, _read_sketch(&cursor))
    hold(counts, table.BUYERS, _read_sketch(&cursor))
    _set_tail(counts, _read_tail(&cursor, fields - FIELDS + IN_TAIL))
    return 0


cdef int _read_rest(Counts counts, Cursor* cursor) except -1:
    """The plain figures behind the head. What a shorter one lacks was not counted when it was written."""
    cdef int size = <int>_read_size(cursor, 0x90, 16, 0xDC, 2)
    cdef int each, place
    if not LEAST <= size <= table.N_REST:
        raise _OddError
    for each in range(size):
        place = table.rest_at[each]
        if place >= 0:
            counts.at[place] = _read_whole(cursor)
        else:
            hold(counts, ~place, _read_text(cursor))
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


cdef object _read_tail(Cursor* cursor, size_t fields):
    """Sources, breakdowns, whether it is incomplete, what was late, and what was added: as an array of its own."""
    cdef Py_ssize_t size = cursor.end - cursor.at
    cdef bytes tail = PyBytes_FromStringAndSize(NULL, size + 3)
    cdef char* at = PyBytes_AS_STRING(tail)
    at[0], at[1], at[2] = <char>0xDC, <char>(fields >> 8), <char>fields
    memcpy(at + 3, cursor.at, size)
    return _decode_tail(tail)


cdef int _set_tail(Counts counts, object tail) except -1:
    """In the order of pure/packing.unpack_into: the late part speaks of money that is set already."""
    cdef tuple breakdowns = slot_get(tail, TAIL_BREAKDOWNS)
    cdef object late = slot_get(tail, TAIL_LATE)
    cdef int each
    for each in range(table.N_ADDED):
        value = slot_get(tail, ADDED_SLOTS[each])
        if table.added_sorts_at[each] == table.ADDED_SKETCH:
            value = None if value is None else uniques_of(cpc_sketch.deserialize(value))
        elif table.added_sorts_at[each] == table.ADDED_MONEY and not value:
            value = None
        hold(counts, table.added_at[each], value)
    counts.incomplete = slot_get(tail, TAIL_INCOMPLETE)
    hold(counts, table.SOURCES, slot_get(tail, TAIL_SOURCES))
    hold(counts, table.PRODUCT_CLICKS_BY, breakdowns[0])
    hold(counts, table.AFFILIATE_CLICKS, breakdowns[1])
    hold(counts, table.PRODUCT_ORDERS, breakdowns[2])
    hold(counts, table.AFFILIATE_ORDERS, breakdowns[3])
    if late is not None:
        unpack_late(counts, late)
    return 0


def unpack_into(Counts counts not None, data):
    """Sets every figure. Raises whatever comes of bytes that are not packed counts."""
    try:
        if type(data) is not bytes:
            raise _OddError
        _read_into(counts, data)
    except (_OddError, UnicodeDecodeError, msgspec.MsgspecError):
        unpack_into_in_python(counts, data)


def unpack(data):
    cdef Counts counts = Counts.__new__(Counts)
    unpack_into(counts, data)
    return counts
