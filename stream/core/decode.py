"""From bytes to events: the first step of judging. Stateless; a fault is a value (`Rejected`), never an exception.

Everything that makes a record unreadable is decided here, from the record alone. A detail names the field and never
quotes a value: it ends up in headers and logs, and values hold personal data.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from stream.core.explain import explain
from stream.core.headers import excess
from stream.core.nesting import refuse_deep
from stream.core.repeated import last_keys
from stream.core.shapes import of_key
from stream.core.switch import NATIVE
from stream.core.timed import NEVER, Timed
from stream.core.units import bad_unit
from stream.model.events import LEAST_MS, MAX_ITEM_VALUE, NO_SLASH, PINS, Checkout, Comment, Common, Event, View
from stream.model.money import EXPONENTS
from stream.model.names import Kind, Reason
from stream.model.results import Record, RefusedBatch, create_time

if TYPE_CHECKING or NATIVE:
    from stream.core.native.plain import PlainEvents, read_plain

SLASH: Final = ord("/")
BACKSLASH: Final = ord("\\")
DELETE: Final = 0x7F
STRUCTURED: Final = b"application/cloudevents+json"
SMALL: Final = 512
"""Bytes. The shortest event has 115; so one of this size is nested at most 198 deep (and nearly all are smaller)."""


class Rejected(msgspec.Struct, frozen=True):
    """Why a record cannot be an event. ``detail`` names the field."""

    reason: Reason
    detail: str


UNTRUSTED: Final = Rejected(
    Reason.PRODUCER_TIME, "timestamp: the producer's (CreateTime), which trust_producer_time does not trust"
)
Decoded = Event | Rejected | None
"""None is a tombstone: a record without a value."""


class _Envelope(msgspec.Struct, frozen=True):
    """A CloudEvent in structured mode; what else it carries is not our business."""

    data: msgspec.Raw = msgspec.Raw()
    data_base64: bytes | None = None


class _Product(msgspec.Struct, frozen=True):
    product_id: msgspec.Raw = msgspec.Raw()


_envelope: Final = msgspec.json.Decoder(_Envelope)
_product: Final = msgspec.json.Decoder(_Product)
_decoders: Final[dict[Kind, Callable[[bytes], Event]]] = {
    Kind.VIEWS: msgspec.json.Decoder(View).decode,
    Kind.COMMENTS: msgspec.json.Decoder(Comment).decode,
    Kind.CHECKOUTS: msgspec.json.Decoder(Checkout).decode,
}


class Events(Timed[Decoded]):
    """What became of the records of a batch, in order. What is no event has no event time."""

    __slots__ = ()
    clean: bool
    """All of them are events."""


if NATIVE:
    Events.register(PlainEvents)


class Decodeds(list[Decoded], Events):
    """All of them decoded."""

    __slots__ = ("clean", "newest_ms")

    def __init__(self) -> None:
        super().__init__()
        self.clean = True
        self.newest_ms = NEVER

    def first_above(self, begin: int, limit: int) -> int:
        for place in range(max(begin, 0), len(self)):
            time = self.time_of(place)
            if time is not None and time > limit:
                return place
        return len(self)

    def time_of(self, place: int) -> int | None:
        event = self[place]
        return event.event_time if isinstance(event, Common) else None


def decode_batch(kind: Kind, records: Sequence[Record], max_value: int, *, trust_producer_time: bool = False) -> Events:
    """One `Decoded` for each record. ``max_value`` in bytes is judged first.

    Records that their producers stamped are rejected unless their time is trusted. It would judge what lies in the
    future and bound the topic's clock, and nothing in the log bounds it: one record stamped in 2109 would make all that
    follows late. Batches that the broker stamped are judged as always, whatever lies between them.
    """
    if not trust_producer_time and create_time(records):
        return _untrusted(records, max_value)
    if NATIVE and kind is not Kind.CHECKOUTS:
        return read_plain(kind, records, max_value, decode_one)
    return decode_all(kind, records, max_value)


def decode_all(kind: Kind, records: Sequence[Record], max_value: int) -> Decodeds:
    """The same in Python."""
    decoded = Decodeds()
    for record in records:
        event = decode_one(kind, record, max_value)
        decoded.append(event)
        if event is None or isinstance(event, Rejected):
            decoded.clean = False
        else:
            decoded.newest_ms = max(decoded.newest_ms, min(event.event_time, record.timestamp))
    return decoded


def _untrusted(records: Sequence[Record], max_value: int) -> Decodeds:
    decoded = Decodeds()
    decoded.clean = False
    for record in records:
        size = -1 if record.value is None else len(record.value)
        decoded.append(None if size < 0 else _too_large(size, max_value) or UNTRUSTED)
    return decoded


def _too_large(size: int, max_value: int) -> Rejected | None:
    return Rejected(Reason.TOO_LARGE, f"value: {size} bytes, at most {max_value}") if size > max_value else None


def _is_plain(data: bytes) -> bool:
    """Pure ASCII without escapes, DEL and slashes can hold no id that breaks a rule: 4 scans instead of 6 checks."""
    return data.isascii() and BACKSLASH not in data and DELETE not in data and SLASH not in data


def decode_one(kind: Kind, record: Record, max_value: int) -> Decoded:
    value = record.value
    if value is None:
        return Rejected(record.reason, record.detail) if isinstance(record, RefusedBatch) else None
    try:
        if record.headers or len(value) > SMALL:
            event = _decode_slowly(kind, record, value, max_value)
        else:
            event = _decoders[kind](value)
            if not _is_plain(value):
                event = _fault(record.key, value, event) or event
            elif kind is Kind.CHECKOUTS or event.session_id.encode() != record.key:
                event = _bad_checkout(event) or _bad_pin(value, event) or _bad_key(record.key, event) or event
            elif kind is Kind.VIEWS and event.product_id is None and event.action in PINS:  # type: ignore[union-attr]  # a view
                event = _bad_pin(value, event) or event
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        event = _with_last_keys(kind, record.key, value, error) or Rejected(*explain(kind, value, error))
    if isinstance(event, Common) and event.event_time < LEAST_MS:
        return _bad_unit(record, event) or event
    return event


def _bad_unit(record: Record, event: Event) -> Rejected | None:
    why = bad_unit(event.event_time, record.timestamp)
    return None if why is None else Rejected(Reason.BAD_VALUE, why)


def _decode_slowly(kind: Kind, record: Record, value: bytes, max_value: int) -> Event | Rejected:
    """The same with size, depth and headers (CloudEvents) looked at."""
    too_large = _too_large(len(value), max_value)
    if too_large:
        return too_large
    too_many = excess(record.headers)
    if too_many:
        return Rejected(Reason.TOO_MANY_HEADERS, too_many)
    try:
        refuse_deep(value)
        if is_structured(record):
            inner = _unwrap(value)
            if inner is None:
                return Rejected(Reason.MISSING_FIELD, "data: a structured CloudEvent needs data or data_base64")
            value = inner
            refuse_deep(value)
        event = _decoders[kind](value)
        return _fault(record.key, value, event) or event
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return _with_last_keys(kind, record.key, value, error) or Rejected(*explain(kind, value, error))


def is_structured(record: Record) -> bool:
    """A CloudEvent whose event is within the value."""
    return any(
        (content or b"")[: len(STRUCTURED)].lower() == STRUCTURED and name.lower() == "content-type"
        for name, content in record.headers
    )


def _unwrap(value: bytes) -> bytes | None:
    value.decode()
    envelope = _envelope.decode(value)
    return bytes(envelope.data) or envelope.data_base64


def payload(record: Record) -> bytes | None:
    """The bytes of the event itself, read no further. Raises what a decoder raises, for a CloudEvent that is none."""
    return _unwrap(record.value) if record.value is not None and is_structured(record) else record.value


def _with_last_keys(kind: Kind, key: bytes | None, value: bytes, error: Exception) -> Event | None:
    """The event, where only an earlier one of a repeated key is at fault: the last counts, the decoder checks them all."""
    if not isinstance(error, msgspec.ValidationError):
        return None
    try:
        event = _decoders[kind](last_keys(kind, value))
        return None if _fault(key, value, event) else event
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _fault(key: bytes | None, value: bytes, event: Event) -> Rejected | None:
    """What the types cannot say, field by field."""
    if not value.isascii():
        value.decode()  # the whole value must be UTF-8, also where msgspec skips it; raises UnicodeDecodeError
    return _bad_ids(event) or _bad_checkout(event) or _bad_pin(value, event) or _bad_key(key, event)


def _bad_key(key: bytes | None, event: Event) -> Rejected | None:
    if not key:
        return Rejected(Reason.KEY_MISMATCH, "key: empty, must be the session_id")
    if event.session_id.encode() != key:
        guess = of_key(key, event)
        return Rejected(Reason.KEY_MISMATCH, f"key: is not the session_id{'; looks like ' if guess else ''}{guess}")
    return None


def _bad_ids(event: Event) -> Rejected | None:
    for name in NO_SLASH:
        text = getattr(event, name)
        if text is not None and "/" in text:
            return Rejected(Reason.BAD_VALUE, f"{name}: must not contain a slash")
    for name in (*NO_SLASH, "event_id", "viewer_id", *_OWN_IDS[type(event)]):
        text = getattr(event, name)
        if text is not None and _has_control(text):
            return Rejected(Reason.BAD_VALUE, f"{name}: must not contain control characters")
    return None


_OWN_IDS: Final[dict[type, tuple[str, ...]]] = {
    View: ("product_id",),
    Comment: ("comment_id",),
    Checkout: ("checkout_id", "order_id", "voucher_id"),
}


def _has_control(text: str) -> bool:
    return not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text)


def _bad_pin(value: bytes, event: Event) -> Rejected | None:
    """A pin without a product. For other actions the field is optional, so the decoder has let it pass."""
    if not isinstance(event, View) or event.product_id is not None or event.action not in PINS:
        return None
    if _product.decode(value).product_id:  # null
        return Rejected(Reason.WRONG_TYPE, f"product_id: null, but action {event.action} needs it")
    return Rejected(Reason.MISSING_FIELD, f"product_id: missing, but action {event.action} needs it")


def _bad_checkout(event: Event) -> Rejected | None:
    if not isinstance(event, Checkout):
        return None
    if event.currency not in EXPONENTS:
        return Rejected(Reason.BAD_VALUE, "currency: not a currency of ISO 4217")
    for number, item in enumerate(event.items):
        if item.quantity * item.unit_price_minor > MAX_ITEM_VALUE:
            return Rejected(Reason.BAD_VALUE, f"items[{number}]: quantity x unit_price_minor above {MAX_ITEM_VALUE}")
        if _has_control(item.product_id):
            return Rejected(Reason.BAD_VALUE, f"items[{number}].product_id: must not contain control characters")
    return None
