"""Where a shard begins: from its state, from nothing, anew; and what is refused, with the way out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidTxnState
from aiokafka.producer.transaction_manager import TransactionManager

from stream.config import Settings
from stream.core.shard import Shard
from stream.errors import UsageError
from stream.kafka import client, topicids
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.rebuild_cutoff import ANY, RebuildCutoff, states_now
from stream.kafka.recovery import Recovered, recover
from stream.kafka.shard_context import OutdatedError, ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.model.names import DEAD_LETTERS, INPUTS, SESSION_WINDOWS, SESSIONS, STATE, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.machines import shard_of
from stream.sessions.role import WORKER
from tests.kafka.tools import everything, make_anew, make_topics, producer, send, send_views, settings
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def recovered(config: Settings, *, discard: RebuildCutoff | None = None) -> AsyncIterator[Recovered]:
    found = await recover(ShardContext(config, 0, 1, WORKER), discard=discard, current=lambda: True)
    try:
        yield found
    finally:
        await client.end(found.producer)


async def make(kafka: EmbeddedKafka, prefix: str, **changes: object) -> Settings:
    config = settings(kafka, prefix, **changes)
    await make_topics(config)
    return config


async def work(kafka: EmbeddedKafka, config: Settings, discard: RebuildCutoff | None = None) -> int:
    """Reads all views in one go, in two checkpoints. Returns the generation."""
    async with recovered(config, discard=discard) as found:
        shard = shard_of(found.machine)
        records = await everything(kafka, config.topic(INPUTS[Kind.VIEWS]))
        rest = [record for record in records if record.offset >= shard.positions[Kind.VIEWS]]
        half = len(rest) // 2
        for part in (rest[:half], rest[half:]):
            shard.read(Kind.VIEWS, part)
            await write(config, found, shard)
        shard.finish()
        while shard.work(100):
            pass
        await write(config, found, shard)
        return shard.generation


async def write(config: Settings, found: Recovered, shard: Shard) -> None:
    outputs = shard.collect()
    if outputs is not None:
        shard.committed(
            outputs.checkpoint, await Checkpoints(ShardContext(config, 0, 1, WORKER), found.producer).write(outputs)
        )


async def delete_records(kafka: EmbeddedKafka, topic: str, before: int, partition: int = 0) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})
    finally:
        await admin.close()


def test_with_nothing_there_it_begins_where_it_is_told(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(5))
        for start, position in (("earliest", 0), ("latest", 5)):
            async with recovered(settings(kafka, prefix, start_at=start)) as found:
                assert shard_of(found.machine).positions == {Kind.VIEWS: position, Kind.COMMENTS: 0, Kind.CHECKOUTS: 0}
                assert (shard_of(found.machine).generation, found.records) == (0, 0)

    asyncio.run(main())


def test_a_state_is_continued_from_its_own_positions(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        await work(kafka, config)
        async with recovered(config) as found:
            assert shard_of(found.machine).positions[Kind.VIEWS] == 10
            assert found.records == 3
            assert shard_of(found.machine).view(5).busiest[0].views == 10

    asyncio.run(main())


def test_an_aborted_first_checkpoint_is_nothing(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        context = ShardContext(config, 0, 1, WORKER)
        async with producer(kafka, transactional_id=context.transactional_id) as half:
            await half.begin_transaction()
            for topic in (SESSION_WINDOWS, SESSIONS, STATE):
                await half.send_and_wait(config.topic(topic), b"half", key=b"k", partition=0)
            async with recovered(config) as found:
                assert shard_of(found.machine).positions[Kind.VIEWS] == 0

    asyncio.run(main())


def test_a_foreign_open_transaction_is_waited_for(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(4))
        await work(kafka, config)
        async with producer(kafka, transactional_id=prefix + "foreign") as foreign:
            await foreign.begin_transaction()
            await foreign.send_and_wait(config.topic(STATE), b"x", key=b"x", partition=0)
            waiting = asyncio.ensure_future(anext_of(config))
            done, _ = await asyncio.wait({waiting}, timeout=1.5)
            assert not done, "the end of the state cannot be known yet"
            await foreign.abort_transaction()
            assert await asyncio.wait_for(waiting, PATIENCE) == 4

    async def anext_of(config: Settings) -> int:
        async with recovered(config) as found:
            return shard_of(found.machine).positions[Kind.VIEWS]

    asyncio.run(main())


def test_a_hanging_transaction_is_fenced_again_after_the_transaction_timeout(kafka: EmbeddedKafka, prefix: str) -> None:
    """What hangs is another's; each round begins with the producer anew, until the assignment is gone."""
    rounds = 0

    def current() -> bool:
        nonlocal rounds
        rounds += 1
        return rounds <= 2

    async def main() -> None:
        config = await make(kafka, prefix, transaction_timeout=timedelta(seconds=1))
        async with producer(kafka, transactional_id=prefix + "foreign") as foreign:
            await foreign.begin_transaction()
            await foreign.send_and_wait(config.topic(STATE), b"x", key=b"x", partition=0)
            with pytest.raises(OutdatedError):
                await recover(ShardContext(config, 0, 1, WORKER), discard=None, current=current)
            assert rounds == 3
            await foreign.abort_transaction()

    asyncio.run(main())


