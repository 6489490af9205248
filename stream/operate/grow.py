"""Where a set of topics stands that is to get more partitions: what is asked for, what is there, and what is left to do.

Partitions are not added to topics that are counted, since producers place keys by their number. A new set takes over
instead, and stream/operate/takeover.py does it. Here it is only looked at.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition

from stream.config import Settings
from stream.core.framing import StateError
from stream.errors import FailedError, UsageError
from stream.kafka import preflight, statereader
from stream.kafka.partitions import Outgrown, judge
from stream.kafka.shard_context import ShardContext
from stream.kafka.topics import Topic, TopicStatus
from stream.model.names import INPUTS, KINDS, STATE
from stream.operate import moving
from stream.operate.moving import Target
from stream.operate.shards import reading, stored
from stream.operate.show import restored
from stream.printed import command
from stream.sessions import topics
from stream.sessions.role import WORKER


@dataclass(frozen=True, slots=True)
class Growth:
    """What is asked for. ``quiet``: seconds without a new record after which producers have left the old set."""

    to_prefix: str
    partitions: int
    quiet: float


@dataclass(frozen=True, slots=True)
class UnmovedPartition:
    """An old partition of an input, and what of it the new set is to have."""

    topic: str
    partition: int
    counted: int | None
    """Up to this offset the old set has counted it; None where no shard reads, or none has begun."""
    moved: int | None
    """Up to this offset it was moved; None for nothing."""
    end: int
    left: int
    """Offsets that are neither counted nor moved: records, and ends of transactions."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where it stands."""

    from_prefix: str
    to_prefix: str
    counted: int
    """Partitions that the old set is counted with."""
    partitions: int
    added: bool
    """Partitions were added to the old set: nothing is counted there any more."""
    topics: list[Topic]
    """Of the new set."""
    closed: list[int]
    """Old shards that count nothing more."""
    rest: list[UnmovedPartition]
    on_air: list[str]
    """Sessions on air in the old set. Those with events in both sets have two totals."""
    split: list[str]
    """Sessions that have events in both sets, as far as it is known now."""
    moved_records: int = 0
    """By this run."""
    moved_letters: int = 0
    """Records that nobody can read, which became dead letters of the new set, by this run."""
    done: bool = False

    @property
    def left(self) -> int:
        return sum(each.left for each in self.rest)


@dataclass(frozen=True, slots=True)
class OldSet:
    """The old set."""

    settings: Settings
    counts: Mapping[str, int]
    found: preflight.Found
    counted: int
    """Partitions of each topic when it was counted, so many shards there are."""

    @property
    def added(self) -> bool:
        """Partitions were added: nothing is counted here any more."""
        return judge(WORKER, self.settings, self.counts, self.counted) is not None

    @property
    def inputs(self) -> list[TopicPartition]:
        """All partitions there are, with a shard or without."""
        names = [self.settings.topic(INPUTS[kind]) for kind in KINDS]
        return [TopicPartition(name, number) for name in names for number in range(self.counts[name])]

    @property
    def positions(self) -> dict[TopicPartition, int]:
        found = {}
        for context, newest in self.found:
            for kind, tp in context.inputs.items():
                position = None if newest is None else newest.meta.positions.get(kind)
                if position is not None:
                    found[tp] = position
        return found

    @property
    def closed(self) -> list[int]:
        return [
            context.partition
            for context, newest in self.found
            if newest is not None and newest.meta.moved_to is not None
        ]

    @property
    def is_closed(self) -> bool:
        return len(self.closed) == self.counted


async def read_old_set(settings: Settings, asked: Growth) -> OldSet:
    """Raises UsageError for what cannot be grown so."""
    counts = await topics.counts(settings)
    found = await preflight.newest_states(WORKER, settings, counts[settings.topic(STATE)])
    outgrown = preflight.outgrown(WORKER, settings, found, counts) if found else None
    counted = min(counts.values()) if outgrown is None else outgrown.counted
    _check(settings, asked, counted, outgrown)
    return OldSet(settings, counts, found, counted)


def _check(settings: Settings, asked: Growth, counted: int, outgrown: Outgrown | None) -> None:
    if asked.to_prefix == settings.topic_prefix:
        raise UsageError("--to-prefix: the new set needs a prefix of its own")
    if asked.partitions <= counted:
        raise UsageError(f"--partitions: the old set is counted with {counted}, the new one must have more")
    if outgrown is not None and outgrown.moved_to not in {None, asked.to_prefix}:
        raise UsageError(f"--to-prefix: what is there was moved to {outgrown.moved_to} already")


def target_of(settings: Settings, asked: Growth) -> Target:
    return Target(settings.model_copy(update={"topic_prefix": asked.to_prefix}), asked.partitions)


# -- looking


