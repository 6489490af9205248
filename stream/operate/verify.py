"""Whether a state can be restored, is whole, and agrees with what was written: a worker's start, rehearsed."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiokafka import TopicPartition

from stream.config import Settings
from stream.core.framing import StateError, first_needed
from stream.core.render import Value
from stream.core.shard import Shard
from stream.errors import UsageError
from stream.kafka import recovery, statereader
from stream.kafka.client import Reader
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import HangingTransactionError, StateRecords
from stream.model.names import SESSION_WINDOWS, SESSIONS
from stream.operate import consistency
from stream.operate.offsets import next_to_read
from stream.operate.shards import contexts, reading, stored
from stream.operate.show import HANGING
from stream.sessions.machines import shard_of
from stream.sessions.role import WORKER

CHUNK: Final = 20_000
"""Offsets read at a time, from the end back, to find the newest record of each key."""
MOST: Final = 1_000_000
"""Offsets of one output after which the search ends: what is not found then counts as not looked at."""
LISTED: Final = 20
"""Findings of one sort that are listed; the rest is a number."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong. ``what`` is a word for programs, ``text`` for people, with the way out where there is one."""

    what: str
    text: str


@dataclass(slots=True)
class Verified:
    """One partition. ``looked_at``: how many of what was compared."""

    partition: int
    findings: list[Finding] = field(default_factory=list)
    looked_at: dict[str, int] = field(default_factory=dict)

    def find(self, what: str, texts: Iterable[str]) -> None:
        found = list(texts)
        self.findings += [Finding(what, text) for text in found[:LISTED]]
        if len(found) > LISTED:
            self.findings.append(Finding(what, f"and {len(found) - LISTED} more like that"))


async def verify(settings: Settings, numbers: Collection[int]) -> list[Verified]:
    """These partitions, or all. Raises UsageError for topics that are not as they must be."""
    return [await _verify(context) for context in await contexts(WORKER, settings, numbers)]


async def _verify(context: ShardContext) -> Verified:
    verified = Verified(context.partition)
    try:
        shard, records = await _rehearsed(context)
    except UsageError as error:
        verified.find("refused", [str(error)])
        return verified
    except HangingTransactionError:
        verified.find("hanging", [f"{context.state.topic}: {HANGING}"])
        return verified
    if lost := shard.judge.tally.lost_offsets:
        verified.find(
            "lost", [f"retention has deleted {lost} offsets before they were read: results will be incomplete"]
        )
    if records:
        try:
            await _compare(context, verified)
        except StateError as error:  # it could be restored a moment ago
            verified.find("refused", [f"the state of partition {context.partition} cannot be read: {error}"])
        except HangingTransactionError:
            verified.find(
                "hanging", [f"a transaction hangs at the end of the results of partition {context.partition}"]
            )
    return verified


async def _rehearsed(context: ShardContext) -> tuple[Shard, int]:
    """Refused twice is refused: once may be a worker's first checkpoint, written between two looks of ours."""
    try:
        machine, records = await recovery.rehearse(context)
    except UsageError:
        machine, records = await recovery.rehearse(context)
    return shard_of(machine), records


def _restored(state: StateRecords, context: ShardContext) -> Shard:
    """Under our settings. Raises StateError."""
    return Shard.restore(context.settings.policy(), state.records, placed=context.placed(), vouched=state.vouched)


async def _compare(context: ShardContext, verified: Verified) -> None:
    outputs = [tp for tp in context.outputs if tp.topic in map(context.settings.topic, (SESSION_WINDOWS, SESSIONS))]
    before = await recovery.group_offsets(context.settings, context.inputs.values())
    async with reading(context.settings, [context.state, *context.inputs.values(), *outputs]) as reader:
        found = await stored(reader, context)
        if found is None:
            return  # it was there a moment ago: a topic deleted under us
        state = found.state
        verified.find("strays", _strays(context, state))
        shard = await asyncio.to_thread(_restored, state, context)
        after = await recovery.group_offsets(context.settings, context.inputs.values())
        verified.looked_at["checkpoints"] = found.checkpoints
        await _compare_offsets(reader, context, shard, (before, after), verified)
        verified.find("round trip", await asyncio.to_thread(_round_trip, shard, state))
        await _compare_outputs(reader, context, state, verified)


