"""What is handed out is what aiokafka would hand out, and what it could not read."""

import asyncio
import gc
import re
import struct
import weakref
from pathlib import Path
from typing import Any, Final

import aiokafka
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.record.util import calc_crc32c

import stream
from stream.config import Settings
from stream.kafka import client, fetched
from stream.kafka.patches import fetch
from stream.kafka.patches.fetch import UnreadableError
from stream.model.names import DEAD_LETTERS, INPUTS, Kind, Reason
from stream.model.results import RefusedBatch, create_time
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.kafka.tools import (
    STAMPING,
    alter,
    damage,
    everything,
    make_topics,
    producer,
    send,
    send_batches,
    settings,
    views,
)
from tests.raw import LZ4, ZSTD, batch, checksummed, packed, record, send_raw
from tests.support import PATIENCE

SOURCE: Final = Path(stream.__file__).parent
pytestmark = pytest.mark.kafka


async def read_raw(config: Settings, topic: str) -> list[Any]:
    reader = client.make_reader(config, wait_ms=20)
    await client.start(reader, config)
    try:
        tp = TopicPartition(topic, 0)
        reader.assign([tp])
        reader.seek(tp, 0)
        end = (await reader.end_offsets([tp]))[tp]
        found: list[Any] = []
        while await reader.position(tp) < end:
            found += (await reader.getmany(tp, timeout_ms=20, max_records=7)).get(tp, [])
        return found
    finally:
        await client.end(reader)


