"""Counts as msgpack, by hand; pure/packing.py is the definition, and core/packing.py reads it.

It knows what counts usually hold. Whatever else there is, as an integer beyond 64 bits, is `_OddError`, and left to the
Python version, which saturates.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from stream.core.native.breakdowns cimport (
    SOURCE_VIEWS,
    SOURCE_CLICKS,
    SOURCE_ORDERS,
    SOURCE_GMV,
    CLICKS_NAMED,
    CLICKS_BEYOND,
    CLICKS_SPILLED,
    ORDERS_NAMED,
    ORDERS_BEYOND,
    ORDERS_SPILLED,
    SALES_ORDERS,
    SALES_MONEY,
)
from stream.core.native.buffers cimport Buffer, begin, end, more
from stream.core.native cimport table
from stream.core.native.counts cimport Counts
from stream.core.native.slots cimport slot_get
from stream.core.native.table cimport held_by
from stream.core.native.uniques cimport Uniques

import msgspec

from stream.core.breakdown import Clicks, Orders, Sales, Source
from stream.core.formats import NEWEST, lengths_of
from stream.core.late import newest
from stream.core.pure.packing import pack as pack_in_python
from stream.core.pure.packing import pack_item as pack_item_in_python
from stream.core.pure.packing import pack_late

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyLong_CheckExact(object value)
    bint PyUnicode_CheckExact(object value)

cdef int ALL_FIGURES = NEWEST.figures
cdef object _encode = msgspec.msgpack.Encoder().encode

cdef enum:
    FIELDS = 17        # of packed counts of the first layout
    OWN = 5            # figures of the head that are as they are counted


class _OddError(Exception):
    """For the Python version."""


cdef inline int _byte(Buffer* buffer, uint8_t byte) except -1:
    more(buffer, 1)[0] = byte
    return 0


cdef inline void _big_endian(uint8_t* at, uint64_t value, int size) noexcept:
    cdef int place
    for place in range(size):
        at[place] = <uint8_t>(value >> (8 * (size - 1 - place)))


cdef int _tagged(Buffer* buffer, uint8_t tag, uint64_t value, int size) except -1:
    cdef uint8_t* at = more(buffer, 1 + size)
    at[0] = tag
    _big_endian(at + 1, value, size)
    return 0


cdef int _whole(Buffer* buffer, int64_t value) except -1:
    if value >= 0:
        if value < 128:
            return _byte(buffer, <uint8_t>value)
        if value < 1 << 8:
            return _tagged(buffer, 0xCC, value, 1)
        if value < 1 << 16:
            return _tagged(buffer, 0xCD, value, 2)
        if value < <int64_t>1 << 32:
            return _tagged(buffer, 0xCE, value, 4)
        return _tagged(buffer, 0xCF, value, 8)
    if value >= -32:
        return _byte(buffer, <uint8_t>value)
    if value >= -(1 << 7):
        return _tagged(buffer, 0xD0, <uint64_t>value, 1)
    if value >= -(1 << 15):
        return _tagged(buffer, 0xD1, <uint64_t>value, 2)
    if value >= -(<int64_t>1 << 31):
        return _tagged(buffer, 0xD2, <uint64_t>value, 4)
    return _tagged(buffer, 0xD3, <uint64_t>value, 8)


cdef int _number(Buffer* buffer, object number) except -1:
    cdef int overflow = 0
    cdef int64_t value
    if not PyLong_CheckExact(number):
        raise _OddError
    value = PyLong_AsLongLongAndOverflow(number, &overflow)
    if overflow:
        raise _OddError
    return _whole(buffer, value)


cdef int _counted(Buffer* buffer, size_t size, uint8_t fixed, size_t fixed_below, uint8_t tag, bint has_short) except -1:
    """The beginning of what has a size: in one byte, or behind ``tag``, which also exists for 8 bits when ``has_short``."""
    if size < fixed_below:
        return _byte(buffer, fixed | <uint8_t>size)
    if has_short:
        if size < 1 << 8:
            return _tagged(buffer, tag, size, 1)
        tag += 1
    if size < 1 << 16:
        return _tagged(buffer, tag, size, 2)
    if size >> 32:
        raise _OddError
    return _tagged(buffer, tag + 1, size, 4)


cdef inline int _array(Buffer* buffer, size_t size) except -1:
    return _counted(buffer, size, 0x90, 16, 0xDC, False)


cdef inline int _map(Buffer* buffer, size_t size) except -1:
    return _counted(buffer, size, 0x80, 16, 0xDE, False)


cdef int _text(Buffer* buffer, object text) except -1:
    cdef Py_ssize_t size = 0
    cdef const char* at
    if not PyUnicode_CheckExact(text):
        raise _OddError
    at = PyUnicode_AsUTF8AndSize(text, &size)
    _counted(buffer, size, 0xA0, 32, 0xD9, True)
    memcpy(more(buffer, size), at, size)
    return 0


cdef int _bytes(Buffer* buffer, bytes data) except -1:
    """None is nil."""
    cdef Py_ssize_t size
    if data is None:
        return _byte(buffer, 0xC0)
    size = PyBytes_GET_SIZE(data)
    _counted(buffer, size, 0, 0, 0xC4, True)
    memcpy(more(buffer, size), PyBytes_AS_STRING(data), size)
    return 0


cdef int _numbers(Buffer* buffer, object numbers) except -1:
    """Numbers by text: money, clicks. None stands for none of them."""
    cdef dict each
    if numbers is None:
        return _map(buffer, 0)
    if type(numbers) is not dict:
        raise _OddError
    each = <dict>numbers
    _map(buffer, len(each))
    for name, number in each.items():
        _text(buffer, name)
        _number(buffer, number)
    return 0


cdef int _sources(Buffer* buffer, dict sources) except -1:
    if sources is None:
        return _byte(buffer, 0xC0)
    _map(buffer, len(sources))
    for name, source in sources.items():
        if type(source) is not Source:
            raise _OddError
        _text(buffer, name)
        _array(buffer, 4)
        _number(buffer, slot_get(source, SOURCE_VIEWS))
        _number(buffer, slot_get(source, SOURCE_CLICKS))
        _number(buffer, slot_get(source, SOURCE_ORDERS))
        _numbers(buffer, slot_get(source, SOURCE_GMV))
    return 0


cdef int _clicks(Buffer* buffer, object clicks) except -1:
    if clicks is None:
        return _byte(buffer, 0xC0)
    if type(clicks) is not Clicks:
        raise _OddError
    _array(buffer, 3)
    _numbers(buffer, slot_get(clicks, CLICKS_NAMED))
    _number(buffer, slot_get(clicks, CLICKS_BEYOND))
    return _numbers(buffer, slot_get(clicks, CLICKS_SPILLED))


cdef int _sales(Buffer* buffer, object sales) except -1:
    if type(sales) is not Sales:
        raise _OddError
    _array(buffer, 2)
    _number(buffer, slot_get(sales, SALES_ORDERS))
    return _numbers(buffer, slot_get(sales, SALES_MONEY))


cdef int _sales_by_id(Buffer* buffer, object by_id) except -1:
    if type(by_id) is not dict:
        raise _OddError
    _map(buffer, len(<dict>by_id))
    for id_, sales in (<dict>by_id).items():
        _text(buffer, id_)
        _sales(buffer, sales)
    return 0


cdef int _orders(Buffer* buffer, object orders) except -1:
    if orders is None:
        return _byte(buffer, 0xC0)
    if type(orders) is not Orders:
        raise _OddError
    _array(buffer, 3)
    _sales_by_id(buffer, slot_get(orders, ORDERS_NAMED))
    _sales(buffer, slot_get(orders, ORDERS_BEYOND))
    return _sales_by_id(buffer, slot_get(orders, ORDERS_SPILLED))


cdef int _labels(Buffer* buffer, object labels) except -1:
    """Few events carry any: by msgspec."""
    return _byte(buffer, 0xC0) if labels is None else _raw(buffer, _encode(labels))


cdef int _plain(Buffer* buffer, Counts counts, int place) except -1:
    """A number, or the text at an inverted place."""
    return _whole(buffer, counts.at[place]) if place >= 0 else _text(buffer, held_by(counts, ~place))


cdef int _head(Buffer* buffer, Counts counts, int64_t last_event, int64_t label_at, int fields) except -1:
    cdef int each
    _array(buffer, fields)
    for each in range(OWN):
        _whole(buffer, counts.at[table.head_at[each]])
    _whole(buffer, last_event)
    _whole(buffer, label_at)
    return _numbers(buffer, held_by(counts, table.GMV))


cdef int _rest(Buffer* buffer, Counts counts, int size) except -1:
    cdef int each
    _array(buffer, size)
    for each in range(size):
        _plain(buffer, counts, table.rest_at[each])
    return 0


cdef int _sketch(Buffer* buffer, Counts counts, int place) except -1:
    return _bytes(buffer, None if counts.held[place] == NULL else (<Uniques>counts.held[place]).serialized())


cdef int _write(Buffer* buffer, Counts counts, int rest, int fields) except -1:
    """``rest``, ``fields``: how many of the figures there (formats.Lengths)."""
    cdef bytes late = None
    cdef int64_t last_event = counts.at[table.LAST_EVENT]
    cdef int64_t label_at = counts.at[table.LABEL_AT]
    if counts.late is not None:
        last_event, label_at = newest(counts)
        late = _encode(pack_late(counts))
    _head(buffer, counts, last_event, label_at, fields)
    _rest(buffer, counts, rest)
    _numbers(buffer, held_by(counts, table.ITEM_VALUE))
    _numbers(buffer, held_by(counts, table.LOCAL_ITEM_VALUE))
    _sketch(buffer, counts, table.VIEWERS)
    _sketch(buffer, counts, table.BUYERS)
    _sources(buffer, held_by(counts, table.SOURCES))
    _array(buffer, 4)
    _clicks(buffer, held_by(counts, table.PRODUCT_CLICKS_BY))
    _clicks(buffer, held_by(counts, table.AFFILIATE_CLICKS))
    _orders(buffer, held_by(counts, table.PRODUCT_ORDERS))
    _orders(buffer, held_by(counts, table.AFFILIATE_ORDERS))
    _byte(buffer, 0xC3 if counts.incomplete else 0xC2)
    if late is None:
        _byte(buffer, 0xC0)
    else:
        _raw(buffer, late)
    return _added(buffer, counts, fields - FIELDS)


cdef int _added(Buffer* buffer, Counts counts, int number) except -1:
    """What is not plain and is behind the first layout."""
    cdef int each, place, sort
    for each in range(number):
        place, sort = table.added_at[each], table.added_sorts_at[each]
        if sort == table.ADDED_MONEY:
            _numbers(buffer, held_by(counts, place))
        elif sort == table.ADDED_SKETCH:
            _sketch(buffer, counts, place)
        elif sort == table.ADDED_CLICKS:
            _clicks(buffer, held_by(counts, place))
        elif sort == table.ADDED_ORDERS:
            _orders(buffer, held_by(counts, place))
        else:
            _labels(buffer, held_by(counts, place))
    return 0


cdef int _raw(Buffer* buffer, bytes data) except -1:
    memcpy(more(buffer, PyBytes_GET_SIZE(data)), PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return 0


def pack(Counts counts not None):
    """The figures of ``Head`` first."""
    cdef Buffer buffer
    begin(&buffer)
    try:
        _write(&buffer, counts, table.N_REST, FIELDS + table.N_ADDED)
        return PyBytes_FromStringAndSize(<const char*>buffer.at, buffer.size)
    except (_OddError, OverflowError):
        return pack_in_python(counts)
    finally:
        end(&buffer)


def pack_item(tuple marks not None, Counts counts not None, form):
    """As the state holds it: the marks of the windows that start with a pane, and the pane packed."""
    cdef int rest = table.N_REST, fields = FIELDS + table.N_ADDED
    cdef Buffer head
    cdef Buffer buffer
    cdef bytes item
    begin(&head)
    begin(&buffer)
    try:
        if form.figures != ALL_FIGURES:
            if counts.late is not None:
                raise _OddError
            lengths = lengths_of(form.figures)
            rest, fields = lengths.rest, lengths.fields
        _write(&buffer, counts, rest, fields)
        _item_head(&head, marks, buffer.size)
        item = PyBytes_FromStringAndSize(NULL, head.size + buffer.size)
        memcpy(PyBytes_AS_STRING(item), head.at, head.size)
        memcpy(PyBytes_AS_STRING(item) + head.size, buffer.at, buffer.size)
        return item
    except (_OddError, OverflowError):
        return pack_item_in_python(marks, counts, form)
    finally:
        end(&head)
        end(&buffer)


cdef int _item_head(Buffer* buffer, tuple marks, size_t size) except -1:
    _array(buffer, 2)
    _array(buffer, len(marks))
    for mark in marks:
        _number(buffer, mark)
    return _counted(buffer, size, 0, 0, 0xC4, True)
