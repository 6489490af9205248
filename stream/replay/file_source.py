"""A recording read as if it were the topics: partition by partition as a producer would have placed its lines. Pure but
for the reading of the file.

The lines are in the order of arrival, and ``at`` stands for the broker's clock. Topics take turns after some records or
some seconds of arrival, whatever comes first, so that in a sparse recording, too, none of them runs hours ahead.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from aiokafka.partitioner import murmur2
from msgspec import Struct

from stream.core.alignment import PIECE
from stream.core.decode import decode_batch
from stream.model.names import Kind
from stream.model.results import Record, Records
from stream.replay import recording
from stream.replay.backtest import Backtest, Report
from stream.replay.recording import Arrived

TURN_MS: Final = 5_000
TURN: Final = 4 * PIECE
"""Arrival time and records of a turn."""


class FileRecord(Struct, gc=False):
    """A line as a record of a log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def over_file(
    source: Path,
    test: Backtest,
    partitions: int,
    to_ms: int | None,
    *,
    tell: Callable[[int, int], None],
    complain: Callable[[str, int], None],
) -> Report:
    """A backtest over a recording; without ``to_ms`` up to its newest event time.

    ``tell`` is called with the records done, and 0: nobody knows how many there are. ``complain`` is told of each line that
    is no message, and how many there were. Raises UsageError for a file that cannot be read.
    """
    bad = done = 0

    def messages() -> Iterator[Arrived]:
        nonlocal bad
        for each in recording.arrived(source):
            if isinstance(each, str):
                bad += 1
                complain(each, bad)
            else:
                yield each

    for partition, kind, records in batches(messages(), partitions):
        test.machine(partition).count(kind, records, decode_batch(kind, records, test.policy.max_value))
        done += len(records)
        tell(done, 0)
    newest = test.newest
    report = test.report(to_ms if to_ms is not None else 0 if newest is None else newest + 1)
    report.bad_lines = bad
    return report


Batch = tuple[int, Kind, Records]
"""Partition, topic, records in order."""


def batches(messages: Iterable[Arrived], partitions: int) -> Iterator[Batch]:
    """All messages, each topic of each partition in order."""
    place = _placing(partitions)
    waiting: defaultdict[tuple[int, Kind], list[Record]] = defaultdict(list)
    number, until = 0, None
    for offset, (at, kind, key, value) in enumerate(messages):
        if until is None or at >= until or number >= TURN:
            yield from _turn(waiting)
            waiting.clear()
            number, until = 0, at + TURN_MS
        number += 1
        waiting[place(key), kind].append(FileRecord(offset, at, key, value))
    yield from _turn(waiting)


def _turn(waiting: dict[tuple[int, Kind], list[Record]]) -> Iterator[Batch]:
    for (partition, kind), records in waiting.items():
        for begin in range(0, len(records), PIECE):
            piece = records[begin : begin + PIECE]
            yield partition, kind, Records(piece, min([record.timestamp for record in piece]))


def _placing(partitions: int) -> Callable[[bytes | None], int]:
    """As Java clients place keys; a record without one is refused anyway."""
    known: dict[bytes | None, int] = {None: 0, b"": 0}

    def place(key: bytes | None) -> int:
        found = known.get(key)
        if found is None:
            found = known[key] = (murmur2(key) & 0x7FFFFFFF) % partitions
        return found

    return (lambda _key: 0) if partitions == 1 else place
