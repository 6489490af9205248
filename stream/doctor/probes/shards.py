"""What each shard's newest checkpoint says, and what the log and the group say of the same partitions.

Only the newest checkpoint is read, not the whole state.
"""

from collections.abc import Mapping
from typing import Any, Final

from aiokafka import TopicPartition

from stream.core.checkpoint import read_meta
from stream.core.framing import StateError, first_needed, newest_begins
from stream.core.statelog import StateLog
from stream.doctor.positions import Bounds, Shard, StateSummary, Unusable
from stream.doctor.probes.facts import ClusterFacts
from stream.doctor.probes.group import committed
from stream.doctor.probes.offsets import begins, stable_ends
from stream.kafka import statereader
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import StateRecords
from stream.model.names import Kind

ANY_SPAN: Final = 1
"""Nothing is written on from here."""


class _Log:
    """Our partitions and their bounds, asked for once."""

    def __init__(
        self, facts: ClusterFacts, begins: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> None:
        self.reader = facts.reader
        self.begins = begins
        self.ends = ends

    async def newest(self, tp: TopicPartition) -> Any:
        """The last committed record, or None."""
        return await statereader.newest_record(self.reader, tp, self.begins[tp], self.ends[tp])

    async def newest_part(self, tp: TopicPartition) -> Any:
        """The last committed record of the state, or None."""
        return await statereader.newest_part(self.reader, tp, self.begins[tp], self.ends[tp])


async def shards(facts: ClusterFacts) -> list[Shard]:
    """The group's offsets are asked for before and after: a worker may write on meanwhile.

    Input partitions end where they end after all that, so that no position is beyond.
    """
    contexts = facts.contexts
    inputs = [tp for context in contexts for tp in context.inputs.values()]
    before = await committed(facts, inputs)
    own = [tp for context in contexts for tp in (context.state, *context.outputs)]
    log = _Log(facts, await begins(facts, own), await stable_ends(facts, own))
    states = [await _state(log, context) for context in contexts]
    traces = [state is None and await _any(log, context) for context, state in zip(contexts, states, strict=True)]
    after = await committed(facts, inputs)
    first, last = await begins(facts, inputs), await stable_ends(facts, inputs)

    def bounds(tp: TopicPartition) -> Bounds:
        return Bounds(tp.topic, first[tp], last[tp], before[tp], after[tp])

    return [
        Shard(context.partition, {kind: bounds(tp) for kind, tp in context.inputs.items()}, state, traces=found)
        for context, state, found in zip(contexts, states, traces, strict=True)
    ]


async def _any(log: _Log, context: ShardContext) -> bool:
    """Whether there are results. What cannot be read is one."""
    for tp in context.outputs:
        try:
            if await log.newest(tp) is not None:
                return True
        except UnreadableError:
            return True
    return False


async def _state(log: _Log, context: ShardContext) -> StateSummary | Unusable | None:
    try:
        return await _summary(log, context.state)
    except (StateError, UnreadableError) as error:
        return Unusable(f"cannot be read: {error}")


async def _summary(log: _Log, tp: TopicPartition) -> StateSummary | Unusable | None:
    newest, begin = await log.newest_part(tp), log.begins[tp]
    if newest is None:
        return None
    needed = first_needed(newest.value, newest.offset)
    if needed < begin:
        return Unusable(f"has lost its beginning: it begins at offset {begin}, {needed} and on are needed")
    start = newest_begins(newest.value, newest.offset)
    state = StateRecords()
    async for record in statereader.read(log.reader, tp, start, log.ends[tp]):
        state.add(record)
    _, content = StateLog.restore(state.records, ANY_SPAN)
    meta = read_meta(content)
    positions = {Kind(name): offset for name, offset in meta.positions.items()}
    return StateSummary(
        meta.owner, meta.policy, meta.generation, positions, meta.partitions, meta.moved_to, meta.topic_ids
    )
