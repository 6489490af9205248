"""Dead letters: a refused record's original bytes, with headers that say why. The form is a public contract."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from stream.core.decode import Decoded, Events, Rejected
from stream.model.names import INPUTS, LIVE_RUN, Reason
from stream.model.results import DeadLetter, Record

MOST_HEADERS: Final = 1000
"""Original headers kept, so that a great many empty ones are bounded too."""
KEPT: Final = 64 * 1024
"""Bytes kept of a key, of all original headers, and of a value that was too large."""

REASON: Final = "liveshop-reason"
DETAIL: Final = "liveshop-detail"
ORIGIN: Final = "liveshop-origin"
RUN: Final = "liveshop-run"
GENERATION: Final = "liveshop-generation"
REDRIVES: Final = "liveshop-redrives"
DROPPED: Final = "liveshop-headers-dropped"
SIZE: Final = "liveshop-size"
XXH3: Final = "liveshop-xxh3"
OURS: Final = frozenset({REASON, DETAIL, ORIGIN, RUN, GENERATION, REDRIVES, DROPPED, SIZE, XXH3})

Header = tuple[str, bytes | None]
Row = tuple[bytes | None, bytes | None, list[Header]]
"""Key, value and headers of a record to write."""


@dataclass(frozen=True, slots=True)
class Oversize:
    """Stands for a record whose value was too large, so that the value itself need not be held until the checkpoint."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    """Its first 64 KB."""
    headers: Sequence[tuple[str, bytes | None]]
    size: int
    xxh3: str
    """Hex, of the whole value."""


def shortened(records: Sequence[Record], events: Events) -> Sequence[Record]:
    """The records with ``Oversize`` in place of those too large."""
    if events.clean:
        return records
    found = [at for at in range(len(events)) if events.time_of(at) is None and _is_too_large(events[at])]
    if not found:
        return records
    records = list(records)
    for at in found:
        records[at] = oversize(records[at])
    return records


def _is_too_large(event: Decoded) -> bool:
    return isinstance(event, Rejected) and event.reason is Reason.TOO_LARGE


def oversize(record: Record) -> Oversize:
    """The beginning of a value, its size and its hash."""
    value = record.value or b""
    return Oversize(
        record.offset,
        record.timestamp,
        record.key,
        value[:KEPT],
        record.headers,
        len(value),
        xxhash.xxh3_64_hexdigest(value),
    )


def rows(letters: Iterable[DeadLetter], topic_prefix: str, partition: int, generation: int) -> Iterable[Row]:
    """The records to write, in order."""
    for letter in letters:
        record = letter.record
        key = record.key
        origin = f"{topic_prefix}{INPUTS[letter.kind]}/{partition}/{record.offset}/{record.timestamp}"
        headers: list[Header] = [
            (REASON, letter.reason.encode()),
            (DETAIL, letter.detail.encode(errors="replace")),
            (ORIGIN, origin.encode()),
            (RUN, LIVE_RUN.encode()),
            (GENERATION, b"%d" % generation),
            (REDRIVES, b"%d" % redrives(record.headers)),
        ]
        if isinstance(record, Oversize):
            headers += [(SIZE, b"%d" % record.size), (XXH3, record.xxh3.encode())]
        yield None if key is None else key[:KEPT], record.value, headers + originals(record.headers)


def redrives(headers: Iterable[Header]) -> int:
    """How often the record was sent again, as its own header says; 0 for none and for nonsense."""
    for name, value in headers:
        if name == REDRIVES and value is not None and value.isdigit():
            return int(value[:9])
    return 0


def originals(headers: Iterable[Header]) -> list[Header]:
    """The original headers as far as they fit, and how many did not. Those we have set anew are not original."""
    kept: list[Header] = []
    room = KEPT
    dropped = 0
    for name, value in headers:
        if name in OURS:
            continue
        size = len(name.encode(errors="replace")) + len(value or b"")
        if size <= room and len(kept) < MOST_HEADERS:
            room -= size
            kept.append((name, value))
        else:
            dropped += 1
    return [*kept, (DROPPED, b"%d" % dropped)] if dropped else kept
