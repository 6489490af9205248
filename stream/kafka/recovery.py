"""How a shard comes to be: look whose it is, fence, read the state, decide where to start. Steps 1 to 3 of the protocol.

Positions come from the state, never from the group. What cannot be continued rightly is refused with the way out. The
state of another installation is refused before anybody is fenced.

Which states ``--rebuild`` throws away: see `stream.kafka.rebuild_cutoff`. A worker that is restarted with the flag rebuilds
again; the flag is to be taken away afterwards.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
)

from stream.config import Settings
from stream.core.framing import ChangedSettingsError, StateError
from stream.core.statelog import Provenance, newest_provenance
from stream.errors import UsageError
from stream.kafka import client, state_refused, statereader, topicids
from stream.kafka.client import Producer, Reader
from stream.kafka.machine import Machine, Name
from stream.kafka.partitions import Outgrown, OutgrownError
from stream.kafka.patches import end_txn
from stream.kafka.rebuild_cutoff import ANY, RebuildCutoff
from stream.kafka.retries import Backoff, BackoffPolicy, retry
from stream.kafka.role import Role
from stream.kafka.shard_context import Adopted, FencedError, OutdatedError, ShardContext
from stream.kafka.statereader import Generations, HangingTransactionError, Newest, StateRecords
from stream.kafka.topicids import Ids

log: Final = structlog.get_logger()

Bounds = Mapping[Name, tuple[int, int]]
"""First offset and last stable offset of each input."""

_NO_COORDINATOR: Final = (
    GroupCoordinatorNotAvailableError,
    NotCoordinatorForGroupError,
    KafkaConnectionError,
    NodeNotReadyError,
)
AGAIN: Final = BackoffPolicy(first=0.2, most=1.0)
"""Before a coordinator that is not there yet is asked again."""
DUEL: Final = 2
"""Times the transaction timeout: the longest pause after a hanging transaction could not be ended. It has to be longer
than another needs to end it."""
BEYOND_CHECKS: Final = 5
"""A leader just elected may for a moment not know its log's end; so often, a second apart, it is asked again."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A machine ready to read, and the producer that is its only one."""

    machine: Machine
    producer: Producer
    records: int
    """Records of live.state it was made of."""
    state_end: int
    """Where live.state ended then: the next record there is to be ours."""


async def recover(context: ShardContext, *, discard: RebuildCutoff | None, current: Callable[[], bool]) -> Recovered:
    """Starts the shard's producer, then makes the shard. ``discard``: states that are to be rebuilt, whoever's.

    Raises OutdatedError when the assignment does not stand any more, UsageError for a state that is refused, FencedError
    when another took over before that was sure, KafkaError or TimeoutError for a broker's trouble; closes the producer.
    """
    recovered = None
    try:
        async with _reading(context) as reader:
            recovered = await _recover(context, reader, discard, current)
    except BaseException:
        if recovered is not None:
            await client.end(recovered.producer)
        raise
    return recovered


async def _recover(
    context: ShardContext, reader: Reader, discard: RebuildCutoff | None, current: Callable[[], bool]
) -> Recovered:
    hanging, seen = False, Generations()
    patience = context.settings.transaction_timeout.total_seconds()
    duel = Backoff(BackoffPolicy(first=AGAIN.first, most=DUEL * patience))
    while True:
        newest = await _newest(context, reader)
        if newest is not None and newest.meta.owner != context.owner and not _is_discarded(newest, discard):
            raise state_refused.other_owner(context, newest.meta.owner)
        if not current():
            raise OutdatedError
        if discard is not None and (newest is None or _is_discarded(newest, discard)):
            # that takes long: whoever works on it does so until it is fenced
            await seen.read(reader, _results(context), context.role.machines.generation_of)
            if not current():
                raise OutdatedError
        await _fence_earlier(context, newest, hanging=hanging)
        recovered = await _begin(context, reader, discard, seen, duel)
        if recovered is not None:
            return recovered
        hanging = True


