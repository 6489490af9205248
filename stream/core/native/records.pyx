"""The records of Kafka's batches (magic 2), found in one pass over the decompressed bytes, without an object for each.

The bytes come from strangers: every number is read within bounds, and every length is checked before it is used. What
does not add up is an UnreadableBatchError. core/pure/records.py reads, refuses and says the same.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT32_MAX, int16_t, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from collections.abc import Sequence

from stream.core.headers import MOST as _MOST
from stream.core.headers import MOST_BYTES as _MOST_BYTES
from stream.model.results import UnreadableBatchError

cdef int32_t MOST = _MOST
cdef int64_t MOST_BYTES = _MOST_BYTES

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "crc32c.h" nogil:
    bint crc32c_is_fast() noexcept
    uint32_t crc32c(const unsigned char* data, size_t length) noexcept

cdef enum:
    CODEC_BITS = 0x07           # of the attributes
    CRC_AT = 17
    CHECKED_FROM = 21
    ATTRIBUTES_AT = 21
    LAST_AT = 23                # of the last offset, counted from the first
    FIRST_TIME_AT = 27
    MAX_TIME_AT = 35
    PRODUCER_AT = 43
    NUMBER_AT = 57
    HEADER = 61                 # bytes before the records
    APPEND_TIME = 0x08
    TRANSACTIONAL = 0x10
    CONTROL = 0x20
    RECORD = 7                  # bytes of the shortest record

cdef enum Fault:
    NONE = 0
    CUT_OFF                     # a number or a length goes beyond the end
    NEGATIVE                    # a number of headers, or the length of a header's name
    MISFIT                      # a record is not as long as it says
    MISPLACED                   # its offset is not above the one before, or above the last one of the batch

cdef tuple FAULTS = (
    "",
    "goes beyond the end",
    "has a negative number where there can be none",
    "is not as long as it says",
    "has an offset that is out of order",
)


# -- numbers

cdef inline uint64_t big_endian(const unsigned char* at, int size) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(size):
        value = value << 8 | at[i]
    return value


cdef inline int64_t plus(int64_t one, int64_t other) noexcept nogil:
    """Wraps around, as the sums of strangers may; signed it would be undefined."""
    return <int64_t>(<uint64_t>one + <uint64_t>other)


cdef inline int64_t minus(int64_t one, int64_t other) noexcept nogil:
    return <int64_t>(<uint64_t>one - <uint64_t>other)


cdef struct Cursor:
    const unsigned char* at
    const unsigned char* end


cdef inline bint read_number(Cursor* cursor, int64_t* value) noexcept nogil:
    """A zigzag varint of at most ten bytes; False when there is none within the bounds."""
    cdef const unsigned char* at = cursor.at
    cdef uint64_t found = 0, byte
    cdef int shift = 0
    while shift < 70 and at < cursor.end:
        byte = at[0]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            cursor.at = at
            value[0] = <int64_t>((found >> 1) ^ (0 - (found & 1)))
            return True
        shift += 7
    return False


cdef inline bint read_span(Cursor* cursor, Span* span) noexcept nogil:
    """A length and so many bytes; a negative one stands for null."""
    cdef int64_t size
    if not read_number(cursor, &size) or size > cursor.end - cursor.at:
        return False
    if size < 0:
        span.at, span.size = NULL, 0
    else:
        span.at, span.size = cursor.at, <uint32_t>size
        cursor.at += size
    return True


# -- records

cdef Fault skip_headers(Cursor* cursor, RecordAt* record) noexcept nogil:
    cdef int64_t number, left
    cdef Span name, value
    if not read_number(cursor, &number) or number > (cursor.end - cursor.at) // 2:  # each has two bytes at least
        return CUT_OFF
    if number < 0:
        return NEGATIVE
    record.headers, record.headers_at = <int32_t>number, cursor.at
    left = number
    while left > 0:
        if not read_span(cursor, &name):
            return CUT_OFF
        if name.at == NULL:
            return NEGATIVE
        if not read_span(cursor, &value):
            return CUT_OFF
        left -= 1
    record.headers_size = <uint32_t>(cursor.at - record.headers_at)
    return NONE


cdef Fault read_record(Cursor* cursor, RecordAt* record) noexcept nogil:
    """Leaves offset and timestamp as they stand there: counted from those of the batch."""
    cdef int64_t length
    cdef const unsigned char* begin
    cdef Fault fault
    if not read_number(cursor, &length) or cursor.at == cursor.end:
        return CUT_OFF
    begin = cursor.at
    cursor.at += 1              # attributes: none are in use
    if (
        not read_number(cursor, &record.timestamp)
        or not read_number(cursor, &record.offset)
        or not read_span(cursor, &record.key)
        or not read_span(cursor, &record.value)
    ):
        return CUT_OFF
    fault = skip_headers(cursor, record)
    if fault != NONE:
        return fault
    return NONE if cursor.at - begin == length else MISFIT


@cython.final
@cython.no_gc                   # what it refers to is made here, and never refers back
cdef class Held:
    def __cinit__(self):
        self.at = NULL
        self.number = 0
        self.has_data = False

    def __dealloc__(self):
        PyMem_Free(self.at)
        if self.has_data:
            PyBuffer_Release(&self.data)


cdef int make_room(Held kept, Py_ssize_t number) except -1:
    """For so many records."""
    if number > PY_SSIZE_T_MAX // <Py_ssize_t>sizeof(RecordAt) - 1:
        raise MemoryError
    kept.at = <RecordAt*>PyMem_Malloc((number + 1) * sizeof(RecordAt))
    if kept.at == NULL:
        raise MemoryError
    kept.number = number
    kept.nbytes = number * <int64_t>sizeof(RecordAt)
    return 0


cdef Held room_beside(tuple others, Py_ssize_t number):
    """Room for records whose bytes others hold."""
    cdef Held made = Held.__new__(Held)
    made.others = others
    make_room(made, number)
    for other in others:
        made.nbytes += (<Held>other).nbytes
    return made


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class RunRecord:
    """One record, by itself: nothing of its run is kept alive."""

    cdef readonly int64_t offset
    cdef readonly int64_t timestamp
    cdef readonly bytes key
    cdef readonly bytes value
    cdef readonly object headers


cdef inline bytes copied(Span span):
    return None if span.at == NULL else PyBytes_FromStringAndSize(<const char*>span.at, span.size)


@cython.final
@cython.no_gc
cdef class Headers:
    """Headers of one record, decoded each time they are asked for: those that are within the bounds of core/headers.py.

    There is one at least, so it is true even where none is within the bounds. Names that are not UTF-8 come with U+FFFD.
    """

    cdef bytes raw
    cdef int32_t kept
    cdef readonly int32_t dropped
    cdef readonly uint32_t size

    def __init__(self):
        raise TypeError("records have them")

    def __len__(self):
        return self.kept

    def __bool__(self):
        return True

    def __iter__(self):
        return iter(self.built())

    def __getitem__(self, at):
        return self.built()[at]

    cdef tuple built(self):
        cdef Cursor cursor
        cdef Span name, value
        cdef list found = []
        cursor.at = <const unsigned char*>PyBytes_AS_STRING(self.raw)
        cursor.end = cursor.at + PyBytes_GET_SIZE(self.raw)
        while cursor.at < cursor.end and read_span(&cursor, &name) and read_span(&cursor, &value):
            found.append((PyUnicode_DecodeUTF8(<char*>name.at, name.size, "replace"), copied(value)))
        return tuple(found)


Sequence.register(Headers)


cdef Headers headers_of(const RecordAt* record):
    """Of a record that has some."""
    cdef Headers made = Headers.__new__(Headers)
    cdef Cursor cursor
    cdef Span name, value
    cdef const unsigned char* end = record.headers_at
    cdef int64_t room = MOST_BYTES
    cursor.at, cursor.end = record.headers_at, record.headers_at + record.headers_size
    while made.kept < min(record.headers, MOST) and read_span(&cursor, &name) and read_span(&cursor, &value):
        room -= <int64_t>name.size + value.size
        if room < 0:
            break
        made.kept += 1
        end = cursor.at
    made.raw = PyBytes_FromStringAndSize(<const char*>record.headers_at, end - record.headers_at)
    made.dropped, made.size = record.headers - made.kept, record.headers_size
    return made


cdef RunRecord record_of(const RecordAt* at):
    cdef RunRecord record = RunRecord.__new__(RunRecord)
    record.offset = at.offset
    record.timestamp = at.timestamp
    record.key = copied(at.key)
    record.value = copied(at.value)
    record.headers = () if at.headers == 0 else headers_of(at)
    return record


# -- runs

@cython.final
@cython.no_gc
cdef class Run:
    """Records in order. Their bytes are held as long as the run lives, or a part of it.

    None of them was appended before ``oldest_ms``, by the broker's clock. ``create_time``: their producers stamped them.
    """

    def __len__(self):
        return self.number

    def __iter__(self):
        cdef Py_ssize_t i
        for i in range(self.number):
            yield record_of(&self.at[i])

    def __getitem__(self, at):
        cdef Py_ssize_t begin, end, step
        if isinstance(at, slice):
            begin, end, step = at.indices(self.number)
            if step != 1:
                raise ValueError("a part of a run is a run: every record from the first to the last")
            return self.cut(begin, max(begin, end))
        begin = at
        if begin < 0:
            begin += self.number
        if not 0 <= begin < self.number:
            raise IndexError("a run has no such record")
        return record_of(&self.at[begin])

    cdef Run cut(self, Py_ssize_t begin, Py_ssize_t end):
        """Records from ``begin`` to ``end``, which must be within bounds."""
        cdef Run part = Run.__new__(Run)
        part.held, part.oldest_ms, part.create_time = self.held, self.oldest_ms, self.create_time
        part.at, part.number = self.at + begin, end - begin
        return part

    @property
    def offset(self):
        """Of the last one."""
        if self.number == 0:
            raise IndexError("a run of no records has no last one")
        return self.at[self.number - 1].offset

    @property
    def nbytes(self):
        """Bytes that are held as long as this is: those of whole batches, and of what leads to their records."""
        return self.held.nbytes

    def within(self, Py_ssize_t begin, Py_ssize_t end, int64_t most):
        """Where a part from ``begin`` on ends that holds at most so many bytes, or one record; at ``end`` at the latest."""
        cdef Py_ssize_t i
        begin, end = max(begin, 0), min(end, self.number)
        for i in range(begin, end):
            most -= <int64_t>self.at[i].key.size + self.at[i].value.size + self.at[i].headers_size
            if most < 0 and i > begin:
                return i
        return end

    def since(self, int64_t offset):
        """Those with this offset or a later one; all of them when the first has."""
        cdef Py_ssize_t i, number = 0
        cdef Held kept
        if self.number == 0 or self.at[0].offset >= offset:
            return self
        kept = room_beside((self.held,), self.number)
        for i in range(self.number):
            if self.at[i].offset >= offset:
                kept.at[number] = self.at[i]
                number += 1
        return made_of(kept, number, self.oldest_ms, self.create_time)


Sequence.register(Run)


cdef Run made_of(Held kept, Py_ssize_t number, int64_t oldest_ms, bint create_time):
    cdef Run run = Run.__new__(Run)
    run.held, run.at, run.number, run.oldest_ms, run.create_time = kept, kept.at, number, oldest_ms, create_time
    return run


def join(runs not None):
    """One run of all their records, in order. There must be one run at least."""
    cdef tuple parts = tuple(runs)
    cdef Py_ssize_t number = 0
    cdef int64_t oldest
    cdef bint create_time
    cdef Run run
    cdef Held kept
    for part in parts:
        number += (<Run?>part).number
    run = parts[0]
    if len(parts) == 1:
        return run
    kept = room_beside(tuple([(<Run>part).held for part in parts]), number)
    oldest, number, create_time = run.oldest_ms, 0, False
    for part in parts:
        run = part
        create_time = create_time or run.create_time
        if run.number:
            memcpy(kept.at + number, run.at, run.number * sizeof(RecordAt))
        number += run.number
        oldest = min(oldest, run.oldest_ms)
    return made_of(kept, number, oldest, create_time)


# -- batches

CHECKS_FAST = bool(crc32c_is_fast())


def checksum(data not None):
    """CRC-32C. Only where ``CHECKS_FAST``: it needs an instruction of the processor."""
    cdef Py_buffer view
    if not CHECKS_FAST:
        raise RuntimeError("this processor has no instruction for it")
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return crc32c(<const unsigned char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef class Batch:
    """A batch of magic 2 as it lies in fetched bytes; what its header says has the names that aiokafka uses.

    An UnreadableBatchError says that it is none, or that it does not add up.
    """

    cdef bytes fetched
    cdef const unsigned char* at
    cdef Py_ssize_t size
    cdef int64_t first_timestamp
    cdef readonly int64_t base_offset
    cdef readonly int64_t next_offset
    cdef readonly int64_t max_timestamp
    cdef readonly int64_t producer_id
    cdef readonly uint32_t crc
    cdef readonly int attributes
    cdef readonly int32_t number

    def __cinit__(self, bytes fetched not None, Py_ssize_t begin, Py_ssize_t end):
        if begin < 0 or end > PyBytes_GET_SIZE(fetched) or end - begin < HEADER:
            raise UnreadableBatchError("too short for a batch")
        self.fetched = fetched
        self.at = <const unsigned char*>PyBytes_AS_STRING(fetched) + begin
        self.size = end - begin
        self.crc = <uint32_t>big_endian(self.at + CRC_AT, 4)
        self.attributes = <int16_t>big_endian(self.at + ATTRIBUTES_AT, 2)
        self.base_offset = <int64_t>big_endian(self.at, 8)
        self.next_offset = plus(plus(self.base_offset, <int32_t>big_endian(self.at + LAST_AT, 4)), 1)
        self.first_timestamp = <int64_t>big_endian(self.at + FIRST_TIME_AT, 8)
        self.max_timestamp = <int64_t>big_endian(self.at + MAX_TIME_AT, 8)
        self.producer_id = <int64_t>big_endian(self.at + PRODUCER_AT, 8)
        self.number = <int32_t>big_endian(self.at + NUMBER_AT, 4)

    @property
    def codec(self):
        return self.attributes & CODEC_BITS

    @property
    def is_control_batch(self):
        return self.attributes & CONTROL != 0

    @property
    def is_transactional(self):
        return self.attributes & TRANSACTIONAL != 0

    def checked(self):
        """What ``crc`` was computed of."""
        return self.part(CHECKED_FROM)

    def packed(self):
        """Its records, compressed as ``codec`` says."""
        return self.part(HEADER)

    cdef object part(self, Py_ssize_t begin):
        """From this byte of the batch on."""
        cdef Py_ssize_t start = self.at - <const unsigned char*>PyBytes_AS_STRING(self.fetched)
        return memoryview(self.fetched)[start + begin : start + self.size]

    def read(self, data):
        """Its records, which lie in these bytes; the bytes must not change any more."""
        cdef Py_ssize_t number = max(self.number, 0)
        cdef Held kept = Held.__new__(Held)
        cdef Cursor cursor
        cdef Fault fault
        PyObject_GetBuffer(data, &kept.data, PyBUF_SIMPLE)
        kept.has_data = True
        if kept.data.len > INT32_MAX or number > kept.data.len // RECORD:
            raise UnreadableBatchError("more records than there is room for")
        make_room(kept, number)
        cursor.at = <const unsigned char*>kept.data.buf
        cursor.end = cursor.at + kept.data.len
        kept.nbytes += kept.data.len
        fault = self.fill(kept, &cursor)
        if fault != NONE:
            raise UnreadableBatchError(FAULTS[<int>fault])
        if cursor.at != cursor.end:
            raise UnreadableBatchError(f"{cursor.end - cursor.at} bytes after the last record")
        return made_of(kept, number, self.oldest(kept), not self.attributes & APPEND_TIME)

    cdef Fault fill(self, Held kept, Cursor* cursor) noexcept:
        cdef Py_ssize_t i
        cdef RecordAt* record
        cdef Fault fault
        cdef int64_t before = -1, last = minus(self.next_offset, plus(self.base_offset, 1))
        for i in range(kept.number):
            record = &kept.at[i]
            fault = read_record(cursor, record)
            if fault != NONE:
                return fault
            if not before < record.offset <= last:
                return MISPLACED
            before = record.offset
            record.offset = plus(record.offset, self.base_offset)
            if self.attributes & APPEND_TIME:
                record.timestamp = self.max_timestamp
            else:
                record.timestamp = plus(record.timestamp, self.first_timestamp)
        return NONE

    cdef int64_t oldest(self, Held kept) noexcept:
        cdef int64_t oldest = self.max_timestamp
        cdef Py_ssize_t i
        if kept.number and not self.attributes & APPEND_TIME:
            oldest = kept.at[0].timestamp
            for i in range(1, kept.number):
                oldest = min(oldest, kept.at[i].timestamp)
        return oldest
