"""Whether everything that a restored shard still holds as bytes can be unpacked once somebody needs it.

What carries its checksum was written by us, and is not looked at: of 100,000 panes most are never unpacked. States that
earlier versions have written carry none; that their bytes are those that were written, the checksum of Kafka's batches says.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream.core.breakdown import Money
from stream.core.figures import HEAD, LATE_SUMS, MOMENTS, MONIES, REST, SKETCHES, TEXTS
from stream.core.framing import StateError
from stream.core.state_format import Packed
from stream.core.state_keys import alerts_key, page_key, pane_key, session_key
from stream.core.uniques import is_sketch

if TYPE_CHECKING:
    from stream.core.shard_state import ShardState

_MOMENT_TYPES: Final = tuple(str if name in TEXTS else int for name in MOMENTS)
_Late: Any = tuple[list[int], tuple.__class_getitem__(_MOMENT_TYPES), list[Money], int, int]  # type: ignore[misc]
_TYPES: Final = tuple(str if name in TEXTS else int for name in REST)
_LEAST: Final = REST.index("heartbeats")
"""Plain figures of the oldest version: they came next."""
_LEAST_LATE: Final = LATE_SUMS.index("events") + 1
_decode: Final = msgspec.msgpack.Decoder(Packed).decode
_INT64: Final = range(-(2**63), 2**63)


def vet(shard: "ShardState") -> None:
    """Raises StateError, which names the checkpoint that wrote it, for the first thing that is not what it should be."""
    for key, what, looked_at in _unpacked_later(shard):
        if not looked_at:
            raise StateError(f"{shard.log.written_in(key)}: {what} cannot be unpacked")


def _unpacked_later(shard: "ShardState") -> Iterator[tuple[bytes, str, bool]]:
    """Key in the state, what it is, and whether it is right."""
    for start, row in shard.rows.items():
        for key, data in row.packed.items():
            yield pane_key(start, key), "a pane", is_packed(data)
    for session in shard.sessions.held.values():
        base = session.packed_base()
        yield session_key(session), "the totals of a session", base is None or is_packed(base)
    for page, session in shard.sessions.at_rest():
        base = session.packed_base()
        yield page_key(page), "the totals of a session at rest", base is not None and is_packed(base)
    for key, watched in shard.alerting.session_states.items():
        yield alerts_key(key), "what the alerts know of a session", watched.history.is_whole()


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
        and (late is None or (_LEAST_LATE <= len(late[0]) <= len(LATE_SUMS) and len(late[2]) <= len(MONIES)))
        and all(sketch is None or is_sketch(sketch) for sketch in (getattr(packed, name) for name in SKETCHES))
    )
