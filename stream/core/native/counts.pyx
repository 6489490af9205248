# cython: language_level=3
"""`Counts` and `Pane` as plain integers in C, and their sums; pure/counts.py and pure/panes.py are the definition.

No object here can be part of a cycle (a pane knows its session, a session no pane), so none is looked through by the
garbage collection.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from stream.core.native.adding cimport add_rest, add_sums
from stream.core.native.breakdowns cimport SOURCE_CLICKS, SOURCE_VIEWS, add_one, count_click
from stream.core.native.uniques cimport Uniques, nobody, to_change, uniques_of

from stream.core.breakdown import Clicks, Source
from stream.model.events import OTHER, SOURCES, UNKNOWN

cdef frozenset _SOURCES = SOURCES
cdef str _UNKNOWN = UNKNOWN
cdef str _OTHER = OTHER
cdef int64_t NEVER = -1


@cython.no_gc
cdef class Counts:
    """One column of figures. ``events`` is the number of counted events: the figures changed iff it did."""

    def __cinit__(self):
        self.peak = self.last = self.last_at = NEVER
        self.label_at = self.creator_at = self.first_event = self.last_event = NEVER
        self.seller = self.platform = self.creator = ""

    @property
    def gmv(self):
        if self._gmv is None:
            self._gmv = {}
        return self._gmv

    @gmv.setter
    def gmv(self, dict money not None):
        self._gmv = money

    @property
    def item_value(self):
        if self._item_value is None:
            self._item_value = {}
        return self._item_value

    @item_value.setter
    def item_value(self, dict money not None):
        self._item_value = money

    @property
    def local_item_value(self):
        if self._local_item_value is None:
            self._local_item_value = {}
        return self._local_item_value

    @local_item_value.setter
    def local_item_value(self, dict money not None):
        self._local_item_value = money

    @property
    def viewers(self):
        return to_change(self._viewers)

    @viewers.setter
    def viewers(self, sketch):
        self._viewers = uniques_of(sketch)

    @property
    def buyers(self):
        return to_change(self._buyers)

    @buyers.setter
    def buyers(self, sketch):
        self._buyers = uniques_of(sketch)

    # -- adding

    def add(self, Counts other not None):
        """Another slice of event time: all but the uniques and the breakdowns by id."""
        cdef int64_t[SUMS] sums
        cdef int64_t[SUMS] more
        self.read_sums(sums)
        other.read_sums(more)
        add_sums(sums, more)
        self.write_sums(sums)
        add_rest(self, other)

    def add_rest(self, Counts other not None):
        """The same for all that is not a plain sum."""
        add_rest(self, other)

    cdef void read_sums(self, int64_t* into) noexcept:
        """In the order of columns.SUMMED."""
        into[0] = self.events
        into[1] = self.impressions
        into[2] = self.views
        into[3] = self.product_impressions
        into[4] = self.product_clicks
        into[5] = self.adds_to_cart
        into[6] = self.likes
        into[7] = self.shares
        into[8] = self.follows
        into[9] = self.watch_ms
        into[10] = self.comments
        into[11] = self.checkouts_initiated
        into[12] = self.checkouts_submitted
        into[13] = self.checkouts_failed
        into[14] = self.orders_paid
        into[15] = self.cod_orders
        into[16] = self.items_sold
        into[17] = self.orders_cancelled
        into[18] = self.orders_refunded
        into[19] = self.heartbeats
        into[20] = self.samples
        into[21] = self.sample_sum

    cdef void write_sums(self, const int64_t* sums) noexcept:
        self.events = sums[0]
        self.impressions = sums[1]
        self.views = sums[2]
        self.product_impressions = sums[3]
        self.product_clicks = sums[4]
        self.adds_to_cart = sums[5]
        self.likes = sums[6]
        self.shares = sums[7]
        self.follows = sums[8]
        self.watch_ms = sums[9]
        self.comments = sums[10]
        self.checkouts_initiated = sums[11]
        self.checkouts_submitted = sums[12]
        self.checkouts_failed = sums[13]
        self.orders_paid = sums[14]
        self.cod_orders = sums[15]
        self.items_sold = sums[16]
        self.orders_cancelled = sums[17]
        self.orders_refunded = sums[18]
        self.heartbeats = sums[19]
        self.samples = sums[20]
        self.sample_sum = sums[21]


# -- panes


def told_values(Counts counts not None):
    """What the session and the metrics are told of."""
    return counts.events, counts.views, counts.product_clicks, counts.comments, counts.orders_paid


@cython.final
@cython.no_gc
cdef class Pane(Counts):
    """What one session did in one slice, while it is counted into."""

    def __init__(self, session, int64_t start):
        self.session = session
        self.seed = session.seed
        self.start = start

    @property
    def told(self):
        """`told_values` as already told to the session and the metrics."""
        return self.told_events, self.told_views, self.told_clicks, self.told_comments, self.told_orders

    @told.setter
    def told(self, tuple told not None):
        self.told_events, self.told_views, self.told_clicks, self.told_comments, self.told_orders = told

    def tell(self):
        """What of `told_values` was not told yet, and now is; None when nothing."""
        cdef int64_t events = self.events - self.told_events
        cdef int64_t views = self.views - self.told_views
        cdef int64_t clicks = self.product_clicks - self.told_clicks
        cdef int64_t comments = self.comments - self.told_comments
        cdef int64_t orders = self.orders_paid - self.told_orders
        if not (events or views or clicks or comments or orders):
            return None
        self.told_all()
        return events, views, clicks, comments, orders

    cdef void told_all(self) noexcept:
        self.told_events, self.told_views, self.told_clicks = self.events, self.views, self.product_clicks
        self.told_comments, self.told_orders = self.comments, self.orders_paid

    @property
    def told_gmv(self):
        if self._told_gmv is None:
            self._told_gmv = {}
        return self._told_gmv

    @told_gmv.setter
    def told_gmv(self, dict money not None):
        self._told_gmv = money

    def untold_gmv(self):
        """GMV counted since this was asked last."""
        cdef dict before = self.told_gmv
        cdef dict now = self.gmv
        self._told_gmv = now.copy()
        return {currency: minor - before.get(currency, 0) for currency, minor in now.items()}

    # -- counting into the breakdowns

    cpdef note_viewer(self, str viewer, str source):
        """One enters. ``source`` is None where the event names none."""
        if self._viewers is None:
            self._viewers = nobody()
        self._viewers.update(viewer)
        add_one(self.source_of(source), SOURCE_VIEWS)

    cpdef note_buyer(self, str viewer):
        if self._buyers is None:
            self._buyers = nobody()
        self._buyers.update(viewer)

    cpdef note_click(self, str source, str product, str affiliate, Py_ssize_t limit):
        """A click on a product. What is None the event does not name."""
        add_one(self.source_of(source), SOURCE_CLICKS)
        if product is not None:
            if self.product_clicks_by is None:
                self.product_clicks_by = Clicks()
            if count_click(self.product_clicks_by, product, limit, self.session, "product_clicks_by"):
                self.session.stale = True
        if affiliate is not None:
            if self.affiliate_clicks is None:
                self.affiliate_clicks = Clicks()
            if count_click(self.affiliate_clicks, affiliate, limit, self.session, "affiliate_clicks"):
                self.session.stale = True

    cpdef object source_of(self, str name):
        """The figures of a source; None where the event names none."""
        cdef str known = _UNKNOWN if name is None else name if name in _SOURCES else _OTHER
        if self.sources is None:
            self.sources = {}
        source = self.sources.get(known)
        if type(source) is not Source:
            source = self.sources[known] = Source()
        return source