def plain(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


async def in_transactions(sender: AIOKafkaProducer, topic: str) -> None:
    for number, commit in enumerate([True, False, True]):
        await sender.begin_transaction()
        for key in range(5):
            await sender.send(topic, b"%d" % number, key=b"%d" % key, partition=0)
        await (sender.commit_transaction() if commit else sender.abort_transaction())


def test_it_yields_what_the_ordinary_path_yields(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        await alter(kafka.bootstrap, config.topic(DEAD_LETTERS), {STAMPING: "CreateTime"})
        for topic in (config.topic(INPUTS[Kind.VIEWS]), config.topic(DEAD_LETTERS)):  # append time, create time
            for codec in ("lz4", "gzip", "zstd", "snappy", None):
                async with producer(kafka, compression_type=codec, linger_ms=20) as sender:
                    for number in range(20):
                        headers = [("a", b"1"), ("a", b""), ("ü", b"\xff")] if number % 3 else []
                        value = None if number % 5 == 0 else b"v%d" % number
                        await sender.send(topic, value, key=None if number == 7 else b"k", partition=0, headers=headers)
            async with producer(kafka, transactional_id=prefix + topic) as sender:
                await in_transactions(sender, topic)
            raw, ordinary = await read_raw(config, topic), await everything(kafka, topic)
            assert len(ordinary) == 110
            assert [plain(record) for record in raw] == [plain(record) for record in ordinary]
            assert type(raw[0]) is not type(ordinary[0])

    asyncio.run(main())


def test_what_is_handed_out_together_is_all_stamped_by_the_broker_or_all_by_producers(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    """The batches of a topic that was altered keep their type."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        tp, types = (
            TopicPartition(config.topic(INPUTS[Kind.VIEWS]), 0),
            ("LogAppendTime", "CreateTime", "LogAppendTime"),
        )
        for turn, stamping in enumerate(types):
            await alter(kafka.bootstrap, tp.topic, {STAMPING: stamping})
            await send_batches(kafka, config, [range(10 * turn, 10 * turn + 5), range(10 * turn + 5, 10 * turn + 10)])
        reader = client.make_reader(config, wait_ms=20)
        await client.start(reader, config)
        try:
            reader.assign([tp])
            reader.seek(tp, 0)
            found: list[tuple[int, bool]] = []
            async with asyncio.timeout(PATIENCE):
                while await reader.position(tp) < 30:
                    for records in (await reader.getmany(tp, timeout_ms=1000)).values():
                        found += [(record.offset, create_time(records)) for record in records]
        finally:
            await client.end(reader)
        assert found == [(offset, 10 <= offset < 20) for offset in range(30)]

    asyncio.run(main())


def test_a_silent_topic_does_not_hold_up_another(kafka: EmbeddedKafka, prefix: str) -> None:
    """Each fetch brings one batch of the views; the broker would wait for a comment for longer than all may take."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        busy, silent = (TopicPartition(config.topic(INPUTS[kind]), 0) for kind in (Kind.VIEWS, Kind.COMMENTS))
        await send_batches(kafka, config, [range(number, number + 1) for number in range(20)])
        reader = client.make_reader(config, wait_ms=10_000)
        await client.start(reader, config)
        try:
            reader._fetcher._max_partition_fetch_bytes = 1
            reader.assign([busy, silent])
            reader.seek(busy, 0)
            reader.seek(silent, 0)
            found: list[Any] = []
            async with asyncio.timeout(PATIENCE):
                while len(found) < 20:
                    found += (await reader.getmany(busy, timeout_ms=1000)).get(busy, [])
            assert [record.offset for record in found] == list(range(20))
        finally:
            await client.end(reader)

    asyncio.run(main())


async def send_poison(sender: AIOKafkaProducer, topic: str, numbers: range, poison: int) -> None:
    """A batch in which one record has a header whose name is not UTF-8; aiokafka itself cannot write one."""
    batch = sender.create_batch()
    for number in numbers:
        headers = [("zzqq", b"1"), ("ok", b"2")] if number == poison else []
        batch.append(timestamp=None, key=b"k", value=b"v%d" % number, headers=headers)
    data = bytes(batch._build()).replace(b"zzqq", b"\xff\xfeqq")
    checked = data[21:]  # what follows the checksum
    batch._buffer = data[:17] + struct.pack(">I", calc_crc32c(checked)) + checked
    await (await sender.send_batch(batch, topic, partition=0))


def test_a_header_whose_name_is_not_utf8_stops_nobody(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        topic = config.topic(INPUTS[Kind.VIEWS])
        async with producer(kafka) as sender:
            for start in range(0, 40, 10):
                poison = {10: 10, 20: 25, 30: 39}.get(start, -1)
                await send_poison(sender, topic, range(start, start + 10), poison)
        async with producer(kafka, transactional_id=prefix + topic) as sender:
            await in_transactions(sender, topic)
        records = await read_raw(config, topic)
        assert [record.value for record in records[:40]] == [b"v%d" % number for number in range(40)]
        assert [record.value for record in records[40:]] == [b"0"] * 5 + [b"2"] * 5
        assert tuple(records[25].headers) == (("\ufffd\ufffdqq", b"1"), ("ok", b"2"))
        with pytest.raises(UnicodeDecodeError):
            await everything(kafka, topic)

    asyncio.run(main())


def test_what_lies_before_a_damaged_batch_is_handed_out_then_the_place_is_named(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send_batches(kafka, config, [range(4), range(4, 9), range(9, 12)])
        damage(kafka, topic, 4)
        reader = client.make_reader(config, wait_ms=20)
        await client.start(reader, config)
        tp = TopicPartition(topic, 0)
        reader.assign([tp])
        reader.seek(tp, 0)
        found = (await reader.getmany(tp, timeout_ms=60_000))[tp]
        with pytest.raises(UnreadableError, match="partition 0: offsets 4 to 8 cannot be read") as told:
            await reader.getmany(tp, timeout_ms=60_000)
        assert [record.offset for record in found] == [0, 1, 2, 3]
        assert (told.value.partition, told.value.first, told.value.last) == (tp, 4, 8)
        assert await reader.position(tp) == 4
        reader.seek(tp, 9)
        assert [record.offset for record in (await reader.getmany(tp, timeout_ms=60_000))[tp]] == [9, 10, 11]
        await client.end(reader)

    asyncio.run(main())


def test_what_was_read_is_let_go_without_the_collector(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send_batches(kafka, config, [range(number, number + 4) for number in range(0, 40, 4)])
        reader = client.make_reader(config, wait_ms=20)
        await client.start(reader, config)
        fetched = reader._fetcher._records
        made: list[weakref.ref[Any]] = []
        note = fetched.__class__.__setitem__

        def noted(self: Any, partition: Any, result: Any) -> None:
            note(self, partition, result)
            made.extend((weakref.ref(result), weakref.ref(result._partition_records._records)))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fetched.__class__, "__setitem__", noted)
            tp = TopicPartition(topic, 0)
            reader.assign([tp])
            for again in range(3):  # read to the end twice, and once begun
                reader.seek(tp, 0)
                while await reader.position(tp) < (40 if again else 7):
                    await reader.getmany(tp, timeout_ms=20, max_records=7)
        assert made
        await client.end(reader)
        assert [alive for each in made if (alive := each()) is not None] == []

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_refused_batch_is_handed_out_alone_as_one_record(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix, max_batch=2**20)
        await make_topics(config)
        topic = config.topic(INPUTS[Kind.VIEWS])
        five = b"".join(record(place, b"k", b"v") for place in range(5))
        poison = batch(checksummed(five, right=False), 5, LZ4)
        async with producer(kafka) as sender:
            await send_raw(sender, topic, batch(packed([b"v"] * 4, b"k", ZSTD), 4, ZSTD), 4)
            await send_raw(sender, topic, poison, 5)
            await send_raw(sender, topic, batch(packed([b"v"] * 3, b"k", LZ4), 3, LZ4), 3)
            await send_raw(sender, topic, batch(packed([b"0" * 600_000] * 2, b"k", ZSTD), 2, ZSTD), 2)
        with pytest.raises(Exception, match="Checksum"):
            await everything(kafka, topic)
        reader = client.make_reader(config, wait_ms=20)
        await client.start(reader, config)
        tp = TopicPartition(topic, 0)
        reader.assign([tp])
        reader.seek(tp, 0)
        found = []
        while await reader.position(tp) < 14:
            found += [taken for taken in (await reader.getmany(tp, timeout_ms=20)).values() if taken]
        await client.end(reader)
        before, (unreadable,), after, (too_large,) = found
        assert [record.offset for record in before] == [0, 1, 2, 3]
        assert [record.offset for record in after] == [9, 10, 11]
        assert isinstance(unreadable, RefusedBatch)
        assert (unreadable.first, unreadable.offset, unreadable.records) == (4, 8, 5)
        assert unreadable.reason is Reason.UNREADABLE
        assert unreadable.data[61:] == poison[61:]
        assert isinstance(too_large, RefusedBatch)
        assert (too_large.first, too_large.offset, too_large.reason) == (12, 13, Reason.TOO_LARGE)

    asyncio.run(main())


@pytest.mark.parametrize("place", ["unpack", "joined"])
@pytest.mark.parametrize("error", [MemoryError(), ValueError("nobody has thought of it"), OSError("odd"), KeyError()])
def test_what_says_nothing_about_the_batch_is_not_taken_for_its_fault(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    """It ends the process, and nothing is lost: neither a dead letter nor a shard that tries again for ever."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send_batches(kafka, config, [range(4)])
        with pytest.raises(type(error)):
            await read_raw(config, topic)

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(fetched, place, fail)
    monkeypatch.setattr(fetch, "joined", fetched.joined)
    asyncio.run(main())


def test_every_consumer_reads_so_and_others_are_left_alone(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send(kafka, topic, views(range(3)))
        member = client.make_member(config, WORKER.name)
        await client.start(member, config)
        assert isinstance(member._fetcher._records, fetch._RawRecords)
        await client.end(member)
        assert not any(isinstance(record, aiokafka.ConsumerRecord) for record in await read_raw(config, topic))
        assert all(isinstance(record, aiokafka.ConsumerRecord) for record in await everything(kafka, topic))

    asyncio.run(main())


def test_no_consumer_is_made_elsewhere() -> None:
    """client.py makes and starts all of them, and none reads as aiokafka would."""
    makers = {path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if "AIOKafkaConsumer(" in path.read_text()}
    assert makers == {Path("kafka/client.py")}
    starters = [
        path for path in SOURCE.rglob("*.py") if re.search(r"await [\w.]*(reader|consumer)\.start\(", path.read_text())
    ]
    assert starters == []
