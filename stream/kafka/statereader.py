"""Reading one partition to its end, committed records only: the state at recovery, the outputs at a rebuild.

Every partition read must be assigned to the reader already, all at once: each `assign` costs a look-up of its topics.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import TopicPartition

from stream.core.framing import StateError, first_needed
from stream.kafka.client import Reader
from stream.kafka.fetch import UnreadableError
from stream.model.alerts import Alert, Status, read_alert
from stream.model.results import RefusedBatch

log: Final = structlog.get_logger()

FIRST_LOOK: Final = 16
"""Offsets looked at from the end to find the newest record; markers and aborted records take offsets too."""
WAIT_MS: Final = 20
"""Short: what is no record, the end of a transaction for one, moves the position but wakes nobody."""
STILL_SECONDS: Final = 30.0
"""A read that brings nothing and does not move for so long has lost its broker."""
GENERATION: Final = re.compile(rb'"generation":\s{0,20}(\d{1,18})\b')
"""Of results, which others may have written: of more digits none is ours, and Python would refuse to read it."""


class HangingTransactionError(Exception):
    """The partition ends in a transaction that nobody has finished: what is behind its start cannot be known yet."""


@dataclass(frozen=True, slots=True)
class StateRecords:
    """What `Shard.restore` needs: (offset, value) in order. ``newest`` is the offset of the last one, -1 without any."""

    records: list[tuple[int, bytes]]
    newest: int
    written_at: int = -1
    """When the newest was written, ms."""


async def read_state(reader: Reader, partition: TopicPartition, patience: float) -> StateRecords:
    """The records that make the newest committed state.

    Raises HangingTransactionError when the partition still ends in an open transaction after ``patience`` seconds, and
    StateError when the newest record is no state, or when what makes it cannot be read.
    """
    try:
        return await _read_state(reader, partition, patience)
    except UnreadableError as error:
        raise StateError(str(error)) from error


async def _read_state(reader: Reader, partition: TopicPartition, patience: float) -> StateRecords:
    begin, end = await bounds(reader, partition)
    await await_stable(reader, partition, end, patience)
    begin, end = await bounds(reader, partition)
    newest = await newest_record(reader, partition, begin, end)
    if newest is None:
        return StateRecords([], -1)
    if newest.value is None:
        raise StateError(f"the record at offset {newest.offset} has no value")
    start = first_needed(newest.value, newest.offset)
    records = [
        (record.offset, record.value)
        async for record in read(reader, partition, max(start, begin), end)
        if record.value
    ]
    if records[0][0] != start:
        raise StateError(f"it begins at offset {start}, and that record is missing")
    return StateRecords(records, newest.offset, newest.timestamp)


async def bounds(reader: Reader, partition: TopicPartition) -> tuple[int, int]:
    """The first offset there is, and the last stable offset."""
    begins = await reader.beginning_offsets([partition])
    ends = await reader.end_offsets([partition])
    return begins[partition], ends[partition]


async def await_stable(reader: Reader, partition: TopicPartition, end: int, patience: float) -> None:
    """Until the last stable offset is the high watermark: nothing is open. Raises HangingTransactionError in the end."""
    reader.seek(partition, end)
    said = False
    try:
        async with asyncio.timeout(patience):
            while not _is_stable(reader, partition):
                if reader.highwater(partition) is not None and not said:
                    log.info("the state ends in an open transaction; waiting", partition=partition.partition)
                    said = True
                await reader.getmany(partition, timeout_ms=WAIT_MS)
    except TimeoutError:
        raise HangingTransactionError from None


def _is_stable(reader: Reader, partition: TopicPartition) -> bool:
    high = reader.highwater(partition)
    return high is not None and reader.last_stable_offset(partition) == high


async def newest_record(
    reader: Reader, partition: TopicPartition, begin: int, end: int, *, refused: bool = False
) -> Any:
    """The last committed record between two offsets, or None. Looks from the end, further back each time."""
    look = FIRST_LOOK
    while True:
        start = max(begin, end - look)
        newest = None
        async for record in read(reader, partition, start, end, refused=refused):
            newest = record
        if newest is not None or start == begin:
            return newest
        look *= 8


async def read(
    reader: Reader, partition: TopicPartition, start: int, end: int, *, refused: bool = False
) -> AsyncIterator[Any]:
    """Every committed record with ``start`` <= offset < ``end``. Raises TimeoutError when the broker stays silent.

    A batch that is too large or makes no sense raises UnreadableError as a damaged one does; with ``refused`` it comes as
    a `RefusedBatch`, if it ends before ``end``: strangers may write such.
    """
    loop = asyncio.get_running_loop()
    reader.seek(partition, start)
    position, moved = start, loop.time()
    while position < end:
        batches = await reader.getmany(partition, timeout_ms=WAIT_MS, max_records=2000)
        for record in batches.get(partition, ()):
            if record.offset < end:
                if not refused:
                    _insist_on_records(record, partition)
                yield record
        now = await reader.position(partition)
        if now != position:
            position, moved = now, loop.time()
        elif loop.time() - moved > STILL_SECONDS:
            raise TimeoutError(f"{partition.topic}/{partition.partition} cannot be read beyond offset {position}")
        await asyncio.sleep(0)


def _insist_on_records(record: Any, partition: TopicPartition) -> None:
    if isinstance(record, RefusedBatch):
        raise UnreadableError(partition, record.first, record.offset, record.detail)


async def highest_generation(reader: Reader, partitions: Iterable[TopicPartition], highest: int) -> int:
    """The highest generation among the committed values of these partitions, or ``highest`` if that is more."""
    for partition in partitions:
        begin, end = await bounds(reader, partition)
        async for record in read(reader, partition, begin, end, refused=True):
            found = GENERATION.search(record.value or b"")
            if found:
                highest = max(highest, int(found[1]))
    return highest


async def firing(reader: Reader, partition: TopicPartition) -> list[Alert]:
    """The alerts of which the newest committed record says that they are firing. What is no alert is passed over."""
    found: dict[bytes, Alert] = {}
    begin, end = await bounds(reader, partition)
    async for record in read(reader, partition, begin, end, refused=True):
        found.pop(record.key or b"", None)
        with contextlib.suppress(ValueError):
            alert = read_alert(record.value or b"")
            if alert.status is Status.FIRING:
                found[alert.key()] = alert
    return list(found.values())


async def any_record(reader: Reader, partitions: Iterable[TopicPartition]) -> TopicPartition | None:
    """A partition with a committed record, or None."""
    for partition in partitions:
        begin, end = await bounds(reader, partition)
        if await newest_record(reader, partition, begin, end, refused=True) is not None:
            return partition
    return None