@asynccontextmanager
async def _reading(context: ShardContext) -> AsyncIterator[Reader]:
    reader = client.make_reader(context.settings, wait_ms=50)
    await client.start(reader, context.settings)
    reader.assign([context.state, *context.inputs.values(), *context.outputs])
    try:
        yield reader
    finally:
        await client.end(reader)


async def _newest(context: ShardContext, reader: Reader) -> Newest | None:
    """What the newest checkpoint says, read without fencing anybody. None without one that can be read."""
    try:
        return await statereader.newest_checkpoint(reader, context.state)
    except StateError:
        return None


def _is_discarded(newest: Newest, discard: RebuildCutoff | None) -> bool:
    return discard is not None and discard.covers(newest.offset, newest.meta.generation)


async def _fence_earlier(context: ShardContext, newest: Newest | None, *, hanging: bool) -> None:
    """An earlier version had another transactional id: its open transaction is ended, and a zombie of it fenced.

    Not once this version has written the state: then it was done.
    """
    if newest is None or newest.meta.transactional_id == context.transactional_id:
        return
    name = context.earlier_id(newest.meta.owner)
    producer = client.make_producer(context.settings, name)
    try:
        await client.start(producer, context.settings)
    except TransactionalIdAuthorizationFailed:
        raise UsageError(
            f"an earlier version wrote the state of partition {context.partition} as {name}, and the broker does not let us "
            "take that transactional id over: allow it for the upgrade, see docs/security.md"
        ) from None  # the worker looks at the cause, and would tell only that
    if hanging:
        await _end_forgotten(context, producer)
    await client.end(producer)


async def _begin(
    context: ShardContext, reader: Reader, discard: RebuildCutoff | None, seen: Generations, duel: Backoff
) -> Recovered | None:
    """Fences, and makes the shard. None when a transaction had to be ended first.

    Two groups that share a state by mistake fence each other before either has ended it: after ``duel``'s pause, which is
    drawn, one of them is left in peace for long enough.
    """
    producer = client.make_producer(context.settings, context.transactional_id)
    await client.start(producer, context.settings)
    try:
        machine, records, state_end = await _make(context, reader, discard, seen)
    except HangingTransactionError:
        log.warning("a transaction hangs at the end of the state: fencing again", partition=context.partition)
        ended = await _end_forgotten(context, producer)
        await client.end(producer)
        if not ended:
            await asyncio.sleep(duel.pause())
        return None
    except BaseException as error:
        try:
            if isinstance(error, UsageError):
                await _confirm_fence(context, producer)
        finally:
            await client.end(producer)
        raise
    machine.transactional_id = context.transactional_id
    return Recovered(machine, producer, records, state_end)


async def _confirm_fence(context: ShardContext, producer: Producer) -> None:
    """Before anything is refused: raises FencedError when another has taken over meanwhile, so that what was read is old.

    (p: a worker cut off for a while found no state, but then its successor's results, and ended with exit code 2.)
    """
    if not context.role.has_group:
        return  # nobody takes over by himself
    try:
        async with asyncio.timeout(context.settings.transaction_timeout.total_seconds()):
            await producer.begin_transaction()
            await producer.send_offsets_to_transaction(
                dict.fromkeys(context.inputs.values(), 0), context.settings.group
            )
            await producer.abort_transaction()  # nobody ever sees it
    except ProducerFenced as error:
        raise FencedError from error


async def _end_forgotten(context: ShardContext, producer: Producer) -> bool:
    """Ends a transaction of this shard that its coordinator does not know (any more), so that fencing cannot end it.

    (p: once in some eighty chaos rounds, after a broker's restart under load, the state was held back for ever.) It is of
    the same producer id, which an abort on the same partitions ends, with everything in it. What hangs of somebody else
    is not touched, and nothing here is ever visible. Should this be interrupted, the coordinator ends it in all partitions
    or in none, and it hangs in the state as long as anywhere.
    """
    try:
        async with asyncio.timeout(context.settings.transaction_timeout.total_seconds()):
            partitions = (context.state, *context.outputs, *await _by_key(context, producer))
            await producer.begin_transaction()
            end_txn.enlist(producer, partitions)
            for partition in partitions:  # the state first, as in a checkpoint
                await producer.send_and_wait(partition.topic, b"", key=b"", partition=partition.partition)
            await producer.abort_transaction()
    except (KafkaError, TimeoutError) as error:
        log.warning(
            "the hanging transaction could not be ended", partition=context.partition, error=type(error).__name__
        )
        return False
    return True


