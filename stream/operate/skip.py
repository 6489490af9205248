"""Skipping named records that stop a shard: forward only, as dead letters, in one transaction with the state.

Which ones is never guessed: the range begins exactly where the shard stands, and is bounded. Each record in it is a dead
letter with the reason ``skipped``, its original bytes, and who skipped it and why. A damaged batch, which is read as one, is
one dead letter, however many records it has. Going back is no skip but a replay.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
import xxhash
from aiokafka import TopicPartition

from stream.core.cooperative import drained
from stream.core.deadletters import LETTER_BYTES, LetterSize, Oversize, oversize
from stream.core.framing import StateError
from stream.errors import FailedError, UsageError
from stream.kafka import batches, recovery, statereader, topics
from stream.kafka.batches import Batch
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.client import Reader
from stream.kafka.fetched import raw
from stream.kafka.machine import Machine, Name
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.recovery import Recovered
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import HangingTransactionError
from stream.model.names import Reason
from stream.model.results import Record, RefusedBatch
from stream.operate.fencing import with_fenced_shard
from stream.operate.offsets import next_to_read
from stream.operate.shards import reading, stored
from stream.operate.show import HANGING, differing

log: Final = structlog.get_logger("liveshop")

MOST: Final = 1000
MOST_BYTES: Final = 64 * 1024 * 1024
"""Dead letters of one skip, and their bytes. What is poison is named; what is a backlog is not."""
REASON_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Skip:
    """What an operator asks for. ``last`` is included."""

    name: Name
    """Of the input."""
    first: int
    last: int
    reason: str
    by: str

    @property
    def detail(self) -> str:
        return f"skipped by {self.by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Item:
    """One record to skip, without its content; or all of a batch that cannot be read."""

    offset: int
    last: int
    """The same, but for a batch."""
    records: int
    timestamp: int
    size: int | None
    """Of key and value in bytes; None when it cannot be read."""
    tombstone: bool
    key: str | None
    """Hash of the key, 16 hex digits."""
    batch: Batch | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a skip does or has done. ``checkpoint`` is that of the state with it; None: nothing was written."""

    topic: str
    partition: int
    position: int
    """Where the shard goes on afterwards."""
    end: int
    items: list[Item]
    notes: list[str]
    checkpoint: int | None = None


def check(skip: Skip) -> None:
    """Raises UsageError for what can be said to be wrong without looking at the log."""
    if not 0 <= skip.first <= skip.last:
        raise UsageError(f"--to {skip.last} must not be below --offset {skip.first}, and neither below 0")
    if not skip.reason.strip() or len(skip.reason) > REASON_CHARACTERS or not skip.reason.isprintable():
        raise UsageError(f"--reason: say why in 1 to {REASON_CHARACTERS} printable characters, they are kept")


async def plan(context: ShardContext, skip: Skip) -> Plan:
    """What would be skipped, touching nobody. Raises UsageError when that is not what the shard has to read next."""
    check(skip)
    try:
        await _check_settings(context)
        machine, restored_from = await recovery.rehearse(context)
    except HangingTransactionError:
        raise FailedError(f"the state of partition {context.partition}: {HANGING}") from None
    return (await _named(context, skip, machine, restored_from))[0]


async def _check_settings(context: ShardContext) -> None:
    """The checkpoint that a skip writes stores our settings, and a worker with others might have to refuse it."""
    async with reading(context.settings, [context.state]) as reader:
        try:
            state = await stored(reader, context)
        except StateError:
            return  # recovery will say so, and that it is another's as well
    if state is None or state.meta.owner != context.owner:
        return
    differ = differing(context, state.meta.policy)
    if differ:
        texts = "; ".join(f"{each.flag} is {each.old}, not {each.new}" for each in differ)
        raise UsageError(
            f"partition {context.partition} is counted under other settings: {texts}. Give those of the worker"
        )


async def execute(context: ShardContext, skip: Skip) -> Plan:
    """Skips them: fences the shard, writes the checkpoint, lets go. A worker that had the shard goes on behind them."""
    await plan(context, skip)  # nobody is fenced for a skip that is refused
    if (letters := context.role.letters) is not None:
        most = await topics.max_bytes(context.role, context.settings, letters)
        context = replace(context, letters=LetterSize.of(most or LETTER_BYTES))

    async def write(recovered: Recovered) -> Plan:
        machine = recovered.machine
        done, records = await _named(context, skip, machine, recovered.records)
        machine.skip(skip.name, records, skip.detail)
        return replace(done, checkpoint=await _commit(context, recovered))

    done = await with_fenced_shard(context, write, what="the skip")
    _record(done, skip)
    return done


async def _commit(context: ShardContext, recovered: Recovered) -> int:
    outputs = await asyncio.to_thread(drained, recovered.machine.collecting())
    assert outputs is not None  # noqa: S101 - a skip always changes something
    await Checkpoints(context, recovered.producer, recovered.state_end).write(outputs)
    return outputs.checkpoint


