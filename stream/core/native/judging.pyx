# cython: cdivision=True
"""Judging and counting of plain events: what core/judge.py and core/counting.py say, for those that are plainly on time.

Everything else goes back to the Python of core/judge.py, one record at a time and in its turn, so that the order of the
records is kept. Event times and lengths of panes are never negative here: C divides them as Python does.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

from stream.core.native cimport table
from stream.core.native.adding cimport add_to
from stream.core.native.counts cimport Pane
from stream.core.native.ids cimport IdSet
from stream.core.native.fields cimport Plain
from stream.core.native.plain cimport PlainEvents
from stream.core.native.spans cimport Span
from stream.core.native.table cimport held_by, hold

from typing import get_args

from stream.core.figures import NEVER as _NEVER
from stream.core.counting import PLAIN_ONLY as _PLAIN_ONLY
from stream.core.counting import count_label, count_pin
from stream.core.ontime import on_time_ms
from stream.core.panes import PLACE
from stream.core.windows import FAR_AHEAD as _FAR_AHEAD
from stream.model.events import LABELLED, LIFECYCLE, OTHER, PLATFORMS, Action
from stream.model.names import Kind, Outcome

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    object PyUnicode_DecodeASCII(const char* text, Py_ssize_t size, const char* errors)

cdef int64_t NEVER = _NEVER
cdef int64_t FAR_AHEAD = _FAR_AHEAD
cdef int64_t PLAIN_ONLY = _PLAIN_ONLY
cdef object VIEWS = Kind.VIEWS
cdef object COMMENTS = Kind.COMMENTS
cdef object DUPLICATE = Outcome.DUPLICATE
cdef object KNOWN_PLATFORMS = PLATFORMS
cdef object OTHER_PLATFORM = OTHER

cdef enum:
    IMPRESSION, ENTER, HEARTBEAT, LEAVE, PRODUCT_IMPRESSION, PRODUCT_CLICK, ADD_TO_CART, LIKE, SHARE, FOLLOW
    GIFT, PIN, UNPIN

NAMES = (
    "impression enter heartbeat leave product_impression product_click add_to_cart like share follow"
    " gift pin unpin"
)
if NAMES.split() != [name for name in get_args(Action) if name not in LIFECYCLE]:
    raise ImportError("model/events.py lists other actions than are counted here")
cdef bint[UNPIN + 1] NAMES_PRODUCTS
for _place, _name in enumerate(NAMES.split()):
    NAMES_PRODUCTS[_place] = _name in LABELLED


# -- the panes of a row, found by the hash of their key

cdef uint64_t SALT = <uint64_t><Py_ssize_t>hash("panes") | 1
"""Odd, and another in each process: nobody can choose sessions that all belong to one slot."""

cdef struct Slot:
    uint64_t seed
    void* pane  # NULL: empty
    void* key   # of its session, which the pane keeps


cdef class Index:
    """Open panes of a row. The row forgets it as soon as it packs or drops a pane; it fills itself again."""

    cdef Slot* slots
    cdef size_t mask
    cdef list held

    def __cinit__(self):
        self.mask = 63
        self.slots = <Slot*>PyMem_Calloc(self.mask + 1, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError
        self.held = []

    def __dealloc__(self):
        PyMem_Free(self.slots)

    cdef Pane find(self, uint64_t seed, Span key):
        """None where there is none. Two keys of one hash are told apart."""
        cdef size_t place = seed * SALT >> 32 & self.mask
        while self.slots[place].pane != NULL:
            if self.slots[place].seed == seed and _is(<object>self.slots[place].key, key):
                return <Pane>self.slots[place].pane
            place = (place + 1) & self.mask
        return None

    cdef int add(self, Pane pane) except -1:
        cdef size_t mask
        cdef Slot* slots
        self.held.append(pane)
        if <size_t>len(self.held) * 2 > self.mask:
            mask = self.mask * 2 + 1
            slots = <Slot*>PyMem_Calloc(mask + 1, sizeof(Slot))
            if slots == NULL:
                raise MemoryError
            PyMem_Free(self.slots)
            self.slots, self.mask = slots, mask
            for each in self.held:
                self._place(<Pane>each)
        else:
            self._place(pane)
        return 0

    cdef int _place(self, Pane pane) except -1:
        cdef bytes key = pane.session.key
        cdef size_t place = pane.seed * SALT >> 32 & self.mask
        while self.slots[place].pane != NULL:
            place = (place + 1) & self.mask
        self.slots[place].seed, self.slots[place].pane, self.slots[place].key = pane.seed, <void*>pane, <void*>key
        return 0


cdef inline bint _is(object key, Span span) noexcept:
    return PyBytes_GET_SIZE(key) == span.size and memcmp(PyBytes_AS_STRING(key), span.at, span.size) == 0


cdef inline Pane _find(object row, const Plain* event):
    """The session's pane of this row; None where it is not open, or not among those that were looked for before."""
    cdef Index index = row.index
    if index is None:
        index = row.index = Index()
    return index.find(event.seed, event.key)


