"""Dead letters: a refused record's original bytes, with headers that say why. The form is a public contract. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from stream.core.decode import Decoded, Events, Rejected
from stream.core.headers import MOST, MOST_BYTES, Header
from stream.model.names import LIVE_RUN, Reason
from stream.model.results import DeadLetter, Record, RefusedBatch

RECORD_BYTES: Final = 4 * 1024 * 1024
"""The largest record that is written is a dead letter."""
LETTER_BYTES: Final = RECORD_BYTES + 64 * 1024
"""With its batch header: max.message.bytes of the topic of dead letters, at most …"""
LEAST_LETTER: Final = 100_000
"""… and at least: each record is cut to what the topic takes."""
KEPT: Final = 64 * 1024
"""Bytes kept of a key, and of a value or a batch that is cut: at most, and each."""
DETAIL_BYTES: Final = 2000

REASON: Final = "liveshop-reason"
DETAIL: Final = "liveshop-detail"
ORIGIN: Final = "liveshop-origin"
RUN: Final = "liveshop-run"
GENERATION: Final = "liveshop-generation"
REDRIVES: Final = "liveshop-redrives"
DROPPED: Final = "liveshop-headers-dropped"
SIZE: Final = "liveshop-size"
XXH3: Final = "liveshop-xxh3"
RECORDS: Final = "liveshop-records"
OURS: Final = frozenset({REASON, DETAIL, ORIGIN, RUN, GENERATION, REDRIVES, DROPPED, SIZE, XXH3, RECORDS})

Row = tuple[bytes | None, bytes | None, list[Header]]
"""Key, value and headers of a record to write."""


def fitting(max_message_bytes: int) -> int:
    """Bytes of records of which a batch is taken, even if they cannot be compressed: that makes them 1/256 larger."""
    return (max_message_bytes - 1024) * 255 // 256


@dataclass(slots=True)
class LetterSize:
    """The largest dead letter that is written, before compression; all shards of a process share it."""

    most: int = fitting(LETTER_BYTES)

    @staticmethod
    def of(max_message_bytes: int) -> "LetterSize":
        return LetterSize(fitting(max(LEAST_LETTER, min(max_message_bytes, LETTER_BYTES))))

    def refused(self, written: int, max_message_bytes: int | None) -> bool:
        """The topic has refused letters of at most ``written``: they are smaller from now on. False: they cannot be.

        It may refuse what should fit, since brokers have limits of their own: then they are half as large.
        """
        least = fitting(LEAST_LETTER)
        if self.most < written:
            return True  # another shard was told already
        asked = written if max_message_bytes is None else fitting(max_message_bytes)
        if written <= least or asked < least:
            return False
        self.most = asked if asked < written else max(least, written // 2)
        return True


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
        if not isinstance(records[at], RefusedBatch):  # which holds no more than its beginning anyway
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


def rows(
    letters: Iterable[DeadLetter],
    topics: Mapping[str, str],
    partition: int,
    generation: int,
    most: int = LetterSize().most,
    *,
    run: str = LIVE_RUN,
) -> Iterable[Row]:
    """The records to write, in order, each of at most ``most`` bytes. ``topics``: the inputs' names on the broker.

    What does not fit is cut as a value that is too large: its beginning, its size and its hash.
    """
    keep = min(KEPT, most // 4)
    for letter in letters:
        record = letter.record
        key = None if record.key is None else record.key[:keep]
        headers = _headers(letter, topics[letter.kind], partition, generation, run) + originals(record.headers, keep)
        if isinstance(record, RefusedBatch):
            headers += [(SIZE, b"%d" % record.size), (XXH3, record.xxh3.encode()), (RECORDS, b"%d" % record.records)]
            yield None, record.data[: most - size_of((None, None, headers))], headers
        elif isinstance(record, Oversize) or size_of((key, record.value, headers)) > most:
            short = record if isinstance(record, Oversize) else oversize(record)
            headers += [(SIZE, b"%d" % short.size), (XXH3, short.xxh3.encode())]
            yield key, short.value[: most - size_of((key, None, headers))], headers
        else:
            yield key, record.value, headers


def _headers(letter: DeadLetter, topic: str, partition: int, generation: int, run: str) -> list[Header]:
    record = letter.record
    origin = f"{topic}/{partition}/{_offsets(record)}/{record.timestamp}"
    return [
        (REASON, letter.reason.encode()),
        (DETAIL, letter.detail.encode(errors="replace")[:DETAIL_BYTES]),
        (ORIGIN, origin.encode()),
        (RUN, run.encode()),
        (GENERATION, b"%d" % generation),
        (REDRIVES, b"%d" % redrives(record.headers)),
    ]


def _offsets(record: Record) -> str:
    return f"{record.first}-{record.offset}" if isinstance(record, RefusedBatch) else str(record.offset)


def size_of(row: Row) -> int:
    """Bytes of a record in its batch, at most."""
    key, value, headers = row
    texts = sum(len(name.encode(errors="replace")) + len(content or b"") + 10 for name, content in headers)
    return 64 + len(key or b"") + len(value or b"") + texts


def redrives(headers: Iterable[Header]) -> int:
    """How often the record was sent again, as its own header says; 0 for none and for nonsense."""
    for name, value in headers:
        if name == REDRIVES and value is not None and value.isdigit():
            return int(value[:9])
    return 0


def originals(headers: Sequence[Header], room: int = MOST_BYTES) -> list[Header]:
    """The original headers as far as they fit, and how many did not. Those we have set anew are not original."""
    kept: list[Header] = []
    dropped: int = getattr(headers, "dropped", 0)
    for name, value in headers:
        if name in OURS:
            continue
        size = len(name.encode(errors="replace")) + len(value or b"")
        if size <= room and len(kept) < MOST:
            room -= size
            kept.append((name, value))
        else:
            dropped += 1
    return [*kept, (DROPPED, b"%d" % dropped)] if dropped else kept
