"""Reading one partition to its end, committed records only: the state at recovery, the outputs at a rebuild.

Every partition read must be assigned to the reader already, all at once: each `assign` costs a look-up of its topics.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiokafka import TopicPartition

from stream.core.framing import CHECKSUM, StateError, check, first_needed, is_part, newest_begins
from stream.core.statelog import P, Provenance, newest_provenance
from stream.kafka.client import Reader
from stream.kafka.patches.fetch import UnreadableError
from stream.model.results import RefusedBatch

log: Final = structlog.get_logger()

FIRST_LOOK: Final = 16
"""Offsets looked at from the end to find the newest record; markers and aborted records take offsets too."""
WAIT_MS: Final = 20
"""Short: what is no record, the end of a transaction for one, moves the position but wakes nobody."""
ANSWERS: Final = 2
"""Of the broker; the first may be to a question that was on its way before. A reader asks it one thing at a time."""
LISTED: Final = 10
"""Records that are passed over are counted; of so many it is said where they are."""
STILL_SECONDS: Final = 30.0
"""A read that brings nothing and does not move for so long has lost its broker."""


class HangingTransactionError(Exception):
    """The partition ends in a transaction that nobody has finished: what is behind its start cannot be known yet."""


@dataclass(slots=True)
class StateRecords:
    """What `Machines.restore` needs: (offset, value) in order. ``newest`` is the offset of the last one, -1 without any."""

    records: list[tuple[int, bytes]] = field(default_factory=list)
    newest: int = -1
    end: int = 0
    """Of the partition when nothing was open in it: what is there later was written since."""
    written_at: int = -1
    """When the newest was written, ms."""
    vouched: bool = True
    """Each has its checksum. Those of earlier versions have none."""
    strays: list[int] = field(default_factory=list)
    """Offsets of records between them that are no part of any state; the first `LISTED` of them."""

    def add(self, record: Any) -> None:
        """The next record of the partition. Raises StateError when it is damaged."""
        if not _is_state(record):
            self.strays += [record.offset] if len(self.strays) < LISTED else []
            return
        stored = next((value for name, value in record.headers if name == CHECKSUM), None)
        if stored is None:
            self.vouched = False
        else:
            check(record.value, record.offset, stored)
        self.records.append((record.offset, record.value))


def _is_state(record: Any) -> bool:
    """Also a damaged or an older one; a tombstone is none, as nothing of ours writes one."""
    return is_part(record.key) and record.value is not None


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
    newest = await newest_part(reader, partition, begin, end)
    if newest is None:
        return StateRecords(end=end)
    start = first_needed(newest.value, newest.offset)
    state = StateRecords(newest=newest.offset, end=end, written_at=newest.timestamp)
    async for record in read(reader, partition, max(start, begin), end):
        state.add(record)
    if not state.records or state.records[0][0] != start:
        raise StateError(f"it begins at offset {start}, and that record is missing")
    if state.strays:
        log.warning(
            "skipped records not of liveshop: another program writes to the topic",
            expected="state",
            topic=partition.topic,
            partition=partition.partition,
            first_offsets=state.strays,
        )
    return state


@dataclass(frozen=True, slots=True)
class Newest:
    """What the newest checkpoint says of its shard: whose it is, under which settings, how far it has read."""

    meta: Provenance
    offset: int
    """Of its last record."""


async def newest_checkpoint(reader: Reader, partition: TopicPartition) -> Newest | None:
    """The newest committed checkpoint; None without a state. Reads only it, fences nobody, awaits no open transaction.

    Raises StateError when it cannot be read.
    """
    found = await newest_head(reader, partition, Provenance)
    return None if found is None else Newest(*found)


async def newest_head(reader: Reader, partition: TopicPartition, shape: type[P]) -> tuple[P, int] | None:
    """The same, with more of what it says of itself; and the offset of its last record.

    Raises StateError when it cannot be read.
    """
    try:
        begin, end = await bounds(reader, partition)
        newest = await newest_part(reader, partition, begin, end)
        if newest is None:
            return None
        state = StateRecords()
        async for record in read(reader, partition, newest_begins(newest.value, newest.offset), newest.offset + 1):
            state.add(record)
        return newest_provenance(state.records, shape), newest.offset
    except UnreadableError as error:
        raise StateError(str(error)) from error


async def bounds(reader: Reader, partition: TopicPartition) -> tuple[int, int]:
    """The first offset there is, and the last stable offset."""
    begins = await reader.beginning_offsets([partition])
    ends = await reader.end_offsets([partition])
    return begins[partition], ends[partition]


async def await_stable(reader: Reader, partition: TopicPartition, end: int, patience: float) -> None:
    """Until the last stable offset is the high watermark: nothing is open. Raises HangingTransactionError in the end.

    As the broker says from now on: what the reader has asked before, before a producer was fenced maybe, says nothing.
    """
    reader.seek(partition, end)
    heard, answers, said = reader.last_poll_timestamp(partition), 0, False
    try:
        async with asyncio.timeout(patience):
            while answers < ANSWERS or not _is_stable(reader, partition):
                if answers >= ANSWERS and not said:
                    log.info(
                        "a topic ends in an open transaction; waiting",
                        topic=partition.topic,
                        partition=partition.partition,
                    )
                    said = True
                await reader.getmany(partition, timeout_ms=WAIT_MS)
                before, heard = heard, reader.last_poll_timestamp(partition)
                answers += heard != before
    except TimeoutError:
        raise HangingTransactionError from None


def _is_stable(reader: Reader, partition: TopicPartition) -> bool:
    high = reader.highwater(partition)
    return high is not None and reader.last_stable_offset(partition) == high


def _any(_record: Any) -> bool:
    return True


async def newest_part(reader: Reader, partition: TopicPartition, begin: int, end: int) -> Any:
    """The last committed record of the state between two offsets, or None."""
    return await newest_record(reader, partition, begin, end, _is_state)


async def newest_record(
    reader: Reader,
    partition: TopicPartition,
    begin: int,
    end: int,
    wanted: Callable[[Any], bool] = _any,
    *,
    refused: bool = False,
) -> Any:
    """The last committed record ``wanted`` between two offsets, or None. Looks from the end, further back each time."""
    look = FIRST_LOOK
    while True:
        start = max(begin, end - look)
        newest = None
        async for record in read(reader, partition, start, end, refused=refused):
            newest = record if wanted(record) else newest
        if newest is not None or start == begin:
            return newest
        look *= 8


async def read(
    reader: Reader, partition: TopicPartition, start: int, end: int, *, refused: bool = False
) -> AsyncGenerator[Any, None]:
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
                    _require_records(record, partition)
                yield record
        now = await reader.position(partition)
        if now != position:
            position, moved = now, loop.time()
        elif loop.time() - moved > STILL_SECONDS:
            raise TimeoutError(f"{partition.topic}/{partition.partition} cannot be read beyond offset {position}")
        await asyncio.sleep(0)


def _require_records(record: Any, partition: TopicPartition) -> None:
    if isinstance(record, RefusedBatch):
        raise UnreadableError(partition, record.first, record.offset, record.detail)


@dataclass(slots=True)
class Generations:
    """What the committed values of some partitions say of their generation."""

    highest: int = -1
    """-1: there are no values."""
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    """How far each partition was read: what comes later is all that is read the next time."""

    async def read(
        self, reader: Reader, partitions: Iterable[TopicPartition], generation_of: Callable[[Any], int | None]
    ) -> None:
        """To their ends. ``generation_of`` a record: None for what is no result of ours, whatever it says."""
        for partition in partitions:
            others = SkippedRecords(partition)
            begin, end = await bounds(reader, partition)
            async for record in read(reader, partition, max(begin, self.ends.get(partition, 0)), end, refused=True):
                if not is_tombstone(record):
                    generation = generation_of(record)
                    others.note(record.offset, is_right=generation is not None)
                    self.highest = max(self.highest, generation or 0)
            others.tell("results")
            self.ends[partition] = end


def is_tombstone(record: Any) -> bool:
    """Also a batch that cannot be read has no value."""
    return record.value is None and not isinstance(record, RefusedBatch)


class SkippedRecords:
    """Counts the records of one partition that liveshop did not write."""

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.number = 0
        self.first = -1
        """Offset of the first."""

    def note(self, offset: int, *, is_right: bool) -> None:
        if not is_right:
            self.first = self.first if self.number else offset
            self.number += 1

    def tell(self, what: str) -> None:
        """A line in the log when there were any."""
        if self.number:
            log.warning(
                "skipped records not of liveshop: another program writes to the topic",
                expected=what,
                topic=self.partition.topic,
                partition=self.partition.partition,
                records=self.number,
                first_offset=self.first,
            )


async def any_record(reader: Reader, partitions: Iterable[TopicPartition]) -> TopicPartition | None:
    """A partition with a committed record, or None."""
    for partition in partitions:
        begin, end = await bounds(reader, partition)
        if await newest_record(reader, partition, begin, end, refused=True) is not None:
            return partition
    return None