async def _by_key(context: ShardContext, producer: Producer) -> list[TopicPartition]:
    """Every partition of the outputs that are written by key: a transaction may have written to any."""
    topics = [context.settings.topic(name) for name in sorted(context.role.by_key)]
    return [TopicPartition(topic, number) for topic in topics for number in await producer.partitions_for(topic)]


async def rehearse(context: ShardContext, *, rebuild: bool = False) -> tuple[Machine, int]:
    """What `recover` would make of the state now, and of how many records, changing nothing and fencing nobody.

    Raises what it would raise, and HangingTransactionError.
    """
    async with _reading(context) as reader:
        machine, records, _ = await _make(context, reader, ANY if rebuild else None, Generations())
        return machine, records


async def _make(
    context: ShardContext, reader: Reader, discard: RebuildCutoff | None, seen: Generations
) -> tuple[Machine, int, int]:
    """The machine, the records it was made of, and where the state ended."""
    # before any position is looked at: should a topic be made anew meanwhile, it does not have this id
    ids = await topicids.fetch(context.role, reader, context.settings)
    patience = context.settings.transaction_timeout.total_seconds()
    try:
        state = await statereader.read_state(reader, context.state, patience)
    except StateError as error:
        if discard is None:
            raise state_refused.unreadable_state(context, error) from error
        _, end = await statereader.bounds(reader, context.state)
        return await _rebuilt(context, reader, ids, max(0, discard.generation), seen), 0, end
    if discard is not None:
        generation = _generation(state)
        if generation is None or discard.covers(state.newest, generation):
            least = -1 if generation is None else max(0, generation)
            return await _rebuilt(context, reader, ids, max(least, discard.generation), seen), 0, state.end
    if not state.records:
        return await _fresh(context, reader, ids), 0, state.end
    number = len(state.records)
    return await _restored(context, reader, ids, state), number, state.end


def _generation(state: StateRecords) -> int | None:
    """Of a state that may be thrown away; -1 where nobody can tell, None without a state."""
    try:
        return newest_provenance(state.records, Provenance).generation if state.records else None
    except StateError:
        return -1


async def _restored(context: ShardContext, reader: Reader, ids: Ids, state: StateRecords) -> Machine:
    try:
        # in a thread, so that a large state does not stop the heartbeats and the other shards
        number = len(state.records)
        restore = context.role.machines.restore
        machine = await asyncio.to_thread(
            restore, context.settings, context.placed(), state.records, vouched=state.vouched
        )
        state.records.clear()  # a copy of all that is in the machine now
    except ChangedSettingsError as error:
        raise state_refused.changed_settings(context, error.changes) from error
    except StateError as error:
        raise state_refused.unreadable_state(context, error) from error
    if machine.owner != context.owner:
        raise state_refused.other_owner(context, machine.owner)
    _require_same_partitions(context, machine)
    _forget_unread(context, machine)
    await _identify(context, reader, machine, ids)
    await resolve_positions(context, reader, machine)
    log.info("restored", partition=context.partition, checkpoints=number, generation=machine.generation)
    _choose_format(context, machine)
    return machine


def _choose_format(context: ShardContext, machine: Machine) -> None:
    """A state is continued in the format of the version that wrote it, so that it can go back, until told otherwise."""
    kept = machine.kept_format
    if kept is None:
        return
    if context.settings.state_format == "newest":
        machine.upgrade()
        log.info("the state is upgraded: no earlier version can go on with it", partition=context.partition, was=kept)
    else:
        log.warning(
            "the state stays in the format of an earlier version, so that you can go back to it",
            partition=context.partition,
            format=kept,
            upgrade="--state-format newest",
        )


