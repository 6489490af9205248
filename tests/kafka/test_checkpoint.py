"""One checkpoint is one transaction: all of it is there, or nothing."""

import asyncio
import errno
import gc
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.transaction import EndTxnRequest

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import client
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.patches.end_txn import SpentError
from stream.kafka.shard_context import CheckpointError, CommittedError, FencedError, ShardContext
from stream.model.names import DEAD_LETTERS, SESSION_WINDOWS, SESSIONS, STATE, Kind, Reason
from stream.model.results import DeadLetter, Outputs
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.core.test_deadletters import Given
from tests.kafka.tools import everything, headers, make_topics, send_views, settings, stopped, until, worker

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def checkpoints(context: ShardContext) -> AsyncIterator[Checkpoints]:
    producer = client.make_producer(context.settings, context.transactional_id)
    await client.start(producer, context.settings)
    try:
        yield Checkpoints(context, producer)
    finally:
        await client.end(producer)


def outputs(mark: bytes = b"1", *, count: int = 1) -> Outputs:
    pairs = [(b"k%d" % number, mark) for number in range(count)]
    letter = DeadLetter(Kind.COMMENTS, Given(b"{", offset=4), Reason.INVALID_JSON, "value: not JSON")
    positions = {Kind.VIEWS: 11, Kind.COMMENTS: 5, Kind.CHECKOUTS: 0}
    return Outputs(windows=pairs, sessions=pairs, dead_letters=[letter], state=pairs, positions=positions, generation=4)


async def group_offsets(config: Settings, context: ShardContext) -> dict[Kind, int | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=config.brokers, group_id=config.group, enable_auto_commit=False)
    await consumer.start()
    try:
        return {kind: await consumer.committed(tp) for kind, tp in context.inputs.items()}
    finally:
        await consumer.stop()


async def a_context(kafka: EmbeddedKafka, prefix: str, partitions: int = 2) -> ShardContext:
    config = settings(kafka, prefix)
    await make_topics(config, partitions)
    return ShardContext(config, 1, partitions, WORKER)


async def committed(kafka: EmbeddedKafka, context: ShardContext) -> dict[str, list[bytes]]:
    found = {}
    for name in (SESSION_WINDOWS, SESSIONS, DEAD_LETTERS, STATE):
        records = await everything(kafka, context.settings.topic(name), context.partition)
        found[name] = [record.value for record in records]
    return found


