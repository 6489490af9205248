# cython: language_level=3
"""`Counts` and `Pane` as plain integers in C, and their sums; pure/counts.py and pure/panes.py are the definition.

No object here can be part of a cycle (a pane knows its session, a session no pane), so none is looked through by the
garbage collection.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from stream.core.native cimport table
from stream.core.native.adding cimport add_moments, add_rest, add_sums
from stream.core.native.breakdowns cimport SOURCE_CLICKS, SOURCE_VIEWS, add_one, count_click
from stream.core.native.table cimport Figures, held_by, hold
from stream.core.native.uniques cimport Uniques, nobody

from stream.core.breakdown import Clicks, Source
from stream.model.events import OTHER, SOURCES, UNKNOWN

cdef frozenset _SOURCES = SOURCES
cdef str _UNKNOWN = UNKNOWN
cdef str _OTHER = OTHER


@cython.no_gc
cdef class Counts(Figures):
    """One column of figures. ``events`` is the number of counted events: the figures changed iff it did."""

    def add(self, Counts other not None):
        """Another slice of event time: all but the uniques and the breakdowns by id."""
        add_sums(self, other)
        add_rest(self, other)

    def add_rest(self, Counts other not None):
        """The same for all that is not a plain sum."""
        add_rest(self, other)

    cdef show_late(self, object late):
        """Adds the moments of a pane's late part, when its own are in the sum already."""
        cdef Figures part = Figures.__new__(Figures)
        cdef tuple moments = late.moments
        cdef int each, place
        for each in range(table.N_MOMENTS):
            place = table.moments_at[each]
            if place >= 0:
                part.at[place] = moments[each]
            else:
                hold(part, ~place, <str>moments[each])
        add_moments(self, part)


# -- panes


def told_values(Counts counts not None):
    """What the session and the metrics are told of."""
    return (
        counts.at[table.EVENTS],
        counts.at[table.VIEWS],
        counts.at[table.PRODUCT_CLICKS],
        counts.at[table.COMMENTS],
        counts.at[table.ORDERS_PAID],
    )


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
        cdef int64_t events = self.at[table.EVENTS] - self.told_events
        cdef int64_t views = self.at[table.VIEWS] - self.told_views
        cdef int64_t clicks = self.at[table.PRODUCT_CLICKS] - self.told_clicks
        cdef int64_t comments = self.at[table.COMMENTS] - self.told_comments
        cdef int64_t orders = self.at[table.ORDERS_PAID] - self.told_orders
        if not (events or views or clicks or comments or orders):
            return None
        self.told_all()
        return events, views, clicks, comments, orders

    cdef void told_all(self) noexcept:
        self.told_events, self.told_views = self.at[table.EVENTS], self.at[table.VIEWS]
        self.told_clicks, self.told_comments = self.at[table.PRODUCT_CLICKS], self.at[table.COMMENTS]
        self.told_orders = self.at[table.ORDERS_PAID]

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
        self._note_unique(table.VIEWERS, viewer)
        add_one(self.source_of(source), SOURCE_VIEWS)

    cpdef note_buyer(self, str viewer):
        self._note_unique(table.BUYERS, viewer)

    cdef int _note_unique(self, int place, str viewer) except -1:
        if self.held[place] == NULL:
            hold(self, place, nobody())
        return (<Uniques>self.held[place]).update(viewer)

    cpdef note_click(self, str source, str product, str affiliate, Py_ssize_t limit):
        """A click on a product. What is None the event does not name."""
        add_one(self.source_of(source), SOURCE_CLICKS)
        if product is not None:
            self._note_id(table.PRODUCT_CLICKS_BY, product, limit, "product_clicks_by")
        if affiliate is not None:
            self._note_id(table.AFFILIATE_CLICKS, affiliate, limit, "affiliate_clicks")

    cdef int _note_id(self, int place, str id_, Py_ssize_t limit, str name) except -1:
        if self.held[place] == NULL:
            hold(self, place, Clicks())
        if count_click(<object>self.held[place], id_, limit, self.session, name):
            self.session.stale = True
        return 0

    cpdef object source_of(self, str name):
        """The figures of a source; None where the event names none."""
        cdef str known = _UNKNOWN if name is None else name if name in _SOURCES else _OTHER
        cdef dict sources
        if self.held[table.SOURCES] == NULL:
            hold(self, table.SOURCES, {})
        sources = held_by(self, table.SOURCES)
        source = sources.get(known)
        if type(source) is not Source:
            source = sources[known] = Source()
        return source
