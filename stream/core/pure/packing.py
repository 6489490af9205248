"""Packing in Python: see core/packing.py, which reads it. What native/packing.pyx does the same, faster."""

from operator import attrgetter
from typing import Any, Final

import msgspec
from datasketches import cpc_sketch

from stream.core.figures import ADDED, HEAD, MONIES, REST, SUMMED, How
from stream.core.formats import Format
from stream.core.late import Late, newest
from stream.core.pure.counts import Counts, on_time_monies
from stream.core.state_format import IN_ONE
from stream.model.money import MAX_SUM, capped

_head_values: Final = attrgetter(*HEAD)
_rest_values: Final = attrgetter(*REST)
_in_one: Final = attrgetter(*IN_ONE)
_sums: Final = attrgetter(*SUMMED)
_monies: Final = attrgetter(*MONIES)
_encode: Final = msgspec.msgpack.Encoder().encode


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
    return _encode(saturated(msgspec.to_builtins(values, builtin_types=(bytes,))))


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


def pack_late(counts: Counts) -> tuple[Any, ...]:
    """The late part of a pane that has one, and the two moments of its own that its head does not hold (`newest`).

    Money in it is that on time, not the late: a sum that has saturated says nothing about a part of it.
    """
    late = counts.late or Late()
    monies = [{code: capped(minor) for code, minor in money.items()} for money in on_time_monies(counts)]
    return late.sums, late.moments, monies, counts.last_event, counts.label_at


def _sketch(sketch: cpc_sketch | None) -> bytes | None:
    return None if sketch is None else bytes(sketch.serialize())


def saturated(values: Any) -> Any:
    """Sums beyond 64 bits."""
    if isinstance(values, int) and not isinstance(values, bool):
        return min(values, MAX_SUM)
    if isinstance(values, dict):
        return {name: saturated(value) for name, value in values.items()}
    return [saturated(value) for value in values] if isinstance(values, list | tuple) else values