async def verify_partitions(kafka: EmbeddedKafka, *, enabled: bool) -> None:
    """Whether the broker asks the coordinator if a partition belongs to a transaction."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        setting = {"transaction.partition.verification.enable": "true" if enabled else "false"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", setting)])
    finally:
        await admin.close()


def test_a_transaction_that_its_coordinator_has_forgotten_is_ended(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(config: Settings) -> None:
        """Writes to the state as our own producer, without telling the coordinator of the partition."""
        with monkeypatch.context() as forgetful:
            forgetful.setattr(TransactionManager, "maybe_add_partition_to_txn", lambda _self, _partition: None)
            async with producer(kafka, transactional_id=ShardContext(config, 0, 1, WORKER).transactional_id) as ours:
                await ours.begin_transaction()
                await ours.send_and_wait(config.topic(STATE), b"half", key=b"k", partition=0)
                await ours.abort_transaction()  # of no partition: nothing is told to the coordinator

    async def hang_once_it_may(config: Settings) -> None:
        """A broker takes a changed setting over after it has confirmed the change."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(InvalidTxnState):
                    return await hang(config)

    async def main() -> None:
        config = await make(kafka, prefix, transaction_timeout=timedelta(seconds=2))
        await send_views(kafka, config, range(10))
        await work(kafka, config)
        await verify_partitions(kafka, enabled=False)
        try:
            await hang_once_it_may(config)
            async with asyncio.timeout(PATIENCE), recovered(config) as found:
                assert shard_of(found.machine).positions[Kind.VIEWS] == 10
        finally:
            await verify_partitions(kafka, enabled=True)

    asyncio.run(main())


