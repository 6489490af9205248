"""Shards and their states, read beside running workers without touching them."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition

from stream.config import Settings
from stream.core.checkpoint import read_meta
from stream.core.framing import StateError
from stream.core.policy import Policy, WindowSpec
from stream.core.shard import Shard
from stream.core.state_format import Meta
from stream.core.statelog import StateLog
from stream.errors import UsageError
from stream.kafka import client, preflight, statereader
from stream.kafka.client import Reader
from stream.kafka.partitions import OutgrownError
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import StateRecords
from stream.model.names import STATE
from stream.sessions import topics
from stream.sessions.role import WORKER

TRIES: Final = 3
"""A state that is compacted while it is read may lack a checkpoint: read once more, it begins later."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The newest state of one partition, and what it says of itself."""

    context: ShardContext
    state: StateRecords
    meta: Meta
    checkpoints: int
    """How many make the whole state."""

    def restore(self) -> Shard:
        """Under the settings it was counted with, whatever ours are. Raises StateError."""
        return restored(policy_of(self.meta.policy), self.state, self.context)


def restored(policy: Policy, state: StateRecords, context: ShardContext) -> Shard:
    """A shard under any settings. Raises StateError."""
    return Shard.restore(policy, state.records, placed=context.placed(), vouched=state.vouched)


async def contexts(settings: Settings, numbers: Collection[int]) -> list[ShardContext]:
    """The shards of these partition numbers, or all. UsageError for missing topics and for a number there is not."""
    partitions = await topics.shards(settings)
    for number in numbers:
        if not 0 <= number < partitions:
            raise UsageError(f"there is no partition {number}: the topics have {partitions}, the first is 0")
    return [ShardContext(settings, number, partitions, WORKER) for number in sorted(set(numbers)) or range(partitions)]


async def insist_on_partitions(settings: Settings) -> None:
    """Before anything is counted here. Raises OutgrownError where partitions were added, or all was moved elsewhere."""
    counts = await topics.counts(settings)
    found = await preflight.newest_states(WORKER, settings, counts[settings.topic(STATE)])
    outgrown = preflight.outgrown(WORKER, settings, found, counts)
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


async def stored(reader: Reader, context: ShardContext) -> Stored | None:
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


def _opened(context: ShardContext, state: StateRecords) -> Stored:
    _, content = StateLog.restore(state.records, context.settings.policy().checkpoint_span)
    return Stored(context, state, read_meta(content), content.checkpoints)


def policy_of(stored_policy: dict[str, Any]) -> Policy:
    """The settings a checkpoint has stored. Raises StateError for settings that this version does not know."""
    values = dict(stored_policy)
    try:
        windows = tuple(WindowSpec(*window) for window in values.pop("windows"))
        return Policy(windows=windows, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"its settings are of another version: {error}") from error
