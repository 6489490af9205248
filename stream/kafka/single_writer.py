"""Checks that nobody else writes live.state: between two of our checkpoints there may be markers only.

Fencing keeps out every producer with our transactional id. A worker of an earlier version has another one, and so has
anybody who copies records. So each checkpoint is held against the end of the one before: if its first record lies
further on, what is between is read, committed or not.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from stream.core.framing import StateError, is_part
from stream.core.statelog import provenance_of
from stream.kafka import client, state_refused, statereader
from stream.kafka.shard_context import FencedError, ShardContext
from stream.model.results import RefusedBatch

log: Final = structlog.get_logger()


async def check_only_markers(context: ShardContext, begin: int, end: int) -> None:
    """Returns when no record between these offsets belongs to a state: then ours is as it was.

    Raises FencedError for a record of a worker in our own group, StateRefusedError for one of another installation.
    """
    found = await _written(context, begin, end)
    parts = [record for record in found if _is_of_a_state(record)]
    if not parts:
        say = log.warning if found else log.info
        say("live.state has more than our records", partition=context.partition, begin=begin, others=len(found))
        return
    owner = _owner(parts)
    if owner == context.owner:
        log.error("another worker of this group writes the same state", partition=context.partition, offset=begin)
        raise FencedError
    raise state_refused.second_writer(context, owner, parts[0].offset)


async def _written(context: ShardContext, begin: int, end: int) -> list[Any]:
    """Every record between two offsets, of open and of aborted transactions too; markers are none."""
    reader = client.make_reader(context.settings, wait_ms=50, uncommitted=True)
    await client.start(reader, context.settings)
    try:
        reader.assign([context.state])
        return [record async for record in statereader.read(reader, context.state, begin, end, refused=True)]
    finally:
        await client.end(reader)


def _is_of_a_state(record: Any) -> bool:
    """A batch that cannot be read may be."""
    return isinstance(record, RefusedBatch) or (is_part(record.key) and record.value is not None)


def _owner(parts: Iterable[Any]) -> Mapping[str, str] | None:
    """What the first of them that can be read says of its owner."""
    for record in parts:
        try:
            return provenance_of(record.value or b"", record.offset).owner
        except StateError:
            continue
    return None
