"""Counts as msgpack, and back, by hand; pure/packing.py is the definition.

It knows what counts usually hold. Whatever else there is (an integer beyond 64 bits, other bytes than `pack` writes) is
`_OddError`, and left to the Python version, which saturates, reads older versions, or says what is wrong.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

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
from stream.core.native.counts cimport Counts
from stream.core.native.slots cimport slot_get
from stream.core.native.uniques cimport Uniques

import msgspec
from datasketches import cpc_sketch

from stream.core.breakdown import Clicks, Orders, Sales, Source
from stream.core.late import newest, pack_late, unpack_late
from stream.core.pure.packing import pack as pack_in_python
from stream.core.pure.packing import pack_item as pack_item_in_python
from stream.core.pure.packing import unpack_into as unpack_into_in_python
from stream.core.stored import Tail
from stream.core.uniques import LG_K

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyLong_CheckExact(object value)
    bint PyUnicode_CheckExact(object value)

cdef object _encode = msgspec.msgpack.Encoder().encode
cdef object _decode_tail = msgspec.msgpack.Decoder(Tail).decode
cdef object _decode = msgspec.msgpack.decode


cdef enum:
    FIELDS = 17        # of packed counts
    REST = 25          # plain figures behind the head
    OLD_REST = 24      # before heartbeats were counted


class _OddError(Exception):
    """For the Python version."""


# -- writing


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


cdef int _head(Buffer* buffer, Counts counts, int64_t last_event, int64_t label_at) except -1:
    _array(buffer, FIELDS)
    _whole(buffer, counts.events)
    _whole(buffer, counts.views)
    _whole(buffer, counts.product_clicks)
    _whole(buffer, counts.comments)
    _whole(buffer, counts.orders_paid)
    _whole(buffer, last_event)
    _whole(buffer, label_at)
    return _numbers(buffer, counts._gmv)


cdef int _rest(Buffer* buffer, Counts counts) except -1:
    """In the order of pure/packing.REST."""
    _array(buffer, REST)
    _whole(buffer, counts.impressions)
    _whole(buffer, counts.product_impressions)
    _whole(buffer, counts.adds_to_cart)
    _whole(buffer, counts.likes)
    _whole(buffer, counts.shares)
    _whole(buffer, counts.follows)
    _whole(buffer, counts.watch_ms)
    _whole(buffer, counts.checkouts_initiated)
    _whole(buffer, counts.checkouts_submitted)
    _whole(buffer, counts.checkouts_failed)
    _whole(buffer, counts.cod_orders)
    _whole(buffer, counts.items_sold)
    _whole(buffer, counts.orders_cancelled)
    _whole(buffer, counts.orders_refunded)
    _whole(buffer, counts.samples)
    _whole(buffer, counts.sample_sum)
    _whole(buffer, counts.peak)
    _whole(buffer, counts.last)
    _whole(buffer, counts.last_at)
    _text(buffer, counts.seller)
    _text(buffer, counts.platform)
    _whole(buffer, counts.creator_at)
    _text(buffer, counts.creator)
    _whole(buffer, counts.first_event)
    return _whole(buffer, counts.heartbeats)


cdef int _write(Buffer* buffer, Counts counts) except -1:
    cdef bytes late = None
    cdef int64_t last_event = counts.last_event
    cdef int64_t label_at = counts.label_at
    if counts.late is not None:
        last_event, label_at = newest(counts)
        late = _encode(pack_late(counts))
    _head(buffer, counts, last_event, label_at)
    _rest(buffer, counts)
    _numbers(buffer, counts._item_value)
    _numbers(buffer, counts._local_item_value)
    _bytes(buffer, None if counts._viewers is None else counts._viewers.serialized())
    _bytes(buffer, None if counts._buyers is None else counts._buyers.serialized())
    _sources(buffer, counts.sources)
    _array(buffer, 4)
    _clicks(buffer, counts.product_clicks_by)
    _clicks(buffer, counts.affiliate_clicks)
    _orders(buffer, counts.product_orders)
    _orders(buffer, counts.affiliate_orders)
    _byte(buffer, 0xC3 if counts.incomplete else 0xC2)
    if late is None:
        return _byte(buffer, 0xC0)
    memcpy(more(buffer, PyBytes_GET_SIZE(late)), PyBytes_AS_STRING(late), PyBytes_GET_SIZE(late))
    return 0


def pack(Counts counts not None):
    """The figures of ``Head`` first."""
    cdef Buffer buffer
    begin(&buffer)
    try:
        _write(&buffer, counts)
        return PyBytes_FromStringAndSize(<const char*>buffer.at, buffer.size)
    except (_OddError, OverflowError):
        return pack_in_python(counts)
    finally:
        end(&buffer)


def pack_item(tuple marks not None, Counts counts not None):
    """As the state holds it: the marks of the windows that start with a pane, and the pane packed."""
    cdef Buffer head
    cdef Buffer buffer
    cdef bytes item
    begin(&head)
    begin(&buffer)
    try:
        _write(&buffer, counts)
        _item_head(&head, marks, buffer.size)
        item = PyBytes_FromStringAndSize(NULL, head.size + buffer.size)
        memcpy(PyBytes_AS_STRING(item), head.at, head.size)
        memcpy(PyBytes_AS_STRING(item) + head.size, buffer.at, buffer.size)
        return item
    except (_OddError, OverflowError):
        return pack_item_in_python(marks, counts)
    finally:
        end(&head)
        end(&buffer)


cdef int _item_head(Buffer* buffer, tuple marks, size_t size) except -1:
    _array(buffer, 2)
    _array(buffer, len(marks))
    for mark in marks:
        _number(buffer, mark)
    return _counted(buffer, size, 0, 0, 0xC4, True)


# -- reading


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
    """Sets nothing before all is read."""
    cdef Cursor cursor
    cdef int64_t[7] head
    cdef int64_t[19] first
    cdef int64_t creator_at, first_event, heartbeats = 0
    cdef dict gmv, item_value, local_item_value
    cdef str seller, platform, creator
    cdef Uniques viewers, buyers
    cdef size_t rest
    cdef int place
    cursor.at = <const uint8_t*>PyBytes_AS_STRING(data)
    cursor.end = cursor.at + PyBytes_GET_SIZE(data)
    if _read_size(&cursor, 0x90, 16, 0xDC, 2) != FIELDS:
        raise _OddError
    for place in range(7):
        head[place] = _read_whole(&cursor)
    gmv = _read_numbers(&cursor)
    rest = _read_size(&cursor, 0x90, 16, 0xDC, 2)
    if rest != REST and rest != OLD_REST:
        raise _OddError
    for place in range(19):
        first[place] = _read_whole(&cursor)
    seller, platform = _read_text(&cursor), _read_text(&cursor)
    creator_at, creator = _read_whole(&cursor), _read_text(&cursor)
    first_event = _read_whole(&cursor)
    if rest == REST:
        heartbeats = _read_whole(&cursor)
    item_value, local_item_value = _read_numbers(&cursor), _read_numbers(&cursor)
    viewers, buyers = _read_sketch(&cursor), _read_sketch(&cursor)
    tail = _read_tail(&cursor)
    _set_head(counts, head)
    _set_rest(counts, first)
    counts.seller, counts.platform, counts.creator_at, counts.creator = seller, platform, creator_at, creator
    counts.first_event, counts.heartbeats = first_event, heartbeats
    counts._gmv, counts._item_value, counts._local_item_value = gmv, item_value, local_item_value
    counts._viewers, counts._buyers = viewers, buyers
    _set_tail(counts, tail)
    return 0


cdef object _read_tail(Cursor* cursor):
    """Sources, breakdowns, whether it is incomplete, and what was late: as an array of its own."""
    cdef Py_ssize_t size = cursor.end - cursor.at
    cdef bytes tail = PyBytes_FromStringAndSize(NULL, size + 1)
    cdef char* at = PyBytes_AS_STRING(tail)
    at[0] = <char>0x94
    memcpy(at + 1, cursor.at, size)
    return _decode_tail(tail)


cdef void _set_head(Counts counts, const int64_t* head) noexcept:
    counts.events = head[0]
    counts.views = head[1]
    counts.product_clicks = head[2]
    counts.comments = head[3]
    counts.orders_paid = head[4]
    counts.last_event = head[5]
    counts.label_at = head[6]


cdef void _set_rest(Counts counts, const int64_t* rest) noexcept:
    counts.impressions = rest[0]
    counts.product_impressions = rest[1]
    counts.adds_to_cart = rest[2]
    counts.likes = rest[3]
    counts.shares = rest[4]
    counts.follows = rest[5]
    counts.watch_ms = rest[6]
    counts.checkouts_initiated = rest[7]
    counts.checkouts_submitted = rest[8]
    counts.checkouts_failed = rest[9]
    counts.cod_orders = rest[10]
    counts.items_sold = rest[11]
    counts.orders_cancelled = rest[12]
    counts.orders_refunded = rest[13]
    counts.samples = rest[14]
    counts.sample_sum = rest[15]
    counts.peak = rest[16]
    counts.last = rest[17]
    counts.last_at = rest[18]


cdef int _set_tail(Counts counts, object tail) except -1:
    """In the order of pure/packing.unpack_into: the late part speaks of money that is set already."""
    counts.incomplete = tail.incomplete
    if tail.late is not None:
        unpack_late(counts, tail.late)
    counts.sources = tail.sources
    (
        counts.product_clicks_by,
        counts.affiliate_clicks,
        counts.product_orders,
        counts.affiliate_orders,
    ) = tail.breakdowns
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
