"""Figures as JSON, by hand; core/render.py is the definition, and says what everything means.

What is beyond what a double or 64 bits tell exactly, or of another type, raises, and is left to the Python version.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memcpy

from stream.core.native.breakdowns cimport SOURCE_CLICKS, SOURCE_GMV, SOURCE_ORDERS, SOURCE_VIEWS
from stream.core.native cimport table
from stream.core.native.adding cimport add_overflows
from stream.core.native.buffers cimport Buffer, begin, end, more
from stream.core.native.counts cimport Counts
from stream.core.native.json cimport byte, capped, decimal, field, money, put, sorted_items, text, whole
from stream.core.native.ranking cimport ranked
from stream.core.native.slots cimport slot_get
from stream.core.native.table cimport held_by
from stream.core.native.uniques cimport Uniques

from stream.core.breakdown import Source
from stream.core.figures import NEVER as _NEVER
from stream.core.figures import Shown
from stream.core.native.table import PLACES
from stream.core.rates import DERIVED, RATES, Of
from stream.core.uniques import estimate

cdef int64_t MILLION = 10**6
cdef int64_t NEVER = _NEVER


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


# -- rates: what render.rates_of does, with the rows of core/rates.py as places

cdef enum:
    TERMS = 4
    MOST_RATES = 48

cdef enum:
    COUNTS, MONEY, SHARE, SHARES

cdef struct Operand:      # places of numbers, inverted ones of money
    int[TERMS] plus
    int[TERMS] minus
    int adds, takes
    bint first            # the first of each that is known

cdef struct Rate:
    const char* name      # with comma, quotes and colon
    int of
    int64_t scale, least
    bint in_windows, in_sessions
    Operand over, under

cdef Rate[MOST_RATES] RATES_AT
cdef int NUMBER_OF_RATES = 0
cdef list _kept = []      # what the names point into


cdef int _set_operand(Operand* operand, str name, dict derived) except -1:
    row = derived.get(name)
    plus, minus = ((name,), ()) if row is None else (row.plus, row.minus)
    if len(plus) > TERMS or len(minus) > TERMS:
        raise ImportError(f"{name}: follows from more figures than any so far")
    operand.first = row is not None and row.first
    operand.adds, operand.takes = <int>len(plus), <int>len(minus)
    for place, each in enumerate(plus):
        operand.plus[place] = PLACES[each]
    for place, each in enumerate(minus):
        operand.minus[place] = PLACES[each]
    return 0


cdef int _set_rates() except -1:
    """By name in sorted order."""
    global NUMBER_OF_RATES
    cdef Rate* at
    derived = {row.name: row for row in DERIVED}
    kinds = {Of.COUNTS: COUNTS, Of.MONEY: MONEY, Of.SHARE: SHARE, Of.SHARES: SHARES}
    shown = sorted([rate for rate in RATES if rate.shown & (Shown.WINDOWS | Shown.SESSIONS)])
    if len(shown) > MOST_RATES:
        raise ImportError("more rates than places")
    for rate in shown:
        at = &RATES_AT[NUMBER_OF_RATES]
        name = f',"{rate.name}":'.encode()
        _kept.append(name)
        at.name, at.of, at.scale, at.least = <const char*>name, kinds[rate.of], rate.scale, rate.least
        at.in_windows, at.in_sessions = bool(rate.shown & Shown.WINDOWS), bool(rate.shown & Shown.SESSIONS)
        _set_operand(&at.over, rate.over, derived)
        _set_operand(&at.under, rate.under, derived)
        NUMBER_OF_RATES += 1
    return 0


_set_rates()


cdef int64_t _number(Counts counts, const Operand* operand) except? -7:
    """What would saturate is left to Python."""
    cdef int64_t number = 0, since
    cdef int each
    if operand.first:
        number, since = _first(counts, operand.plus, operand.adds), _first(counts, operand.minus, operand.takes)
        return 0 if number == NEVER or since == NEVER else number - since
    for each in range(operand.adds):
        if add_overflows(number, counts.at[operand.plus[each]], &number):
            raise OverflowError
    for each in range(operand.takes):
        if counts.at[operand.minus[each]] < -1 or add_overflows(number, -counts.at[operand.minus[each]], &number):
            raise OverflowError
    return number


cdef int64_t _first(Counts counts, const int* places, int number) except? -7:
    """The first event time that is known; an end counts for nothing with a start at or after it."""
    cdef int each
    cdef int64_t time
    for each in range(number):
        time = counts.at[places[each]]
        if time < NEVER:
            raise OverflowError
        if time != NEVER and not (places[each] == table.END_TO and counts.at[table.START_TO] >= time):
            return time
    return NEVER


cdef int64_t _amount(Counts counts, const Operand* operand, object currency) except? -7:
    """Of money; as `_number`."""
    cdef int64_t amount = 0
    cdef int each
    cdef dict money
    for each in range(operand.adds):
        money = held_by(counts, ~operand.plus[each])
        if money and add_overflows(amount, capped(money.get(currency, 0)), &amount):
            raise OverflowError
    return amount


cdef int _rates(Buffer* buffer, Counts counts, str currency, bint totals) except -1:
    """Each begins with a comma: the first is written over."""
    cdef size_t begun
    cdef int each
    cdef Rate* rate
    put(buffer, b',"rates":')
    begun = buffer.size
    for each in range(NUMBER_OF_RATES):
        rate = &RATES_AT[each]
        if rate.in_sessions if totals else rate.in_windows:
            _rate(buffer, rate, counts, currency)
    if buffer.size == begun:
        byte(buffer, b"{"[0])
    else:
        buffer.at[begun] = b"{"[0]
    return byte(buffer, b"}"[0])


cdef int _rate(Buffer* buffer, const Rate* rate, Counts counts, str currency) except -1:
    cdef int64_t under
    if rate.of == SHARES:
        return _shares(buffer, rate, counts)
    under = _amount(counts, &rate.under, currency) if rate.of == SHARE else _number(counts, &rate.under)
    if under < rate.least:
        return 0
    if rate.of == COUNTS:
        return _ratio(buffer, rate.name, _number(counts, &rate.over), under)
    if rate.of == SHARE:
        return _ratio(buffer, rate.name, _amount(counts, &rate.over, currency), under)
    return _money_per(buffer, rate.name, held_by(counts, ~rate.over.plus[0]), rate.scale, under)


cdef int _shares(Buffer* buffer, const Rate* rate, Counts counts) except -1:
    """By currency."""
    cdef bint first = True
    cdef int each
    cdef int64_t under
    cdef dict money
    cdef set currencies = set()
    for each in range(rate.under.adds):
        money = held_by(counts, ~rate.under.plus[each])
        if money:
            currencies.update(money)
    for currency in sorted(currencies):
        under = _amount(counts, &rate.under, currency)
        if under < rate.least:
            continue
        if first:
            put(buffer, rate.name)
        byte(buffer, b"{"[0] if first else b","[0])
        first = False
        text(buffer, currency)
        byte(buffer, b":"[0])
        decimal(buffer, _divide(_times(_amount(counts, &rate.over, currency), MILLION), under), MILLION)
    return 0 if first else byte(buffer, b"}"[0])


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


cdef int _write(Buffer* buffer, bytes head, Counts counts, str currency, bint totals) except -1:
    cdef int each
    memcpy(more(buffer, PyBytes_GET_SIZE(head) - 1), PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head) - 1)
    byte(buffer, b","[0])
    _counts(buffer, counts)
    for each in range(table.N_MONIES):
        put(buffer, table.money_fields[each])
        money(buffer, held_by(counts, table.monies_at[each]))
    _samples(buffer, counts)
    field(buffer, b',"unique_viewers":', _estimate(held_by(counts, table.VIEWERS)))
    field(buffer, b',"unique_buyers":', _estimate(held_by(counts, table.BUYERS)))
    put(buffer, b',"unique_error":0.015316')
    _rates(buffer, counts, currency, totals)
    _by_source(buffer, held_by(counts, table.SOURCES))
    ranked(buffer, b',"by_affiliate":', held_by(counts, table.AFFILIATE_CLICKS), held_by(counts, table.AFFILIATE_ORDERS), currency,
            b',{"affiliate_id":', b',"gmv_minor":', NULL, None, None)
    ranked(buffer, b',"products":', held_by(counts, table.PRODUCT_CLICKS_BY), held_by(counts, table.PRODUCT_ORDERS), currency,
            b',{"product_id":', b',"item_value_minor":', b',"pins":', held_by(counts, table.PRODUCT_PINS),
            held_by(counts, table.PRODUCT_LABELS))
    if counts.incomplete:
        put(buffer, b',"incomplete":true')
    return byte(buffer, b"}"[0])


def value_of(bytes head not None, Counts counts not None, str currency not None, bint totals=False):
    """``head``, a JSON object that is not empty, with the figures behind what it holds; None when Python has to write it.

    ``totals``: of a session, not of a window.
    """
    cdef Buffer buffer
    begin(&buffer)
    try:
        _write(&buffer, head, counts, currency, totals)
        return PyBytes_FromStringAndSize(<const char*>buffer.at, buffer.size)
    except (OverflowError, TypeError):
        return None
    finally:
        end(&buffer)
