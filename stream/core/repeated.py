"""Of a key that an object holds more than once, the last one counts. The decoder checks all of them; this leaves the last.

Only fields that an event has are looked at, and their values stay bytes until the decoder reads them. So it takes one
pass and little memory, whatever else the value holds.
"""

from typing import Final

import msgspec

from stream.model.events import MAX_ITEMS, Checkout, Comment, Item, View
from stream.model.names import Kind


def _last_of(of: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The same fields, each any JSON. Of a repeated one decoders keep the last."""
    fields = [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in of.__struct_fields__]
    return msgspec.defstruct(f"Last{of.__name__}", fields)


_EVENTS: Final[dict[Kind, msgspec.json.Decoder[msgspec.Struct]]] = {
    Kind.VIEWS: msgspec.json.Decoder(_last_of(View)),
    Kind.COMMENTS: msgspec.json.Decoder(_last_of(Comment)),
    Kind.CHECKOUTS: msgspec.json.Decoder(_last_of(Checkout)),
}
_items_of: Final = msgspec.json.Decoder(list[_last_of(Item)]).decode  # type: ignore[misc]  # a type made here


def last_keys(kind: Kind, value: bytes) -> bytes:
    """The same object without earlier ones of a repeated key and without fields that no event has.

    Raises DecodeError for what is no object. The whole value has been seen then: what is behind is no JSON raises too.
    """
    fields = _fields(_EVENTS[kind].decode(value))
    if "items" in fields:
        fields["items"] = _items(fields["items"])
    return _object(fields)


def _fields(struct: msgspec.Struct) -> dict[str, bytes]:
    found = ((name, getattr(struct, name)) for name in struct.__struct_fields__)
    return {name: bytes(raw) for name, raw in found if raw is not msgspec.UNSET}


def _object(fields: dict[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), raw) for name, raw in fields.items())


def _items(raw: bytes) -> bytes:
    """Those of an order. What is no list of objects, or too long a one, stays as it is: the decoder refuses it."""
    try:
        items = _items_of(raw)
    except msgspec.DecodeError:
        return raw
    return b"[%b]" % b",".join(_object(_fields(item)) for item in items) if len(items) <= MAX_ITEMS else raw
