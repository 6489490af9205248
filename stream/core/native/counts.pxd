"""What one pane, window or session has counted, as plain integers: others read and change it in C.

A count never overflows: wherever something is added to one, the sum saturates.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from stream.core.native.uniques cimport Uniques

cdef enum:
    SUMS = 22          # see columns.SUMMED


cdef class Counts:
    cdef public int64_t events, impressions, views, product_impressions, product_clicks, adds_to_cart
    cdef public int64_t likes, shares, follows, watch_ms, comments
    cdef public int64_t checkouts_initiated, checkouts_submitted, checkouts_failed, orders_paid, cod_orders
    cdef public int64_t items_sold, orders_cancelled, orders_refunded, heartbeats, samples, sample_sum
    cdef public int64_t peak, last, last_at, label_at, creator_at, first_event, last_event
    cdef public str seller, platform, creator
    cdef dict _gmv, _item_value, _local_item_value     # None: nothing was counted yet; Python is given a dict
    cdef Uniques _viewers, _buyers                     # None: nobody
    cdef public dict sources
    cdef public object product_clicks_by, affiliate_clicks, product_orders, affiliate_orders, late
    cdef public bint incomplete

    cdef void read_sums(self, int64_t* into) noexcept
    cdef void write_sums(self, const int64_t* sums) noexcept


cdef class Pane(Counts):
    cdef public object session
    cdef public uint64_t seed
    cdef public int64_t start
    cdef public bint changed
    cdef public uint8_t topics
    cdef int64_t told_events, told_views, told_clicks, told_comments, told_orders
    cdef dict _told_gmv                                # as _gmv

    cdef void told_all(self) noexcept
    cpdef note_viewer(self, str viewer, str source)
    cpdef object source_of(self, str name)
    cpdef note_buyer(self, str viewer)
    cpdef note_click(self, str source, str product, str affiliate, Py_ssize_t limit)