def _require_same_partitions(context: ShardContext, machine: Machine) -> None:
    counted = machine.partitions
    if machine.moved_to not in {None, context.moving_to} or counted not in {None, context.partitions}:
        topics = dict.fromkeys(map(context.settings.topic, context.role.input_topics.values()), context.partitions)
        raise OutgrownError(Outgrown(counted or context.partitions, topics, machine.moved_to), context.settings)
    machine.partitions = context.partitions


def _forget_unread(context: ShardContext, machine: Machine) -> None:
    """An installation may be without an optional topic again: should there be another one some day, it is a new one."""
    ours = {spec.name for spec in context.role.specs}
    machine.topic_ids = {name: topic_id for name, topic_id in machine.topic_ids.items() if name in ours}
    for name in machine.positions.keys() - context.inputs.keys():
        del machine.positions[name]
        machine.moved = True


async def _identify(context: ShardContext, reader: Reader, machine: Machine, ids: Ids) -> None:
    """The topics must be those that the state was counted from and written to, unless they are adopted by hand."""
    others = topicids.made_anew(context.role, machine.topic_ids, ids)
    if others and context.adopts is None:
        raise state_refused.recreated_topics(context, others)
    if context.adopts is Adopted.BEGINNING:
        await _begin_again(context, reader, machine, ids)
    if topicids.letters_made_anew(context.role, machine.topic_ids, ids):
        log.warning(
            "the topic of dead letters was made anew: those in it before are gone",
            topic=context.settings.topic(context.role.letters or ""),
            partition=context.partition,
        )
    known = topicids.adopted(context.role, {} if context.adopts else machine.topic_ids, ids)
    machine.moved = machine.moved or known != machine.topic_ids
    machine.topic_ids = known


async def _begin_again(context: ShardContext, reader: Reader, machine: Machine, ids: Ids) -> None:
    """What was unread in the topics before is lost, however much that was."""
    found = await input_bounds(context, reader)
    positions = {str(name): offset for name, offset in machine.positions.items()}
    for name in to_begin_again(context.role, machine.topic_ids, ids, positions, found):
        machine.positions[name], _ = found[name]
        _note_lost_offsets(context, machine, name, found[name][0])


def to_begin_again(role: Role, known: Ids, now: Ids, positions: Mapping[str, int], found: Bounds) -> set[Name]:
    """Inputs of which everything there is has yet to be read: they are others, or shorter than what was read."""
    others = topicids.made_anew(role, known, now)
    return {
        each.name for each in role.read if each.topic in others or positions.get(each.name, 0) > found[each.name][1]
    }


async def _fresh(context: ShardContext, reader: Reader, ids: Ids) -> Machine:
    """Nothing is there at all, or it is refused: then results would be counted a second time from the beginning."""
    evidence = await _evidence_of_results(context, reader)
    if evidence:
        raise state_refused.no_state(context, evidence)
    found = await input_bounds(context, reader)
    earliest = context.settings.start_at == "earliest"
    at_start = {name: begin if earliest else end for name, (begin, end) in found.items()}
    machine = _new(context, dict(context.begins or at_start), 0, ids)
    if context.begins:
        await resolve_positions(context, reader, machine)
    at = "the offsets given" if context.begins else context.settings.start_at
    log.info("no state yet: the shard starts", partition=context.partition, at=at)
    return machine


def _results(context: ShardContext) -> list[TopicPartition]:
    """Where a generation shows."""
    wanted = {context.settings.topic(each.topic) for each in context.role.outputs if each.has_generation}
    return [tp for tp in context.outputs if tp.topic in wanted]