def test_everything_goes_to_the_shards_partition_with_the_groups_offsets(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        context = await a_context(kafka, prefix)
        async with checkpoints(context) as written:
            assert await written.write(outputs()) == 0
            assert await written.write(outputs(b"2")) == 2  # after the record and its transaction's marker
        found = await committed(kafka, context)
        assert found == {
            SESSION_WINDOWS: [b"1", b"2"],
            SESSIONS: [b"1", b"2"],
            DEAD_LETTERS: [b"{", b"{"],
            STATE: [b"1", b"2"],
        }
        letter = (await everything(kafka, context.settings.topic(DEAD_LETTERS), 1))[0]
        assert headers(letter)["liveshop-origin"] == f"{prefix}live.comments/1/4/1234".encode()
        assert headers(letter)["liveshop-generation"] == b"4"
        assert await everything(kafka, context.settings.topic(STATE), 0) == []
        assert await group_offsets(context.settings, context) == {Kind.VIEWS: 11, Kind.COMMENTS: 5, Kind.CHECKOUTS: 0}

    asyncio.run(main())


@pytest.mark.parametrize("error", [TypeError("a slip"), MemoryError(), OSError(errno.ENOSPC, "full")])
def test_a_fault_of_ours_is_raised_as_it_is(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Another producer would meet it again and again: it is no trouble with brokers, which is waited for."""

    async def main() -> None:
        context = await a_context(kafka, prefix)
        async with checkpoints(context) as written:

            async def fail(_: object) -> None:
                raise error

            monkeypatch.setattr(written, "_send_offsets", fail)
            with pytest.raises(type(error)):
                await written.write(outputs())

    asyncio.run(main())


def test_many_and_large_records_are_one_transaction_too(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        context = await a_context(kafka, prefix)
        large = Outputs(
            windows=[(b"k%d" % number, b"x" * 1000) for number in range(5000)],
            dead_letters=[DeadLetter(Kind.VIEWS, Given(b"v" * 3_900_000), Reason.LATE, "event_time: late")],
            state=[(b"0/%d" % part, bytes([part]) * 900_000) for part in range(4)],
        )
        async with checkpoints(context) as written:
            assert await written.write(large) == 0
        found = await committed(kafka, context)
        assert [len(found[name]) for name in (SESSION_WINDOWS, DEAD_LETTERS, STATE)] == [5000, 1, 4]
        assert [value[:1] for value in found[STATE]] == [b"\0", b"\1", b"\2", b"\3"]

    asyncio.run(main())


def test_a_zombie_is_fenced_and_leaves_nothing(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        context = await a_context(kafka, prefix)
        async with checkpoints(context) as zombie:
            await zombie.write(outputs(b"zombie, still in charge"))
            async with checkpoints(context) as heir:
                with pytest.raises(FencedError):
                    await zombie.write(outputs(b"zombie"))
                await heir.write(outputs(b"heir"))
                with pytest.raises((FencedError, CheckpointError)):
                    await zombie.write(outputs(b"zombie again"))
        assert (await committed(kafka, context))[STATE] == [b"zombie, still in charge", b"heir"]

    asyncio.run(main())


def test_a_fence_leaves_nothing_for_asyncio_to_complain_of(kafka: EmbeddedKafka, prefix: str) -> None:
    complaints: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
        context = await a_context(kafka, prefix)
        async with checkpoints(context) as zombie:
            await zombie.write(outputs())
            async with checkpoints(context):
                with pytest.raises(FencedError):
                    await zombie.write(outputs(count=3000))
        del zombie
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    gc.collect()
    assert complaints == []


def test_a_probe_shows_the_fence_without_writing_results(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        context = await a_context(kafka, prefix)
        async with checkpoints(context) as first:
            await first.check_ownership({Kind.VIEWS: 3})
            async with checkpoints(context):
                with pytest.raises(FencedError):
                    await first.check_ownership({Kind.VIEWS: 4})
        assert (await group_offsets(context.settings, context))[Kind.VIEWS] == 3
        assert (await committed(kafka, context))[STATE] == []

    asyncio.run(main())


@pytest.mark.parametrize("arrives", [True, False])
def test_an_end_that_nobody_confirmed_is_asked_for_again_and_its_producer_given_up(
    kafka: EmbeddedKafka, prefix: str, *, arrives: bool
) -> None:
    """A late copy of the first request would commit the next transaction, half written."""

    async def main() -> None:
        context = await a_context(kafka, prefix)
        with pytest.MonkeyPatch.context() as patch:
            asked = unanswered(patch, arrives=arrives)
            async with checkpoints(context) as one:
                with pytest.raises(CommittedError) as caught:
                    await one.write(outputs())
                with pytest.raises(CheckpointError) as again:
                    await one.write(outputs(b"2"))
        assert isinstance(caught.value.__cause__, SpentError)
        assert not isinstance(again.value, CommittedError)
        assert asked == [2]
        assert (await committed(kafka, context))[STATE] == [b"1"]
        async with checkpoints(context) as heir:
            await heir.write(outputs(b"3"))
        assert (await committed(kafka, context))[STATE] == [b"1", b"3"]

    asyncio.run(main())


@pytest.mark.parametrize("arrives", [True, False])
def test_metrics_count_a_checkpoint_that_cost_its_producer(kafka: EmbeddedKafka, prefix: str, *, arrives: bool) -> None:
    """It is committed: its records are not read again, so nobody else would count them."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, arrives=arrives)
            async with worker(config) as memory:
                await send_views(kafka, config, range(20))
                await until(lambda: len(memory.recoveries) == 2, "the shard has begun again")
                assert memory.counted == 20
                assert memory.failures == []
                await send_views(kafka, config, range(20, 40))
                await until(lambda: memory.counted == 40, "the later ones are counted as well")

    asyncio.run(main())


def unanswered(patch: pytest.MonkeyPatch, *, arrives: bool) -> list[int]:
    """The first time, the connection breaks before the broker has said that the transaction has ended. Returns a counter."""
    send, asked = AIOKafkaClient.send, [0]

    async def broken(self: Any, node: Any, request: Any, **options: Any) -> Any:
        asked[0] += isinstance(request, EndTxnRequest)
        is_first = isinstance(request, EndTxnRequest) and asked == [1]
        if arrives or not is_first:
            answer = await send(self, node, request, **options)
        if is_first:
            raise KafkaConnectionError("cut")
        return answer

    patch.setattr(AIOKafkaClient, "send", broken)
    return asked


def test_a_broker_that_goes_while_it_is_asked_for_a_coordinator_is_not_the_end(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka would end its sender, and with it everything that was under way."""
    send, asked = AIOKafkaClient.send, [0]

    async def broken(self: Any, node: Any, request: Any, **options: Any) -> Any:
        asked[0] += isinstance(request, FindCoordinatorRequest)
        if isinstance(request, FindCoordinatorRequest) and asked[0] % 2:
            raise KafkaConnectionError("cut")
        return await send(self, node, request, **options)

    async def main() -> None:
        context = await a_context(kafka, prefix)
        with monkeypatch.context() as patch:
            patch.setattr(AIOKafkaClient, "send", broken)
            async with checkpoints(context) as written:
                await written.write(outputs())
        assert asked[0] > 1
        assert (await committed(kafka, context))[STATE] == [b"1"]

    asyncio.run(main())


def test_a_transaction_that_timed_out_is_a_fence(kafka: EmbeddedKafka, prefix: str) -> None:
    """The broker looks for transactions to abort every ten seconds; here it is told to by an heir that goes at once."""

    async def main() -> None:
        context = await a_context(kafka, prefix)
        producer = client.make_producer(context.settings, context.transactional_id)
        await client.start(producer, context.settings)
        await producer.begin_transaction()
        await producer.send_and_wait(context.state.topic, b"half", key=b"k", partition=1)
        async with checkpoints(context):
            pass
        with pytest.raises((FencedError, CheckpointError)):
            await Checkpoints(context, producer).write(outputs())
        await client.end(producer)
        assert (await committed(kafka, context))[STATE] == []

    asyncio.run(main())


def test_one_record_that_cannot_be_written_keeps_all_of_them_back(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        context = await a_context(kafka, prefix)
        async with checkpoints(context) as written:
            impossible = outputs()
            impossible.sessions = [(b"k", random.Random(1).randbytes(2_000_000))]  # does not compress
            with pytest.raises(UsageError) as raised:
                await written.write(impossible)
            assert isinstance(raised.value.__cause__, MessageSizeTooLargeError)
            told = f"{prefix}live.sessions has max.message.bytes=1048588: it must take 2000"
            assert str(raised.value).startswith(told)
        found = await committed(kafka, context)
        assert set(map(len, found.values())) == {0}
        async with checkpoints(context) as anew:
            await anew.write(outputs(b"next"))
        assert (await committed(kafka, context))[STATE] == [b"next"]

    asyncio.run(main())


def test_a_broker_that_does_not_answer_costs_the_transaction_timeout(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        context = await a_context(kafka, prefix)
        async with checkpoints(context) as written:
            await written.write(outputs())
            started = asyncio.get_running_loop().time()
            with stopped(kafka), pytest.raises(CheckpointError) as raised:
                await written.write(outputs(b"2"))
            assert isinstance(raised.value.__cause__, TimeoutError)
            assert asyncio.get_running_loop().time() - started < 5 + 15, "and what it takes to abort, on a busy machine"
        assert (await committed(kafka, context))[STATE] == [b"1"]

    asyncio.run(main())


def test_all_of_a_place_is_of_one_partition() -> None:
    context = ShardContext(Settings(brokers="a:1", topic_prefix="p.", group="g"), 2, 4, WORKER)
    assert context.transactional_id == "liveshop.p.live.state.live.2"
    assert context.earlier_id(context.owner) == "g.worker.live.2"
    assert context.state == TopicPartition("p.live.state", 2)
    assert {tp.partition for tp in (*context.inputs.values(), *context.outputs)} == {2}