def test_an_assignment_that_is_gone_starts_no_producer(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        async with recovered(config) as found:
            with pytest.raises(OutdatedError):
                await recover(ShardContext(config, 0, 1, WORKER), discard=None, current=lambda: False)
            checkpoints = Checkpoints(ShardContext(config, 0, 1, WORKER), found.producer)
            await checkpoints.check_ownership({Kind.VIEWS: 0})  # it is not fenced

    asyncio.run(main())


def test_without_a_state_but_with_results_it_is_refused_until_rebuilt(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        result = orjson.dumps({"generation": 6, "session_id": "s1"})
        strange = b'{"generation":%b}' % (b"9" * 5000)
        await send(kafka, config.topic(SESSIONS), [(b"s1", result), (b"s2", b'{"generation":9}'), (b"s3", strange)])
        with pytest.raises(UsageError, match=f"{prefix}live.sessions holds results.*--rebuild"):
            await work(kafka, config)
        await send_views(kafka, config, range(4))
        assert await work(kafka, config, discard=RebuildCutoff(0)) == 7
        async with recovered(config, discard=RebuildCutoff(0)) as found:
            assert shard_of(found.machine).generation == 7, "what was written since is continued, not rebuilt again"
            assert shard_of(found.machine).positions[Kind.VIEWS] == 4
        windows = await everything(kafka, config.topic(SESSION_WINDOWS))
        assert {orjson.loads(record.value)["generation"] for record in windows} == {7}

    asyncio.run(main())


def test_without_a_state_but_with_offsets_of_the_group_it_is_refused(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        context = ShardContext(config, 0, 1, WORKER)
        async with recovered(config) as found:
            await Checkpoints(context, found.producer).check_ownership({Kind.VIEWS: 0})
        with pytest.raises(UsageError, match=f"the group {config.group} has offsets"):
            await work(kafka, config)

    asyncio.run(main())


def test_an_older_state_is_rebuilt_and_a_newer_one_is_not(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(4))
        assert await work(kafka, config) == 0
        before = (await states_now(WORKER, config, 1))[0]
        async with recovered(config, discard=before) as found:
            assert shard_of(found.machine).generation == 1
            assert shard_of(found.machine).positions[Kind.VIEWS] == 0
        assert await work(kafka, config, discard=before) == 1
        async with recovered(config, discard=before) as found:
            assert (shard_of(found.machine).generation, shard_of(found.machine).positions[Kind.VIEWS]) == (1, 4)

    asyncio.run(main())


def test_changed_settings_are_refused_by_name(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(4))
        await work(kafka, config)
        with pytest.raises(UsageError, match=r"other settings: --windows was 1m,5m/1m, is now 2m\. .*--rebuild"):
            await work(kafka, settings(kafka, prefix, windows="2m"))
        assert await work(kafka, settings(kafka, prefix, windows="2m"), discard=RebuildCutoff(10**9)) == 1

    asyncio.run(main())


def test_anothers_state_is_refused(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(4))
        await work(kafka, config)
        with pytest.raises(UsageError, match=f"another's: its group is {config.group}, not someone-else"):
            await work(kafka, config.model_copy(update={"group": "someone-else"}))

    asyncio.run(main())


def test_an_unreadable_state_is_refused_until_rebuilt(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send(kafka, config.topic(STATE), [(b"0/0", b"\xff")])
        with pytest.raises(UsageError, match="cannot be read: the record at offset 0 is a state of version 255"):
            await work(kafka, config)
        await send_views(kafka, config, range(4))
        assert await work(kafka, config, discard=RebuildCutoff(10)) == 1
        async with recovered(config) as found:
            assert shard_of(found.machine).positions[Kind.VIEWS] == 4

    asyncio.run(main())


def test_deleted_records_are_a_gap(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        views = config.topic(INPUTS[Kind.VIEWS])
        await send_views(kafka, config, range(10))
        await work(kafka, config)
        await send_views(kafka, config, range(10, 30))
        await delete_records(kafka, views, 25)
        async with recovered(config) as found:
            assert shard_of(found.machine).positions[Kind.VIEWS] == 25
            outputs = shard_of(found.machine).collect()
            assert outputs is not None
            assert outputs.tally.lost_offsets == 15

    asyncio.run(main())


def test_a_rebuild_of_a_topic_whose_beginning_is_gone_is_a_gap(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        await work(kafka, config)
        await delete_records(kafka, config.topic(INPUTS[Kind.VIEWS]), 4)
        async with recovered(config, discard=RebuildCutoff(10**9)) as found:
            assert shard_of(found.machine).positions[Kind.VIEWS] == 4
            assert Kind.VIEWS in shard_of(found.machine).gaps

    asyncio.run(main())


def test_a_position_beyond_the_end_is_refused(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a state of a version that did not know the topics' ids it is all that shows."""

    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        with monkeypatch.context() as before:
            before.setattr("stream.kafka.topicids.fetch", no_ids)
            await work(kafka, config)
        await make_anew(config, INPUTS[Kind.VIEWS])
        with pytest.raises(UsageError, match=r"ends at 0, but was read up to 10: the topic was made anew.*--rebuild"):
            await work(kafka, config)

    monkeypatch.setattr("stream.kafka.recovery.BEYOND_CHECKS", 1)
    asyncio.run(main())


async def no_ids(*_: object) -> dict[str, str]:
    return {}


@pytest.mark.parametrize("name", [INPUTS[Kind.VIEWS], SESSIONS])
def test_a_topic_made_anew_is_refused_however_long_it_is(kafka: EmbeddedKafka, prefix: str, name: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        await work(kafka, config)
        await make_anew(config, name)
        await send_views(kafka, config, range(100, 300))
        told = rf"^{prefix}{name} was made anew: it is not what the state of partition 0 .*state adopt.*--rebuild"
        with pytest.raises(StateRefusedError, match=told) as raised:
            await work(kafka, config)
        assert raised.value.everywhere
        async with recovered(config, discard=ANY) as found:
            assert shard_of(found.machine).topic_ids == await topicids.current(WORKER, config)

    asyncio.run(main())


def test_a_state_without_ids_takes_those_it_finds_and_keeps_them(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        with monkeypatch.context() as before:
            before.setattr("stream.kafka.topicids.fetch", no_ids)
            await work(kafka, config)
        async with recovered(config) as found:
            assert shard_of(found.machine).topic_ids == await topicids.current(WORKER, config)
            assert shard_of(found.machine).moved
        await work(kafka, config)
        await make_anew(config, INPUTS[Kind.VIEWS])
        with pytest.raises(StateRefusedError, match="was made anew"):
            await work(kafka, config)

    asyncio.run(main())


def test_dead_letters_made_anew_are_no_reason_to_stop(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        await work(kafka, config)
        await make_anew(config, DEAD_LETTERS)
        async with recovered(config) as found:
            assert shard_of(found.machine).topic_ids == await topicids.current(WORKER, config)

    asyncio.run(main())
