"""The fields of an event, read from its value by what model/events.py says of them."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from stream.core.native.scanning cimport Place
from stream.core.native.spans cimport Span

ctypedef struct Plain:
    int64_t time  # of the event; what is not plain has its time as well, and -1 when it is no event
    int64_t moment  # how far it moves its topic's clock: the time, or the broker's timestamp of its record if that is less
    int64_t count  # -1: absent, as of the next four
    int64_t gift_value
    int64_t watch_ms
    int64_t viewers
    int64_t basket_number
    uint64_t seed  # hash of the key: Session.seed
    uint64_t id    # hash of the event id, with that seed
    Span key
    Span seller
    Span viewer
    Span platform
    Span creator
    Span affiliate
    Span source
    Span product
    Span product_name
    uint8_t action  # its place in model.events.Action; 0 of a comment
    bint pin        # the action needs a product
    bint plain      # False: ask PlainEvents.other

ctypedef struct Reading:
    Plain plain
    Span event_id
    Span session_id
    Span ignored

cdef enum:
    MOST_FIELDS = 31
    MOST_ACTIONS = 31
    BEGINNING = MOST_FIELDS + 1
    AFTER_ACTIONS = MOST_FIELDS + 2  # and the place of the action

cdef struct Name:  # quoted; words of which only the bits of the masks are its own
    uint64_t[3] words
    uint64_t[3] masks
    uint32_t size

cdef struct Field:
    Name name
    int form
    bint slashes
    bint nullable
    int64_t least  # number, or bytes of a string
    int64_t most
    size_t place   # in a Reading

cdef struct Fields:
    Field[MOST_FIELDS] at
    unsigned int number
    unsigned int action    # its place
    uint32_t required  # a bit each

ctypedef struct Order:  # the field that came behind each the last time, and behind each action
    uint8_t[AFTER_ACTIONS + MOST_ACTIONS] behind

cdef const Fields* fields_of(kind)
cdef bint read_value(Reading* reading, const Fields* fields, Order* order, Place at, Place end) noexcept nogil
