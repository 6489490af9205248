"""Panes and sessions as bytes, for the state, and back: msgpack.

Money saturates, so that all of it can be packed; no count comes near 2^63.
"""

from typing import Any, Final

import msgspec
from datasketches import cpc_sketch

from stream.core.breakdown import Clicks, Money, Orders, Sales
from stream.core.counts import BREAKDOWNS, MONIES, PLAIN, Counts, Source, breakdowns, plain_values
from stream.core.panes import PLACE, Pane
from stream.core.sessions import Session
from stream.model.money import MAX_SUM
from stream.model.names import Kind

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.decode

PANE: Final = b"p"
SESSION: Final = b"s"
IDS: Final = b"i"
CHECKOUT_KEYS: Final = b"k"
GONE: Final = b"g"


def number(value: int) -> bytes:
    """A time as part of a key of the state; panes may begin before 1970."""
    return value.to_bytes(8, "big", signed=True)


def to_number(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def pane_key(pane: Pane) -> bytes:
    return PANE + number(pane.start) + pane.session.key


def session_key(session: Session) -> bytes:
    return SESSION + session.key


def ids_bucket(kind: Kind, start: int) -> bytes:
    return IDS + bytes([PLACE[kind]]) + number(start)


def _money(money: Money) -> Money:
    return money and {currency: min(minor, MAX_SUM) for currency, minor in money.items()}


def _sketch(sketch: cpc_sketch | None) -> bytes | None:
    return None if sketch is None else bytes(sketch.serialize())


def _unsketch(data: bytes | None) -> cpc_sketch | None:
    return None if data is None else cpc_sketch.deserialize(data)


def _sales(sales: Sales) -> Any:
    return (sales.orders, _money(sales.money))


def _breakdown(part: Clicks | Orders) -> Any:
    if isinstance(part, Clicks):
        return (part.named, part.beyond, part.spilled)
    named = {id_: _sales(sales) for id_, sales in part.named.items()}
    return (named, _sales(part.beyond), {id_: _sales(sales) for id_, sales in part.spilled.items()})


def _unbreakdown(packed: Any) -> Clicks | Orders | None:
    if packed is None:
        return None
    named, beyond, spilled = packed
    if isinstance(beyond, int):
        return Clicks(named, beyond, spilled)
    return Orders(
        {id_: Sales(*sales) for id_, sales in named.items()},
        Sales(*beyond),
        {id_: Sales(*sales) for id_, sales in spilled.items()},
    )


def _sources(sources: dict[str, Source] | None) -> Any:
    return sources and {
        name: (source.views, source.clicks, source.orders, _money(source.gmv)) for name, source in sources.items()
    }


def _counts(counts: Counts) -> tuple[Any, ...]:
    return (
        plain_values(counts),
        _money(counts.gmv),
        _money(counts.item_value),
        _money(counts.local_item_value),
        _sketch(counts.viewers),
        _sketch(counts.buyers),
        _sources(counts.sources),
        [part and _breakdown(part) for part in breakdowns(counts)],
        counts.incomplete,
    )


def _uncounts(counts: Counts, packed: Any) -> None:
    plain, *money, viewers, buyers, sources, breakdowns, incomplete = packed
    for name, value in zip(PLAIN, plain, strict=True):
        setattr(counts, name, value)
    for name, value in zip(MONIES, money, strict=True):
        setattr(counts, name, value)
    counts.viewers = _unsketch(viewers)
    counts.buyers = _unsketch(buyers)
    counts.sources = sources and {name: Source(*figures) for name, figures in sources.items()}
    for name, part in zip(BREAKDOWNS, breakdowns, strict=True):
        setattr(counts, name, _unbreakdown(part))
    counts.incomplete = incomplete


def pack_pane(pane: Pane) -> bytes:
    return _encode((_counts(pane), pane.marks))


def unpack_pane(session: Session, start: int, data: bytes) -> Pane:
    counts, marks = _decode(data)
    pane = Pane(session, start)
    _uncounts(pane, counts)
    pane.marks = {kind: (revision, events) for kind, (revision, events) in marks.items()}
    return pane


def pack_session(session: Session) -> bytes:
    return _encode(
        (
            None if session.base is None else _counts(session.base),
            [list(session.named[name]) for name in BREAKDOWNS],
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
    base, named, ended, frozen, revision, written_events, written_ended, written_at = _decode(data)
    session = Session(key)
    session.stale = False
    if base is not None:
        session.base = Counts()
        _uncounts(session.base, base)
    session.named = {name: set(ids) for name, ids in zip(BREAKDOWNS, named, strict=True)}
    session.ended, session.frozen, session.revision = ended, frozen, revision
    session.written_events, session.written_ended, session.written_at = written_events, written_ended, written_at
    return session
