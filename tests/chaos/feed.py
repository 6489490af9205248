"""The input of a round: the simulator's traffic squeezed in time, and more that can go wrong on the way to Kafka."""

import asyncio
import base64
import json
import re
import time
from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.model.messages import Message
from stream.model.names import Kind, Reason
from stream.sandbox import sender
from stream.sandbox.traffic import Plan, Traffic
from tests.chaos.profile import PARTITIONS, Profile
from tests.live import Outgoing, send

Headers = list[tuple[str, bytes]]
Record = tuple[Message, Headers]

REMEMBERED: Final = 8000
AGAIN: Final = 0.004
"""Share of events that come once more, at any time: within and beyond the age to which ids are held."""
RESENT: Final = 0.1
"""Share of checkouts that a shop sends again under a new event id."""
BINARY, STRUCTURED, BASE64 = 0.03, 0.05, 0.06
"""CloudEvents: bounds of shares."""
GHOSTS_EVERY: Final = 1.5
"""Seconds between two transactions of a producer upstream; every other one is aborted."""
_EVENT_ID: Final = b'"event_id":"'
_TIME: Final = re.compile(rb'"event_time":\d+')


class Feed:
    """Sends for as long as the profile says. A batch that Kafka does not take is gone: what lies in the log counts."""

    def __init__(self, brokers: str, prefix: str, profile: Profile) -> None:
        self.sent = 0
        self.troubles = 0
        self.partitions = PARTITIONS
        """Of each topic, as producers know it."""
        self._brokers = brokers
        self._prefix = prefix
        self._ghost_id = f"{prefix}ghosts"
        self._profile = profile
        self._rng = Random(f"feed {profile.seed}")
        self._old: deque[Record] = deque(maxlen=REMEMBERED)
        plan = Plan(
            seed=profile.seed,
            rate=profile.rate / profile.speed,
            sessions=profile.sessions,
            bad=0.012,
            duplicates=0.02,
        )
        # all of the event time lies in the past, so that silence closes the last windows at once
        self._traffic = Traffic(plan, int(time.time() * 1000) - profile.length_ms - profile.reach_ms)
        self._ghostly: list[Record] = []

    async def run(self) -> None:
        ghosts = asyncio.create_task(self._haunt())
        try:
            await self._send_all()
        finally:
            ghosts.cancel()
            await asyncio.wait({ghosts})
            await self._end_ghosts()

    async def _send_all(self) -> None:
        began, start = time.monotonic(), self._traffic.now
        producer = await self._started(sender.producer(self._brokers))
        try:
            while (gone := time.monotonic() - began) < self._profile.seconds:
                records = self._records(self._traffic.step(start + int(gone * self._profile.speed * 1000)))
                try:
                    await self._send(producer, records)
                except KafkaError:
                    self.troubles += 1
                    await producer.stop()
                    producer = await self._started(sender.producer(self._brokers))
                await asyncio.sleep(0.03)
        finally:
            await producer.stop()

    async def _started(self, producer: AIOKafkaProducer) -> AIOKafkaProducer:
        async with asyncio.timeout(60 + self._profile.outage):
            while True:
                try:
                    await producer.start()
                except KafkaError:
                    await asyncio.sleep(0.2)
                else:
                    return producer

    async def _send(self, producer: AIOKafkaProducer, records: Iterable[Record]) -> None:
        for topic in [f"{self._prefix}live.{kind}" for kind in Kind]:
            while len(await producer.partitions_for(topic)) < self.partitions:
                await producer.client.force_metadata_update()
        outgoing = (Outgoing(message.kind, message.key, message.value, headers) for message, headers in records)
        self.sent += await send(producer, self._prefix, self.partitions, outgoing)

    # -- what else may come

    def _records(self, messages: Iterable[Message]) -> list[Record]:
        """What is sent now. A part goes by way of the ghosts."""
        rng = self._rng
        records: list[Record] = []
        for message in messages:
            record = self._dressed(_really_future(message))
            records.append(record)
            self._old.append(record)
            if message.kind is Kind.CHECKOUTS and message.value and rng.random() < RESENT:
                records.append((message._replace(value=_renamed(message.value, b"again-")), []))
            if rng.random() < AGAIN:
                records.append(self._old[int(rng.random() * len(self._old))])
        if rng.random() < 0.05:
            self._ghostly += records
            return []
        return records

    def _dressed(self, message: Message) -> Record:
        """Some events come as CloudEvents."""
        luck = self._rng.random()
        if message.fault is not None or message.value is None or luck > BASE64:
            return message, []
        if luck < BINARY:
            return message, [("ce_specversion", b"1.0"), ("ce_type", b"live.event"), ("ce_id", b"1")]
        envelope: dict[str, Any] = {"specversion": "1.0", "type": "live.event", "id": "1", "source": "/shop"}
        if luck < STRUCTURED:
            envelope["data"] = json.loads(message.value)
        else:
            envelope["data_base64"] = base64.b64encode(message.value).decode()
        content_type = ("content-type", b"application/cloudevents+json; charset=utf-8")
        return message._replace(value=json.dumps(envelope).encode()), [content_type]

    # -- a transactional producer upstream

    async def _haunt(self) -> None:
        """Now and then a transaction: committed, or aborted, and then none of it may ever be counted."""
        producer: AIOKafkaProducer | None = None
        commit = True
        while True:
            try:
                if producer is None:
                    producer = await self._started(self._ghost())
                await asyncio.sleep(GHOSTS_EVERY)
                records, self._ghostly = self._ghostly, []
                await producer.begin_transaction()
                await self._send(producer, records)
                if commit:
                    await producer.commit_transaction()
                else:
                    await producer.abort_transaction()
                    self._ghostly = records  # the true ones are still to come
                commit = not commit
            except asyncio.CancelledError:
                await _close(producer)
                raise
            except KafkaError:
                self.troubles += 1
                await _close(producer)
                producer = None

    def _ghost(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            transactional_id=self._ghost_id,
            transaction_timeout_ms=10_000,
            compression_type="lz4",
        )

    async def _end_ghosts(self) -> None:
        """A producer that starts ends what an earlier one of its id has left open. Then the rest goes out."""
        producer = await self._started(self._ghost())
        try:
            await producer.begin_transaction()
            await self._send(producer, self._ghostly)
            await producer.commit_transaction()
        finally:
            await _close(producer)


async def _close(producer: AIOKafkaProducer | None) -> None:
    if producer is not None:
        closing = asyncio.ensure_future(producer.stop())
        await asyncio.wait({closing}, timeout=5.0)
        closing.cancel()


def _renamed(value: bytes, prefix: bytes) -> bytes:
    return value.replace(_EVENT_ID, _EVENT_ID + prefix, 1)


def _really_future(message: Message) -> Message:
    """The simulator's future is ahead of its own time; this one is ahead of the broker's."""
    if message.fault is not Reason.FUTURE or message.value is None:
        return message
    moved = int(time.time() * 1000) + 600_000
    return message._replace(value=_TIME.sub(b'"event_time":%d' % moved, message.value, count=1))
