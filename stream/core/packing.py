"""Counts as bytes, and back: msgpack. What a quiet pane is held as, and what the state holds.

Money saturates, so that all of it can be packed; no count comes near 2^63.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
from datasketches import cpc_sketch

from stream.core.counts import Counts
from stream.core.figures import ADDED, DEFAULTS, HEAD, LATE_SUMS, MONIES, REST, SKETCHES, STAND_INS, How
from stream.core.late import NO_MOMENTS, Late
from stream.core.pure.packing import saturated
from stream.core.state_format import IN_ONE, Glance, Head, Outline, Packed
from stream.core.switch import NATIVE

if TYPE_CHECKING or not NATIVE:
    from stream.core.pure.packing import pack, pack_item
else:
    from stream.core.native.packing import pack, pack_item

__all__ = ["glance_at", "head_of", "outline_of", "pack", "pack_item", "unpack", "unpack_into"]

head_of: Final = msgspec.msgpack.Decoder(Head).decode
outline_of: Final = msgspec.msgpack.Decoder(Outline).decode
glance_at: Final = msgspec.msgpack.Decoder(Glance).decode
_decode: Final = msgspec.msgpack.Decoder(Packed).decode

_PLAIN: Final = (*HEAD, *REST)
_OTHERS: Final = (*MONIES, *(figure.name for figure in ADDED if figure.how is How.BREAKDOWN), "sources", "incomplete")
_head_values: Final = attrgetter(*HEAD)
_other_values: Final = attrgetter(*_OTHERS)
_sketches: Final = attrgetter(*SKETCHES)
_monies: Final = attrgetter(*MONIES)
_defaults: Final = tuple(DEFAULTS[name] for name in REST)
_NO_SUMS: Final = (0,) * len(LATE_SUMS)
_NO_MONIES: Final[tuple[dict[str, int], ...]] = ({},) * len(MONIES)


def unpack(data: bytes) -> Counts:
    counts = Counts()
    unpack_into(counts, data)
    return counts


def unpack_into(counts: Counts, data: bytes) -> None:
    """Sets every figure. Raises whatever comes of bytes that are not packed counts."""
    packed = _decode(data)
    plain = (*_head_values(packed), *_filled(packed.rest, _defaults))
    try:
        _set(counts, _PLAIN, plain)
    except OverflowError:  # counts in C; an earlier version wrote sums up to 2^64
        _set(counts, _PLAIN, saturated(plain))
    for place, name, before in STAND_INS:
        if place >= len(packed.rest):
            setattr(counts, name, getattr(counts, before))
    _set(counts, (*_OTHERS, *IN_ONE), (*_other_values(packed), *packed.breakdowns))
    _set(counts, SKETCHES, [sketch and cpc_sketch.deserialize(sketch) for sketch in _sketches(packed)])
    if packed.late is not None:
        _set_late(counts, packed.late)


def _set(counts: Counts, names: Iterable[str], values: Iterable[Any]) -> None:
    """In one go, which takes half the time of a loop: setattr returns None, so any() goes to the end."""
    any(map(setattr, repeat(counts), names, values))


def _filled(values: Sequence[Any], defaults: tuple[Any, ...]) -> Sequence[Any]:
    """What an earlier version wrote is shorter."""
    if len(values) > len(defaults):
        raise ValueError(f"{len(values)} figures instead of {len(defaults)}")
    return (*values, *defaults[len(values) :]) if len(values) < len(defaults) else values


def _set_late(counts: Counts, packed: Any) -> None:
    """`pure.packing.pack_late` back, for counts whose other figures are set already."""
    sums, moments, on_time, counts.last_event, counts.label_at = packed
    monies = tuple(
        {code: minor - part.get(code, 0) for code, minor in money.items()}
        for money, part in zip(_monies(counts), _filled(on_time, _NO_MONIES), strict=True)
    )
    counts.late = Late(tuple(_filled(sums, _NO_SUMS)), tuple(_filled(moments, NO_MOMENTS)), monies)
