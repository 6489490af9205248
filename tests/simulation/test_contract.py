"""What the protocol relies on in Kafka. Each holds for the Kafka in memory and for a real one, or the fake has drifted."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError, ProducerFenced

from stream.kafka import client, topicids
from stream.kafka.inputs import Inputs
from stream.kafka.memory import Memory
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, KINDS, Kind
from stream.sessions.role import WORKER
from tests.simulation.stage import COMPACTED, Demo, eventually, started
from tests.support import PATIENCE

Found = list[tuple[int, bytes | None]]


def views(stage: Demo, number: int = 0) -> TopicPartition:
    return TopicPartition(stage.settings.topic(INPUTS[Kind.VIEWS]), number)


def producer(stage: Demo, name: str = "a") -> Any:
    return client.make_producer(stage.settings, stage.settings.group + name)


async def write(producer: Any, partition: TopicPartition, *values: bytes, key: bytes = b"k") -> int:
    """The offset of the last."""
    offset = -1
    for value in values:
        offset = (await producer.send_and_wait(partition.topic, value, key=key, partition=partition.partition)).offset
    return offset


async def transaction(producer: Any, partition: TopicPartition, *values: bytes, abort: bool = False) -> None:
    await producer.begin_transaction()
    await write(producer, partition, *values)
    await (producer.abort_transaction() if abort else producer.commit_transaction())


async def bounds(stage: Demo, partition: TopicPartition) -> tuple[int, int]:
    async with started(client.make_reader(stage.settings), stage.settings) as reader:
        begins, ends = await reader.beginning_offsets([partition]), await reader.end_offsets([partition])
        return begins[partition], ends[partition]


async def read(stage: Demo, partition: TopicPartition, start: int = 0, until: int | None = None) -> Found:
    """All that can be read up to the last stable offset."""
    async with started(client.make_reader(stage.settings, wait_ms=50), stage.settings) as reader:
        reader.assign([partition])
        reader.seek(partition, start)
        end = (await reader.end_offsets([partition]))[partition] if until is None else until
        found: Found = []
        async with asyncio.timeout(PATIENCE):
            while await reader.position(partition) < end:
                batches = await reader.getmany(partition, timeout_ms=20)
                found += [(record.offset, record.value) for record in batches.get(partition, ())]
        return found


def test_markers_take_offsets_and_what_was_aborted_is_passed_over(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = views(stage)
        async with started(producer(stage), stage.settings) as writer:
            await transaction(writer, context, b"1", b"2")
            await transaction(writer, context, b"3", abort=True)
            await transaction(writer, context, b"4")
            await transaction(writer, context)  # nothing: no marker either

            async def all_marked() -> bool:
                return await bounds(stage, context) == (0, 7)

            await eventually(all_marked, "the last marker is there")
        assert await read(stage, context) == [(0, b"1"), (1, b"2"), (5, b"4")]
        assert await read(stage, context, 3) == [(5, b"4")]
        assert await read(stage, context, 6) == []

    stage.play(act)


def test_an_open_transaction_holds_back_what_others_write_behind_it(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = views(stage)
        async with (
            started(producer(stage), stage.settings) as slow,
            started(producer(stage, "b"), stage.settings) as quick,
            started(client.make_reader(stage.settings, wait_ms=50), stage.settings) as reader,
        ):
            await transaction(quick, context, b"before")

            async def marked() -> bool:
                return (await bounds(stage, context))[1] == 2

            await eventually(marked, "the first transaction has its marker")
            await slow.begin_transaction()
            await write(slow, context, b"open")
            await transaction(quick, context, b"behind")
            assert await marked(), "nothing behind it counts"
            reader.assign([context])
            assert reader.highwater(context) is None
            reader.seek(context, 2)
            assert await reader.getmany(context, timeout_ms=200) == {}

            async def seen() -> bool:
                await reader.getmany(context, timeout_ms=50)
                return (reader.last_stable_offset(context), reader.highwater(context)) == (2, 5)

            await eventually(seen, "the reader knows what is held back")
            assert await read(stage, context) == [(0, b"before")]
            await slow.commit_transaction()

            async def stable() -> bool:
                return (await bounds(stage, context))[1] == 6

            await eventually(stable, "nothing is open any more")
        assert await read(stage, context) == [(0, b"before"), (2, b"open"), (3, b"behind")]

    stage.play(act)


def test_who_reads_uncommitted_sees_what_is_open_and_what_was_aborted_but_no_markers(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = views(stage)
        async with (
            started(producer(stage), stage.settings) as first,
            started(producer(stage, "b"), stage.settings) as second,
            started(client.make_reader(stage.settings, wait_ms=50, uncommitted=True), stage.settings) as reader,
        ):
            await transaction(first, context, b"1", abort=True)

            async def marked() -> bool:
                return (await bounds(stage, context))[1] == 2

            await eventually(marked, "the first transaction has its marker")
            await second.begin_transaction()
            await write(second, context, b"open")
            reader.assign([context])
            reader.seek(context, 0)
            found: Found = []
            async with asyncio.timeout(PATIENCE):
                while await reader.position(context) < 3:
                    batches = await reader.getmany(context, timeout_ms=20)
                    found += [(record.offset, record.value) for record in batches.get(context, ())]
            assert found == [(0, b"1"), (2, b"open")]
            await second.abort_transaction()

    stage.play(act)


def test_whoever_starts_last_is_the_producer_and_ends_what_was_open(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = views(stage)
        async with started(producer(stage), stage.settings) as zombie:
            await transaction(zombie, context, b"mine")
            await zombie.begin_transaction()
            await write(zombie, context, b"half")
            async with started(producer(stage), stage.settings) as heir:
                assert (await bounds(stage, context))[1] == 4, "with its start, nothing is open"
                with pytest.raises(ProducerFenced):
                    await write(zombie, context, b"other half")
                await transaction(heir, context, b"theirs")
        assert [value for _, value in await read(stage, context)] == [b"mine", b"theirs"]

    stage.play(act)


def test_a_fenced_producer_is_of_no_use_any_more(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = views(stage)
        async with (
            started(producer(stage), stage.settings) as zombie,
            started(producer(stage), stage.settings),
        ):
            with pytest.raises(ProducerFenced):
                await transaction(zombie, context, b"late")
            with pytest.raises(AssertionError):
                await zombie.begin_transaction()
            with pytest.raises(AssertionError):
                await zombie.abort_transaction()

    stage.play(act)


def test_the_groups_offsets_belong_to_the_transaction(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context, group = views(stage), stage.settings.group
        async with (
            started(producer(stage), stage.settings) as writer,
            started(client.make_admin(stage.settings), stage.settings) as admin,
        ):

            async def offset() -> int:
                try:
                    found = await admin.list_consumer_group_offsets(group, partitions=[context])
                except Exception as error:  # noqa: BLE001 - a coordinator that is not there yet, of whatever kind
                    return -2 if "oordinator" in type(error).__name__ else 0
                return int(found[context].offset) if context in found else -2

            async def nothing() -> bool:
                return await offset() == -1

            async def eleven() -> bool:
                return await offset() == 11

            await eventually(nothing, "there is a coordinator")
            await writer.begin_transaction()
            await writer.send_offsets_to_transaction({context: 7}, group)
            await writer.abort_transaction()
            await writer.begin_transaction()
            await writer.send_offsets_to_transaction({context: 11}, group)
            assert await offset() == -1
            await writer.commit_transaction()
            await eventually(eleven, "what was committed is there")

    stage.play(act)


def test_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = views(stage)
        async with started(producer(stage), stage.settings) as slow:
            await slow.begin_transaction()
            await write(slow, context, b"half")

            async def aborted() -> bool:
                return (await bounds(stage, context))[1] == 2

            await eventually(aborted, "the broker has aborted it", stage.sweep_seconds + PATIENCE)
            with pytest.raises(ProducerFenced):
                await slow.commit_transaction()
        assert await read(stage, context) == []

    stage.play(act)


def test_a_batch_tells_its_first_offset_and_transactions_follow_each_other_at_once(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = views(stage)
        async with started(producer(stage), stage.settings) as writer:
            for first in (0, 4, 8):
                await writer.begin_transaction()
                batch = writer.create_batch()
                for _ in range(3):
                    assert batch.append(key=b"k", value=b"v", timestamp=None, headers=[("h", b"1")]) is not None
                batch.close()
                arrived = await writer.send_batch(batch, context.topic, partition=0)
                assert (await arrived).offset == first
                await writer.commit_transaction()

    stage.play(act)


def test_places_that_do_not_exist_are_refused(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = views(stage)
        async with started(producer(stage), stage.settings) as writer:
            await transaction(writer, context, *(b"%d" % number for number in range(6)))

            async def marked() -> bool:
                return await bounds(stage, context) == (0, 7)

            await eventually(marked, "its marker is there")
        await stage.delete_before(context, 4)
        assert await bounds(stage, context) == (4, 7)
        assert [offset for offset, _ in await read(stage, context, 4)] == [4, 5]
        for outside in (2, 100):
            with pytest.raises(OffsetOutOfRangeError):
                await read(stage, context, outside, until=200)

    stage.play(act)


def test_compaction_keeps_the_newest_of_each_key_at_its_offset(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics()
        context = TopicPartition(stage.settings.topic(COMPACTED), 0)

        async def put(writer: Any, key: bytes, value: bytes, *, abort: bool = False) -> None:
            await writer.begin_transaction()
            await write(writer, context, value, key=key)
            await (writer.abort_transaction() if abort else writer.commit_transaction())

        async with started(producer(stage), stage.settings) as writer:
            await put(writer, b"a", b"1")
            await put(writer, b"b", b"2")
            await put(writer, b"a", b"3")
            await put(writer, b"b", b"no", abort=True)

            async def compacted() -> bool:
                await put(writer, b"z", b"rolls the segment")
                await stage.compact(context)
                found = await read(stage, context)
                kept = [(offset, value) for offset, value in found if value != b"rolls the segment"]
                return kept == [(2, b"2"), (4, b"3")]

            await eventually(compacted, "only the newest values are left")
        assert (await bounds(stage, context))[0] == 0, "what is gone leaves gaps"

    stage.play(act)


def test_a_topic_made_anew_has_another_id_and_hands_out_nothing_under_the_old_one(stage: Demo) -> None:
    async def act() -> None:
        context = ShardContext(stage.settings, 0, 1, WORKER)
        await stage.make_topics()
        before = await topicids.current(WORKER, stage.settings)
        assert len(before) == len(set(before.values())) == 8
        inputs = Inputs(context, Memory(2**30))
        await inputs.start(dict.fromkeys(KINDS, 0), before)
        try:
            async with started(producer(stage), stage.settings) as sender:
                await transaction(sender, views(stage), b"1", b"2")
            found = await taken(inputs, 2)
            await stage.make_anew(INPUTS[Kind.VIEWS])
            now = await topicids.current(WORKER, stage.settings)
            assert topicids.made_anew(WORKER, before, now) == [INPUTS[Kind.VIEWS]]
            async with started(producer(stage, "b"), stage.settings) as sender:
                await transaction(sender, views(stage), *[b"other"] * 9)
                await transaction(sender, context.inputs[Kind.COMMENTS], b"3")
            found += await taken(inputs, 1)
            found += await taken(inputs, 1, seconds=1.0)
            assert found == [(Kind.VIEWS, b"1"), (Kind.VIEWS, b"2"), (Kind.COMMENTS, b"3")]
        finally:
            await inputs.stop()
        again = Inputs(context, Memory(2**30))
        await again.start(dict.fromkeys(KINDS, 0), now)
        try:
            assert await taken(again, 10) == [(Kind.VIEWS, b"other")] * 9 + [(Kind.COMMENTS, b"3")]
        finally:
            await again.stop()

    stage.play(act)


async def taken(inputs: Inputs, number: int, seconds: float = PATIENCE) -> list[tuple[Kind, bytes | None]]:
    """So many records, or what comes of them in that time; views before comments."""
    found: list[tuple[Kind, bytes | None]] = []
    end = asyncio.get_running_loop().time() + seconds
    while len(found) < number and asyncio.get_running_loop().time() < end:
        for kind, records in (await inputs.fetch(KINDS, 0.05, 100)).items():
            found += [(kind, record.value) for record in records]
    return sorted(found, key=lambda each: KINDS.index(each[0]))
