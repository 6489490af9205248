"""Messages into Kafka, a whole tick at a time. Batches are built here: a message costs 2 us instead of 30."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from stream.config import Settings
from stream.errors import FailedError, UsageError
from stream.kafka.topics import make_command
from stream.model.messages import Message
from stream.model.names import INPUTS, Kind

BATCH_BYTES: Final = 256 * 1024
REMEMBERED: Final = 200_000


class Sender:
    """Sends to the three inputs under ``prefix``, keyed by murmur2 as Java clients do. One send is in flight at a time.

    The producer is started and stopped by the caller; use ``producer`` to make one that fits.
    """

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self._producer = producer
        self._topics = {kind: prefix + topic for kind, topic in INPUTS.items()}
        self._partitions: dict[Kind, list[int]] = {}
        self._places: dict[tuple[Kind, bytes | None], int] = {}
        self._place = DefaultPartitioner()
        self._flying: list[asyncio.Future[Any]] = []

    async def check(self, settings: Settings) -> None:
        """UsageError that names the topics that are missing, and the command that makes them."""
        cluster = await self._producer.client.fetch_all_metadata()
        for kind, topic in self._topics.items():
            self._partitions[kind] = sorted(cluster.partitions_for_topic(topic) or ())
        missing = [topic for kind, topic in self._topics.items() if not self._partitions[kind]]
        if missing:
            make = make_command(settings, len(cluster.brokers()), max(map(len, self._partitions.values())))
            raise UsageError(f"missing topics: {', '.join(missing)}. Make them with: {make}")

    async def send(self, messages: Iterable[Message]) -> None:
        """Hand messages over; returns when those of the call before are acknowledged. FailedError when they are not."""
        batches = self._batches(messages)
        await self.flush()
        try:
            for (kind, partition), built in batches.items():
                for batch in built:
                    sent = await self._producer.send_batch(batch, self._topics[kind], partition=partition)
                    self._flying.append(sent)
        except KafkaError as error:
            raise _failed(error) from error

    async def flush(self) -> None:
        """Returns when everything handed over is acknowledged. FailedError when it is not."""
        flying, self._flying = self._flying, []
        try:
            await asyncio.gather(*flying)
        except KafkaError as error:
            raise _failed(error) from error

    def _batches(self, messages: Iterable[Message]) -> dict[tuple[Kind, int], list[Any]]:
        built: dict[tuple[Kind, int], list[Any]] = {}
        places, create = self._places, self._producer.create_batch
        for message in messages:
            place = places.get((message.kind, message.key))
            if place is None:
                place = self._find_place(message)
            batches = built.setdefault((message.kind, place), [])
            at = message.at
            if not batches or not batches[-1].append(timestamp=at, key=message.key, value=message.value):
                batches.append(create())
                batches[-1].append(timestamp=at, key=message.key, value=message.value)
        return built

    def _find_place(self, message: Message) -> int:
        """Its partition. Without a key any will do, and it is always the same one."""
        partitions = self._partitions[message.kind]
        place: int = partitions[0] if message.key is None else self._place(message.key, partitions, partitions)
        if len(self._places) >= REMEMBERED:
            self._places.clear()
        self._places[message.kind, message.key] = place
        return place


def producer(brokers: str, **security: Any) -> AIOKafkaProducer:
    """Not started yet. Idempotent: what it sends again after a lost answer is not there twice.

    ``security``: what `stream.kafka.security.options` makes of the settings.
    """
    return AIOKafkaProducer(
        bootstrap_servers=brokers.split(","),
        client_id="liveshop-simulate",
        compression_type="lz4",
        acks="all",
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES,
        request_timeout_ms=30_000,
        **security,
    )


def _failed(error: KafkaError) -> FailedError:
    return FailedError(f"Kafka did not take the messages: {error}")
