"""Other topics taken for those of a state, by hand: after a move to another cluster, or when a topic was made anew.

A checkpoint is written that names the ids of the topics that are there now, and where their reading goes on. Workers of the
group must be stopped: one that runs has the old topics in its memory.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from stream.config import Settings
from stream.core.cooperative import drained
from stream.core.framing import StateError
from stream.errors import FailedError, UsageError
from stream.kafka import members, recovery, topicids
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.client import Reader
from stream.kafka.machine import Outputs
from stream.kafka.recovery import Recovered
from stream.kafka.shard_context import Adopted, ShardContext
from stream.kafka.statereader import HangingTransactionError
from stream.operate.fencing import with_fenced_shard
from stream.operate.shards import StoredState, reading, stored
from stream.operate.show import HANGING

log: Final = structlog.get_logger("liveshop")


@dataclass(frozen=True, slots=True)
class RecreatedTopic:
    """A topic that is not the one the state knows. Offsets are of inputs: the others are only written to."""

    topic: str
    id_then: str | None
    """None: the state is of a version that did not ask for ids."""
    id_now: str
    position: int | None
    """Where the state stands."""
    begin: int | None
    end: int | None
    goes_on_at: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is adopted in one partition. Without ``checkpoint``, nothing was written."""

    partition: int
    topics: list[RecreatedTopic]
    checkpoint: int | None = None


async def plan(contexts: Sequence[ShardContext], positions: Adopted) -> list[Plan]:
    """What would be adopted, touching nobody: only partitions in which something is. Refuses what recovery would.

    Raises FailedError when no partition has a state.
    """
    plans, states = [], 0
    for context in contexts:
        async with reading(context.settings, [context.state, *context.inputs.values()]) as reader:
            found = await _stored(reader, context)
            others = await _others(reader, context, found, positions) if found else []
            states += found is not None
        if others:
            await _rehearse(replace(context, adopts=positions))
            plans.append(Plan(context.partition, others))
    if contexts and not states:
        numbers = ", ".join(str(context.partition) for context in contexts)
        raise FailedError(
            f"{contexts[0].state.topic} holds no state of partition {numbers}: there is "
            "nothing that could go on with other topics. Bring it back first, at the offsets at which it was"
        )
    return plans


async def _stored(reader: Reader, context: ShardContext) -> StoredState | None:
    try:
        return await stored(reader, context)
    except StateError as error:
        raise FailedError(f"the state of partition {context.partition} cannot be read: {error}") from error
    except HangingTransactionError:
        raise FailedError(f"the state of partition {context.partition}: {HANGING}") from None


async def _rehearse(context: ShardContext) -> None:
    try:
        await recovery.rehearse(context)
    except HangingTransactionError:
        raise FailedError(f"the state of partition {context.partition}: {HANGING}") from None


async def _others(
    reader: Reader, context: ShardContext, found: StoredState, positions: Adopted
) -> list[RecreatedTopic]:
    now = await topicids.fetch(context.role, reader, context.settings)
    known = found.meta.topic_ids
    bounds = await recovery.input_bounds(context, reader)
    again = (
        recovery.to_begin_again(context.role, known, now, found.meta.positions, bounds)
        if positions is Adopted.BEGINNING
        else set()
    )
    inputs = {topic: name for name, topic in context.role.input_topics.items()}
    others = []
    for topic, id_now in now.items():
        name = inputs.get(topic)
        if known.get(topic) == id_now and name not in again:
            continue
        position = None if name is None else found.meta.positions.get(name)
        begin, end = (None, None) if name is None else bounds[name]
        goes_on_at = begin if name in again else position
        others.append(
            RecreatedTopic(context.settings.topic(topic), known.get(topic), id_now, position, begin, end, goes_on_at)
        )
    return others


async def execute(settings: Settings, contexts: Sequence[ShardContext], positions: Adopted) -> list[Plan]:
    """Does it. Raises UsageError while the group has members."""
    await _require_empty_group(settings)
    plans = {each.partition: each for each in await plan(contexts, positions)}
    return [
        await _adopt(replace(context, adopts=positions), plans[context.partition])
        for context in contexts
        if context.partition in plans
    ]


async def _adopt(context: ShardContext, planned: Plan) -> Plan:
    async def write(recovered: Recovered) -> Outputs:
        outputs = await asyncio.to_thread(drained, recovered.machine.collecting())
        assert outputs is not None  # noqa: S101 - other ids are something new
        await Checkpoints(context, recovered.producer, recovered.state_end).write(outputs)
        return outputs

    outputs = await with_fenced_shard(context, write, what="what is adopted")
    log.warning("the state goes on with other topics", partition=context.partition, positions=outputs.positions)
    return replace(planned, checkpoint=outputs.checkpoint)


async def _require_empty_group(settings: Settings) -> None:
    found = await members.fetch_members(settings, settings.connect_timeout.total_seconds())
    if found:
        raise UsageError(
            f"the group {settings.group} has members ({len(found)}): stop all workers first. One that was "
            "killed is gone when the session timeout has passed"
        )