def _strays(context: ShardContext, state: StateRecords) -> list[str]:
    if not state.strays:
        return []
    offsets = ", ".join(map(str, state.strays))
    what = f"{context.state.topic} holds records that are no state, at the offsets {offsets}: they are passed over"
    return [f"{what}, but somebody else writes there; docs/security.md says how to forbid it"]


def _patience(context: ShardContext) -> float:
    return context.settings.transaction_timeout.total_seconds()


Committed = dict[TopicPartition, int]


async def _compare_offsets(
    reader: Reader, context: ShardContext, shard: Shard, committed: tuple[Committed, Committed], verified: Verified
) -> None:
    """Both are written in one transaction; a running worker may write between two looks."""
    before, after = committed
    for kind, tp in context.inputs.items():
        position = shard.positions.get(kind)
        if position is None or before[tp] <= position <= after[tp]:
            continue
        begin, end = await statereader.bounds(reader, tp)
        if position < before[tp] <= await next_to_read(reader, tp, max(position, begin), end):
            continue  # only ends of transactions lie between
        group = f"the group {context.settings.group}"
        where = f"{tp.topic}: the state stands at {position}"
        verified.find(
            "offsets",
            [f"{where}, {group} " + (f"at {after[tp]}" if after[tp] >= 0 else "has no offset") + "; the state counts"],
        )


def _round_trip(shard: Shard, state: StateRecords) -> list[str]:
    """One more checkpoint, made of the restored shard, must restore to the same shard."""
    shard.begin_at(dict(shard.positions))
    outputs = shard.collect()
    if outputs is None:
        return ["a restored shard makes no checkpoint"]
    more = [(state.newest + 1 + context, value) for context, (_, value) in enumerate(outputs.state)]
    start = first_needed(more[-1][1], more[-1][0])
    records = [record for record in [*state.records, *more] if record[0] >= start]
    try:
        again = Shard.restore(shard.policy, records)
    except StateError as error:
        return [f"a checkpoint made of it cannot be restored: {error}"]
    return [f"a checkpoint made of it restores to other {name}" for name in consistency.different(shard, again)]


async def _compare_outputs(reader: Reader, context: ShardContext, state: StateRecords, verified: Verified) -> None:
    shard = await asyncio.to_thread(_restored, state, context)
    found = {}
    for name, wanted in (
        (SESSIONS, set(consistency.written_sessions(shard))),
        (SESSION_WINDOWS, set(consistency.written_windows(shard))),
    ):
        tp = TopicPartition(context.settings.topic(name), context.partition)
        # a transaction is over before each of its partitions has been told
        await statereader.await_stable(reader, tp, (await statereader.bounds(reader, tp))[1], _patience(context))
        found[name] = await _newest(reader, tp, wanted)
        verified.looked_at[name] = len(found[name][0])
    begin, end = await statereader.bounds(reader, context.state)
    newest = await statereader.newest_part(reader, context.state, begin, end)
    still = newest is not None and newest.offset == state.newest
    for name, check in ((SESSIONS, consistency.sessions), (SESSION_WINDOWS, consistency.windows)):
        records, all_read = found[name]
        verified.find("results", check(shard, records, still=still, all_read=all_read))


async def _newest(reader: Reader, tp: TopicPartition, wanted: set[bytes]) -> tuple[dict[bytes, Value], bool]:
    """The newest record of each key, as JSON, and whether what is missing is not there at all."""
    begin, end = await statereader.bounds(reader, tp)
    found: dict[bytes, Value] = {}
    missing = set(wanted)
    upper = end
    while missing and upper > begin and end - upper < MOST:
        lower = max(begin, upper - CHUNK)
        newest: dict[bytes, bytes | None] = {}
        async for record in statereader.read(reader, tp, lower, upper, refused=True):
            if record.key in missing:
                newest[record.key] = record.value
        found |= {key: _result(value) for key, value in newest.items() if value is not None}
        missing -= newest.keys()
        upper = lower
    return found, upper <= begin or not missing


def _result(value: bytes) -> Value:
    """What is none of ours is a result of no generation: older than any, so that it is found."""
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(found, dict) or not all(type(found.get(name, 0)) is int for name in ("generation", "revision")):
        return {}
    return found
