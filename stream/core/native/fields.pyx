"""The fields of an event, read from its value by what model/events.py says of them.

An object without anything inside of it, known fields of the right types in the right ranges, once each, strings without
escapes: nearly every value is like this. Whatever else is left to others. Producers write the fields of an event in one
order, so the one that came behind the last is tried first.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from stream.core.native.scanning cimport (
    Place, past_any, past_plain, past_space, past_text, past_whole, past_word, word_at,
)
from stream.core.native.spans cimport Span

from typing import get_args

from msgspec import inspect

from stream.model.events import LEAST_MS, LIFECYCLE, NO_SLASH, PINS, Action, Comment, View
from stream.model.names import Kind

cdef enum:
    NUMBER, STRING, TEXT, ACTION, OTHER

cdef Fields VIEWS, COMMENTS
cdef Name[MOST_ACTIONS] ACTIONS
cdef bint[MOST_ACTIONS] NEEDS_PRODUCT
cdef unsigned int NUMBER_OF_ACTIONS


# -- Reading

cdef inline Place past_name(const Name* name, Place at, Place end) noexcept nogil:
    if end - at < name.size or (word_at(at, end) ^ name.words[0]) & name.masks[0]:
        return NULL
    if name.size > 8 and (word_at(at + 8, end) ^ name.words[1]) & name.masks[1]:
        return NULL
    if name.size > 16 and (word_at(at + 16, end) ^ name.words[2]) & name.masks[2]:
        return NULL
    return at + name.size


cdef Place past_key(const Fields* fields, uint8_t* guess, Place at, Place end) noexcept nogil:
    """Finds the field, and remembers it in place of the guess; an unknown one is ``fields.number``."""
    cdef Span unknown
    cdef Place past
    cdef unsigned int place
    if guess[0] < fields.number:
        past = past_name(&fields.at[guess[0]].name, at, end)
        if past is not NULL:
            return past
    for place in range(fields.number):
        past = past_name(&fields.at[place].name, at, end)
        if past is not NULL:
            guess[0] = <uint8_t>place
            return past
    guess[0] = <uint8_t>fields.number
    return past_plain(at, end, True, &unknown)


cdef inline Place past_colon(Place at, Place end) noexcept nogil:
    at = past_space(at, end)
    if at == end or at[0] != c':':
        return NULL
    return past_space(at + 1, end)


cdef Place past_string(Reading* reading, const Field* field, Place at, Place end) noexcept nogil:
    cdef Span* text = <Span*>(<char*>reading + field.place)
    at = past_plain(at, end, field.slashes, text)
    return at if at is not NULL and field.least <= text.size <= field.most else NULL


cdef Place past_bounded(Reading* reading, const Field* field, Place at, Place end) noexcept nogil:
    cdef int64_t* number = <int64_t*>(<char*>reading + field.place)
    at = past_whole(at, end, number)
    return at if at is not NULL and field.least <= number[0] <= field.most else NULL


cdef Place past_action(Reading* reading, Place at, Place end) noexcept nogil:
    cdef unsigned int place
    cdef Place past
    for place in range(NUMBER_OF_ACTIONS):
        past = past_name(&ACTIONS[place], at, end)
        if past is not NULL:
            reading.plain.action = <uint8_t>place
            reading.plain.pin = NEEDS_PRODUCT[place]
            return past
    return NULL


cdef inline Place past_value(Reading* reading, const Field* field, Place at, Place end) noexcept nogil:
    if field.nullable and at < end and at[0] == c'n':
        return past_word(at, end, b"null", 4)
    if field.form == STRING:
        return past_string(reading, field, at, end)
    if field.form == NUMBER:
        return past_bounded(reading, field, at, end)
    if field.form == ACTION:
        return past_action(reading, at, end)
    return past_text(at, end) if field.form == TEXT else NULL


cdef inline Place past_field(
    Reading* reading, const Fields* fields, uint8_t* guess, uint32_t* seen, Place at, Place end
) noexcept nogil:
    """A key and its value, and the space behind them. A known key must not be there twice."""
    at = past_key(fields, guess, at, end)
    if at is NULL:
        return NULL
    at = past_colon(at, end)
    if at is NULL or seen[0] >> guess[0] & 1:
        return NULL
    if guess[0] == fields.number:
        at = past_any(at, end)
    else:
        seen[0] |= <uint32_t>1 << guess[0]
        at = past_value(reading, &fields.at[guess[0]], at, end)
    return past_space(at, end) if at is not NULL else NULL


cdef bint read_value(Reading* reading, const Fields* fields, Order* order, Place at, Place end) noexcept nogil:
    """False where it is not plain; what is in ``reading`` then, nobody may use."""
    cdef uint32_t seen = 0
    cdef unsigned int last = BEGINNING
    begin_anew(reading)
    at = past_space(at, end)
    if at == end or at[0] != c'{':
        return False
    while at[0] != c'}':
        at = past_field(reading, fields, &order.behind[last], &seen, past_space(at + 1, end), end)
        if at is NULL or at == end or (at[0] != c',' and at[0] != c'}'):
            return False
        last = order.behind[last]
        if last == fields.action:  # each has other fields behind it
            last = AFTER_ACTIONS + reading.plain.action
    if reading.plain.pin and reading.plain.product.at is NULL:  # Python says why it is refused
        return False
    return past_space(at + 1, end) == end and seen & fields.required == fields.required


cdef inline void begin_anew(Reading* reading) noexcept nogil:
    memset(reading, 0, sizeof(Reading))
    reading.plain.count = reading.plain.gift_value = reading.plain.watch_ms = reading.plain.viewers = -1
    reading.plain.basket_number = -1
    reading.plain.plain = True


# -- What the fields are

cdef int set_name(Name* name, str text) except -1:
    cdef bytes quoted = b'"%b"' % text.encode()
    if len(quoted) > <Py_ssize_t>sizeof(name.words):
        raise ValueError(f"{text}: longer than any name so far")
    memset(name, 0, sizeof(Name))
    memcpy(name.words, <char*>quoted, len(quoted))
    memset(name.masks, 0xff, len(quoted))
    name.size = <uint32_t>len(quoted)
    return 0


cdef size_t place_of(str name):
    """Where the reading keeps it."""
    cdef Reading reading
    cdef dict places = {
        "event_id": <char*>&reading.event_id - <char*>&reading,
        "session_id": <char*>&reading.session_id - <char*>&reading,
        "event_time": <char*>&reading.plain.time - <char*>&reading,
        "count": <char*>&reading.plain.count - <char*>&reading,
        "gift_value": <char*>&reading.plain.gift_value - <char*>&reading,
        "watch_ms": <char*>&reading.plain.watch_ms - <char*>&reading,
        "concurrent_viewers": <char*>&reading.plain.viewers - <char*>&reading,
        "seller_id": <char*>&reading.plain.seller - <char*>&reading,
        "viewer_id": <char*>&reading.plain.viewer - <char*>&reading,
        "platform": <char*>&reading.plain.platform - <char*>&reading,
        "creator_id": <char*>&reading.plain.creator - <char*>&reading,
        "affiliate_id": <char*>&reading.plain.affiliate - <char*>&reading,
        "source": <char*>&reading.plain.source - <char*>&reading,
        "product_id": <char*>&reading.plain.product - <char*>&reading,
        "product_name": <char*>&reading.plain.product_name - <char*>&reading,
        "basket_number": <char*>&reading.plain.basket_number - <char*>&reading,
    }
    return places.get(name, <char*>&reading.ignored - <char*>&reading)


cdef int set_type(Field* field, str name, type_) except -1:
    """What the type says; a form that is not known here is never plain."""
    if isinstance(type_, inspect.UnionType):
        field.nullable = any([isinstance(one, inspect.NoneType) for one in type_.types])
        others = [one for one in type_.types if not isinstance(one, inspect.NoneType)]
        type_ = others[0] if len(others) == 1 else None
    field.form = OTHER
    if name == "text":
        field.form = TEXT
    elif name == "action":
        field.form = ACTION
    elif isinstance(type_, inspect.StrType):
        field.form = STRING
        field.least, field.most = type_.min_length or 0, type_.max_length or 2**31
    elif isinstance(type_, inspect.IntType):
        field.form = NUMBER
        field.least, field.most = type_.ge, type_.le
    if name == "event_time":  # a smaller one may be in another unit: core/decode.py asks the broker's clock
        field.least = LEAST_MS
    return 0


cdef int set_fields(Fields* fields, of) except -1:
    known = inspect.type_info(of).fields
    if len(known) > MOST_FIELDS:
        raise ValueError(f"{of}: more fields than any event so far")
    memset(fields, 0, sizeof(Fields))
    fields.action = BEGINNING  # none
    fields.number = <unsigned int>len(known)
    for place, field in enumerate(known):
        set_name(&fields.at[place].name, field.encode_name)
        set_type(&fields.at[place], field.name, field.type)
        fields.at[place].slashes = field.name not in NO_SLASH
        fields.at[place].place = place_of(field.name)
        if field.name == "action":
            fields.action = place
        fields.required |= <uint32_t>field.required << place
    return 0


cdef int set_actions() except -1:
    global NUMBER_OF_ACTIONS
    names = [name for name in get_args(Action) if name not in LIFECYCLE]  # those are rare: Python counts them
    if len(names) > MOST_ACTIONS:
        raise ValueError("more actions than places")
    for place, name in enumerate(names):
        set_name(&ACTIONS[place], name)
        NEEDS_PRODUCT[place] = name in PINS
    NUMBER_OF_ACTIONS = <unsigned int>len(names)
    return 0


cdef const Fields* fields_of(kind):
    """NULL for a kind of which nothing is plain."""
    if kind is Kind.VIEWS:
        return &VIEWS
    return &COMMENTS if kind is Kind.COMMENTS else NULL


set_actions()
set_fields(&VIEWS, View)
set_fields(&COMMENTS, Comment)
