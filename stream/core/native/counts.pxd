"""What one pane, window or session has counted, as plain integers: others read and change it in C.

A count never overflows: wherever something is added to one, the sum saturates.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from stream.core.native.table cimport Figures

cdef class Counts(Figures):
    """The figures are in ``at`` and ``held``, at the places of table.pxd."""

    cdef public object late
    cdef public bint incomplete

    cdef show_late(self, object late)


cdef class Pane(Counts):
    cdef public object session
    cdef public uint64_t seed
    cdef public int64_t start
    cdef public int64_t name_bytes
    cdef public bint changed
    cdef public uint8_t topics
    cdef int64_t told_events, told_views, told_clicks, told_comments, told_orders
    cdef dict _told_gmv                                # None: nothing was counted yet

    cdef void told_all(self) noexcept
    cdef int _note_unique(self, int place, str viewer) except -1
    cdef int _note_id(self, int place, str id_, Py_ssize_t limit, str name) except -1
    cpdef note_viewer(self, str viewer, str source)
    cpdef object source_of(self, str name)
    cpdef note_buyer(self, str viewer)
    cpdef note_click(self, str source, str product, str affiliate, Py_ssize_t limit)
