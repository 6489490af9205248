"""What the tests of the Kafka edge share: settings of a test's own, records in, records out, a watch that remembers."""

# ruff: noqa: ARG002 - Memory implements two protocols whole

import asyncio
import json
import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.config import Settings
from stream.kafka import topicids
from stream.kafka.batches import HEADER
from stream.kafka.metrics_hooks import Activity
from stream.model.names import INPUTS, Kind, Outcome
from stream.model.results import ShardView, Tally
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.live import created, eventually
from tests.support import PATIENCE

BASE: Final = 1_700_000_000_000
"""An event time."""
STAMPING: Final = "message.timestamp.type"
MARKER_SECONDS: Final = 6.0
"""For the marker of a transaction that was committed; where one is left open, `everything` takes so long."""
Rows = list[tuple[bytes | None, bytes | None]]


def settings(kafka: EmbeddedKafka, prefix: str, **changes: Any) -> Settings:
    """Quick ones: nobody waits for the defaults of production."""
    quick = {
        "group": prefix + "g",
        "idle_after": timedelta(seconds=1),
        "checkpoint_every": timedelta(milliseconds=200),
        "connect_timeout": timedelta(seconds=20),
        "transaction_timeout": timedelta(seconds=5),
        "session_timeout": timedelta(seconds=6),
        "heartbeat_every": timedelta(milliseconds=500),
    }
    return Settings(**{"brokers": kafka.bootstrap, "topic_prefix": prefix, **quick, **changes})


def view(number: int, session: str = "s1", **changes: Any) -> bytes:
    event = {
        "event_id": f"e{number}",
        "event_time": BASE + number * 100,
        "session_id": session,
        "seller_id": "x",
        "viewer_id": f"v{number % 7}",
        "platform": "shopee",
        "action": "enter",
    }
    return json.dumps({**event, **changes}).encode()


def views(numbers: Iterable[int], session: str = "s1") -> Rows:
    return [(session.encode(), view(number, session)) for number in numbers]


