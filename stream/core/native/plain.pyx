"""The views or comments of a batch: what is plain as structs, the rest as Python decodes it.

The definition is core/decode.py: an event is the same whether it was plain or not.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset

from stream.core.native.fields cimport Fields, Order, Plain, Reading, fields_of, read_value
from stream.core.native.hashing cimport HASHED_AT_MOST, xxh3
from stream.core.native.records cimport RecordAt, Run
from stream.core.native.spans cimport Span

from stream.model.events import Common

cdef enum:
    SMALL = 512  # as in core/decode.py: such a value is judged by neither its size nor its depth
    NEVER = -1

# -- One record

cdef bint read_record(Reading* reading, const Fields* fields, Order* order, Span key, Span value) noexcept nogil:
    """Is it plain? Of a record without headers."""
    cdef Plain* plain = &reading.plain
    if key.at is NULL or value.at is NULL or key.size > HASHED_AT_MOST or value.size > SMALL:
        return False
    if not read_value(reading, fields, order, value.at, value.at + value.size):
        return False
    if reading.session_id.size != key.size or memcmp(reading.session_id.at, key.at, key.size) != 0:
        return False
    if reading.event_id.size > HASHED_AT_MOST:
        return False
    plain.key = key
    plain.seed = xxh3(key.at, key.size, 0)
    plain.id = xxh3(reading.event_id.at, reading.event_id.size, plain.seed)
    return True


cdef inline Span span_of(data) noexcept:
    """Of bytes; of anything else none, so that it is not plain."""
    cdef Span span
    span.at, span.size = NULL, 0
    if PyBytes_CheckExact(data) and PyBytes_GET_SIZE(data) <= SMALL:
        span.at = <const unsigned char*>PyBytes_AS_STRING(data)
        span.size = <uint32_t>PyBytes_GET_SIZE(data)
    return span


# -- All of them

@cython.final
cdef class Parsed:
    """What the events of a batch, and of its parts, stand on."""

    def __cinit__(self, records, int64_t max_value, decode_one):
        self.number = len(records)
        self.at = <Plain*>malloc((self.number or 1) * sizeof(Plain))  # reading sets each, all of it
        if self.at is NULL:
            raise MemoryError
        self.records = records
        self.held = [] if isinstance(records, Run) else [None] * (2 * self.number)  # a run holds its bytes itself
        self.others = {}
        self.max_value = max_value
        self.decode_one = decode_one

    def __dealloc__(self):
        free(self.at)

    cdef int read(self, kind) except -1:
        cdef const Fields* fields = fields_of(kind)
        cdef Order order
        cdef Reading reading
        cdef RecordAt* at = NULL
        cdef Py_ssize_t place
        if fields is NULL:
            raise ValueError(f"of {kind} nothing is plain")
        memset(&order, 0, sizeof(Order))
        if isinstance(self.records, Run):
            at = (<Run>self.records).at
        for place in range(self.number):
            if at is NULL:
                self._read_one(kind, fields, &order, &reading, place)
            elif at[place].headers == 0 and read_record(&reading, fields, &order, at[place].key, at[place].value):
                self.at[place] = reading.plain
                self.at[place].moment = min(reading.plain.time, at[place].timestamp)
            else:
                self._leave(kind, place, self.records[place])
        return 0

    cdef int _read_one(self, kind, const Fields* fields, Order* order, Reading* reading, Py_ssize_t place) except -1:
        record = self.records[place]
        key, value = record.key, record.value
        if not record.headers and read_record(reading, fields, order, span_of(key), span_of(value)):
            self.held[2 * place], self.held[2 * place + 1] = key, value
            self.at[place] = reading.plain
            self.at[place].moment = min(reading.plain.time, <int64_t>record.timestamp)
        else:
            self._leave(kind, place, record)
        return 0

    cdef int _leave(self, kind, Py_ssize_t place, record) except -1:
        """To Python, what is not plain."""
        memset(&self.at[place], 0, sizeof(Plain))
        event = self.others[place] = self.decode_one(kind, record, self.max_value)
        if isinstance(event, Common):
            self.at[place].time, self.at[place].moment = event.event_time, min(event.event_time, record.timestamp)
        else:
            self.at[place].time = self.at[place].moment = NEVER
        return 0


@cython.final
cdef class PlainEvents:
    """As core.decode.Decodeds. The events of a batch or of a part of it; both stand on the same `Parsed`."""

    def __init__(self):
        raise TypeError("read_plain makes them")

    def __len__(self):
        return self.number

    def __getitem__(self, place):
        if not isinstance(place, slice):
            return self._event(self._checked(place))
        begin, end, step = place.indices(self.number)
        if step != 1:
            raise ValueError("parts have a step of 1")
        return part_of(self.parsed, self.kind, self.at + <Py_ssize_t>begin, max(0, end - begin))

    def __iter__(self):
        cdef Py_ssize_t place
        for place in range(self.number):
            yield self._event(place)

    def time_of(self, place):
        """The event time; None for what is no event."""
        cdef int64_t time = self.at[self._checked(place)].time
        return None if time == NEVER else time

    def first_above(self, Py_ssize_t begin, int64_t limit):
        """Where the first event from ``begin`` on is whose time is above the limit; their number when there is none."""
        cdef Py_ssize_t place
        for place in range(max(begin, 0), self.number):
            if self.at[place].time > limit and self.at[place].time != NEVER:
                return place
        return self.number

    def is_plain(self, place):
        return self.at[self._checked(place)].plain

    cdef Py_ssize_t _checked(self, place) except -1:
        cdef Py_ssize_t checked = place
        if checked < 0:
            checked += self.number
        if not 0 <= checked < self.number:
            raise IndexError("no event has this place")
        return checked

    cdef object _event(self, Py_ssize_t place):
        if not self.at[place].plain:
            return self.other(place)
        parsed = self.parsed
        return parsed.decode_one(self.kind, parsed.records[self._in_batch(place)], parsed.max_value)

    cdef Py_ssize_t _in_batch(self, Py_ssize_t place) noexcept:
        return self.at - self.parsed.at + place

    cdef object other(self, Py_ssize_t place):
        """One that is not plain, as Python decoded it."""
        return self.parsed.others[self._in_batch(place)]

    def as_dict(self, place):
        """What a plain one says, for tests."""
        cdef Plain* plain = self.at + self._checked(place)
        numbers = {"event_time": plain.time, "moment": plain.moment, "count": plain.count, "gift_value": plain.gift_value}
        return numbers | {
            "watch_ms": plain.watch_ms,
            "concurrent_viewers": plain.viewers,
            "basket_number": plain.basket_number,
            "session_id": text_of(&plain.key),
            "seller_id": text_of(&plain.seller),
            "viewer_id": text_of(&plain.viewer),
            "platform": text_of(&plain.platform),
            "creator_id": text_of(&plain.creator),
            "affiliate_id": text_of(&plain.affiliate),
            "source": text_of(&plain.source),
            "product_id": text_of(&plain.product),
            "product_name": text_of(&plain.product_name),
            "action": plain.action,
            "seed": plain.seed,
            "id": plain.id,
        }


cdef object text_of(const Span* span):
    return None if span.at is NULL else span.at[:span.size].decode("ascii")


cdef PlainEvents part_of(Parsed parsed, kind, Plain* at, Py_ssize_t number):
    cdef PlainEvents part = PlainEvents.__new__(PlainEvents)
    cdef Py_ssize_t place
    part.parsed, part.kind, part.at, part.number = parsed, kind, at, number
    part.clean, part.newest_ms = True, NEVER
    for place in range(number):
        part.newest_ms = max(part.newest_ms, at[place].moment)
        if at[place].time == NEVER:
            part.clean = False
    return part


def read_plain(kind, records, int64_t max_value, decode_one):
    """One event for each record; ``decode_one`` of core/decode.py makes those that are not plain, and any that is asked for."""
    cdef Parsed parsed = Parsed(records, max_value, decode_one)
    parsed.read(kind)
    return part_of(parsed, kind, parsed.at, parsed.number)
