"""Logs in memory: records in order, each until the checkpoint after it, and a sender that waits for room."""

import asyncio
import time

import pytest
from aiokafka.partitioner import DefaultPartitioner

from stream.core.brokertime import BrokerTime
from stream.model.messages import Message
from stream.model.names import KINDS, Kind
from stream.model.results import Outputs
from stream.sandbox import memory_log
from stream.sandbox.memory_log import MemoryCheckpoints, MemoryInputs, MemorySender
from tests.support import eventually_async


def view(number: int, key: bytes | None = b"7") -> Message:
    return Message(number, Kind.VIEWS, key, b"%d" % number, number)


def filled(number: int) -> MemoryInputs:
    inputs = MemoryInputs(KINDS)
    for each in range(number):
        inputs.append(1000 + each, view(each))
    return inputs


def fetch(inputs: MemoryInputs, most: int = 100) -> list[tuple[int, bytes | None]]:
    found = asyncio.run(inputs.fetch(KINDS, 0.0, most))
    return [(record.offset, record.value) for record in found.get(Kind.VIEWS, [])]


def test_records_come_in_order_and_no_more_than_asked_for() -> None:
    inputs = filled(5)
    assert not inputs.caught_up(Kind.VIEWS)
    assert fetch(inputs, 3) == [(0, b"0"), (1, b"1"), (2, b"2")]
    assert (inputs.lag(Kind.VIEWS), inputs.behind()) == (2, [Kind.VIEWS])
    assert fetch(inputs, 3) == [(3, b"3"), (4, b"4")]
    assert inputs.caught_up(Kind.VIEWS)
    assert fetch(inputs) == []


def test_what_is_not_committed_can_be_read_again_and_what_is_committed_is_gone() -> None:
    inputs = filled(5)
    fetch(inputs)
    inputs.drop({Kind.VIEWS: 3})
    assert inputs.held == 2
    inputs.seek({Kind.VIEWS: 3})
    inputs.append(0, view(5))
    assert fetch(inputs) == [(3, b"3"), (4, b"4"), (5, b"5")]


def test_no_record_is_older_than_the_one_before() -> None:
    inputs = filled(2)
    inputs.append(7, view(2))
    [records] = asyncio.run(inputs.fetch(KINDS, 0.0, 9)).values()
    assert [record.timestamp for record in records] == [1000, 1001, 1001]


def test_a_fetch_waits_for_records_and_no_longer_than_it_may() -> None:
    async def run() -> None:
        inputs = MemoryInputs(KINDS)
        assert await inputs.fetch(KINDS, 0.01, 9) == {}
        waiting = asyncio.create_task(inputs.fetch(KINDS, 600.0, 9))
        await asyncio.sleep(0)
        inputs.append(1, view(0))
        async with asyncio.timeout(60):
            assert list(await waiting) == [Kind.VIEWS]

    asyncio.run(run())


def test_a_checkpoint_frees_what_it_has_counted_tells_the_time_and_is_told() -> None:
    inputs, clock = filled(5), BrokerTime()
    told: list[object] = []
    checkpoints = MemoryCheckpoints(inputs, clock, told.append)
    first, second = (
        Outputs(state=[(b"", b"")] * number, positions={Kind.VIEWS: number}, checkpoint=number) for number in (2, 3)
    )
    offsets = [asyncio.run(checkpoints.write(each)) for each in (first, second)]
    assert offsets == [0, 2]
    assert told == [first, second]
    assert inputs.held == 2
    assert abs((clock.now(time.monotonic()) or 0) - time.time()) < 60
    assert not clock.is_wanted(time.monotonic(), time.time())


def test_keys_go_to_the_shard_that_kafka_would_give_them_to() -> None:
    shards = [MemoryInputs(KINDS) for _ in range(4)]
    numbers = [0, 1, 2, 3]
    keys = [b"%d" % number for number in range(50)]
    asyncio.run(MemorySender(shards).send([view(1, key) for key in [*keys, None]]))
    place = DefaultPartitioner()
    expected = [place(key, numbers, numbers) for key in keys]
    found = {
        record.key: number
        for number, shard in enumerate(shards)
        for record in asyncio.run(shard.fetch(KINDS, 0.0, 100)).get(Kind.VIEWS, [])
    }
    assert [found[key] for key in keys] == expected
    assert found[None] == 0


def test_traffic_waits_while_the_shards_are_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_log, "MOST_HELD", 3)

    async def run() -> None:
        inputs = MemoryInputs(KINDS)
        sender = MemorySender([inputs])
        await sender.send([view(number) for number in range(4)])
        waiting = asyncio.create_task(sender.send([view(4)]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert inputs.held == 4
        inputs.drop({Kind.VIEWS: 4})
        await eventually_async(waiting.done, what="it goes on")
        assert inputs.held == 1

    asyncio.run(run())
