"""Single rules of the protocol in memory, each as small as it can be shown: for mistakes that no schedule shows.

What fencing catches in the end leaves no wrong result, however it came to that; here is that it need not come to it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced

from stream.core.framing import CHECKSUM, checksum
from stream.core.shard import Shard
from stream.errors import UsageError
from stream.kafka import checkpoint, client, members, membership, recovery, single_writer, statereader
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.client import Producer, Reader
from stream.kafka.partitions import OutgrownError
from stream.kafka.patches import end_txn
from stream.kafka.rebuild_cutoff import ANY
from stream.kafka.recovery import Recovered, recover, rehearse
from stream.kafka.shard_context import CheckpointError, CommittedError, FencedError, OutdatedError, ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.kafka.task import Phase, ShardTask
from stream.model.names import INPUTS, SESSION_WINDOWS, SESSIONS, STATE, Kind
from stream.model.results import Outputs
from stream.sessions.machines import shard_of
from stream.sessions.role import WORKER
from tests.kafka.test_membership import Member
from tests.kafka.tools import Memory
from tests.simulation import producer as in_memory_producer
from tests.simulation.slips import SLIPS, slipped
from tests.simulation.stage import InMemory, eventually, in_memory, started
from tests.simulation.test_findings import working
from tests.simulation.test_made_anew import VIEWS, position, write


def context_of(stage: InMemory, **changes: object) -> ShardContext:
    return ShardContext(stage.settings.model_copy(update=changes), 0, 1, WORKER)


def first_checkpoint(context: ShardContext, name: str = "", positions: dict[Kind, int] | None = None) -> Outputs:
    """``name``: transactional id of its writer, as the state says."""
    shard = Shard(context.settings.policy())
    shard.owner, shard.transactional_id = context.owner, name
    shard.begin_at(dict.fromkeys(Kind, 0) if positions is None else positions)
    outputs = shard.collect()
    assert outputs is not None
    return outputs


@asynccontextmanager
async def producing(context: ShardContext, name: str | None = None) -> AsyncIterator[Producer]:
    producer = client.make_producer(context.settings, name or context.transactional_id)
    async with started(producer, context.settings):
        yield producer


def play_with_producer(stage: InMemory, act: Callable[[ShardContext, Producer], Awaitable[None]]) -> None:
    """Plays ``act`` with the topics, the context of their only shard, and its producer."""

    async def whole() -> None:
        await stage.make_topics()
        context = context_of(stage)
        async with producing(context) as producer:
            await act(context, producer)

    stage.play(whole)


@asynccontextmanager
async def recovered(context: ShardContext) -> AsyncIterator[Recovered]:
    found = await recover(context, discard=None, current=lambda: True)
    try:
        yield found
    finally:
        await client.end(found.producer)


def end_of(stage: InMemory, context: ShardContext) -> int:
    return stage.cluster.log(context.state).high


# -- a checkpoint


def test_a_fence_is_told_before_what_it_made_of_the_others_and_a_size_next() -> None:
    size, other = checkpoint._TooLargeError("t", 1), KafkaError()
    for results, worst in (
        ([other, size, ProducerFenced()], ProducerFenced),
        ([other, size], checkpoint._TooLargeError),
        ([[], other], KafkaError),
    ):
        with pytest.raises(worst):
            checkpoint._raise_worst(results)
    checkpoint._raise_worst([[], None])


def test_ordinary_checkpoints_follow_each_other_and_nobody_reads_between_them(prefix: str) -> None:
    """Each takes a record and its marker; what else lay there would be read, each time."""
    stage = in_memory(prefix)

    async def act(context: ShardContext, producer: Producer) -> None:
        checkpoints = Checkpoints(context, producer, 0)
        with patch.object(
            single_writer, "check_only_markers", side_effect=AssertionError("what lies between is looked at")
        ):
            assert [await checkpoints.write(first_checkpoint(context)) for _ in range(4)] == [0, 2, 4, 6]

    play_with_producer(stage, act)


def test_more_than_a_batch_holds_arrives_whole_and_in_order_and_the_state_is_vouched_for(prefix: str) -> None:
    stage, windows = in_memory(prefix), [(b"w%02d" % number, b"{}") for number in range(12)]

    async def act(context: ShardContext, producer: Any) -> None:
        producer._most = 5
        await Checkpoints(context, producer, 0).write(replace(first_checkpoint(context), windows=windows))
        log = stage.cluster.log(TopicPartition(stage.settings.topic(SESSION_WINDOWS), 0))
        await eventually(lambda: is_true(log.committed()), "it is committed")
        assert [(entry.key, entry.value) for entry in log.committed()] == windows
        for entry in stage.cluster.log(context.state).committed():
            assert dict(entry.headers)[CHECKSUM] == checksum(entry.value or b"")

    play_with_producer(stage, act)


def test_results_go_to_the_partition_of_their_shard(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics(2)
        context = ShardContext(stage.settings, 1, 2, WORKER)
        async with producing(context) as producer:
            await Checkpoints(context, producer, 0).write(
                replace(first_checkpoint(context), windows=[(b"w", b"{}")], sessions=[(b"s", b"{}")])
            )

    stage.play(act)
    for name in (SESSION_WINDOWS, SESSIONS, STATE):
        topic = stage.settings.topic(name)
        assert [len(stage.cluster.log(TopicPartition(topic, number)).committed()) for number in (0, 1)] == [0, 1], name


def test_what_our_group_has_written_where_ours_should_follow_is_a_fence(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        async with producing(context) as ours, producing(context, "earlier") as theirs:
            await Checkpoints(context, theirs).write(first_checkpoint(context))
            with pytest.raises(FencedError):
                await Checkpoints(context, ours, 0).write(first_checkpoint(context))
        assert len(stage.cluster.log(context.state).committed()) == 1

    stage.play(act)


def test_another_producer_of_the_same_id_is_a_fence(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        async with producing(context) as zombie, producing(context):
            with pytest.raises(FencedError):
                await Checkpoints(context, zombie).write(first_checkpoint(context))
        assert stage.cluster.log(context.state).committed() == []

    stage.play(act)


def test_a_state_that_has_lost_its_end_takes_nothing_more_of_this_shard(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act(context: ShardContext, producer: Producer) -> None:
        with pytest.raises(CheckpointError, match="has lost records: 0 comes after 5"):
            await Checkpoints(context, producer, 5).write(first_checkpoint(context))

    play_with_producer(stage, act)
    assert stage.cluster.log(context_of(stage).state).committed() == []


def test_an_end_that_nobody_answers_is_given_up(prefix: str) -> None:
    """aiokafka would ask for ever."""
    stage = in_memory(prefix)

    async def act(context: ShardContext, producer: Producer) -> None:
        commit = producer.commit_transaction

        async def in_the_dark() -> None:
            stage.cluster.go_down()
            await commit()

        with patch.object(producer, "commit_transaction", in_the_dark):
            async with asyncio.timeout(60):
                with pytest.raises(CheckpointError, match="TimeoutError"):
                    await Checkpoints(context, producer, 0).write(first_checkpoint(context))
        stage.cluster.come_back()

    play_with_producer(stage, act)


def test_what_is_confirmed_late_is_committed_and_its_producer_given_up(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act(context: ShardContext, producer: Producer) -> None:
        async def late(*_: object) -> None:
            await producer.commit_transaction()
            raise end_txn.SpentError

        with patch.object(end_txn, "commit", late), pytest.raises(CommittedError):
            await Checkpoints(context, producer, 0).write(first_checkpoint(context))
        await eventually(lambda: is_true(stage.cluster.log(context.state).committed()), "it is committed")

    play_with_producer(stage, act)


def test_where_a_broker_does_not_say_where_the_state_lies_nothing_is_committed(prefix: str) -> None:
    """As it does when it has seen a batch before."""
    stage = in_memory(prefix)
    append = stage.cluster.produce

    def forgetful(*asked: Any) -> Any:
        return dict.fromkeys(append(*asked), -1)

    async def act(context: ShardContext, producer: Producer) -> None:
        with patch.object(stage.cluster, "produce", forgetful), pytest.raises(CheckpointError, match="did not say"):
            await Checkpoints(context, producer).write(first_checkpoint(context))

    play_with_producer(stage, act)
    assert stage.cluster.log(context_of(stage).state).committed() == []


def test_what_hangs_in_an_output_hangs_in_the_state_where_recovery_looks(prefix: str) -> None:
    """The coordinator forgets the transaction after its first batch: what that was would be committed with the next."""
    stage = in_memory(prefix)
    append, windows = stage.cluster.produce, stage.settings.topic(SESSION_WINDOWS)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        name = context.transactional_id

        def forgetful(who: Any, batches: Any) -> Any:
            written = append(who, dict([next(iter(batches.items()))]))
            stage.cluster.transactions.forget(name)
            return written

        half = replace(first_checkpoint(context, name), windows=[(b"s/1m/0", b"half")])
        async with producing(context, name) as producer:
            with patch.object(stage.cluster, "produce", forgetful), pytest.raises((FencedError, CheckpointError)):
                await Checkpoints(context, producer).write(half)
        async with asyncio.timeout(60), recovered(context) as found:
            await Checkpoints(context, found.producer, found.state_end).write(first_checkpoint(context, name))

    stage.play(act)
    assert stage.cluster.log(TopicPartition(windows, 0)).committed() == []
    assert stage.cluster.log(context_of(stage).state).committed() != []


def test_whoever_is_interrupted_while_ending_what_hangs_ends_it_everywhere_or_nowhere(prefix: str) -> None:
    """Its coordinator knows this transaction, and ends it in the partitions that it was told of: all of them."""
    stage = in_memory(prefix)
    send, sent = in_memory_producer.Producer.send_and_wait, [0]

    async def cut(self: Any, topic: str, value: Any, **more: Any) -> Any:
        sent[0] += value == b""
        if sent[0] == 2:
            sent[0] += 1
            raise KafkaConnectionError
        return await send(self, topic, value, **more)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        name = context.transactional_id
        async with producing(context) as zombie:
            await Checkpoints(context, zombie).write(first_checkpoint(context, name))
            await zombie.begin_transaction()
            for topic in (context.state.topic, stage.settings.topic(SESSION_WINDOWS)):
                await zombie.send_and_wait(topic, b"half", key=b"0/0", partition=0)
            stage.cluster.transactions.forget(name)
            with patch.object(in_memory_producer.Producer, "send_and_wait", cut):
                async with asyncio.timeout(60), recovered(context) as heir:
                    whole = replace(first_checkpoint(context, name), windows=[(b"s/1m/0", b"whole")])
                    await Checkpoints(context, heir.producer, heir.state_end).write(whole)
                    await eventually(committed, "the window is committed")

    async def committed() -> list[bytes | None]:
        windows = stage.cluster.log(TopicPartition(stage.settings.topic(SESSION_WINDOWS), 0))
        found.extend(each.value for each in windows.committed())
        return found

    found: list[bytes | None] = []
    stage.play(act)
    assert sent[0] > 2
    assert found == [b"whole"]


def test_a_checkpoint_that_fails_hides_nothing_from_readers_of_shared_partitions(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act(context: ShardContext, producer: Producer) -> None:
        with pytest.raises(CheckpointError):
            await Checkpoints(context, producer, 5).write(first_checkpoint(context))
        await asyncio.sleep(0.5)  # less than the timeout of a transaction
        assert stage.cluster.log(context.state).open == {}

    play_with_producer(stage, act)


# -- recovery


@pytest.mark.parametrize("discard", [None, ANY])
def test_who_has_lost_the_assignment_fences_nobody(prefix: str, discard: Any) -> None:
    stage = in_memory(prefix)

    async def act(context: ShardContext, owner: Producer) -> None:
        for answers in ([False], *([[True, False]] if discard else [])):
            left = iter(answers)
            with pytest.raises(OutdatedError):
                await recover(context, discard=discard, current=lambda left=left: next(left, True))  # type: ignore[misc]
        await Checkpoints(context, owner).check_ownership({Kind.VIEWS: 0})  # it is not fenced

    play_with_producer(stage, act)


def test_what_a_shard_is_made_of_says_where_the_state_ends_and_who_writes_it(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        for begun in (False, True):
            async with recovered(context) as found:
                assert found.state_end == end_of(stage, context)
                assert found.machine.transactional_id == context.transactional_id
                assert bool(found.records) == begun
                await Checkpoints(context, found.producer, found.state_end).write(
                    first_checkpoint(context, context.transactional_id)
                )

    stage.play(act)


def test_our_own_transaction_that_its_coordinator_has_forgotten_is_ended(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        name = context.transactional_id
        async with producing(context) as zombie:
            await Checkpoints(context, zombie).write(first_checkpoint(context, name))
            await zombie.begin_transaction()
            await zombie.send_and_wait(context.state.topic, b"half", key=b"0/0", partition=0)
            stage.cluster.transactions.forget(name)
            async with asyncio.timeout(60), recovered(context) as found:
                assert found.records == 1

    stage.play(act)


def test_an_earlier_versions_producer_is_fenced_and_what_it_left_hanging_is_ended(prefix: str) -> None:
    """Its coordinator has forgotten the transaction as well, so that no start of a producer ends it."""
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        name = context.earlier_id(context.owner)
        async with producing(context, name) as earlier:
            await Checkpoints(context, earlier).write(first_checkpoint(context, name))
            await earlier.begin_transaction()
            await earlier.send_and_wait(context.state.topic, b"half", key=b"0/0", partition=0)
            stage.cluster.transactions.forget(name)
            async with asyncio.timeout(60), recovered(context) as found:
                assert found.records == 1
            with pytest.raises(ProducerFenced):
                await earlier.send_and_wait(context.state.topic, b"half", key=b"0/0", partition=0)
        assert len(stage.cluster.log(context.state).committed()) == 1

    stage.play(act)


def test_anothers_state_is_refused_before_anybody_is_fenced(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        theirs, ours = context_of(stage, group="theirs"), context_of(stage)
        async with producing(theirs) as producer:
            checkpoints = Checkpoints(theirs, producer, 0)
            await checkpoints.write(first_checkpoint(theirs, theirs.transactional_id))
            with pytest.raises(StateRefusedError, match="is another's"):
                await recover(ours, discard=None, current=lambda: True)
            with pytest.raises(StateRefusedError, match="is another's"):
                await rehearse(ours)
            await checkpoints.write(first_checkpoint(theirs, theirs.transactional_id))  # it is not fenced

    stage.play(act)


def test_a_state_without_its_beginning_is_refused(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        write(stage, range(20), "s")
        async with working(stage):
            await eventually(lambda: stands(stage, 20), "the first are counted")
            write(stage, range(20, 40), "s")
            await eventually(lambda: stands(stage, 40), "the next are counted")
        await stage.delete_before(context.state, 1)
        with pytest.raises(UsageError, match="cannot be read: it begins at offset 0, and that record is missing"):
            await recover(context, discard=None, current=lambda: True)

    stage.play(act)


async def stands(stage: InMemory, at: int) -> bool:
    return await position(stage) == at


def test_records_that_are_gone_are_jumped_and_told_and_those_that_never_were_are_refused(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        views = context.inputs[Kind.VIEWS]
        write(stage, range(20), "s")
        async with working(stage):
            await eventually(lambda: stands(stage, 20), "all are counted")
        write(stage, range(20, 40), "s")
        await stage.delete_before(views, 25)
        async with recovered(context) as found:
            shard = shard_of(found.machine)
            assert shard.positions[Kind.VIEWS] == 25
            outputs = shard.collect()
            assert outputs is not None
            assert outputs.tally.lost_offsets == 5
        log = stage.cluster.log(views)
        log.begin, log.entries = 0, log.entries[:3]  # as an unclean election leaves it
        with pytest.raises(UsageError, match="ends at 3, but was read up to 20"):
            await recover(context, discard=None, current=lambda: True)

    stage.play(act)


@pytest.mark.parametrize("shown", [0, 5])
def test_a_rebuild_is_the_generation_after_all_that_results_show_and_tells_what_is_gone(
    prefix: str, shown: int
) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        write(stage, range(20), "s")
        async with working(stage):
            await eventually(lambda: stands(stage, 20), "all are counted")
        sessions = TopicPartition(stage.settings.topic(SESSIONS), 0)
        result = b'{"session_id":"s","generation":%d}' % shown
        stage.cluster.produce(None, {sessions: ([(b"s", result, ())], 0, -1)})
        await stage.delete_before(context.inputs[Kind.VIEWS], 5)
        found = await recover(context, discard=ANY, current=lambda: True)
        await client.end(found.producer)
        shard = shard_of(found.machine)
        assert (shard.generation, shard.positions[Kind.VIEWS]) == (shown + 1, 5)
        outputs = shard.collect()
        assert outputs is not None
        assert outputs.tally.lost_offsets == 5

    stage.play(act)


@pytest.mark.parametrize(("start_at", "position"), [("earliest", 5), ("latest", 20)])
def test_a_new_shard_begins_where_the_settings_say(prefix: str, start_at: str, position: int) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage, start_at=start_at)
        write(stage, range(20), "s")
        await stage.delete_before(context.inputs[Kind.VIEWS], 5)
        async with recovered(context) as found:
            shard = shard_of(found.machine)
            assert (shard.positions[Kind.VIEWS], shard.generation) == (position, 0)
            assert (shard.owner, shard.partitions) == (context.owner, 1)

    stage.play(act)


def test_an_input_of_which_the_state_knows_nothing_is_read_from_its_beginning(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        comments = context.inputs[Kind.COMMENTS]
        stage.cluster.produce(None, {comments: ([(b"s", b"{}", ())] * 4, 0, -1)})
        await stage.delete_before(comments, 3)
        state = first_checkpoint(context, context.transactional_id, positions={Kind.VIEWS: 0})
        async with producing(context) as producer:
            await Checkpoints(context, producer, 0).write(state)
        async with recovered(context) as found:
            assert found.machine.positions == {Kind.VIEWS: 0, Kind.COMMENTS: 3, Kind.CHECKOUTS: 0}

    stage.play(act)


def test_a_leader_just_elected_that_does_not_know_its_end_yet_is_asked_again(prefix: str) -> None:
    stage, asked = in_memory(prefix), 0
    bounds = recovery.input_bounds

    async def at_first_too_early(context: ShardContext, reader: Reader) -> Any:
        nonlocal asked
        asked += 1
        found = await bounds(context, reader)
        return found if asked > 2 else {name: (begin, 0) for name, (begin, _) in found.items()}

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        write(stage, range(20), "s")
        async with working(stage):
            await eventually(lambda: stands(stage, 20), "all are counted")
        with patch.object(recovery, "input_bounds", at_first_too_early):
            async with recovered(context) as found:
                assert found.machine.positions[Kind.VIEWS] == 20

    stage.play(act)
    assert asked == 3


def test_a_state_of_another_number_of_partitions_is_refused(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics(2)
        context = context_of(stage)
        async with recovered(context) as found:
            outputs = shard_of(found.machine).collect()
            assert outputs is not None
            await Checkpoints(context, found.producer, found.state_end).write(outputs)
        with pytest.raises(OutgrownError):
            await recover(ShardContext(stage.settings, 0, 2, WORKER), discard=None, current=lambda: True)

    stage.play(act)


def test_results_without_a_state_are_not_written_a_second_time(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        sessions = TopicPartition(stage.settings.topic(SESSIONS), 0)
        stage.cluster.produce(None, {sessions: ([(b"s", b'{"generation":0}', ())], 0, -1)})
        with pytest.raises(UsageError, match="holds results of it"):
            await recover(context, discard=None, current=lambda: True)

    stage.play(act)


def test_offsets_of_the_group_without_a_state_are_a_reason_to_refuse_too(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act(context: ShardContext, producer: Producer) -> None:
        await Checkpoints(context, producer).check_ownership({Kind.VIEWS: 0})
        with pytest.raises(UsageError, match="has offsets of it"):
            await recover(context, discard=None, current=lambda: True)

    play_with_producer(stage, act)


def test_what_others_write_behind_the_state_hides_it_from_nobody(prefix: str) -> None:
    """More of it than is looked at first."""
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        async with producing(context) as producer:
            await Checkpoints(context, producer, 0).write(first_checkpoint(context, context.transactional_id))
        strays = [(b"stray", b"value", ())] * 3 * statereader.FIRST_LOOK
        stage.cluster.produce(None, {context.state: (strays, 0, -1)})
        async with recovered(context) as found:
            assert (found.records, found.machine.generation) == (1, 0)

    stage.play(act)


def test_what_comes_while_a_partition_is_read_is_not_read_with_it(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> list[int]:
        await stage.make_topics()
        context = context_of(stage)
        stage.cluster.produce(None, {context.state: ([(b"k", b"v", ())] * 9, 0, -1)})
        async with started(client.make_reader(stage.settings), stage.settings) as reader:
            reader.assign([context.state])
            return [record.offset async for record in statereader.read(reader, context.state, 2, 5)]

    assert stage.play(act) == [2, 3, 4]


def test_a_part_of_the_state_that_is_not_what_was_written_is_damaged(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        async with producing(context) as producer:
            await Checkpoints(context, producer, 0).write(first_checkpoint(context, context.transactional_id))
        entry = stage.cluster.log(context.state).entries[0]
        assert entry is not None
        entry.headers = ((CHECKSUM, checksum(b"another")),)
        with pytest.raises(UsageError, match="cannot be read"):
            await recover(context, discard=None, current=lambda: True)

    stage.play(act)


def test_no_producer_is_left_open_where_a_state_is_refused(prefix: str) -> None:
    stage, made, ended = in_memory(prefix), list[Producer](), list[object]()

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        sessions = TopicPartition(stage.settings.topic(SESSIONS), 0)
        stage.cluster.produce(None, {sessions: ([(b"s", b'{"generation":0}', ())], 0, -1)})
        make, end = client.make_producer, client.end

        def noted(*arguments: Any) -> Producer:
            made.append(make(*arguments))
            return made[-1]

        async def ending(what: Any, *arguments: Any) -> None:
            ended.append(what)
            await end(what, *arguments)

        with (
            patch.object(client, "make_producer", noted),
            patch.object(client, "end", ending),
            pytest.raises(UsageError, match="holds results of it"),
        ):
            await recover(context, discard=None, current=lambda: True)

    stage.play(act)
    assert made
    assert set(map(id, made)) <= set(map(id, ended))


def test_topics_that_were_made_anew_are_refused_before_a_position_is_looked_at(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = context_of(stage)
        write(stage, range(20), "s")
        async with working(stage):
            await eventually(lambda: stands(stage, 20), "all are counted")
        await stage.make_anew(INPUTS[Kind.VIEWS])
        write(stage, range(30), "s")
        with pytest.raises(StateRefusedError, match="made anew"):
            await recover(context, discard=None, current=lambda: True)

    stage.play(act)


def test_an_answer_that_names_no_partition_is_asked_for_again(prefix: str) -> None:
    """An error of the whole answer, which aiokafka overlooks: it does not mean that nothing is committed."""
    stage = in_memory(prefix)
    views = TopicPartition(stage.settings.topic(INPUTS[Kind.VIEWS]), 0)
    answers = [{}, {views: SimpleNamespace(offset=7)}]

    class Admin:
        async def list_consumer_group_offsets(self, _group: str, **_: object) -> Any:
            return await is_true(answers.pop(0))

    async def act() -> object:
        with (
            patch.object(client, "make_admin", lambda _settings: Admin()),
            patch.object(client, "start", lambda *_: is_true(None)),
            patch.object(client, "end", lambda *_: is_true(None)),
        ):
            return await recovery.group_offsets(stage.settings, [views])

    assert stage.play(act) == {views: 7}
    assert answers == []


# -- membership


@asynccontextmanager
async def belonging(stage: InMemory) -> AsyncIterator[Member]:
    member = Member(stage.settings)
    try:
        yield member
    finally:
        await member.leave()


async def is_true(value: object) -> object:
    return value


def test_an_assignment_stands_until_it_is_taken_away_given_up_or_slept_through(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        async with belonging(stage) as member:
            await eventually(lambda: is_true(member.owned == {0}), "it owns the partition")
            group, epoch = member.membership, member.membership.epoch
            assert group.current(epoch)
            await group.on_revoked()
            assert group.epoch == epoch + 1
            assert not group.current(epoch)
            assert not group.current(group.epoch), "nothing is assigned"
            await group.on_assigned([TopicPartition(stage.settings.topic(name), 0) for name in INPUTS.values()])
            assert group.current(group.epoch)
            assert not group.current(epoch), "another assignment is not the one before"
            polled, group._polled = group._polled, group._polled - 6.1
            assert not group.current(group.epoch), "as if nothing had run for longer than the session timeout"
            group._polled = polled
            group.rejoin("a test")
            assert not group.current(group.epoch)

    stage.play(act)


def test_of_inputs_with_different_numbers_of_partitions_none_is_ours_and_the_group_is_left(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        async with belonging(stage) as member:
            await eventually(lambda: is_true(member.owned == {0}), "it owns the partition")
            group = member.membership
            await group.on_revoked()
            group.rejoin("nothing is assigned: an assignment is on its way")
            whole = [TopicPartition(stage.settings.topic(name), 0) for name in INPUTS.values()]
            await group.on_assigned(whole)
            assert group.current(group.epoch)
            await group.on_assigned(whole[:-1])
            assert member.owned == frozenset()
            assert not group.current(group.epoch)
            await eventually(lambda: is_true(member.owned == {0}), "it owns the partition again")
            await eventually(lambda: is_true(group.current(group.epoch)), "it has joined again")

    stage.play(act)


def test_whose_consumer_fails_leaves_the_group_and_joins_it_again(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        left: list[object] = []
        async with belonging(stage) as member:
            object.__setattr__(member.membership._owner, "left", left.append)
            await eventually(lambda: is_true(member.owned == {0}), "it owns the partition")
            consumer: Any = member.membership._consumer

            async def failing(**_: object) -> object:
                await asyncio.sleep(0.1)
                raise KafkaError

            with patch.object(consumer, "getmany", failing):
                await eventually(lambda: is_true(left), "it has left", 20)
            await eventually(lambda: is_true(member.owned == {0}), "it owns it again", 20)

    stage.play(act)


def test_the_group_hears_at_once_who_leaves(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        async with belonging(stage) as member:
            await eventually(lambda: is_true(member.owned == {0}), "it owns the partition")
            assert await members.list_members(stage.settings)
        assert not await members.list_members(stage.settings)

    stage.play(act)


def test_nobody_joins_where_others_have_other_topics_or_are_of_an_earlier_version(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        with patch.object(members, "others", lambda *_: "they have other topics"):
            stranger = Member(stage.settings)
            async with asyncio.timeout(30):
                with pytest.raises(UsageError, match="other topics"):
                    await stranger.running
        with patch.object(members, "earlier", lambda *_: "they are of an earlier version"):
            member = Member(stage.settings)
            await asyncio.sleep(10)  # of the clock in memory
            assert member.owned is None
        await eventually(lambda: is_true(member.owned == {0}), "it joins once they are gone")
        await member.leave()

    stage.play(act)


def test_who_leaves_gives_everything_back_first(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        async with belonging(stage) as member:
            await eventually(lambda: is_true(member.owned == {0}), "it owns the partition")
            before = member.revocations
        assert member.revocations == before + 1
        assert member.owned is None
        assert not member.membership.current(member.membership.epoch)

    stage.play(act)


def test_who_stood_still_for_too_long_joins_again_though_its_heart_has_beaten(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        left: list[object] = []
        async with belonging(stage) as member:
            object.__setattr__(member.membership._owner, "left", left.append)
            await eventually(lambda: is_true(member.owned == {0}), "it owns the partition")
            with patch.object(membership, "POLL_MS", 7000):
                await eventually(lambda: is_true(left), "it has left", 20)
            await eventually(lambda: is_true(member.owned == {0}), "it owns it again", 20)

    stage.play(act)


def test_an_owner_that_fails_ends_the_membership(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        with patch.object(Member, "assigned", side_effect=ZeroDivisionError):
            member = Member(stage.settings)
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(asyncio.shield(member.running), 30)
        await member.leave()

    stage.play(act)


def test_no_partition_is_ever_fetched_by_the_member() -> None:
    paused: list[TopicPartition] = []

    async def act() -> None:
        consumer: Any = SimpleNamespace(pause=lambda *partitions: paused.extend(partitions))
        told: list[object] = []

        async def assigned(_partitions: object) -> None:
            told.append(list(paused))

        listener = membership._Listener(SimpleNamespace(on_assigned=assigned), consumer)  # type: ignore[arg-type]
        await listener.on_partitions_assigned([TopicPartition(VIEWS, 0)])
        assert told == [[TopicPartition(VIEWS, 0)]], "before anybody else hears of it"

    asyncio.run(act())


# -- a shard and its worker


def test_what_was_read_is_written_before_a_partition_is_taken_away(prefix: str) -> None:
    stage = in_memory(prefix)
    stage.settings = stage.settings.model_copy(update={"checkpoint_every": timedelta(hours=1)})  # but for the first

    async def act() -> None:
        await stage.make_topics()
        async with working(stage) as worker:
            write(stage, range(10), "s")
            await eventually(lambda: stands(stage, 10), "some are counted")
            write(stage, range(10, 20), "s")
            shard_loop = worker._shards[0].shard_loop
            assert shard_loop is not None
            await eventually(lambda: is_true(shard_loop.machine.positions[Kind.VIEWS] == 20), "the others are read")
            await worker._revoked()
            assert await position(stage) == 20
            worker._assigned(frozenset({0}))

    stage.play(act)


def test_who_is_fenced_while_it_works_leaves_the_group_and_joins_it_again(prefix: str) -> None:
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        async with working(stage) as worker:
            write(stage, range(10), "s")
            await eventually(lambda: stands(stage, 10), "they are counted")
            epoch = worker._membership.epoch
            async with producing(context_of(stage)):
                pass
            write(stage, range(10, 20), "s")
            await eventually(lambda: stands(stage, 20), "the others are counted")
            assert worker._membership.epoch > epoch

    stage.play(act)


def test_a_partition_has_one_task_at_a_time(prefix: str) -> None:
    """Two would hold its state in memory twice."""
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        before, running = asyncio.Event(), list[ShardTask]()
        after: Any = SimpleNamespace(ended=before.wait)
        shard = ShardTask(
            context_of(stage), Memory(), discard=None, current=lambda: True, running=running.append, after=after
        )
        await asyncio.sleep(1)
        assert stage.wire.requests == 0
        before.set()
        await eventually(lambda: is_true(running), "it runs")
        shard.drop()
        await shard.ended()

    stage.play(act)


def test_who_was_fenced_while_it_was_parked_begins_anew_in_the_same_assignment(prefix: str) -> None:
    """Whoever had the partition meanwhile has given it back: that is no reason to leave the group."""
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        async with working(stage) as worker:
            write(stage, range(10), "s")
            await eventually(lambda: stands(stage, 10), "they are counted")
            await worker._revoked()
            paused, epoch = worker._shards[0], worker._membership.epoch
            async with producing(context_of(stage)):
                pass
            worker._assigned(frozenset({0}))
            await eventually(
                lambda: is_true((now := worker._running().get(0)) and now is not paused and now.phase is Phase.RUNNING),
                "it runs anew",
            )
            write(stage, range(10, 20), "s")
            await eventually(lambda: stands(stage, 20), "the others are counted")
            assert worker._membership.epoch == epoch

    stage.play(act)


# -- the table


@pytest.mark.parametrize("name", sorted(SLIPS))
def test_each_slip_is_one_place_of_the_code_as_it_is(name: str) -> None:
    with slipped(name):
        pass
