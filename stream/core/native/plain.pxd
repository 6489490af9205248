"""`PlainEvents` for the judging, which reads what is plain of the structs alone."""

from libc.stdint cimport int64_t

from stream.core.native.fields cimport Fields, Order, Plain, Reading

cdef class Parsed:
    cdef Plain* at
    cdef Py_ssize_t number
    cdef object records
    cdef list held      # what the spans point into
    cdef dict others    # by place
    cdef int64_t max_value
    cdef object decode_one   # Python's

    cdef int read(self, kind) except -1
    cdef int _read_one(self, kind, const Fields* fields, Order* order, Reading* reading, Py_ssize_t place) except -1
    cdef int _leave(self, kind, Py_ssize_t place, record) except -1

cdef class PlainEvents:
    cdef Plain* at
    cdef Py_ssize_t number
    cdef readonly bint clean
    cdef readonly int64_t newest_ms
    cdef readonly object kind
    cdef Parsed parsed

    cdef object other(self, Py_ssize_t place)
    cdef object _event(self, Py_ssize_t place)
    cdef Py_ssize_t _checked(self, place) except -1
    cdef Py_ssize_t _in_batch(self, Py_ssize_t place) noexcept
