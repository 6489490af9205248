"""The records of fetched batches, to be walked without an object for each."""

from cpython.buffer cimport Py_buffer
from libc.stdint cimport int32_t, int64_t, uint32_t

from stream.core.native.spans cimport Span


ctypedef struct RecordAt:
    int64_t offset
    int64_t timestamp           # the broker's or the producer's, as the topic says; ms
    Span key
    Span value
    const unsigned char* headers_at
    uint32_t headers_size
    int32_t headers             # how many; they lie at headers_at and are well-formed


cdef class Held:
    """What runs point into: an array of records, and the bytes in which they lie (or those who hold these)."""
    cdef RecordAt* at
    cdef Py_ssize_t number
    cdef Py_buffer data
    cdef bint has_data
    cdef tuple others
    cdef int64_t nbytes         # of all of it


cdef class Run:
    cdef readonly int64_t oldest_ms
    cdef readonly bint create_time
    cdef RecordAt* at           # valid as long as the run lives
    cdef Py_ssize_t number
    cdef Held held

    cdef Run cut(self, Py_ssize_t begin, Py_ssize_t end)
