"""Packing in Python: see core/packing.py. What native/packing.pyx does the same, faster."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from datasketches import cpc_sketch

from stream.core.figures import (
    ADDED,
    DEFAULTS,
    HEAD,
    LATE_SUMS,
    MONIES,
    REST,
    SKETCHES,
    STAND_INS,
    SUMMED,
    How,
)
from stream.core.formats import Format
from stream.core.late import NO_MOMENTS, Late, newest
from stream.core.pure.counts import Counts, on_time_monies
from stream.core.state_format import IN_ONE, Packed
from stream.model.money import MAX_SUM, capped

_head_values: Final = attrgetter(*HEAD)
_rest_values: Final = attrgetter(*REST)
_in_one: Final = attrgetter(*IN_ONE)
_sums: Final = attrgetter(*SUMMED)
_monies: Final = attrgetter(*MONIES)
_defaults: Final = tuple(DEFAULTS[name] for name in REST)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Packed).decode


def pack(counts: Counts) -> bytes:
    """The figures of ``Head`` first."""
    late = counts.late
    values = (
        *(_head_values(counts) if late is None else (*_head_values(counts)[:-2], *newest(counts))),
        counts.gmv,
        _rest_values(counts),
        counts.item_value,
        counts.local_item_value,
        _sketch(counts.viewers),
        _sketch(counts.buyers),
        counts.sources,
        _in_one(counts),
        counts.incomplete,
        late and pack_late(counts),
        *added_values(counts),
    )
    if not _is_beyond(counts):
        try:
            return _encode(values)
        except OverflowError:  # only a part of a sum can be so large: nothing that was counted
            pass
    return _encode(_saturated(msgspec.to_builtins(values, builtin_types=(bytes,))))


def added_values(counts: Counts) -> list[Any]:
    """Of what is not plain and is behind the first layout."""
    return [
        _sketch(getattr(counts, figure.name)) if figure.how is How.SKETCH else getattr(counts, figure.name)
        for figure in ADDED
    ]


def _is_beyond(counts: Counts) -> bool:
    """A sum has grown beyond 2^63 - 1. Up to 2^64 msgpack would take it; parts of sums are no larger than these."""
    if max(_sums(counts)) > MAX_SUM:
        return True
    return any(minor > MAX_SUM for money in _monies(counts) for minor in money.values())


def pack_item(marks: tuple[int, ...], counts: Counts, form: Format) -> bytes:
    """As the state holds it: the marks of the windows that start with a pane, and the pane packed."""
    return _encode((marks, form.counts(pack(counts))))


def unpack_into(counts: Counts, data: bytes) -> None:
    """Sets every figure. Raises whatever comes of bytes that are not packed counts."""
    packed = _decode(data)
    head, rest = _head_values(packed), filled(packed.rest, _defaults)
    try:
        _set_plain(counts, head, rest)
    except OverflowError:  # counts in C; an earlier version wrote sums up to 2^64
        _set_plain(counts, _saturated(head), _saturated(rest))
    for place, name, before in STAND_INS:
        if place >= len(packed.rest):
            setattr(counts, name, getattr(counts, before))
    for name in MONIES:
        setattr(counts, name, getattr(packed, name))
    for name in SKETCHES:
        sketch = getattr(packed, name)
        setattr(counts, name, sketch and cpc_sketch.deserialize(sketch))
    for name, figures in zip(IN_ONE, packed.breakdowns, strict=True):
        setattr(counts, name, figures)
    for figure in ADDED:
        if figure.how is How.BREAKDOWN:
            setattr(counts, figure.name, getattr(packed, figure.name))
    counts.sources, counts.incomplete = packed.sources, packed.incomplete
    if packed.late is not None:
        unpack_late(counts, packed.late)


def filled(values: Sequence[Any], defaults: tuple[Any, ...]) -> Sequence[Any]:
    """What an earlier version wrote is shorter."""
    if len(values) > len(defaults):
        raise ValueError(f"{len(values)} figures instead of {len(defaults)}")
    return (*values, *defaults[len(values) :]) if len(values) < len(defaults) else values


def _set_plain(counts: Counts, head: Sequence[Any], rest: Sequence[Any]) -> None:
    for name, value in zip(HEAD, head, strict=True):
        setattr(counts, name, value)
    for name, value in zip(REST, rest, strict=True):
        setattr(counts, name, value)


def unpack(data: bytes) -> Counts:
    counts = Counts()
    unpack_into(counts, data)
    return counts


# -- the late part, with the on-time money instead of the late: a sum that has saturated says nothing about a part of it

_NO_SUMS: Final = (0,) * len(LATE_SUMS)
_NO_MONIES: Final[tuple[dict[str, int], ...]] = ({},) * len(MONIES)


def pack_late(counts: Counts) -> tuple[Any, ...]:
    """The late part of a pane that has one, and the two moments of its own that its head does not hold (`newest`)."""
    late = counts.late or Late()
    monies = [{code: capped(minor) for code, minor in money.items()} for money in on_time_monies(counts)]
    return late.sums, late.moments, monies, counts.last_event, counts.label_at


def unpack_late(counts: Counts, packed: Any) -> None:
    """For counts whose other figures are set already."""
    sums, moments, on_time, counts.last_event, counts.label_at = packed
    monies = tuple(
        {code: minor - part.get(code, 0) for code, minor in money.items()}
        for money, part in zip(_monies(counts), filled(on_time, _NO_MONIES), strict=True)
    )
    counts.late = Late(tuple(filled(sums, _NO_SUMS)), tuple(filled(moments, NO_MOMENTS)), monies)


def _sketch(sketch: cpc_sketch | None) -> bytes | None:
    return None if sketch is None else bytes(sketch.serialize())


def _saturated(values: Any) -> Any:
    """Sums beyond 64 bits."""
    if isinstance(values, int) and not isinstance(values, bool):
        return min(values, MAX_SUM)
    if isinstance(values, dict):
        return {name: _saturated(value) for name, value in values.items()}
    return [_saturated(value) for value in values] if isinstance(values, list | tuple) else values
