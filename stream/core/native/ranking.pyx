"""The ranked lists of products and affiliates as JSON; `render.ranked` is the definition.

Rows point into the dicts they are of, which nobody changes meanwhile.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport INT64_MAX, int64_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp

from stream.core.native.breakdowns cimport (
    CLICKS_BEYOND,
    CLICKS_NAMED,
    ORDERS_BEYOND,
    ORDERS_NAMED,
    SALES_MONEY,
    SALES_ORDERS,
)
from stream.core.native.buffers cimport Buffer
from stream.core.native.json cimport (
    PyUnicode_AsUTF8AndSize,
    PyUnicode_CheckExact,
    byte,
    capped,
    field,
    money,
    put,
    text,
)
from stream.core.native.slots cimport slot_get

from stream.core.breakdown import Clicks, Label, Orders, Sales

cdef enum:
    LISTED = 20


cdef struct Ranked:
    int64_t minor, clicks, pins
    const char* id
    Py_ssize_t size
    void* key          # the id, borrowed
    void* sales        # borrowed; NULL: none


cdef struct Names:     # of fields, as they are written
    const char* id
    const char* money
    const char* pins   # NULL: none


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


cdef int ranked(
    Buffer* buffer, const char* name, object clicks, object orders, str currency, const char* id_name,
    const char* money_name, const char* pins_name, object pins,
    object labels
) except -1:
    cdef dict clicked = None
    cdef dict sold = None
    cdef dict pinned = None
    cdef dict called = None
    cdef object beyond = None
    cdef int64_t clicks_beyond = 0
    cdef int64_t pins_beyond = 0
    cdef Names names
    names.id, names.money, names.pins = id_name, money_name, pins_name
    cdef size_t begun
    put(buffer, name)
    begun = buffer.size
    if clicks is not None:
        if type(clicks) is not Clicks:
            raise TypeError
        clicked = slot_get(clicks, CLICKS_NAMED)
        clicks_beyond = capped(slot_get(clicks, CLICKS_BEYOND))
    if pins is not None:
        if type(pins) is not Clicks:
            raise TypeError
        pinned = slot_get(pins, CLICKS_NAMED)
        pins_beyond = capped(slot_get(pins, CLICKS_BEYOND)) if clicks is not None or orders is not None else 0
    if orders is not None:
        if type(orders) is not Orders:
            raise TypeError
        sold = slot_get(orders, ORDERS_NAMED)
        beyond = slot_get(orders, ORDERS_BEYOND)
    if labels is not None:
        called = labels.named
    _list_all(buffer, clicked or {}, sold or {}, pinned or {}, called, currency, &names)
    if clicks_beyond or pins_beyond or (beyond is not None and slot_get(beyond, SALES_ORDERS)):
        put(buffer, b',{"unnamed":true')
        _figures(buffer, clicks_beyond, pins_beyond, beyond, &names)
    if buffer.size == begun:
        byte(buffer, b"["[0])
    else:
        buffer.at[begun] = b"["[0]
    return byte(buffer, b"]"[0])


cdef int _list_all(
    Buffer* buffer, dict clicked, dict sold, dict pinned, dict called, str currency, const Names* names
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
            _row(&rows[number], id_, capped(clicks), sold.get(id_), currency)
            if pinned:
                rows[number].pins = capped(pinned.get(id_, 0))
            number += 1
        for id_, sales in sold.items():
            if id_ not in clicked:
                _row(&rows[number], id_, 0, sales, currency)
                if pinned:
                    rows[number].pins = capped(pinned.get(id_, 0))
                number += 1
        qsort(rows, number, sizeof(Ranked), _compare)
        _list(buffer, rows, number, called, names)
    finally:
        PyMem_Free(rows)
    return 0


cdef int _row(Ranked* row, object id_, int64_t clicks, object sales, str currency) except -1:
    """``id_`` and ``sales`` are in dicts that outlive the row."""
    cdef dict money
    row.minor, row.clicks, row.pins, row.key, row.sales = 0, clicks, 0, <void*>id_, NULL
    row.size = 0
    if not PyUnicode_CheckExact(id_):
        raise TypeError
    row.id = PyUnicode_AsUTF8AndSize(id_, &row.size)
    if sales is not None:
        if type(sales) is not Sales:
            raise TypeError
        money = slot_get(sales, SALES_MONEY)
        row.sales = <void*>sales
        row.minor = capped(money.get(currency, 0))
    return 0


cdef int _list(Buffer* buffer, const Ranked* rows, Py_ssize_t number, dict called, const Names* names) except -1:
    cdef Py_ssize_t place
    for place in range(min(number, LISTED)):
        put(buffer, names.id)
        text(buffer, <object>rows[place].key)
        if called:
            _label(buffer, called.get(<object>rows[place].key))
        sales = None if rows[place].sales == NULL else <object>rows[place].sales
        _figures(buffer, rows[place].clicks, rows[place].pins, sales, names)
    if number > LISTED:
        _rest(buffer, rows + LISTED, number - LISTED, names)
    return 0


cdef int _label(Buffer* buffer, object label) except -1:
    """None: not known."""
    if label is None:
        return 0
    if type(label) is not Label:
        raise TypeError
    if label.name:
        put(buffer, b',"product_name":')
        text(buffer, label.name)
    if label.number:
        field(buffer, b',"basket_number":', capped(label.number))
    return 0


cdef int _rest(Buffer* buffer, const Ranked* rows, Py_ssize_t number, const Names* names) except -1:
    cdef int64_t clicks = 0
    cdef int64_t pins = 0
    cdef Py_ssize_t place
    rest = Sales()
    for place in range(number):
        if rows[place].clicks > INT64_MAX - clicks or rows[place].pins > INT64_MAX - pins:
            raise OverflowError
        clicks += rows[place].clicks
        pins += rows[place].pins
        if rows[place].sales != NULL:
            sales = <object>rows[place].sales
            rest.add(slot_get(sales, SALES_ORDERS), slot_get(sales, SALES_MONEY))
    field(buffer, b',{"rest":', number)
    return _figures(buffer, clicks, pins, rest, names)


cdef int _figures(Buffer* buffer, int64_t clicks, int64_t pins, object sales, const Names* names) except -1:
    """The end of an element. ``sales`` is None where there are none."""
    field(buffer, b',"product_clicks":', clicks)
    field(buffer, b',"orders_paid":', 0 if sales is None else capped(slot_get(sales, SALES_ORDERS)))
    put(buffer, names.money)
    money(buffer, None if sales is None else slot_get(sales, SALES_MONEY))
    if names.pins != NULL:
        field(buffer, names.pins, pins)
    return byte(buffer, b"}"[0])