def _record(done: Plan, skip: Skip) -> None:
    log.warning(
        "records were skipped",
        topic=done.topic,
        partition=done.partition,
        offsets=[item.offset if item.offset == item.last else f"{item.offset}-{item.last}" for item in done.items],
        by=skip.by,
        reason=skip.reason,
    )


async def _named(context: ShardContext, skip: Skip, machine: Machine, restored_from: int) -> tuple[Plan, list[Record]]:
    """The records named, when they are what the shard reads next."""
    tp = context.inputs[skip.name]
    if not restored_from:
        raise UsageError(
            f"partition {context.partition} has no state yet: nothing was read that could stand before poison"
        )
    async with reading(context.settings, [tp]) as reader:
        _, end = await statereader.bounds(reader, tp)
        await _check_place(reader, tp, skip, machine.positions[skip.name], end)
        records = await _bounded(_read(reader, tp, skip.first, skip.last), skip.first, context.settings.max_value)
        items = await _items(reader, tp, records)
    return Plan(tp.topic, tp.partition, records[-1].offset + 1, end, items, _notes(items, skip)), records


async def _check_place(reader: Reader, tp: TopicPartition, skip: Skip, position: int, end: int) -> None:
    where = f"{tp.topic}, partition {tp.partition}"
    if skip.first < position:
        raise UsageError(f"{where}: the shard stands at {position}, what is before it was read: going back is a replay")
    if skip.last >= end:
        raise UsageError(f"{where}: committed records end at {end}, there is nothing to skip from there on")
    following = await next_to_read(reader, tp, position, end)
    if skip.first != following:
        raise UsageError(
            f"{where}: the shard stands at {position}, and the next record is {following}. "
            f"Only what stops it there is skipped: name {following}, not {skip.first}"
        )


async def _bounded(found: AsyncIterator[Record], first: int, max_value: int) -> list[Record]:
    """All of them, without the values that are too large. Raises UsageError when they are too many."""
    records: list[Record] = []
    size = 0
    async for record in found:
        size += min(len(record.value or b""), max_value)
        if len(records) == MOST or size > MOST_BYTES:
            raise UsageError(
                f"at most {MOST} records of {MOST_BYTES >> 20} MB are skipped at once: from {first} that is "
                f"--to {records[-1].offset}"
            )
        records.append(oversize(record) if len(record.value or b"") > max_value else record)
    return records


async def _read(reader: Reader, tp: TopicPartition, first: int, last: int) -> AsyncIterator[Record]:
    """The committed records of a range, with one that stands for all of a batch that cannot be read."""
    at = first
    while at <= last:
        try:
            async for record in statereader.read(reader, tp, at, last + 1, refused=True):
                at = record.offset + 1
                yield record
        except UnreadableError as error:
            damaged = await _damaged(reader, tp, error, last)
            at = damaged.offset + 1
            yield damaged
        else:
            return


async def _damaged(reader: Reader, tp: TopicPartition, error: UnreadableError, last: int) -> RefusedBatch:
    """What stands for a damaged batch, or for the part of it that was named. How many records it has is not known."""
    data, end, timestamp = await batches.damaged(reader, tp, error.first)
    last = min(end, last)
    number = last - error.first + 1
    return RefusedBatch(error.first, last, number, timestamp, Reason.UNREADABLE, f"batch: {error.why}", *raw(data))


async def _items(reader: Reader, tp: TopicPartition, records: Sequence[Record]) -> list[Item]:
    items: list[Item] = []
    batch: Batch | None = None
    for record in records:
        first = record.first if isinstance(record, RefusedBatch) else record.offset
        if batch is None or first > batch.last:
            batch = next(iter((await batches.read_batches(reader, tp, first)).batches), None)
        items.append(_item(record, batch))
    return items


def _item(record: Record, batch: Batch | None) -> Item:
    if isinstance(record, RefusedBatch):
        whole = (record.first, record.offset, record.records, record.timestamp)
        return Item(*whole, size=None, tombstone=False, key=None, batch=batch)
    size = record.size if isinstance(record, Oversize) else len(record.value or b"")
    return Item(
        offset=record.offset,
        last=record.offset,
        records=1,
        timestamp=record.timestamp,
        size=len(record.key or b"") + size,
        tombstone=record.value is None,
        key=None if record.key is None else xxhash.xxh3_64_hexdigest(record.key),
        batch=batch,
    )


def _notes(items: Sequence[Item], skip: Skip) -> list[str]:
    unread = [item for item in items if item.size is None]
    notes = []
    if len(unread) < len(items):
        notes.append(f"{len(items) - len(unread)} of them can be read: a worker would judge them, a skip does not")
    last = items[-1].batch
    if items[-1].size is None and last is not None and last.last > skip.last:
        notes.append(
            f"the damaged batch ends at {last.last} and is read as one: behind a part of it the shard stops again"
        )
    return notes