@asynccontextmanager
async def producer(kafka: EmbeddedKafka, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    made = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def send(kafka: EmbeddedKafka, topic: str, rows: Rows, partition: int = 0, **options: Any) -> None:
    async with producer(kafka, max_request_size=8_000_000, **options) as sender:
        for key, value in rows:
            await sender.send(topic, value, key=key, partition=partition)
        await sender.flush()


async def send_batches(
    kafka: EmbeddedKafka, config: Settings, pieces: Iterable[range], kind: Kind = Kind.VIEWS, partition: int = 0
) -> None:
    """Each piece as one batch of its own."""
    async with producer(kafka, compression_type="lz4", max_batch_size=900_000) as sender:
        for numbers in pieces:
            batch = sender.create_batch()
            for key, value in views(numbers):
                assert batch.append(key=key, value=value, timestamp=None) is not None
            batch.close()
            await (await sender.send_batch(batch, config.topic(INPUTS[kind]), partition=partition))


async def send_views(kafka: EmbeddedKafka, config: Settings, numbers: Iterable[int], partition: int = 0) -> None:
    await send(kafka, config.topic(INPUTS[Kind.VIEWS]), views(numbers), partition)


async def everything(kafka: EmbeddedKafka, topic: str, partition: int = 0) -> list[Any]:
    """All committed records of a partition, through the ordinary path of aiokafka.

    A transaction whose commit was acknowledged is readable a moment later, when its marker is written: that is awaited,
    but not for long, since others may be left open.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    try:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        consumer.seek(tp, (await consumer.beginning_offsets([tp]))[tp])
        found: list[Any] = []
        deadline = asyncio.get_running_loop().time() + MARKER_SECONDS
        while True:
            found += (await consumer.getmany(tp, timeout_ms=20)).get(tp, [])
            stable, end = consumer.last_stable_offset(tp), consumer.highwater(tp)
            if stable is None or await consumer.position(tp) < stable:
                continue
            if stable == end or asyncio.get_running_loop().time() > deadline:
                return found
    finally:
        await consumer.stop()


async def make_topics(config: Settings, partitions: int = 1) -> None:
    await created(config, partitions)


async def delete(config: Settings, *names: str) -> None:
    """Returns when no broker knows these topics any more, which is a moment after it has said so."""
    admin = AIOKafkaAdminClient(bootstrap_servers=config.brokers)
    await admin.start()
    try:
        await admin.delete_topics([config.topic(name) for name in names])
    finally:
        await admin.close()

    async def gone() -> bool:
        return not set(names) & (await topicids.current(WORKER, config)).keys()

    await eventually("the topics are gone", gone)


async def make_anew(config: Settings, *names: str, partitions: int = 1) -> None:
    """Deletes these topics (named as the code names them) and makes them under their names, empty, as the others are."""
    await delete(config, *names)
    await created(config, partitions)


async def alter(brokers: str, topic: str, configs: Mapping[str, str]) -> None:
    """Changes settings of a topic. Returns when the broker acts by them, which is a moment after it has confirmed it.

    Brokers take changes over in their order: when that of a topic of our own is in force, which is made behind it, so is it.
    """
    own = f"{topic}.altered-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(own, 1, 1, topic_configs={STAMPING: "CreateTime"})])
        for name, each in ((topic, configs), (own, {STAMPING: "LogAppendTime"})):
            answer = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(each))])
            assert [resource[0] for response in answer for resource in response.resources] == [0], answer
        await _until_stamped(brokers, own)
        await admin.delete_topics([own])
    finally:
        await admin.close()


async def _until_stamped(brokers: str, topic: str) -> None:
    """By the broker."""
    sender = AIOKafkaProducer(bootstrap_servers=brokers)
    await sender.start()
    try:
        async with asyncio.timeout(PATIENCE):
            while not (await sender.send_and_wait(topic, b"")).timestamp_type:
                pass
    finally:
        await sender.stop()


class Memory:
    """MetricsHooks and Health that remember what they were told."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[Kind, Outcome]] = Counter()
        self.lost = 0
        self.failures: list[str] = []
        self.recoveries: list[tuple[int, int]] = []
        self.owned: frozenset[int] = frozenset()
        self.told = False
        self.running: asyncio.Future[None] | None = None
        self.rebalances = 0
        self.waiting: frozenset[int] = frozenset()
        self.reasons: dict[str, str] = {}
        self.down: dict[int, str] = {}
        self.stops: dict[int, str] = {}
        self.lags: dict[tuple[int, Kind], tuple[int, float | None]] = {}
        self.hides: dict[tuple[int, Kind], float] = {}
        self.stuck_seconds: dict[int, float] = {}
        self.beats = 0
        self.offsets: list[float] = []
        self.notes: dict[str, str] = {}
        self.checkpoints = 0
        self.added: dict[str, int] = {}

    # MetricsHooks

    def committed(self, partition: int, tally: Tally, seconds: float) -> None:
        self.checkpoints += 1
        self.outcomes.update(tally.outcomes)
        self.lost += tally.lost_offsets

    def latency(self, kind: Kind, seconds: float, count: int) -> None: ...
    def emit_delay(self, seconds: float) -> None: ...
    def transaction_failed(self, partition: int, error: str) -> None:
        self.failures.append(error)

    def rebalanced(self, seconds: float) -> None:
        self.rebalances += 1

    def activity(self, activity: Activity, seconds: float) -> None: ...
    def loop_lag(self, seconds: float) -> None: ...
    def full_collection(self, seconds: float) -> None: ...
    def clock_offset(self, seconds: float) -> None:
        self.offsets.append(seconds)

    def note(self, name: str, text: str | None) -> None:
        self.notes = {key: value for key, value in {**self.notes, name: text}.items() if value is not None}

    def buffered(self, size: int) -> None: ...
    def lag(self, partition: int, kind: Kind, records: int, seconds: float | None) -> None:
        self.lags[partition, kind] = (records, seconds)

    def ended(self, partition: int, *, published: bool = False) -> None:
        if published:
            return
        self.lags = {place: lag for place, lag in self.lags.items() if place[0] != partition}

    def shard(self, partition: int, view: ShardView) -> None: ...
    def rules(self, alerts: Sequence[tuple[str, str]]) -> None: ...
    def brokers(self, connected: int) -> None: ...
    def hidden(self, partition: int, kind: Kind, seconds: float) -> None:
        self.hides[partition, kind] = seconds

    def pending(self, partition: int, *, something: bool) -> None: ...
    def stuck(self, partition: int, seconds: float) -> None:
        self.stuck_seconds[partition] = seconds

    def partitions(self, number: int) -> None: ...
    def partitions_added(self, added: Mapping[str, int]) -> None:
        self.added = dict(added)

    # both

    def assigned(self, partitions: frozenset[int], kept: frozenset[int] = frozenset()) -> None:
        self.owned = partitions
        self.told = True

    def refused(self, partition: int, text: str | None = None) -> None:
        if text is not None:  # the MetricsHooks are told as well, without
            self.down[partition] = text

    def recovered(self, partition: int, seconds: float = 0.0, records: int = -1) -> None:
        self.down.pop(partition, None)
        if records >= 0:  # Health is told as well, without
            self.recoveries.append((partition, records))

    # Health

    def beat(self) -> None:
        self.beats += 1

    def waits(self, partition: int, text: str | None, *, fails: bool = False) -> None:
        self.stops = {number: each for number, each in {**self.stops, partition: text}.items() if each is not None}

    def unready(self, name: str, text: str) -> None:
        self.reasons[name] = text

    def clear(self, name: str) -> None:
        self.reasons.pop(name, None)

    # questions

    @property
    def counted(self) -> int:
        return sum(count for (_, outcome), count in self.outcomes.items() if outcome is Outcome.COUNTED)

    @property
    def read(self) -> int:
        return sum(self.outcomes.values())


@asynccontextmanager
async def worker(config: Settings, *, rebuild: bool = False) -> AsyncIterator[Memory]:
    """A running worker, stopped in order at the end."""
    memory = Memory()
    running = asyncio.ensure_future(make_worker(config, memory, memory, rebuild=rebuild).run())
    memory.running = running
    try:
        yield memory
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=PATIENCE)
        assert running.done()
        if not running.cancelled():
            running.result()


