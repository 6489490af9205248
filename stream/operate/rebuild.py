"""Counting a shard anew by hand: what `liveshop worker --rebuild` does at its start, for named partitions, once.

A fresh first checkpoint of the next generation is written over the state; whoever works on the shard next, also the worker
that runs now, goes on from it, which is from the oldest records.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Final

import structlog

from stream.config import Change
from stream.core.cooperative import drained
from stream.core.framing import StateError
from stream.errors import FailedError
from stream.kafka import recovery
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.machine import Outputs
from stream.kafka.rebuild_cutoff import ANY
from stream.kafka.recovery import Recovered
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import HangingTransactionError
from stream.operate.fencing import with_fenced_shard
from stream.operate.shards import reading, stored
from stream.operate.show import HANGING, differing

log: Final = structlog.get_logger("liveshop")


@dataclass(frozen=True, slots=True)
class InputToReread:
    """One topic to be read again."""

    topic: str
    begin: int
    """Where it is read from; more than 0: as many offsets are lost to retention."""
    position: int | None
    """Where the state that is thrown away stands."""
    end: int
    records: int
    """To be read, at most: the ends of transactions have offsets as well."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rebuild does or has done to one partition. Without ``checkpoint``, nothing was written."""

    partition: int
    generation_now: int | None
    """None: there is no state, or none that can be read."""
    generation: int
    topics: list[InputToReread]
    settings_differ: list[Change]
    """Settings of the state that is thrown away which are not ours."""
    checkpoint: int | None = None


async def plan(context: ShardContext) -> Plan:
    """What a rebuild would do, touching nobody. Reads all results of the partition: the generation is above theirs."""
    try:
        machine, _ = await recovery.rehearse(context, rebuild=True)
    except HangingTransactionError:
        raise FailedError(f"the state of partition {context.partition}: {HANGING}") from None
    inputs = context.inputs
    async with reading(context.settings, [context.state, *inputs.values()]) as reader:
        bounds = await recovery.input_bounds(context, reader)
        try:
            found = await stored(reader, context)
        except StateError:
            found = None
    positions = {} if found is None else found.meta.positions
    again = []
    for name, (begin, end) in bounds.items():
        again.append(InputToReread(inputs[name].topic, begin, positions.get(name), end, end - begin))
    generation_now = None if found is None else found.meta.generation
    differ = [] if found is None else differing(context, found.meta.policy)
    return Plan(context.partition, generation_now, machine.generation, again, differ)


async def execute(context: ShardContext, planned: Plan) -> Plan:
    """Does it: fences the shard, writes its new beginning, lets go."""

    async def write(recovered: Recovered) -> Outputs:
        outputs = await asyncio.to_thread(drained, recovered.machine.collecting())
        assert outputs is not None  # noqa: S101 - a new shard always has its beginning to write
        await Checkpoints(context, recovered.producer, recovered.state_end).write(outputs)
        return outputs

    outputs = await with_fenced_shard(context, write, what="the rebuild", discard=ANY)
    log.warning("the shard is counted anew", partition=context.partition, generation=outputs.generation)
    return replace(planned, generation=outputs.generation, checkpoint=outputs.checkpoint)
