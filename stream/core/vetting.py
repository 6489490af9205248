"""Whether counts that a restored shard still holds as bytes can be unpacked once somebody needs them.

What carries its checksum was written by us, and is not looked at: of 100,000 panes most are never unpacked. States of
earlier versions carry none. For those only the checksums of Kafka's batches say that the bytes are as they were written.
"""

from typing import Any, Final

import msgspec

from stream.core.breakdown import Money
from stream.core.figures import HEAD, LATE_SUMS, MOMENTS, MONIES, REST, SKETCHES, TEXTS
from stream.core.state_format import Packed
from stream.core.uniques import is_sketch

_MOMENT_TYPES: Final = tuple(str if name in TEXTS else int for name in MOMENTS)
_Late: Any = tuple[list[int], list[int | str], list[Money], int, int]
_TYPES: Final = tuple(str if name in TEXTS else int for name in REST)
_LEAST: Final = REST.index("heartbeats")
"""Plain figures of the oldest version: they came next."""
_LEAST_LATE: Final = LATE_SUMS.index("events") + 1
_LEAST_MOMENTS: Final = MOMENTS.index("last_event") + 1
_decode: Final = msgspec.msgpack.Decoder(Packed).decode
_INT64: Final = range(-(2**63), 2**63)


def _is_late(sums: list[int], moments: list[int | str], monies: list[Money]) -> bool:
    return (
        _LEAST_LATE <= len(sums) <= len(LATE_SUMS)
        and _LEAST_MOMENTS <= len(moments) <= len(MOMENTS)
        and all(type(each) is wanted for each, wanted in zip(moments, _MOMENT_TYPES, strict=False))
        and len(monies) <= len(MONIES)
    )


def is_packed(data: bytes) -> bool:
    """Whether it is what `packing.pack` writes, now or in an earlier version."""
    try:
        packed = _decode(data)
        late = None if packed.late is None else msgspec.convert(packed.late, _Late)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    rest: list[Any] = packed.rest
    numbers = [*(getattr(packed, name) for name in HEAD), *(each for each in rest if type(each) is int)]
    return (
        _LEAST <= len(rest) <= len(REST)
        and all(type(each) is wanted for each, wanted in zip(rest, _TYPES, strict=False))
        and all(number in _INT64 for number in numbers)
        and (late is None or _is_late(*late[:3]))
        and all(sketch is None or is_sketch(sketch) for sketch in (getattr(packed, name) for name in SKETCHES))
    )