cdef Pane _open(object judge, object row, const Plain* event):
    """One that `_find` does not know."""
    cdef Index index = row.index
    cdef Pane pane
    key = PyBytes_FromStringAndSize(<const char*>event.key.at, event.key.size)
    pane = row.panes.get(key)
    if pane is None:
        pane = row.open(judge.meet(key))
    index.add(pane)
    return pane


# -- judging

def judge_plain(judge, kind, records, PlainEvents events not None):
    """A batch of views or comments, in order.

    [low, high) is where an event can be neither future nor refused nor behind by the delay, and falls into the current
    row: all before it since the last look at the clock are below high as well, and so is the clock, which no event moves
    beyond its own time.
    """
    policy = judge.policy
    cdef int64_t pane_ms = policy.pane_ms, limit = policy.max_ids, on_time = on_time_ms(policy.delay_ms)
    cdef int64_t ceiling = min(_oldest_ms(records), FAR_AHEAD) + policy.max_future_ms + 1
    cdef int64_t clock = judge.clock(kind), low = 0, high = 0, start, time
    cdef Py_ssize_t place, number, duplicates = 0
    cdef Py_ssize_t most = policy.max_pane_events, room = 0
    cdef int64_t labels = 0  # bytes of names in what has changed
    cdef Counting counting = counting_of(kind, events)
    cdef uint8_t topic = 1 << <int>PLACE[kind]
    cdef object known = judge.known[kind]
    cdef object row = None
    cdef list changed = judge.changed
    cdef IdSet ids = None
    cdef Pane pane
    cdef Plain* event
    for number in range(events.number):
        event = &events.at[number]
        time = event.time
        if event.plain and not low <= time < high:
            start = time // pane_ms * pane_ms
            high = min(start + pane_ms, ceiling, max(clock, time) + (on_time + 1) // 2)
            low = max(start, <int64_t>judge.floor(clock) + 1, max(clock + 1, high) - on_time)
            if low <= time < high:
                row = judge.row(start)
                ids = row.ids[PLACE[kind]]
                room = most - len(ids)
        if not (event.plain and low <= time < high and room > 0):
            judge.set_clock(kind, clock)
            judge.judge_each(kind, (records[number],), (events[number],))
            clock = judge.clock(kind)
            high = low  # it may have moved the clock anywhere
            continue
        clock = max(clock, event.moment)
        pane = _find(row, event)
        if pane is None or not pane.topics & topic:  # of a session that this topic may not know
            if ids.has(event.id):
                duplicates += 1
                continue
            why = known.refusal(event.seed, row.start, clock)
            if why is not None:
                judge.refuse_session(kind, records[number], why)
                continue
            if pane is None:
                pane = _open(judge, row, event)
            known.note(event.seed, row.start, clock)
            pane.topics |= topic
        if not ids.note(event.id):
            duplicates += 1
            continue
        room -= 1
        if not pane.changed:
            pane.changed = True
            changed.append(pane)
            labels += pane.name_bytes
        labels += counting(pane, event, limit)
    judge.set_clock(kind, clock)
    judge.label_bytes += labels
    if duplicates:
        judge.uncount(kind, DUPLICATE, duplicates)


cdef int64_t _oldest_ms(records) except? -1:
    oldest = getattr(records, "oldest_ms", None)
    return min([record.timestamp for record in records]) if oldest is None else oldest


# -- counting

ctypedef int (*Counting)(Pane pane, const Plain* event, int64_t limit) except -1


cdef Counting counting_of(kind, PlainEvents events) except NULL:
    """How events of a kind are counted. Every kind is named here: none is counted as another."""
    if events.kind is not kind:
        raise ValueError(f"events of {events.kind}, judged as {kind}")
    if kind is VIEWS:
        return _count_view
    if kind is COMMENTS:
        return _count_comment
    raise ValueError(f"nothing counts plain {kind}")


cdef int _count_view(Pane pane, const Plain* event, int64_t limit) except -1:
    cdef uint8_t action = event.action
    add_to(pane, table.EVENTS, 1)
    _carry(pane, event)
    _on_air(pane, event.time)
    if action == HEARTBEAT:
        add_to(pane, table.HEARTBEATS, 1)
    elif action == ENTER:
        add_to(pane, table.VIEWS, 1)
        if limit != PLAIN_ONLY:
            pane.note_viewer(_text(event.viewer), _text_or_none(event.source))
    elif action == PRODUCT_IMPRESSION:
        add_to(pane, table.PRODUCT_IMPRESSIONS, 1)
    elif action == LIKE:
        add_to(pane, table.LIKES, 1 if event.count < 0 else event.count)
    elif action == PRODUCT_CLICK:
        add_to(pane, table.PRODUCT_CLICKS, 1)
        if limit != PLAIN_ONLY:
            pane.note_click(
                _text_or_none(event.source), _text_or_none(event.product), _text_or_none(event.affiliate), limit
            )
    elif action == IMPRESSION:
        add_to(pane, table.IMPRESSIONS, 1)
    elif action == ADD_TO_CART:
        add_to(pane, table.ADDS_TO_CART, 1)
    elif action == SHARE:
        add_to(pane, table.SHARES, 1)
    elif action == FOLLOW:
        add_to(pane, table.FOLLOWS, 1)
    elif action == GIFT:
        add_to(pane, table.GIFTS, 1 if event.count < 0 else event.count)
        add_to(pane, table.GIFT_VALUE, max(event.gift_value, 0))
    elif action == PIN and limit != PLAIN_ONLY:
        count_pin(pane, _text(event.product), limit)
    if event.watch_ms > 0:
        add_to(pane, table.WATCH_MS, event.watch_ms)
    if event.viewers >= 0:
        _sample(pane, event.time, event.viewers)
    if event.product_name.size or event.basket_number > 0:
        return _count_label(pane, event, limit)
    return 0


cdef int _count_label(Pane pane, const Plain* event, int64_t limit) except -1:
    cdef uint8_t action = event.action
    if event.product.at == NULL or limit == PLAIN_ONLY or not NAMES_PRODUCTS[action]:
        return 0
    name = "" if event.product_name.at == NULL else _text(event.product_name)
    return count_label(pane, _text(event.product), name, max(event.basket_number, 0), event.time, limit)


cdef int _count_comment(Pane pane, const Plain* event, int64_t _limit) except -1:
    add_to(pane, table.EVENTS, 1)
    add_to(pane, table.COMMENTS, 1)
    _carry(pane, event)
    _on_air(pane, event.time)
    return 0


cdef inline void _sample(Pane pane, int64_t time, int64_t viewers) noexcept:
    add_to(pane, table.SAMPLES, 1)
    add_to(pane, table.SAMPLE_SUM, viewers)
    pane.at[table.PEAK] = max(pane.at[table.PEAK], viewers)
    if time > pane.at[table.LAST_AT] or (time == pane.at[table.LAST_AT] and viewers > pane.at[table.LAST]):
        pane.at[table.LAST_AT], pane.at[table.LAST] = time, viewers


cdef inline void _span(Pane pane, int64_t time) noexcept:
    if time > pane.at[table.LAST_EVENT]:
        if pane.at[table.LAST_EVENT] < 0:
            pane.at[table.FIRST_EVENT] = time
        pane.at[table.LAST_EVENT] = time
    elif time < pane.at[table.FIRST_EVENT]:
        pane.at[table.FIRST_EVENT] = time


cdef inline void _on_air(Pane pane, int64_t time) noexcept:
    """Of views and comments: checkouts may come hours later."""
    _span(pane, time)
    if time > pane.at[table.ON_AIR_TO]:
        if pane.at[table.ON_AIR_TO] < 0:
            pane.at[table.ON_AIR_FROM] = time
        pane.at[table.ON_AIR_TO] = time
    elif time < pane.at[table.ON_AIR_FROM]:
        pane.at[table.ON_AIR_FROM] = time
    if time > pane.at[table.AIRED_TO]:
        pane.at[table.AIRED_TO] = time


cdef inline int _carry(Pane pane, const Plain* event) except -1:
    """Labels: each from the event with the latest event time that carries it, ties to the greater bytes."""
    cdef int64_t time = event.time
    if time > pane.at[table.LABEL_AT]:
        pane.at[table.LABEL_AT] = time
        if not _is_text(<object>pane.held[table.SELLER], event.seller):
            hold(pane, table.SELLER, _text(event.seller))
        if not _is_text(<object>pane.held[table.PLATFORM], event.platform) or not event.platform.size:
            hold(pane, table.PLATFORM, _platform(event))
    elif time == pane.at[table.LABEL_AT]:
        hold(pane, table.SELLER, max(held_by(pane, table.SELLER), _text(event.seller)))
        hold(pane, table.PLATFORM, max(held_by(pane, table.PLATFORM), _platform(event)))
    if event.creator.at != NULL and time >= pane.at[table.CREATOR_AT]:
        if time > pane.at[table.CREATOR_AT]:
            pane.at[table.CREATOR_AT] = time
            if not _is_text(<object>pane.held[table.CREATOR], event.creator):
                hold(pane, table.CREATOR, _text(event.creator))
        else:
            hold(pane, table.CREATOR, max(held_by(pane, table.CREATOR), _text(event.creator)))
    return 0


cdef object _platform(const Plain* event):
    text = _text(event.platform)
    return text if text in KNOWN_PLATFORMS else OTHER_PLATFORM


# -- texts: pure ASCII, as everything in a plain event that is looked at

cdef inline bint _is_text(object text, Span span) noexcept:
    """Most events of a session carry the same labels; making a text of each would be half of counting."""
    return (
        PyUnicode_IS_COMPACT_ASCII(text)
        and PyUnicode_GET_LENGTH(text) == span.size
        and memcmp(PyUnicode_DATA(text), span.at, span.size) == 0
    )


cdef inline object _text(Span span):
    return PyUnicode_DecodeASCII(<const char*>span.at, span.size, NULL)


cdef inline object _text_or_none(Span span):
    return None if span.at == NULL else _text(span)