async def plan(settings: Settings, asked: Growth) -> Plan:
    """Where it stands, touching nobody."""
    old = await read_old_set(settings, asked)
    target = target_of(settings, asked)
    made = await new_topics(target)
    there = all(topic.made is not TopicStatus.MISSING for topic in made)
    rest = await _rest(old, target, there=there)
    on_air, held = await _sessions(old)
    starts = {TopicPartition(each.topic, each.partition): each.end - each.left for each in rest}
    split = await _seen(old.settings, {tp: start for tp, start in starts.items() if old.added or old.closed}, held)
    if there:
        split |= await _seen(target.settings, dict.fromkeys(_inputs(target), 0), held)
    return Plan(
        from_prefix=settings.topic_prefix,
        to_prefix=asked.to_prefix,
        counted=old.counted,
        partitions=asked.partitions,
        added=old.added,
        topics=made,
        closed=old.closed,
        rest=rest,
        on_air=sorted(on_air),
        split=sorted(held[key] for key in split),
        done=there and old.is_closed and not any(each.left for each in rest),
    )


async def new_topics(target: Target) -> list[Topic]:
    """UsageError when they are there and have another number of partitions."""
    made = await topics.describe(target.settings)
    others = [
        f"{topic.name} has {topic.partitions}" for topic in made if topic.partitions not in {0, target.partitions}
    ]
    if others:
        raise UsageError(
            f"--partitions {target.partitions}: {', '.join(others)} already: give their number, or another --to-prefix"
        )
    return made


def _inputs(target: Target) -> list[TopicPartition]:
    names = [target.settings.topic(INPUTS[kind]) for kind in KINDS]
    return [TopicPartition(name, number) for name in names for number in range(target.partitions)]


async def _rest(old: OldSet, target: Target, *, there: bool) -> list[UnmovedPartition]:
    inputs, positions = old.inputs, old.positions
    moved = await moving.progress(old.settings, target, inputs) if there else {}
    async with reading(old.settings, inputs) as reader:
        begins, ends = await reader.beginning_offsets(inputs), await reader.end_offsets(inputs)
    found = []
    for tp in inputs:
        done = moved.get(tp, -1)
        start = max(begins[tp], positions.get(tp, 0), done)
        counted = positions.get(tp)
        found.append(
            UnmovedPartition(
                tp.topic, tp.partition, counted, done if done >= 0 else None, ends[tp], max(0, ends[tp] - start)
            )
        )
    return found


async def _sessions(old: OldSet) -> tuple[set[str], dict[bytes, str]]:
    """Ids of the sessions on air in the old set, and of all it holds, by key."""
    on_air: set[str] = set()
    held: dict[bytes, str] = {}
    contexts = [ShardContext(old.settings, number, old.counted, WORKER) for number in range(old.counted)]
    async with reading(old.settings, [context.state for context in contexts]) as reader:
        for context in contexts:
            try:
                found = await stored(reader, context)
                shard = None if found is None else await asyncio.to_thread(restored, found)
            except StateError as error:
                raise FailedError(f"the state of partition {context.partition} cannot be read: {error}") from error
            except statereader.HangingTransactionError:
                raise FailedError(
                    f"the state of partition {context.partition} ends in an open transaction: try again"
                ) from None
            for session in () if shard is None else shard.sessions.each():
                held[session.key] = session.session_id
                if not session.ended:
                    on_air.add(session.session_id)
    return on_air, held


async def _seen(settings: Settings, starts: Mapping[TopicPartition, int], wanted: Collection[bytes]) -> set[bytes]:
    """Which of these keys have records there."""
    if not starts or not wanted:
        return set()
    return {record.key async for record in moving.records(settings, list(starts), starts) if record.key in wanted}


# -- telling


def worker_command(target: Settings) -> str:
    """Starts a worker on the new set, in a group of its own."""
    group = f"{target.group}-{target.topic_prefix.strip('.')}"
    new = target.model_copy(update={"group": group})
    return command(new, "worker", *new.as_flags(("rules",)))


@dataclass(frozen=True, slots=True)
class Step:
    """One of what there is to do, in order."""

    name: str
    stands: str
    """``done``, ``next``, ``later``, or ``you`` where people do it."""
    text: str


def steps(found: Plan) -> list[Step]:
    """With partitions added the backlog is moved first: behind what producers write to the new set it would be late."""
    made = all(topic.made is not TopicStatus.MISSING for topic in found.topics)
    closed = len(found.closed) == found.counted
    old, new = f"{found.from_prefix}live.*", f"{found.to_prefix}live.*"
    inputs = ", ".join(found.to_prefix + name for name in INPUTS.values())
    later = "next" if made else "later"
    create = Step(
        "create", "done" if made else "next", f"{new}: {found.partitions} partitions, settings and copies of {old}"
    )
    switch = Step(
        "switch", "done" if found.done else "you", f"producers write to {inputs}; workers are started on {new}"
    )
    drain = Step(
        "drain", "done" if closed else later, f"workers count {old} to its end, {found.left:,} offsets are left"
    )
    close = Step(
        "close", "done" if closed else later, f"what is open in {old} is written, and nothing more is counted there"
    )
    move = Step(
        "move", "done" if found.done else later, f"what {old} has not counted is copied to {new}, each record once"
    )
    stop = Step("stop", "you", f"the workers of {old} are ended")
    return [create, close, move, switch, stop] if found.added else [create, switch, drain, close, move, stop]