async def until(condition: Callable[[], object], what: str, deadline: float = PATIENCE) -> None:
    """Waits for a condition; AssertionError says which one did not come."""
    end = asyncio.get_running_loop().time() + deadline
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not within {deadline:g} s: {what}"
        await asyncio.sleep(0.02)


def damage(kafka: EmbeddedKafka, topic: str, offset: int, partition: int = 0, at: int = HEADER.size + 5) -> None:
    """Spoils the batch that begins at an offset where it lies on the broker's disk, as a failing disk would.

    ``at``: which bytes of it; 10 behind the header, or the 4 at a place within it.
    """
    folder = Path(kafka.log).parent / "data" / f"{topic}-{partition}"
    segment = folder / f"{0:020d}.log"
    data = bytearray(segment.read_bytes())
    start = 0
    while True:
        first, length, *_ = HEADER.unpack_from(data, start)
        if first == offset:
            break
        start += 12 + length
    with segment.open("r+b") as file:
        file.seek(start + at)
        file.write(bytes(byte ^ 0xFF for byte in data[start + at : start + at + (10 if at >= HEADER.size else 4)]))


@contextmanager
def stopped(kafka: EmbeddedKafka) -> Iterator[None]:
    """The broker stands still: connections stay open, nobody answers."""
    os.kill(kafka.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka.pid, signal.SIGCONT)


def newest(records: Iterable[Any]) -> dict[bytes, dict[str, Any]]:
    """The last value of each key, as JSON."""
    return {record.key: json.loads(record.value) for record in records}


def headers(record: Any) -> dict[str, bytes]:
    return dict(record.headers)


def numbers(count: int, size: int) -> Iterator[range]:
    """``range(count)`` in pieces."""
    for start in range(0, count, size):
        yield range(start, min(count, start + size))
