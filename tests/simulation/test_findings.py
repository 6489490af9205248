"""What the simulation has found, each as small as it could be made."""

import asyncio
import gc
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest
from aiokafka import TopicPartition

from stream.kafka import client, recovery, statereader
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.client import Reader
from stream.kafka.shard_context import CheckpointError, FencedError, ShardContext
from stream.kafka.statereader import HangingTransactionError
from stream.kafka.task import Phase
from stream.kafka.worker import Worker
from stream.model.names import DEAD_LETTERS, SESSIONS, STATE, Kind, Reason
from stream.model.results import DeadLetter, Outputs
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.core.test_deadletters import Given
from tests.kafka.tools import Memory
from tests.simulation.stage import Demo, InMemory, eventually, in_memory, started
from tests.simulation.wire import Fate, TransportError


@asynccontextmanager
async def working(stage: InMemory) -> AsyncIterator[Worker]:
    memory = Memory()
    worker = make_worker(stage.settings, memory, memory, rebuild=False)
    running = asyncio.ensure_future(worker.run())
    try:
        yield worker
    finally:
        running.cancel()
        await asyncio.wait({running})


def test_a_shard_taken_away_while_it_makes_sure_it_is_still_the_producer_runs_on(prefix: str) -> None:
    """The next rebalance came while its ownership was checked: it read on, but counted as paused."""
    stage = in_memory(prefix, marker=lambda: 1.0)

    async def act() -> None:
        await stage.make_topics(2)
        async with working(stage) as worker:

            async def both_run() -> bool:
                return sorted(number for number, shard in worker._shards.items() if shard.phase is Phase.RUNNING) == [
                    0,
                    1,
                ]

            for moment in range(30):
                await eventually(both_run, f"both shards run (moment {moment})", 20)
                await asyncio.sleep(5)  # no marker is outstanding
                for _ in range(2):  # the second check waits for the markers of the first
                    await worker._revoked()
                    worker._assigned(frozenset({0, 1}))
                    await asyncio.sleep(0.02)
                await worker._revoked()
                await asyncio.sleep(moment * 0.05)
                worker._assigned(frozenset({0, 1}))
            await eventually(both_run, "both shards run", 20)

    stage.play(act)


def test_a_checkpoint_that_was_given_up_leaves_nothing_for_asyncio_to_complain_of(prefix: str) -> None:
    """Its offsets were still on their way when its time was up, and met a fence later."""
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = ShardContext(stage.settings, 0, 1, WORKER)
        zombie = client.make_producer(stage.settings, context.transactional_id)
        await client.start(zombie, stage.settings)
        stage.cluster.go_down()
        with pytest.raises(CheckpointError):
            await Checkpoints(context, zombie).write(Outputs(state=[(b"k", b"v")], positions={Kind.VIEWS: 1}))
        stage.cluster.come_back()
        heir = client.make_producer(stage.settings, context.transactional_id)
        await client.start(heir, stage.settings)
        await asyncio.sleep(1)
        await client.end(zombie)
        await client.end(heir)
        del zombie
        gc.collect()

    stage.play(act)  # which looks for complaints


def test_what_was_read_before_another_took_over_is_no_reason_to_refuse(stage: Demo) -> None:
    """Cut off while it looked for a state, it found none, but its successor's results: a worker ended with exit code 2."""
    look = recovery._evidence_of_results

    async def act() -> None:
        await stage.make_topics()
        context = ShardContext(stage.settings, 0, 1, WORKER)

        async def look_late(context: ShardContext, reader: Reader) -> str | None:
            with patch.object(recovery, "_evidence_of_results", look):
                heir = await recovery.recover(context, discard=None, current=lambda: True)
            await Checkpoints(context, heir.producer).write(Outputs(sessions=[(b"s", b"{}")], state=[(b"k", b"v")]))
            await client.end(heir.producer)
            return await look(context, reader)

        with patch.object(recovery, "_evidence_of_results", look_late), pytest.raises(FencedError):
            await recovery.recover(context, discard=None, current=lambda: True)

    stage.play(act)


@pytest.mark.parametrize("marked", [(STATE,), (SESSIONS,), (SESSIONS, DEAD_LETTERS), ()])
def test_a_decision_that_its_coordinator_lost_after_some_of_its_markers_is_made_again(
    prefix: str, marked: Collection[str]
) -> None:
    """Restarted before it was missed, a coordinator acted upon a decision that only its own log had; another followed.

    A new producer's start aborted the rest: a checkpoint's results were there twice, and with the state alone committed they
    would have been lost.
    """
    stage = in_memory(prefix)

    def lose(_name: str, producer: int, epoch: int, *, commit: bool) -> None:
        losing.stop()
        for topic in map(stage.settings.topic, marked):
            stage.cluster.mark(TopicPartition(topic, 0), producer, epoch, commit=commit)
        raise TransportError("killed")

    losing = patch.object(stage.cluster.transactions, "end", lose)

    async def act() -> None:
        await stage.make_topics()
        context = ShardContext(stage.settings, 0, 1, WORKER)
        recovered = await recovery.recover(context, discard=None, current=lambda: True)
        losing.start()
        with pytest.raises(CheckpointError):
            await Checkpoints(context, recovered.producer, recovered.state_end).write(
                Outputs(sessions=[(b"s", b"{}")], dead_letters=[letter()], state=[(b"k", b"v")])
            )
        await client.end(recovered.producer)
        heir = client.make_producer(stage.settings, context.transactional_id)
        await client.start(heir, stage.settings)
        await client.end(heir)
        partitions = [TopicPartition(stage.settings.topic(name), 0) for name in (STATE, SESSIONS, DEAD_LETTERS)]
        assert [len(stage.cluster.log(each).committed()) for each in partitions] == [1, 1, 1]

    stage.play(act)


