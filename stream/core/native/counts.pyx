# cython: language_level=3
"""`Counts` and `Pane` as plain integers in C, and their sums; pure/counts.py and pure/panes.py are the definition.

No object here can be part of a cycle (a pane knows its session, a session no pane), so none is looked through by the
garbage collection.
"""

cimport cython
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t

from stream.core.native.breakdowns cimport (
    SOURCE_CLICKS,
    SOURCE_VIEWS,
    add_money,
    add_one,
    add_sources,
    count_click,
    merged,
    settled_of,
)
from stream.core.native.uniques cimport Uniques, nobody, to_change, uniques_of

from stream.core.breakdown import Clicks, Source
from stream.core.pure.ontime import column_of as column_in_python
from stream.core.uniques import united
from stream.model.events import OTHER, SOURCES, UNKNOWN

cdef frozenset _SOURCES = SOURCES
cdef str _UNKNOWN = UNKNOWN
cdef str _OTHER = OTHER
cdef int64_t NEVER = -1

cdef enum:
    HEARTBEATS = 19    # its place in columns.SUMMED, behind the counters


cdef inline int64_t _sum(int64_t one, int64_t other) noexcept:
    """Saturates."""
    if other > 0 and one > INT64_MAX - other:
        return INT64_MAX
    if other < 0 and one < INT64_MIN - other:
        return INT64_MIN
    return one + other


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
        _add_sums(sums, more)
        self.write_sums(sums)
        _add_rest(self, other)

    def add_rest(self, Counts other not None):
        """The same for all that is not a plain sum."""
        _add_rest(self, other)

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


cdef inline void _add_sums(int64_t* sums, const int64_t* more) noexcept:
    cdef int place
    for place in range(SUMS):
        sums[place] = _sum(sums[place], more[place])


cdef _add_rest(Counts into, Counts other):
    into._gmv = _added_money(into._gmv, other._gmv)
    into._item_value = _added_money(into._item_value, other._item_value)
    into._local_item_value = _added_money(into._local_item_value, other._local_item_value)
    _add_samples(into, other)
    _add_labels(into, other)
    _add_span(into, other)
    if other.late is not None:
        other.late.show(into)
    if other.sources:
        if into.sources is None:
            into.sources = {}
        add_sources(into.sources, other.sources)
    into.incomplete = into.incomplete or other.incomplete


cdef dict _added_money(dict into, dict more):
    if not more:
        return into
    if into is None:
        return more.copy()
    add_money(into, more)
    return into


cdef inline void _add_samples(Counts into, Counts other) noexcept:
    if not other.samples:
        return
    into.peak = max(into.peak, other.peak)
    if other.last_at > into.last_at or (other.last_at == into.last_at and other.last > into.last):
        into.last_at, into.last = other.last_at, other.last


cdef inline _add_labels(Counts into, Counts other):
    if other.label_at > into.label_at:
        into.label_at, into.seller, into.platform = other.label_at, other.seller, other.platform
    if other.creator_at > into.creator_at:
        into.creator_at, into.creator = other.creator_at, other.creator


cdef inline void _add_span(Counts into, Counts other) noexcept:
    if other.last_event == NEVER:
        return
    into.last_event = max(into.last_event, other.last_event)
    into.first_event = other.first_event if into.first_event == NEVER else min(into.first_event, other.first_event)


# -- breakdowns by id


def merge_breakdowns(Counts into not None, Counts part not None, only=None):
    """Adds them; with ``only`` (by breakdown), other ids go into the unnamed sums."""
    _merge_breakdowns(into, part, only)


cdef _merge_breakdowns(Counts into, Counts part, object only):
    if part.product_clicks_by is not None:
        into.product_clicks_by = merged(into.product_clicks_by, part.product_clicks_by, only, "product_clicks_by")
    if part.affiliate_clicks is not None:
        into.affiliate_clicks = merged(into.affiliate_clicks, part.affiliate_clicks, only, "affiliate_clicks")
    if part.product_orders is not None:
        into.product_orders = merged(into.product_orders, part.product_orders, only, "product_orders")
    if part.affiliate_orders is not None:
        into.affiliate_orders = merged(into.affiliate_orders, part.affiliate_orders, only, "affiliate_orders")


# -- sums of panes


def total(parts, only=None):
    """The sum of panes with everything in it; its sketches are results of a union, so that `estimate` may read them.

    It may share what it holds with a single part: to be read.
    """
    cdef Counts whole
    cdef Counts part
    cdef int64_t[SUMS] sums
    cdef int64_t[SUMS] more
    if len(parts) == 1 and only is None:
        part = parts[0]
        if part.late is None:
            return _alone(part)
    whole = Counts.__new__(Counts)
    whole.read_sums(sums)
    for part in parts:
        part.read_sums(more)
        _add_sums(sums, more)
        _add_rest(whole, part)
        _merge_breakdowns(whole, part, only)
    whole.write_sums(sums)
    whole._viewers = uniques_of(united([(<Counts>each)._viewers.unpacked() for each in parts
                                      if (<Counts>each)._viewers is not None]))
    whole._buyers = uniques_of(united([(<Counts>each)._buyers.unpacked() for each in parts
                                     if (<Counts>each)._buyers is not None]))
    return whole


cdef Counts _alone(Counts part):
    cdef Counts whole = Counts.__new__(Counts)
    cdef int64_t[SUMS] sums
    part.read_sums(sums)
    whole.write_sums(sums)
    whole.peak, whole.last, whole.last_at = part.peak, part.last, part.last_at
    whole.label_at, whole.seller, whole.platform = part.label_at, part.seller, part.platform
    whole.creator_at, whole.creator = part.creator_at, part.creator
    whole.first_event, whole.last_event = part.first_event, part.last_event
    whole._gmv, whole._item_value, whole._local_item_value = part._gmv, part._item_value, part._local_item_value
    whole.sources, whole.incomplete = part.sources, part.incomplete
    whole.product_clicks_by = settled_of(part.product_clicks_by)
    whole.affiliate_clicks = settled_of(part.affiliate_clicks)
    whole.product_orders = settled_of(part.product_orders)
    whole.affiliate_orders = settled_of(part.affiliate_orders)
    if part._viewers is not None:
        whole._viewers = uniques_of(united((part._viewers.unpacked(),)))
    if part._buyers is not None:
        whole._buyers = uniques_of(united((part._buyers.unpacked(),)))
    return whole


def column_of(Counts counts not None, str currency not None):
    """The on-time figures, in the order of `figures.FIELDS`. Money saturates."""
    cdef int64_t[SUMS] sums
    if counts.late is not None:
        return column_in_python(counts, currency)
    counts.read_sums(sums)
    if not counts.orders_paid:
        return (*[sums[place] for place in range(1, HEARTBEATS + 1)], 0, 0, 0, sums[0])
    return (
        *[sums[place] for place in range(1, HEARTBEATS + 1)],
        _amount(counts._gmv, currency),
        _amount(counts._item_value, currency),
        _amount(counts._local_item_value, currency),
        sums[0],
    )


cdef object _amount(dict money, str currency):
    return 0 if money is None else min(money.get(currency, 0), INT64_MAX)


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
