"""Before a worker joins its group: could it go on with the states that are there?

To join is to take shards away from healthy workers. One that was started with other settings would take them, refuse
their states, and leave them to be restored. So it compares first: it reads the newest checkpoint of each partition, and
fences nobody.
"""

import asyncio
from collections.abc import Mapping

from stream.config import Settings
from stream.core.framing import StateError
from stream.core.statelog import Provenance
from stream.kafka import client, state_refused, statereader, topicids
from stream.kafka.partitions import Outgrown, judge
from stream.kafka.rebuild_cutoff import RebuildCutoff, RebuildCutoffs
from stream.kafka.role import Role
from stream.kafka.shard_context import ShardContext
from stream.kafka.topics import uneven

Found = list[tuple[ShardContext, statereader.Newest | None]]
"""The newest checkpoint of each partition that has a state; None: it cannot be read."""


async def newest_states(role: Role, settings: Settings, partitions: int) -> Found:
    """What each state says of itself, fencing nobody. KafkaError, TimeoutError, OSError: a broker's trouble."""
    found: Found = []
    contexts = [ShardContext(settings, number, partitions, role) for number in range(partitions)]
    reader = client.make_reader(settings, wait_ms=50)
    await client.start(reader, settings)
    try:
        reader.assign([context.state for context in contexts])
        async with asyncio.timeout(settings.connect_timeout.total_seconds()):
            for context in contexts:
                with_state, newest = await _checkpoint(reader, context)
                if with_state:
                    found.append((context, newest))
    finally:
        await client.end(reader)
    return found


async def _checkpoint(reader: client.Reader, context: ShardContext) -> tuple[bool, statereader.Newest | None]:
    try:
        newest = await statereader.newest_checkpoint(reader, context.state)
    except StateError:
        return True, None
    return newest is not None, newest


def outgrown(role: Role, settings: Settings, found: Found, counts: Mapping[str, int]) -> Outgrown | None:
    """Whether partitions were added since the states were counted, or what is there was moved elsewhere.

    ``counts``: partitions by topic. A state of a version that did not keep their number was counted under the smallest,
    since there are never fewer. UsageError when they differ and nothing was counted yet: then somebody has made them so.
    """
    metas = [newest.meta for _, newest in found if newest is not None]
    counted = max((meta.partitions for meta in metas if meta.partitions is not None), default=min(counts.values()))
    moved_to = next((meta.moved_to for meta in metas if meta.moved_to is not None), None)
    if moved_to is not None:
        return Outgrown(counted, moved_to=moved_to)
    differing = judge(role, settings, counts, counted)
    if differing is not None and not found:
        raise uneven(settings, counts)
    return differing


async def check_states(
    role: Role, settings: Settings, partitions: int, discards: RebuildCutoffs, found: Found | None = None
) -> None:
    """Raises StateRefusedError when every state there is would be refused under these settings, or is another's.

    When only some are, the worker joins, and those stay down with a message: the others are worked on. What cannot be
    read is for recovery to tell, and a partition without a state has no settings. States of ``discards`` are to be thrown
    away, and not judged. ``found``: where they have been looked at already.
    """
    if found is None:
        found = await newest_states(role, settings, partitions)
    metas = _kept(found, discards)
    foreign = [context for context, meta in metas if meta.owner != context.owner]
    if foreign and len(foreign) == len(metas):
        raise state_refused.other_owner(foreign[0], metas[0][1].owner)
    refused = [
        (context, changes)
        for context, meta in metas
        if (changes := role.machines.refused_changes(settings, meta.policy))
    ]
    if refused and len(refused) == len(metas):
        raise state_refused.changed_settings(*refused[0], others=len(refused) - 1)


async def check_topics(role: Role, settings: Settings, found: Found, discards: RebuildCutoffs) -> None:
    """Raises StateRefusedError when every state, but for those of ``discards``, is of other topics of these names."""
    ids = await topicids.current(role, settings)
    metas = _kept(found, discards)
    anew = [(context, names) for context, meta in metas if (names := topicids.made_anew(role, meta.topic_ids, ids))]
    if anew and len(anew) == len(metas):
        raise state_refused.recreated_topics(*anew[0])


def _kept(found: Found, discards: RebuildCutoffs) -> list[tuple[ShardContext, Provenance]]:
    return [
        (context, newest.meta)
        for context, newest in found
        if newest is not None and not _is_discarded(newest, discards.get(context.partition))
    ]


def _is_discarded(newest: statereader.Newest, discard: RebuildCutoff | None) -> bool:
    return discard is not None and discard.covers(newest.offset, newest.meta.generation)
