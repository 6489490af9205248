"""Keys and values of the state: panes with the marks of the windows that start with them, sessions, ids."""

from typing import Final

import msgspec

from stream.core.packing import pack_item
from stream.core.panes import PLACE, Marks, Row
from stream.core.session import Session
from stream.model.names import Kind

_encode: Final = msgspec.msgpack.Encoder().encode
_pane_item: Final = msgspec.msgpack.Decoder(tuple[Marks, bytes])

PANE: Final = b"p"
SESSION: Final = b"s"
IDS: Final = b"i"
CHECKOUT_KEYS: Final = b"k"
GONE: Final = b"g"
ALERTS: Final = b"a"
KNOWN: Final = b"n"
RESTING: Final = b"r"
ITEMS: Final = frozenset({PANE, SESSION, RESTING, ALERTS})
BUCKETS: Final = frozenset({IDS, CHECKOUT_KEYS, GONE, KNOWN})
"""The first bytes of all keys of each sort."""


def number(value: int) -> bytes:
    """A time as part of a key of the state; panes may begin before 1970."""
    return value.to_bytes(8, "big", signed=True)


def to_number(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def pane_key(start: int, session_key: bytes) -> bytes:
    return PANE + number(start) + session_key


def session_key(session: Session) -> bytes:
    return SESSION + session.key


def page_key(page: int) -> bytes:
    """Of sessions at rest."""
    return RESTING + number(page)


def alerts_key(session_key: bytes) -> bytes:
    return ALERTS + session_key


def ids_bucket(kind: Kind, start: int) -> bytes:
    return IDS + bytes([PLACE[kind]]) + number(start)


def known_bucket(kind: Kind, hour: int) -> bytes:
    return KNOWN + bytes([PLACE[kind]]) + number(hour)


def pane_value(row: Row, key: bytes) -> bytes:
    """Empty when nothing is held of it."""
    pane, marks = row.panes.get(key), row.marks.get(key, ())
    if pane is not None:
        return pack_item(marks, pane)
    packed = row.packed.get(key, b"")
    return _encode((marks, packed)) if packed or marks else b""


def read_pane(data: bytes) -> tuple[Marks, bytes]:
    """The marks, and the pane as `Row.packed` holds it, empty when there is none."""
    return _pane_item.decode(data)
