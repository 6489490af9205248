"""A checkpoint: everything one shard has to write, in one transaction, with explicit partitions.

The transaction begins when its records are ready and lives for milliseconds: while it is open, what other shards
write behind it on a shared partition is hidden from readers.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from stream.kafka import slices
from stream.kafka.client import Producer
from stream.kafka.deadletters import Row, rows
from stream.kafka.place import CheckpointError, FencedError, Place
from stream.model.names import ALERTS, DEAD_LETTERS, SESSION_WINDOWS, SESSIONS, STATE, Kind
from stream.model.results import Outputs

log: Final = structlog.get_logger()

ABORT_SECONDS: Final = 1.0
NOTHING: Final = -1


class Checkpoints:
    """Writes the checkpoints of one shard, one at a time. After an exception it is not to be used again."""

    def __init__(self, place: Place, producer: Producer) -> None:
        self._place = place
        self._producer = producer
        self._settings = place.settings
        self._seconds = place.settings.transaction_timeout.total_seconds()

    async def write(self, outputs: Outputs) -> int:
        """Commits all of it, or nothing. Returns the offset of the first record of the state.

        Raises FencedError when another producer has taken over or the transaction timed out, CheckpointError for anything
        else; both have the original exception as cause. Retriable errors are retried within the transaction's timeout.
        """
        written = await self._in_transaction(lambda: self._send_all(outputs))
        first: int = written[STATE]
        return first

    async def probe(self, positions: dict[Kind, int]) -> None:
        """Writes the group's offsets alone: raises FencedError when the producer is not ours any more."""
        await self._in_transaction(lambda: self._send_offsets(positions))

    async def _in_transaction(self, send: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                await self._producer.begin_transaction()
                sent = await send()
                await self._producer.commit_transaction()
                return sent
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError from error
        except Exception as error:
            await self._abort()
            raise CheckpointError(type(error).__name__) from error

    async def _abort(self) -> None:
        """Only a courtesy: the next producer's start ends what is left open."""
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                await self._producer.abort_transaction()
        except Exception as error:  # noqa: BLE001 - the producer is given up either way
            log.debug("the transaction could not be aborted", error=type(error).__name__)

    async def _send_all(self, outputs: Outputs) -> dict[str, int]:
        """Sends, and waits until every record has arrived: aiokafka would commit a transaction that lacks some."""
        place = self._place
        letters = rows(outputs.dead_letters, self._settings.topic_prefix, place.partition, outputs.generation)
        contents: dict[str, Iterable[Row]] = {
            SESSION_WINDOWS: ((key, value, []) for key, value in outputs.windows),
            SESSIONS: ((key, value, []) for key, value in outputs.sessions),
            ALERTS: ((alert.key(), alert.value(), []) for alert in outputs.alerts),
            DEAD_LETTERS: letters,
            STATE: ((key, value, []) for key, value in outputs.state),
        }
        sends = [self._send(self._settings.topic(name), content) for name, content in contents.items()]
        results = await asyncio.gather(*sends, self._send_offsets(outputs.positions), return_exceptions=True)
        _raise_worst(results)
        return dict(zip(contents, results, strict=False))  # type: ignore[arg-type]  # those that are exceptions were raised

    async def _send(self, topic: str, content: Iterable[Row]) -> int:
        """The offset of the first record, or NOTHING."""
        batches: list[asyncio.Future[Any]] = []
        batch = self._producer.create_batch()
        async for key, value, headers in slices.each(content):
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                batches.append(await self._hand_over(batch, topic))
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=headers)
        if batch.record_count():
            batches.append(await self._hand_over(batch, topic))
        metadata = [await arrived for arrived in batches]
        if any(each.offset < 0 for each in metadata):
            raise CheckpointError(f"the broker did not say at which offset of {topic} the records are")
        return metadata[0].offset if metadata else NOTHING

    async def _hand_over(self, batch: Any, topic: str) -> asyncio.Future[Any]:
        batch.close()
        arrived: asyncio.Future[Any] = await self._producer.send_batch(batch, topic, partition=self._place.partition)
        arrived.add_done_callback(_retrieve)
        return arrived

    async def _send_offsets(self, positions: dict[Kind, int]) -> None:
        """For lag tools and autoscalers; recovery never reads them."""
        offsets = {self._place.inputs[kind]: offset for kind, offset in positions.items()}
        if not offsets:
            return
        try:
            await self._producer.send_offsets_to_transaction(offsets, self._settings.group)
        except (
            asyncio.CancelledError
        ):  # the time is up; what becomes of them later, a fence for one, nobody awaits any more
            for _, _, fate in self._producer._txn_manager._pending_txn_offsets:  # noqa: SLF001 - no other way to them
                fate.add_done_callback(_retrieve)
            raise


def _retrieve(arrived: asyncio.Future[Any]) -> None:
    """So that asyncio does not complain of the exception of a batch whose neighbour's was raised."""
    if not arrived.cancelled():
        arrived.exception()


def _raise_worst(results: list[Any]) -> None:
    """A fence before anything else: what it makes of the other requests is not what happened."""
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        if isinstance(error, ProducerFenced | InvalidProducerEpoch):
            raise error
    if errors:
        raise errors[0]
