"""Shards and their states, read beside running workers without touching them."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from stream.config import Settings
from stream.core.framing import StateError
from stream.core.statelog import Provenance, StateLog
from stream.errors import UsageError
from stream.kafka import client, preflight, statereader, topics
from stream.kafka.client import Reader
from stream.kafka.partitions import OutgrownError
from stream.kafka.role import Role
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import StateRecords

TRIES: Final = 3
"""A state that is compacted while it is read may lack a checkpoint: read once more, it begins later."""


@dataclass(frozen=True, slots=True)
class StoredState:
    """The newest state of one partition, and what it says of itself."""

    context: ShardContext
    state: StateRecords
    meta: Provenance
    checkpoint: int
    """The number of the last."""
    checkpoints: int
    """How many make the whole state."""


async def contexts(role: Role, settings: Settings, numbers: Collection[int]) -> list[ShardContext]:
    """The shards of these partition numbers, or all. UsageError for missing topics and for a number there is not."""
    partitions = await topics.shards(role, settings)
    for number in numbers:
        if not 0 <= number < partitions:
            raise UsageError(f"there is no partition {number}: the topics have {partitions}, the first is 0")
    return [ShardContext(settings, number, partitions, role) for number in sorted(set(numbers)) or range(partitions)]


async def require_same_partitions(role: Role, settings: Settings) -> None:
    """Before anything is counted here. Raises OutgrownError where partitions were added, or all was moved elsewhere."""
    counts = await topics.counts(role, settings)
    found = await preflight.newest_states(role, settings, counts[settings.topic(role.state)])
    outgrown = preflight.outgrown(role, settings, found, counts)
    if outgrown is not None:
        raise OutgrownError(outgrown, settings)


@asynccontextmanager
async def reading(settings: Settings, partitions: Iterable[TopicPartition]) -> AsyncIterator[Reader]:
    """A reader of these partitions, of all that is read with it."""
    reader = client.make_reader(settings, wait_ms=50)
    await client.start(reader, settings)
    reader.assign(list(partitions))
    try:
        yield reader
    finally:
        await client.end(reader)


async def stored(reader: Reader, context: ShardContext) -> StoredState | None:
    """None when there is no state. Raises StateError for what is none, HangingTransactionError."""
    patience = context.settings.transaction_timeout.total_seconds()
    for left in reversed(range(TRIES)):
        try:
            state = await statereader.read_state(reader, context.state, patience)
            return _opened(context, state) if state.records else None
        except StateError:
            if not left:
                raise
    raise AssertionError  # the last try returns or raises


def _opened(context: ShardContext, state: StateRecords) -> StoredState:
    kept, content = StateLog.restore(state.records, context.settings.policy().checkpoint_span)
    return StoredState(context, state, context.role.machines.provenance(content), kept.number, content.checkpoints)
