"""Where each input is: its log, the state, the group; and finding the next record behind a position."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiokafka import TopicPartition

from stream.config import Settings
from stream.core.framing import StateError
from stream.kafka import batches, recovery, statereader
from stream.kafka.blocked_shards import skip_command
from stream.kafka.client import Reader
from stream.kafka.machine import Name
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.role import Role
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import HangingTransactionError
from stream.model.results import RefusedBatch
from stream.operate.shards import contexts, reading, stored
from stream.operate.show import HANGING


@dataclass(frozen=True, slots=True)
class InputOffsets:
    """One partition of one input."""

    topic: str
    partition: int
    earliest: int
    state: int | None
    """Where the shard goes on; None without a state that can be read."""
    group: int | None
    """What the group has committed: for tools, nothing reads it back."""
    stable: int
    """Last stable offset."""
    end: int
    """High watermark."""
    lag: int | None
    """Offsets from the state's position to the last stable one: records, and the ends of transactions."""
    lag_seconds: float | None
    """Since the broker appended the next record to read; 0 when there is none."""
    open_transaction: bool
    """Something lies behind the last stable offset: a transaction is open right now, or hangs."""
    lost: int
    """Offsets that retention has deleted before they were read."""
    problem: str | None = None
    """Why the state or the next record cannot be read."""


async def show(role: Role, settings: Settings) -> list[InputOffsets]:
    """Every partition of every input. Raises UsageError for topics that are not as they must be."""
    found = await contexts(role, settings, ())
    inputs = [tp for context in found for tp in context.inputs.values()]
    shown = []
    async with reading(settings, [*inputs, *(context.state for context in found)]) as reader:
        for context in found:
            positions, problem = await _positions(reader, context)
            for name, tp in context.inputs.items():
                shown.append(await _input_offsets(settings, reader, tp, positions.get(name), problem))
    committed = await recovery.group_offsets(
        settings, inputs
    )  # last: with a running worker they are not behind the state
    groups = [committed[TopicPartition(each.topic, each.partition)] for each in shown]
    shown = [replace(each, group=at if at >= 0 else None) for each, at in zip(shown, groups, strict=True)]
    return sorted(shown, key=lambda each: (each.topic, each.partition))


async def _positions(reader: Reader, context: ShardContext) -> tuple[Mapping[Name, int], str | None]:
    try:
        state = await stored(reader, context)
    except StateError as error:
        return {}, f"the state of partition {context.partition} cannot be read: {error}"
    except HangingTransactionError:
        return {}, f"the state of partition {context.partition}: {HANGING}"
    return ({} if state is None else state.meta.positions), None


async def _input_offsets(
    settings: Settings, reader: Reader, tp: TopicPartition, position: int | None, problem: str | None
) -> InputOffsets:
    begin, end = await statereader.bounds(reader, tp)
    log = await batches.read_batches(reader, tp, end)
    stable, end = log.stable, log.end  # of one answer: what is written between two would look like an open transaction
    lag = None if position is None else max(0, stable - max(position, begin))
    seconds: float | None = None if lag is None else 0.0
    if lag and position is not None:
        seconds, unreadable = await _waiting(settings, reader, tp, max(position, begin), stable)
        problem = problem or unreadable
    return InputOffsets(
        topic=tp.topic,
        partition=tp.partition,
        earliest=begin,
        state=position,
        group=None,
        stable=stable,
        end=end,
        lag=lag,
        lag_seconds=seconds,
        open_transaction=end > stable,
        lost=0 if position is None else max(0, begin - position),
        problem=problem,
    )


async def _waiting(
    settings: Settings, reader: Reader, tp: TopicPartition, position: int, end: int
) -> tuple[float, str | None]:
    """Seconds that the next record has waited, 0 when there is none; and what is wrong with it, and the way out."""
    try:
        async for record in statereader.read(reader, tp, position, end, refused=True):
            return round(max(0.0, time.time() - record.timestamp / 1000), 1), None
    except UnreadableError as error:
        _, error.last, timestamp = await batches.damaged(reader, tp, error.first)
        out = skip_command(settings, tp, error.first, error.last)
        return round(max(0.0, time.time() - timestamp / 1000), 1), f"{error}. Mend the broker's log, or: {out}"
    return 0.0, None


async def next_to_read(reader: Reader, tp: TopicPartition, position: int, end: int) -> int:
    """Offset of the first committed or damaged record from ``position`` on, ``end`` when there is none.

    A state may stand before the end of a transaction, which is no record.
    """
    try:
        async for record in statereader.read(reader, tp, position, end, refused=True):
            return int(record.first if isinstance(record, RefusedBatch) else record.offset)
    except UnreadableError as error:
        return error.first
    return end
