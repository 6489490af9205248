"""JSON as orjson writes it, of what figures hold. OverflowError or TypeError: it cannot be told here."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, strlen

from stream.core.native.buffers cimport Buffer, more

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyLong_CheckExact(object value)
    bint PyUnicode_CheckExact(object value)


cdef inline int put(Buffer* buffer, const char* text) except -1:
    cdef size_t size = strlen(text)
    memcpy(more(buffer, size), text, size)
    return 0


cdef inline int byte(Buffer* buffer, char byte) except -1:
    more(buffer, 1)[0] = <uint8_t>byte
    return 0


cdef inline int whole(Buffer* buffer, int64_t value) except -1:
    """Not below 0."""
    cdef uint8_t[20] digits
    cdef int first = 20
    cdef uint64_t rest
    if value < 0:
        raise OverflowError
    rest = <uint64_t>value
    while True:
        first -= 1
        digits[first] = <uint8_t>(b"0"[0] + rest % 10)
        rest //= 10
        if rest == 0:
            break
    memcpy(more(buffer, 20 - first), digits + first, 20 - first)
    return 0


cdef inline int decimal(Buffer* buffer, int64_t value, int64_t one) except -1:
    """``value / one`` as the shortest text of that double; ``one`` is 10 or a million.

    Below 10^15, decimals that end there are that text.
    """
    cdef int64_t part, unit
    if value < 0 or value >= 1_000_000_000_000_000:
        raise OverflowError
    if one == 1_000_000 and 0 < value < 10:
        whole(buffer, value)
        return put(buffer, b"e-6")
    whole(buffer, value // one)
    byte(buffer, b"."[0])
    part, unit = value % one, one // 10
    while True:
        byte(buffer, <char>(b"0"[0] + part // unit))
        part %= unit
        if part == 0:
            return 0
        unit //= 10


cdef inline int text(Buffer* buffer, object text) except -1:
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t place
    cdef const char* at
    cdef uint8_t* into
    if not PyUnicode_CheckExact(text):
        raise TypeError
    at = PyUnicode_AsUTF8AndSize(text, &size)
    for place in range(size):
        if <uint8_t>at[place] < 0x20 or at[place] == b'"'[0] or at[place] == b"\\"[0]:
            import orjson
            return raw(buffer, orjson.dumps(text))
    into = more(buffer, size + 2)
    into[0] = into[size + 1] = b'"'[0]
    memcpy(into + 1, at, size)
    return 0


cdef inline int raw(Buffer* buffer, bytes data) except -1:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    memcpy(more(buffer, size), PyBytes_AS_STRING(data), size)
    return 0


cdef inline int field(Buffer* buffer, const char* name, int64_t value) except -1:
    """``name`` with quotes, colon and what comes before it."""
    put(buffer, name)
    return whole(buffer, value)


cdef inline int64_t capped(object number) except? -7:
    cdef int overflow = 0
    cdef int64_t value
    if not PyLong_CheckExact(number):
        raise TypeError
    value = PyLong_AsLongLongAndOverflow(number, &overflow)
    if overflow < 0 or (value < 0 and not overflow):
        raise OverflowError
    return INT64_MAX if overflow else value


cdef inline object sorted_items(dict money):
    return sorted(money.items()) if len(money) > 1 else money.items()


cdef inline int money(Buffer* buffer, dict money) except -1:
    """None is none."""
    cdef bint first = True
    byte(buffer, b"{"[0])
    if money:
        for currency, minor in sorted_items(money):
            if not first:
                byte(buffer, b","[0])
            first = False
            text(buffer, currency)
            byte(buffer, b":"[0])
            whole(buffer, capped(minor))
    return byte(buffer, b"}"[0])
