"""The backlog that all contenders read: input topics filled once, and the recount of what is in them."""

import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Final

import orjson
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Consumer, Producer, TopicPartition

from stream.model.names import INPUTS, KINDS, Kind
from tests.bench.events import Maker
from tests.bench.tally import Rows, Tally
from tests.live import Outgoing, create_topics

PARTITIONS: Final = 4
SPAN_MS: Final = 250_000
CLOSING_MS: Final = 330_000
"""The closers come this much after the last event: later than the end of every window, and its delay, that holds one."""
FLUSH_SECONDS: Final = 60.0
CLOSER: Final = "closer-"


@dataclass(frozen=True)
class Backlog:
    """``records`` lie in the inputs under ``prefix``; ``once`` and ``repeated`` are the counts without and with repeats."""

    brokers: str
    prefix: str
    records: int
    once: Rows
    repeated: Rows

    @property
    def inputs(self) -> list[str]:
        return [self.prefix + topic for topic in INPUTS.values()]


def fill(brokers: str, events: int, sessions: int, few: int) -> tuple[Backlog, Backlog]:
    """Two backlogs of the same events: all of them, and the first ``few`` for who would take too long with all.

    The events lie so far in the past that the closers are not ahead of the clock.
    """
    maker = Maker(events, sessions, int(time.time() * 1000) - SPAN_MS - CLOSING_MS - 60_000, SPAN_MS)
    made = iter(maker)
    filling = _Filling(brokers)
    first = list(islice(made, few))
    filling.take(first)
    short = _Filling(brokers)
    short.take(first)
    for each in made:
        filling.take([each])
    return filling.close(), short.close()


class _Filling:
    """One set of topics on its way to be a backlog."""

    def __init__(self, brokers: str) -> None:
        self._brokers, self._prefix = brokers, f"bench-{uuid.uuid4().hex[:10]}."
        create_topics(brokers, self._prefix, PARTITIONS)
        self._topics = {kind: self._prefix + INPUTS[kind] for kind in KINDS}
        self._producer = _producer(brokers)
        self._tally = Tally()
        self._records = self._newest = 0

    def take(self, records: Iterable[Outgoing]) -> None:
        for record in records:
            self._produce(record)
            self._tally.add(record.value or b"")

    def _produce(self, record: Outgoing) -> None:
        topic = self._topics[Kind(record.kind)]
        while True:
            try:
                self._producer.produce(topic, record.value, record.key)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._records += 1
                return

    def close(self) -> Backlog:
        """With a closer in every partition of every topic: event time has then passed the end of every window."""
        once, repeated = self._tally.rows(repeats=False), self._tally.rows(repeats=True)
        for record in closers(max(place.start for place in once) + CLOSING_MS):
            self._produce(record)
        left = self._producer.flush(FLUSH_SECONDS)
        found = sum(ends(self._brokers, self._topics.values()).values())
        if left or found != self._records:
            raise AssertionError(f"{found:,} of {self._records:,} records are in the topics, {left:,} were not sent")
        return Backlog(self._brokers, self._prefix, self._records, once, repeated)


def closers(time_ms: int) -> Iterator[Outgoing]:
    """One event for each partition of each topic, of sessions of their own."""
    numbers = list(range(PARTITIONS))
    place = DefaultPartitioner()
    for partition in numbers:
        names = (f"{CLOSER}{number}" for number in count())
        session = next(name for name in names if place(name.encode(), numbers, numbers) == partition)
        common = {
            "event_time": time_ms,
            "session_id": session,
            "seller_id": "s1",
            "viewer_id": "v1",
            "platform": "other",
        }
        for kind, fields in _CLOSING.items():
            yield Outgoing(kind, session.encode(), orjson.dumps({"event_id": f"{session}/{kind}"} | common | fields))


_CLOSING: Final[dict[Kind, dict[str, Any]]] = {
    Kind.VIEWS: {"action": "leave"},
    Kind.COMMENTS: {"text": "."},
    Kind.CHECKOUTS: {"checkout_id": "k", "status": "initiated", "amount_minor": 0, "currency": "IDR", "items": []},
}


def partitions(topics: Iterable[str]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]


def ends(brokers: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """The end of each partition."""
    reader = Consumer({"bootstrap.servers": brokers, "group.id": "bench-ends"})
    try:
        return {(tp.topic, tp.partition): reader.get_watermark_offsets(tp, 30)[1] for tp in partitions(topics)}
    finally:
        reader.close()


def _producer(brokers: str) -> Producer:
    """Keys placed as Java clients do, and nothing twice."""
    return Producer(
        {
            "bootstrap.servers": brokers,
            "log_level": 3,  # a new broker's transactions take a moment to load, and it would say so
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 256 * 1024,
        }
    )
