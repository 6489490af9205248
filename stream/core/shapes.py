"""What a JSON value looks like that is whole, but no event: an envelope, another kind of event, another spelling.

Pure guesses by the names of fields, in `core/content.py`'s manner: they decide no reason, and quote nothing of a value.
"""

from typing import Final, get_args

import msgspec

from stream.core.content import HEAD, of_bytes
from stream.model.events import Action, Checkout, Comment, Status, View
from stream.model.names import KINDS, Kind

MOST: Final = 64 * 1024
"""Bytes of a value whose fields are looked at; of a larger one nothing is guessed."""
LONGEST_PREFIX: Final = 10
"""Bytes before a session_id in a key: the header of a serializer has at most 9."""

_required: Final[dict[Kind, frozenset[str]]] = {
    kind: frozenset(
        name for name, field in zip(of.__struct_fields__, msgspec.structs.fields(of), strict=True) if field.required
    )
    for kind, of in ((Kind.VIEWS, View), (Kind.COMMENTS, Comment), (Kind.CHECKOUTS, Checkout))
}
_IDS: Final = {"event_id", "session_id"}
_fields_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_ENVELOPES: Final[tuple[tuple[frozenset[str], str], ...]] = tuple(
    (frozenset(names.split()), text)
    for names, text in (
        ("schema payload", "Kafka Connect's envelope with a schema: the event lies in payload"),
        ("before after op", "a Debezium envelope: the event lies in after"),
        ("after op ts_ms", "a Debezium envelope: the event lies in after"),
        ("database table type data", "an envelope of Maxwell or Canal: the event lies in data"),
        ("specversion type source", "a CloudEvent without content-type application/cloudevents+json"),
        ("Type Message TopicArn", "an envelope of Amazon SNS: the event lies in Message"),
        ("detail-type detail", "an envelope of Amazon EventBridge: the event lies in detail"),
        ("message subscription", "an envelope of Google Pub/Sub: the event lies in message.data"),
        ("eventType data subject", "an envelope of Azure Event Grid: the event lies in data"),
        ("records", "the request to a REST proxy: the events lie in records"),
        ("@timestamp message", "a log shipper's envelope: the event lies in message"),
    )
)
_WRAPPERS: Final = (
    *(
        "data",
        "payload",
        "event",
        "value",
        "message",
        "body",
        "properties",
        "attributes",
        "record",
        "content",
        "result",
    ),
    *("after", "detail", "params", "object"),
)
"""Fields in which a whole event may lie."""


def of_object(kind: Kind, value: bytes) -> str:
    """What an object without all of its fields looks like; empty without a guess."""
    fields = _fields(value)
    if fields is None:
        return ""
    if not fields:
        return "an object without any field"
    return _envelope(fields) or _wrapped(fields) or _of_another_kind(kind, fields) or _spelled(kind, fields)


def of_envelope(value: bytes) -> str:
    """The envelope of an object that has a field of an event by chance."""
    return _envelope(_fields(value) or {})


def _fields(value: bytes) -> dict[str, msgspec.Raw] | None:
    """None where nobody should look."""
    try:
        return _fields_of(value) if len(value) <= MOST else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _envelope(fields: dict[str, msgspec.Raw]) -> str:
    if fields.keys() >= _IDS:
        return ""
    return next((text for envelope, text in _ENVELOPES if envelope <= fields.keys()), "")


def _wrapped(fields: dict[str, msgspec.Raw]) -> str:
    if fields.keys() & _IDS:
        return ""
    name = next((name for name in _WRAPPERS if bytes(fields.get(name, msgspec.Raw()))[:1] in (b"{", b"[", b'"')), None)
    return f"an envelope: the event may lie in {name}" if name else ""


def _of_another_kind(kind: Kind, fields: dict[str, msgspec.Raw]) -> str:
    """Of another topic's fields all are there."""
    found = [other for other in KINDS if other is not kind and fields.keys() >= _required[other]]
    return f"an event of live.{found[0]}, sent to the wrong topic" if found else ""


def _spelled(kind: Kind, fields: dict[str, msgspec.Raw]) -> str:
    """Names that differ from ours by capitals, hyphens, points or spaces."""
    missing = {_folded(name) for name in _required[kind] - fields.keys()}
    if any(_folded(name) in missing for name in fields.keys() - _required[kind]):
        return "names in another spelling: field names are in snake_case"
    return ""


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(".", "").replace(" ", "")


def of_no_object(value: bytes) -> str:
    """What JSON looks like that is no object."""
    head = value[:HEAD].lstrip()
    inside = head[1:].lstrip()
    if head.startswith(b"[") and inside.startswith((b"{", b'"{')):
        return "an array of events: send one event per record"
    if not head.startswith(b'"'):
        return "null as text: a tombstone has no value at all" if head.startswith(b"null") else of_bytes(value)
    if inside.startswith(b"{"):
        return "JSON encoded twice: an object in quotes"
    return "JSON in base64, in quotes" if inside.startswith(b"ey") else ""


# -- single values


class _Words(msgspec.Struct, frozen=True):
    action: str = ""
    status: str = ""


_words_of: Final = msgspec.json.Decoder(_Words).decode
_KNOWN: Final = frozenset((*get_args(Action), *get_args(Status)))


def of_word(kind: Kind, value: bytes) -> str:
    """What an unknown action or status looks like."""
    try:
        words = _words_of(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
    word = words.status if kind is Kind.CHECKOUTS else words.action
    folded = word[:HEAD].strip().lower().replace("-", "_").replace(" ", "_")
    return "a known one in another spelling" if folded in _KNOWN else ""


def of_key(key: bytes, event: View | Comment | Checkout) -> str:
    """What a key looks like that is not the session_id."""
    session = event.session_id.encode()
    if key.strip(b"\x00 \t\r\n") == session:
        return "the session_id with white space or zero bytes around it"
    if key == b'"%b"' % session:
        return "the session_id as JSON, in quotes"
    if key.endswith(session) and len(key) <= len(session) + LONGEST_PREFIX:
        return "the session_id after a prefix or a serializer's header"
    if key.startswith(b"{"):
        return "a JSON object: the key must be the plain session_id"
    if len(key) <= len(session) and key.lower() == session.lower():
        return "the session_id in another case"
    name = next((name for name in _NAMES if _is_field(event, name, key)), None)
    return f"the {name}" if name else ""


_NAMES: Final = (
    "event_id",
    "viewer_id",
    "seller_id",
    "creator_id",
    "product_id",
    "checkout_id",
    "order_id",
    "comment_id",
)


def _is_field(event: View | Comment | Checkout, name: str, key: bytes) -> bool:
    text = getattr(event, name, None)
    return isinstance(text, str) and text.encode() == key
