"""Figures as JSON, by hand; core/render.py is the definition, and says what everything means.

What is beyond what a double or 64 bits tell exactly, or of another type, raises, and is left to the Python version.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memcpy

from stream.core.native.breakdowns cimport SOURCE_CLICKS, SOURCE_GMV, SOURCE_ORDERS, SOURCE_VIEWS
from stream.core.native cimport table
from stream.core.native.buffers cimport Buffer, begin, end, more
from stream.core.native.counts cimport Counts
from stream.core.native.json cimport byte, capped, decimal, field, money, put, sorted_items, text, whole
from stream.core.native.ranking cimport ranked
from stream.core.native.slots cimport slot_get
from stream.core.native.table cimport held_by
from stream.core.native.uniques cimport Uniques

from stream.core.breakdown import Source
from stream.core.uniques import estimate

cdef int64_t MILLION = 10**6


# -- numbers that follow from others


cdef int64_t _divide(int64_t numerator, int64_t denominator) except? -7:
    """Rounded half-even, of what is neither negative nor 0."""
    cdef int64_t quotient, twice
    if numerator < 0 or denominator <= 0 or denominator > INT64_MAX // 2:
        raise OverflowError
    quotient = numerator // denominator
    twice = 2 * (numerator % denominator)
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


cdef int64_t _times(int64_t number, int64_t factor) except? -7:
    if number < 0 or number > INT64_MAX // factor:
        raise OverflowError
    return number * factor


cdef int _ratio(Buffer* buffer, const char* name, int64_t over, int64_t under) except -1:
    if under:
        put(buffer, name)
        decimal(buffer, _divide(_times(over, MILLION), under), MILLION)
    return 0


cdef int _money_per(Buffer* buffer, const char* name, dict money, int64_t factor, int64_t number) except -1:
    """Each amount times ``factor`` by ``number``."""
    cdef bint first = True
    if not money or not number:
        return 0
    put(buffer, name)
    byte(buffer, b"{"[0])
    for currency, minor in sorted_items(money):
        if not first:
            byte(buffer, b","[0])
        first = False
        text(buffer, currency)
        byte(buffer, b":"[0])
        whole(buffer, _divide(_times(capped(minor), factor), number))
    return byte(buffer, b"}"[0])


# -- figures


cdef int _counts(Buffer* buffer, Counts counts) except -1:
    cdef int each
    put(buffer, b'"counts":{')
    for each in range(table.N_COUNTERS):
        field(buffer, table.counter_fields[each], counts.at[table.counters_at[each]])
    return byte(buffer, b"}"[0])


cdef int _samples(Buffer* buffer, Counts counts) except -1:
    if counts.at[table.SAMPLES]:
        field(buffer, b',"concurrent_last":', counts.at[table.LAST])
        field(buffer, b',"concurrent_peak":', counts.at[table.PEAK])
        put(buffer, b',"concurrent_avg":')
        decimal(buffer, _divide(_times(counts.at[table.SAMPLE_SUM], 10), counts.at[table.SAMPLES]), 10)
    return 0


cdef int64_t _estimate(Uniques uniques) except? -7:
    return 0 if uniques is None else estimate(uniques.unpacked())


cdef int _rates(Buffer* buffer, Counts counts, str currency) except -1:
    """By name in sorted order. Each begins with a comma: the first is written over."""
    cdef size_t begun
    cdef int64_t prepaid = counts.at[table.CHECKOUTS_INITIATED] - counts.at[table.COD_ORDERS]
    put(buffer, b',"rates":')
    begun = buffer.size
    _money_per(buffer, b',"aov_minor":', held_by(counts, table.GMV), 1, counts.at[table.ORDERS_PAID])
    _ratio(buffer, b',"comment_rate":', counts.at[table.COMMENTS], counts.at[table.VIEWS])
    _ratio(buffer, b',"ctor":', counts.at[table.ORDERS_PAID], counts.at[table.PRODUCT_CLICKS])
    _ratio(buffer, b',"ctr":', counts.at[table.PRODUCT_CLICKS], counts.at[table.VIEWS])
    _ratio(buffer, b',"enter_room_rate":', counts.at[table.VIEWS], counts.at[table.IMPRESSIONS])
    _ratio(buffer, b',"follow_rate":', counts.at[table.FOLLOWS], counts.at[table.VIEWS])
    _money_per(buffer, b',"gpm_minor":', held_by(counts, table.GMV), 1000, counts.at[table.VIEWS])
    _ratio(buffer, b',"like_rate":', counts.at[table.LIKES], counts.at[table.VIEWS])
    _ratio(buffer, b',"live_ctr":', counts.at[table.PRODUCT_CLICKS], counts.at[table.PRODUCT_IMPRESSIONS])
    _local_share(buffer, counts, currency)
    _ratio(buffer, b',"order_rate":', counts.at[table.ORDERS_PAID], counts.at[table.VIEWS])
    if prepaid > 0:
        _ratio(buffer, b',"payment_rate":', counts.at[table.ORDERS_PAID] - counts.at[table.COD_ORDERS], prepaid)
    _ratio(buffer, b',"share_rate":', counts.at[table.SHARES], counts.at[table.VIEWS])
    if buffer.size == begun:
        byte(buffer, b"{"[0])
    else:
        buffer.at[begun] = b"{"[0]
    return byte(buffer, b"}"[0])


cdef int _local_share(Buffer* buffer, Counts counts, str currency) except -1:
    cdef int64_t local = 0
    if held_by(counts, table.ITEM_VALUE) and currency in held_by(counts, table.ITEM_VALUE):
        if held_by(counts, table.LOCAL_ITEM_VALUE):
            local = capped(held_by(counts, table.LOCAL_ITEM_VALUE).get(currency, 0))
        _ratio(buffer, b',"local_share":', local, capped(held_by(counts, table.ITEM_VALUE)[currency]))
    return 0


cdef int _by_source(Buffer* buffer, dict sources) except -1:
    """A source appears when one of its figures is not 0."""
    cdef bint first = True
    put(buffer, b',"by_source":{')
    if sources:
        for name in sorted(sources):
            source = sources[name]
            if type(source) is not Source:
                raise TypeError
            if _is_source(source):
                if not first:
                    byte(buffer, b","[0])
                first = False
                _source(buffer, name, source)
    return byte(buffer, b"}"[0])


cdef bint _is_source(object source) except -1:
    if slot_get(source, SOURCE_VIEWS) or slot_get(source, SOURCE_CLICKS) or slot_get(source, SOURCE_ORDERS):
        return True
    return any(slot_get(source, SOURCE_GMV).values())


cdef int _source(Buffer* buffer, object name, object source) except -1:
    text(buffer, name)
    field(buffer, b':{"views":', capped(slot_get(source, SOURCE_VIEWS)))
    field(buffer, b',"product_clicks":', capped(slot_get(source, SOURCE_CLICKS)))
    field(buffer, b',"orders_paid":', capped(slot_get(source, SOURCE_ORDERS)))
    put(buffer, b',"gmv_minor":')
    money(buffer, slot_get(source, SOURCE_GMV))
    return byte(buffer, b"}"[0])


# -- a value


cdef int _write(Buffer* buffer, bytes head, Counts counts, str currency) except -1:
    memcpy(more(buffer, PyBytes_GET_SIZE(head) - 1), PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head) - 1)
    byte(buffer, b","[0])
    _counts(buffer, counts)
    put(buffer, b',"gmv_minor":')
    money(buffer, held_by(counts, table.GMV))
    put(buffer, b',"item_value_minor":')
    money(buffer, held_by(counts, table.ITEM_VALUE))
    put(buffer, b',"local_item_value_minor":')
    money(buffer, held_by(counts, table.LOCAL_ITEM_VALUE))
    _samples(buffer, counts)
    field(buffer, b',"unique_viewers":', _estimate(held_by(counts, table.VIEWERS)))
    field(buffer, b',"unique_buyers":', _estimate(held_by(counts, table.BUYERS)))
    put(buffer, b',"unique_error":0.015316')
    _rates(buffer, counts, currency)
    _by_source(buffer, held_by(counts, table.SOURCES))
    ranked(buffer, b',"by_affiliate":', held_by(counts, table.AFFILIATE_CLICKS), held_by(counts, table.AFFILIATE_ORDERS), currency,
            b',{"affiliate_id":', b',"gmv_minor":')
    ranked(buffer, b',"products":', held_by(counts, table.PRODUCT_CLICKS_BY), held_by(counts, table.PRODUCT_ORDERS), currency,
            b',{"product_id":', b',"item_value_minor":')
    if counts.incomplete:
        put(buffer, b',"incomplete":true')
    return byte(buffer, b"}"[0])


def value_of(bytes head not None, Counts counts not None, str currency not None):
    """``head``, a JSON object that is not empty, with the figures behind what it holds; None when Python has to write it."""
    cdef Buffer buffer
    begin(&buffer)
    try:
        _write(&buffer, head, counts, currency)
        return PyBytes_FromStringAndSize(<const char*>buffer.at, buffer.size)
    except (OverflowError, TypeError):
        return None
    finally:
        end(&buffer)