async def _rebuilt(context: ShardContext, reader: Reader, ids: Ids, least: int, seen: Generations) -> Machine:
    """Everything anew from the oldest records, as the generation after the highest found, or after ``least``."""
    await seen.read(reader, _results(context), context.role.machines.generation_of)
    found = await input_bounds(context, reader)
    machine = _new(context, {name: begin for name, (begin, _) in found.items()}, max(least, seen.highest) + 1, ids)
    for name, (begin, _) in found.items():
        if begin:
            _note_lost_offsets(context, machine, name, begin)
    outputs = dict(zip(context.role.own, context.outputs, strict=True))
    await context.role.machines.rebuild(machine, reader, outputs, {name: end for name, (_, end) in found.items()})
    log.warning("rebuilding from the oldest records", partition=context.partition, generation=machine.generation)
    return machine


def _new(context: ShardContext, positions: dict[Name, int], generation: int, ids: Ids) -> Machine:
    machine = context.role.machines.begin(context.settings, context.placed(), generation)
    machine.owner, machine.partitions, machine.topic_ids = context.owner, context.partitions, dict(ids)
    machine.begin_at(positions)
    return machine


async def input_bounds(context: ShardContext, reader: Reader) -> Bounds:
    partitions = context.inputs
    begins = await reader.beginning_offsets(list(partitions.values()))
    ends = await reader.end_offsets(list(partitions.values()))
    return {name: (begins[tp], ends[tp]) for name, tp in partitions.items()}


async def resolve_positions(context: ShardContext, reader: Reader, machine: Machine) -> None:
    """Positions that the log does not have (any more): a gap is noted and jumped, one beyond the end is refused."""
    found = await input_bounds(context, reader)
    for _ in range(BEYOND_CHECKS):
        if all(machine.positions.get(name, 0) <= end for name, (_, end) in found.items()):
            break
        await asyncio.sleep(1)
        found = await input_bounds(context, reader)
    for name, (begin, end) in found.items():
        position = machine.positions.get(name)
        if position is None:
            machine.positions[name] = begin
        elif position > end:
            raise state_refused.beyond_end(context, name, position, end)
        elif position < begin:
            _note_lost_offsets(context, machine, name, begin - position)
            machine.positions[name] = begin


def _note_lost_offsets(context: ShardContext, machine: Machine, name: Name, lost: int) -> None:
    if name in context.role.names:  # in the log of a side input nothing is lost that is still wanted
        log.error(
            "retention deleted records before they were read: results are marked incomplete",
            topic=context.inputs[name].topic,
            partition=context.partition,
            lost_at_most=lost,
        )
    machine.gap(name, lost)


async def _evidence_of_results(context: ShardContext, reader: Reader) -> str | None:
    """What shows that somebody has worked on this partition."""
    written = await statereader.any_record(reader, context.outputs)
    if written is not None:
        return f"{written.topic} holds results of it"
    if not context.role.has_group:
        return None
    committed = await group_offsets(context.settings, context.inputs.values())
    if any(offset >= 0 for offset in committed.values()):
        return f"the group {context.settings.group} has offsets of it"
    return None


async def group_offsets(settings: Settings, inputs: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """What the group has committed of these partitions, -1 for nothing. Waits for a coordinator that is not there yet.

    aiokafka overlooks an error of the whole answer, which then names no partitions: that is not "nothing".
    """
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    partitions = list(inputs)
    try:
        async with asyncio.timeout(settings.connect_timeout.total_seconds()):
            what = f"offsets of the group {settings.group}"
            return await retry(lambda: _committed(admin, settings.group, partitions), what, _no_coordinator, AGAIN)
    finally:
        await client.end(admin)


async def _committed(admin: client.Admin, group: str, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    offsets = await admin.list_consumer_group_offsets(group, partitions=partitions)
    if len(offsets) != len(partitions):
        raise GroupCoordinatorNotAvailableError(group)
    return {partition: committed.offset for partition, committed in offsets.items()}


def _no_coordinator(error: Exception) -> bool:
    return isinstance(error, _NO_COORDINATOR)
