"""Figures as JSON, by hand; core/render.py is the definition, and says what everything means.

What is beyond what a double or 64 bits tell exactly is `_OddError`, and left to the Python version.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy, strlen

from stream.core.native.breakdowns cimport (
    SOURCE_VIEWS,
    SOURCE_CLICKS,
    SOURCE_ORDERS,
    SOURCE_GMV,
    CLICKS_NAMED,
    CLICKS_BEYOND,
    ORDERS_NAMED,
    ORDERS_BEYOND,
    SALES_ORDERS,
    SALES_MONEY,
)
from stream.core.native.buffers cimport Buffer, begin, end, more
from stream.core.native.counts cimport Counts
from stream.core.native.slots cimport slot_get
from stream.core.native.uniques cimport Uniques

import orjson

from stream.core.breakdown import Clicks, Orders, Sales, Source
from stream.core.uniques import estimate

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyLong_CheckExact(object value)
    bint PyUnicode_CheckExact(object value)

cdef object _dumps = orjson.dumps


cdef enum:
    LISTED = 20

cdef int64_t EXACT = 10**15
"""Below, a number of decimals is what the shortest text of the nearest double says."""
cdef int64_t MILLION = 10**6


class _OddError(Exception):
    """For the Python version."""


# -- JSON


cdef inline int _put(Buffer* buffer, const char* text) except -1:
    cdef size_t size = strlen(text)
    memcpy(more(buffer, size), text, size)
    return 0


cdef inline int _byte(Buffer* buffer, char byte) except -1:
    more(buffer, 1)[0] = <uint8_t>byte
    return 0


cdef int _whole(Buffer* buffer, int64_t value) except -1:
    """Not below 0."""
    cdef uint8_t[20] digits
    cdef int first = 20
    cdef uint64_t rest
    if value < 0:
        raise _OddError
    rest = <uint64_t>value
    while True:
        first -= 1
        digits[first] = <uint8_t>(b"0"[0] + rest % 10)
        rest //= 10
        if rest == 0:
            break
    memcpy(more(buffer, 20 - first), digits + first, 20 - first)
    return 0


cdef int _decimal(Buffer* buffer, int64_t value, int64_t one) except -1:
    """``value / one`` as the shortest text of that double; ``one`` is 10 or a million."""
    cdef int64_t part, unit
    if value < 0 or value >= EXACT:
        raise _OddError
    if one == MILLION and 0 < value < 10:
        _whole(buffer, value)
        return _put(buffer, b"e-6")
    _whole(buffer, value // one)
    _byte(buffer, b"."[0])
    part, unit = value % one, one // 10
    while True:
        _byte(buffer, <char>(b"0"[0] + part // unit))
        part %= unit
        if part == 0:
            return 0
        unit //= 10


cdef int _text(Buffer* buffer, object text) except -1:
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t place
    cdef const char* at
    cdef uint8_t* into
    if not PyUnicode_CheckExact(text):
        raise _OddError
    at = PyUnicode_AsUTF8AndSize(text, &size)
    for place in range(size):
        if <uint8_t>at[place] < 0x20 or at[place] == b'"'[0] or at[place] == b"\\"[0]:
            return _raw(buffer, _dumps(text))
    into = more(buffer, size + 2)
    into[0] = into[size + 1] = b'"'[0]
    memcpy(into + 1, at, size)
    return 0


cdef int _raw(Buffer* buffer, bytes data) except -1:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    memcpy(more(buffer, size), PyBytes_AS_STRING(data), size)
    return 0


cdef inline int _field(Buffer* buffer, const char* name, int64_t value) except -1:
    """``name`` with quotes, colon and what comes before it."""
    _put(buffer, name)
    return _whole(buffer, value)


cdef int64_t _capped(object number) except? -7:
    cdef int overflow = 0
    cdef int64_t value
    if not PyLong_CheckExact(number):
        raise _OddError
    value = PyLong_AsLongLongAndOverflow(number, &overflow)
    if overflow < 0 or (value < 0 and not overflow):
        raise _OddError
    return INT64_MAX if overflow else value


# -- numbers that follow from others


cdef int64_t _divide(int64_t numerator, int64_t denominator) except? -7:
    """Rounded half-even, of what is neither negative nor 0."""
    cdef int64_t quotient, twice
    if numerator < 0 or denominator <= 0 or denominator > INT64_MAX // 2:
        raise _OddError
    quotient = numerator // denominator
    twice = 2 * (numerator % denominator)
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


cdef int64_t _times(int64_t number, int64_t factor) except? -7:
    if number < 0 or number > INT64_MAX // factor:
        raise _OddError
    return number * factor


cdef int _ratio(Buffer* buffer, const char* name, int64_t over, int64_t under) except -1:
    if under:
        _put(buffer, name)
        _decimal(buffer, _divide(_times(over, MILLION), under), MILLION)
    return 0


# -- money


cdef object _sorted_items(dict money):
    return sorted(money.items()) if len(money) > 1 else money.items()


cdef int _money(Buffer* buffer, dict money) except -1:
    """None is none."""
    cdef bint first = True
    _byte(buffer, b"{"[0])
    if money:
        for currency, minor in _sorted_items(money):
            if not first:
                _byte(buffer, b","[0])
            first = False
            _text(buffer, currency)
            _byte(buffer, b":"[0])
            _whole(buffer, _capped(minor))
    return _byte(buffer, b"}"[0])


cdef int _money_per(Buffer* buffer, const char* name, dict money, int64_t factor, int64_t number) except -1:
    """Each amount times ``factor`` by ``number``."""
    cdef bint first = True
    if not money or not number:
        return 0
    _put(buffer, name)
    _byte(buffer, b"{"[0])
    for currency, minor in _sorted_items(money):
        if not first:
            _byte(buffer, b","[0])
        first = False
        _text(buffer, currency)
        _byte(buffer, b":"[0])
        _whole(buffer, _divide(_times(_capped(minor), factor), number))
    return _byte(buffer, b"}"[0])


# -- figures


cdef int _counts(Buffer* buffer, Counts counts) except -1:
    """In the order of columns.COUNTERS."""
    _field(buffer, b'"counts":{"impressions":', counts.impressions)
    _field(buffer, b',"views":', counts.views)
    _field(buffer, b',"product_impressions":', counts.product_impressions)
    _field(buffer, b',"product_clicks":', counts.product_clicks)
    _field(buffer, b',"adds_to_cart":', counts.adds_to_cart)
    _field(buffer, b',"likes":', counts.likes)
    _field(buffer, b',"shares":', counts.shares)
    _field(buffer, b',"follows":', counts.follows)
    _field(buffer, b',"watch_ms":', counts.watch_ms)
    _field(buffer, b',"comments":', counts.comments)
    _field(buffer, b',"checkouts_initiated":', counts.checkouts_initiated)
    _field(buffer, b',"checkouts_submitted":', counts.checkouts_submitted)
    _field(buffer, b',"checkouts_failed":', counts.checkouts_failed)
    _field(buffer, b',"orders_paid":', counts.orders_paid)
    _field(buffer, b',"cod_orders":', counts.cod_orders)
    _field(buffer, b',"items_sold":', counts.items_sold)
    _field(buffer, b',"orders_cancelled":', counts.orders_cancelled)
    _field(buffer, b',"orders_refunded":', counts.orders_refunded)
    return _byte(buffer, b"}"[0])


cdef int _samples(Buffer* buffer, Counts counts) except -1:
    if counts.samples:
        _field(buffer, b',"concurrent_last":', counts.last)
        _field(buffer, b',"concurrent_peak":', counts.peak)
        _put(buffer, b',"concurrent_avg":')
        _decimal(buffer, _divide(_times(counts.sample_sum, 10), counts.samples), 10)
    return 0


cdef int64_t _estimate(Uniques uniques) except? -7:
    return 0 if uniques is None else estimate(uniques.unpacked())


cdef int _rates(Buffer* buffer, Counts counts, str currency) except -1:
    """By name in sorted order. Each begins with a comma: the first is written over."""
    cdef size_t begun
    cdef int64_t prepaid = counts.checkouts_initiated - counts.cod_orders
    _put(buffer, b',"rates":')
    begun = buffer.size
    _money_per(buffer, b',"aov_minor":', counts._gmv, 1, counts.orders_paid)
    _ratio(buffer, b',"comment_rate":', counts.comments, counts.views)
    _ratio(buffer, b',"ctor":', counts.orders_paid, counts.product_clicks)
    _ratio(buffer, b',"ctr":', counts.product_clicks, counts.views)
    _ratio(buffer, b',"enter_room_rate":', counts.views, counts.impressions)
    _ratio(buffer, b',"follow_rate":', counts.follows, counts.views)
    _money_per(buffer, b',"gpm_minor":', counts._gmv, 1000, counts.views)
    _ratio(buffer, b',"like_rate":', counts.likes, counts.views)
    _ratio(buffer, b',"live_ctr":', counts.product_clicks, counts.product_impressions)
    _local_share(buffer, counts, currency)
    _ratio(buffer, b',"order_rate":', counts.orders_paid, counts.views)
    if prepaid > 0:
        _ratio(buffer, b',"payment_rate":', counts.orders_paid - counts.cod_orders, prepaid)
    _ratio(buffer, b',"share_rate":', counts.shares, counts.views)
    if buffer.size == begun:
        _byte(buffer, b"{"[0])
    else:
        buffer.at[begun] = b"{"[0]
    return _byte(buffer, b"}"[0])


cdef int _local_share(Buffer* buffer, Counts counts, str currency) except -1:
    cdef int64_t local = 0
    if counts._item_value and currency in counts._item_value:
        if counts._local_item_value:
            local = _capped(counts._local_item_value.get(currency, 0))
        _ratio(buffer, b',"local_share":', local, _capped(counts._item_value[currency]))
    return 0


cdef int _by_source(Buffer* buffer, dict sources) except -1:
    """A source appears when one of its figures is not 0."""
    cdef bint first = True
    _put(buffer, b',"by_source":{')
    if sources:
        for name in sorted(sources):
            source = sources[name]
            if type(source) is not Source:
                raise _OddError
            if _is_source(source):
                if not first:
                    _byte(buffer, b","[0])
                first = False
                _source(buffer, name, source)
    return _byte(buffer, b"}"[0])


cdef bint _is_source(object source) except -1:
    if slot_get(source, SOURCE_VIEWS) or slot_get(source, SOURCE_CLICKS) or slot_get(source, SOURCE_ORDERS):
        return True
    return any(slot_get(source, SOURCE_GMV).values())


cdef int _source(Buffer* buffer, object name, object source) except -1:
    _text(buffer, name)
    _field(buffer, b':{"views":', _capped(slot_get(source, SOURCE_VIEWS)))
    _field(buffer, b',"product_clicks":', _capped(slot_get(source, SOURCE_CLICKS)))
    _field(buffer, b',"orders_paid":', _capped(slot_get(source, SOURCE_ORDERS)))
    _put(buffer, b',"gmv_minor":')
    _money(buffer, slot_get(source, SOURCE_GMV))
    return _byte(buffer, b"}"[0])


# -- ranked lists: rows point into the dicts they are of, which nobody changes meanwhile


cdef struct Ranked:
    int64_t minor, clicks
    const char* id
    Py_ssize_t size
    void* key          # the id, borrowed
    void* sales        # borrowed; NULL: none


cdef int _compare(const void* one, const void* other) noexcept nogil:
    """By money descending, clicks descending, id ascending (UTF-8 is in the order of its characters)."""
    cdef const Ranked* a = <const Ranked*>one
    cdef const Ranked* b = <const Ranked*>other
    cdef int order
    if a.minor != b.minor:
        return -1 if a.minor > b.minor else 1
    if a.clicks != b.clicks:
        return -1 if a.clicks > b.clicks else 1
    order = memcmp(a.id, b.id, min(a.size, b.size))
    return order if order else (a.size > b.size) - (a.size < b.size)


cdef int _ranked(
    Buffer* buffer, const char* name, object clicks, object orders, str currency, const char* id_name,
    const char* money_name
) except -1:
    cdef dict clicked = None
    cdef dict sold = None
    cdef object beyond = None
    cdef int64_t clicks_beyond = 0
    cdef size_t begun
    _put(buffer, name)
    begun = buffer.size
    if clicks is not None:
        if type(clicks) is not Clicks:
            raise _OddError
        clicked = slot_get(clicks, CLICKS_NAMED)
        clicks_beyond = _capped(slot_get(clicks, CLICKS_BEYOND))
    if orders is not None:
        if type(orders) is not Orders:
            raise _OddError
        sold = slot_get(orders, ORDERS_NAMED)
        beyond = slot_get(orders, ORDERS_BEYOND)
    _list_all(buffer, clicked or {}, sold or {}, currency, id_name, money_name)
    if clicks_beyond or (beyond is not None and slot_get(beyond, SALES_ORDERS)):
        _sum(buffer, b',{"unnamed":true', clicks_beyond, beyond, money_name)
    if buffer.size == begun:
        _byte(buffer, b"["[0])
    else:
        buffer.at[begun] = b"["[0]
    return _byte(buffer, b"]"[0])


cdef int _list_all(
    Buffer* buffer, dict clicked, dict sold, str currency, const char* id_name, const char* money_name
) except -1:
    cdef Py_ssize_t most = len(clicked) + len(sold)
    cdef Py_ssize_t number = 0
    cdef Ranked* rows
    if not most:
        return 0
    rows = <Ranked*>PyMem_Malloc(most * sizeof(Ranked))
    if rows == NULL:
        raise MemoryError
    try:
        for id_, clicks in clicked.items():
            _row(&rows[number], id_, _capped(clicks), sold.get(id_), currency)
            number += 1
        for id_, sales in sold.items():
            if id_ not in clicked:
                _row(&rows[number], id_, 0, sales, currency)
                number += 1
        qsort(rows, number, sizeof(Ranked), _compare)
        _list(buffer, rows, number, id_name, money_name)
    finally:
        PyMem_Free(rows)
    return 0


cdef int _row(Ranked* row, object id_, int64_t clicks, object sales, str currency) except -1:
    """``id_`` and ``sales`` are in dicts that outlive the row."""
    cdef dict money
    row.minor, row.clicks, row.key, row.sales = 0, clicks, <void*>id_, NULL
    row.size = 0
    if not PyUnicode_CheckExact(id_):
        raise _OddError
    row.id = PyUnicode_AsUTF8AndSize(id_, &row.size)
    if sales is not None:
        if type(sales) is not Sales:
            raise _OddError
        money = slot_get(sales, SALES_MONEY)
        row.sales = <void*>sales
        row.minor = _capped(money.get(currency, 0))
    return 0


cdef int _list(Buffer* buffer, const Ranked* rows, Py_ssize_t number, const char* id_name,
               const char* money_name) except -1:
    cdef Py_ssize_t place
    for place in range(min(number, LISTED)):
        _put(buffer, id_name)
        _text(buffer, <object>rows[place].key)
        _figures(buffer, rows[place].clicks, None if rows[place].sales == NULL else <object>rows[place].sales, money_name)
    if number > LISTED:
        _rest(buffer, rows + LISTED, number - LISTED, money_name)
    return 0


cdef int _rest(Buffer* buffer, const Ranked* rows, Py_ssize_t number, const char* money_name) except -1:
    cdef int64_t clicks = 0
    cdef Py_ssize_t place
    rest = Sales()
    for place in range(number):
        if rows[place].clicks > INT64_MAX - clicks:
            raise _OddError
        clicks += rows[place].clicks
        if rows[place].sales != NULL:
            sales = <object>rows[place].sales
            rest.add(slot_get(sales, SALES_ORDERS), slot_get(sales, SALES_MONEY))
    _field(buffer, b',{"rest":', number)
    return _figures(buffer, clicks, rest, money_name)


cdef int _sum(Buffer* buffer, const char* head, int64_t clicks, object sales, const char* money_name) except -1:
    _put(buffer, head)
    return _figures(buffer, clicks, sales, money_name)


cdef int _figures(Buffer* buffer, int64_t clicks, object sales, const char* money_name) except -1:
    """The end of an element. ``sales`` is None where there are none."""
    _field(buffer, b',"product_clicks":', clicks)
    _field(buffer, b',"orders_paid":', 0 if sales is None else _capped(slot_get(sales, SALES_ORDERS)))
    _put(buffer, money_name)
    _money(buffer, None if sales is None else slot_get(sales, SALES_MONEY))
    return _byte(buffer, b"}"[0])


# -- a value


cdef int _write(Buffer* buffer, bytes head, Counts counts, str currency) except -1:
    memcpy(more(buffer, PyBytes_GET_SIZE(head) - 1), PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head) - 1)
    _byte(buffer, b","[0])
    _counts(buffer, counts)
    _put(buffer, b',"gmv_minor":')
    _money(buffer, counts._gmv)
    _put(buffer, b',"item_value_minor":')
    _money(buffer, counts._item_value)
    _put(buffer, b',"local_item_value_minor":')
    _money(buffer, counts._local_item_value)
    _samples(buffer, counts)
    _field(buffer, b',"unique_viewers":', _estimate(counts._viewers))
    _field(buffer, b',"unique_buyers":', _estimate(counts._buyers))
    _put(buffer, b',"unique_error":0.015316')
    _rates(buffer, counts, currency)
    _by_source(buffer, counts.sources)
    _ranked(buffer, b',"by_affiliate":', counts.affiliate_clicks, counts.affiliate_orders, currency,
            b',{"affiliate_id":', b',"gmv_minor":')
    _ranked(buffer, b',"products":', counts.product_clicks_by, counts.product_orders, currency,
            b',{"product_id":', b',"item_value_minor":')
    if counts.incomplete:
        _put(buffer, b',"incomplete":true')
    return _byte(buffer, b"}"[0])


def value_of(bytes head not None, Counts counts not None, str currency not None):
    """``head``, a JSON object that is not empty, with the figures behind what it holds; None when Python has to write it."""
    cdef Buffer buffer
    begin(&buffer)
    try:
        _write(&buffer, head, counts, currency)
        return PyBytes_FromStringAndSize(<const char*>buffer.at, buffer.size)
    except _OddError:
        return None
    finally:
        end(&buffer)
