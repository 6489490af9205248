"""Keys and values of the state: panes with the marks of the windows that start with them, sessions, ids."""

from typing import Final

import msgspec

from stream.core.counts import BREAKDOWNS
from stream.core.packing import pack_item
from stream.core.panes import PLACE, Marks, Row
from stream.core.sessions import Session
from stream.model.names import Kind

_encode: Final = msgspec.msgpack.Encoder().encode
_session: Final = msgspec.msgpack.Decoder(tuple[bytes | None, list[list[str]], bool, bool, int, int, bool, int]).decode
_pane_item: Final = msgspec.msgpack.Decoder(tuple[Marks, bytes])

PANE: Final = b"p"
SESSION: Final = b"s"
IDS: Final = b"i"
CHECKOUT_KEYS: Final = b"k"
GONE: Final = b"g"
ALERTS: Final = b"a"
KNOWN: Final = b"n"
ITEMS: Final = frozenset({PANE, SESSION, ALERTS})
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


def pack_session(session: Session) -> bytes:
    return _encode(
        (
            session.packed_base(),
            [list(session.named.get(name, ())) for name in BREAKDOWNS],
            session.ended,
            session.frozen,
            session.revision,
            session.written_events,
            session.written_ended,
            session.written_at,
        )
    )


def unpack_session(key: bytes, data: bytes) -> Session:
    """Without its panes; what derives from them is worked out when they are there."""
    base, named, ended, frozen, revision, written_events, written_ended, written_at = _session(data)
    session = Session(key)
    session.stale = False
    if base is not None:
        session.restore_base(base)
    session.named.update((name, set(ids)) for name, ids in zip(BREAKDOWNS, named, strict=True) if ids)
    session.ended, session.frozen, session.revision = ended, frozen, revision
    session.written_events, session.written_ended, session.written_at = written_events, written_ended, written_at
    return session