@pytest.mark.parametrize(
    ("marked", "left"),
    [
        ((), {STATE: 1, SESSIONS: 1, DEAD_LETTERS: 1}),
        ((STATE,), {STATE: 1, SESSIONS: 0, DEAD_LETTERS: 0}),
        ((SESSIONS,), {STATE: 1, SESSIONS: 2, DEAD_LETTERS: 1}),
        ((STATE, SESSIONS, DEAD_LETTERS), {STATE: 1, SESSIONS: 1, DEAD_LETTERS: 1}),
    ],
)
def test_a_coordinator_that_aborts_what_another_has_half_committed_tears_a_checkpoint(
    prefix: str, marked: Collection[str], left: dict[str, int]
) -> None:
    """What docs/operate/faults.md says of it: the transaction's time was up before its commit was asked for again.

    State and positions are one record, so nothing is counted twice, whatever is torn. Results of that one checkpoint are
    missing where the state was committed, and there twice where it was not.
    """
    stage = in_memory(prefix)

    def lose(name: str, producer: int, epoch: int, *, commit: bool) -> None:
        losing.stop()
        for topic in map(stage.settings.topic, marked):
            stage.cluster.mark(TopicPartition(topic, 0), producer, epoch, commit=commit)
        stage.cluster.transactions._fence(stage.cluster.transactions._by_id[name])
        raise TransportError("killed")

    losing = patch.object(stage.cluster.transactions, "end", lose)
    outputs = Outputs(sessions=[(b"s", b"{}")], dead_letters=[letter()], state=[(b"k", b"v")])

    async def act() -> None:
        await stage.make_topics()
        context = ShardContext(stage.settings, 0, 1, WORKER)
        recovered = await recovery.recover(context, discard=None, current=lambda: True)
        losing.start()
        with pytest.raises(FencedError):
            await Checkpoints(context, recovered.producer, recovered.state_end).write(outputs)
        await client.end(recovered.producer)
        heir = client.make_producer(stage.settings, context.transactional_id)
        await client.start(heir, stage.settings)
        if not stage.cluster.log(context.state).committed():  # begun again from where it was before
            await Checkpoints(context, heir).write(outputs)
        await client.end(heir)
        await asyncio.sleep(1)
        logs = {name: stage.cluster.log(TopicPartition(stage.settings.topic(name), 0)) for name in left}
        assert {name: len(log.committed()) for name, log in logs.items()} == left

    stage.play(act)


def letter() -> DeadLetter:
    return DeadLetter(Kind.COMMENTS, Given(b"{", offset=4), Reason.INVALID_JSON, "value: not JSON")


def test_an_answer_to_what_was_asked_before_a_producer_was_fenced_says_nothing_of_what_is_open(prefix: str) -> None:
    """A fetch was on its way, and its answer came late: it was from before the transaction was there."""
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        context = ShardContext(stage.settings, 0, 1, WORKER)
        state = context.state
        async with started(client.make_reader(stage.settings, wait_ms=10), stage.settings) as reader:
            reader.assign([state])
            with patch.object(stage.wire.weather, "fate", lambda _: Fate(0.001, 1.0)):
                reader.seek(state, 0)  # it asks at once
                await asyncio.sleep(0.1)
            writer = client.make_producer(stage.settings, context.transactional_id)
            await client.start(writer, stage.settings)
            await writer.begin_transaction()
            await writer.send_and_wait(state.topic, b"v", key=b"0/0", partition=0)
            with pytest.raises(HangingTransactionError):
                await statereader.await_stable(reader, state, 0, 1.0)
            await writer.abort_transaction()
            await statereader.await_stable(reader, state, 0, 1.0)
            await client.end(writer)

    stage.play(act)


def test_two_groups_that_share_a_state_by_mistake_do_not_fence_each_other_for_ever(prefix: str) -> None:
    """Each waited as long as the other for a hanging transaction to end, and was fenced before it could end it itself."""
    stage = in_memory(prefix)
    patience = stage.settings.transaction_timeout.total_seconds()

    async def begun(group: str, delay: float) -> str:
        await asyncio.sleep(delay)
        context = ShardContext(stage.settings.model_copy(update={"group": group}), 0, 1, WORKER)
        recovered = await recovery.recover(context, discard=None, current=lambda: True)
        await client.end(recovered.producer)
        return group

    async def act() -> None:
        await stage.make_topics()
        context = ShardContext(stage.settings, 0, 1, WORKER)
        writer = client.make_producer(stage.settings, context.transactional_id)
        await client.start(writer, stage.settings)
        await writer.begin_transaction()
        await writer.send_and_wait(context.state.topic, b"v", key=b"0/0", partition=0)
        stage.cluster.transactions.forget(context.transactional_id)
        both = [asyncio.ensure_future(begun("one", 0.0)), asyncio.ensure_future(begun("other", patience / 2))]
        done, rest = await asyncio.wait(both, timeout=30 * patience, return_when=asyncio.FIRST_COMPLETED)
        assert done, "one of them has it"
        for task in rest:
            task.cancel()
        await asyncio.wait(both)

    stage.play(act)


def test_a_start_that_is_cancelled_while_it_ends_what_tells_of_it_is_cancelled(prefix: str) -> None:
    """A worker that was to end in that moment went on: it took its own cancellation for that of the task it waited for."""
    stage = in_memory(prefix)

    async def act() -> None:
        starting = asyncio.ensure_future(client.start(client.make_admin(stage.settings), stage.settings))

        async def tell(_: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                starting.cancel()

        with patch.object(client, "_tell_why", tell):
            await asyncio.wait({starting}, timeout=60)
        assert starting.cancelled()

    stage.play(act)
