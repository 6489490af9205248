"""A checkpoint: everything one shard has to write, in one transaction, with explicit partitions.

The transaction begins when its records are ready and lives for milliseconds: while it is open, what other shards
write behind it on a shared partition is hidden from readers.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import structlog
from aiokafka.errors import MessageSizeTooLargeError, ProducerFenced, RecordListTooLargeError
from aiokafka.partitioner import murmur2

from stream.core.deadletters import Row, rows, size_of
from stream.core.framing import CHECKSUM, checksum
from stream.core.headers import Header
from stream.errors import UsageError
from stream.kafka import single_writer, time_slices, topics
from stream.kafka.client import BATCH_BYTES, Producer
from stream.kafka.machine import Name, Outputs
from stream.kafka.patches import end_txn
from stream.kafka.patches.abort_producer import retrieve_offset_failures
from stream.kafka.retriable import is_trouble
from stream.kafka.shard_context import CheckpointError, CommittedError, FencedError, LetterRefusedError, ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.kafka.topic_requirements import batch_too_small

log: Final = structlog.get_logger()

ABORT_SECONDS: Final = 1.0
NOTHING: Final = -1
FLYING: Final = 4
"""Batches of one topic that are on their way, of half a megabyte each: the sender takes one after another."""


MARKER: Final = 1
"""Offsets that the end of a transaction takes in each partition."""
LOG_APPEND_TIME: Final = 1
"""The type of a timestamp that the broker made."""


class _TooLargeError(Exception):
    """A topic refuses a batch for its size."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        self.name = name
        """Of the topic, in the code."""
        self.size = size
        """Of the batch in bytes, before compression."""


class Checkpoints:
    """Writes the checkpoints of one shard, one at a time. After an exception it is not to be used again."""

    def __init__(self, context: ShardContext, producer: Producer, state_end: int | None = None) -> None:
        """``state_end``: where live.state ended when the shard was recovered; None: nobody looks who else writes there."""
        self._context = context
        self._state_end = state_end
        self._marked = 0
        """Offsets behind that end which the marker of our last transaction takes, or has taken: it comes in its own time."""
        self._producer = producer
        self._settings = context.settings
        self._seconds = context.settings.transaction_timeout.total_seconds()
        self._letter_bytes = context.letters.most
        """What dead letters are cut to in the checkpoint that is being written."""

    async def write(self, outputs: Outputs) -> int:
        """Commits all of it, or nothing. Returns the offset of the first record of the state.

        Raises FencedError when another producer has taken over or the transaction timed out, CheckpointError for anything
        else; both have the original exception as cause. After CommittedError alone, the checkpoint is committed. Retriable
        errors are retried within the transaction's timeout, those of its end for longer.
        StateRefusedError: another installation writes the same state. A dead letter that is too large for its topic is
        LetterRefusedError, any other record UsageError: it names the topic and its limit.
        """
        first: int = await self._in_transaction(lambda: self._send_alone(outputs))
        return first

    async def check_ownership(self, positions: Mapping[Name, int]) -> None:
        """Writes the group's offsets alone: raises FencedError when the producer is not ours any more.

        Without a group it is the next checkpoint that finds out.
        """
        if not self._context.role.has_group:
            return
        await self._in_transaction(lambda: self._send_offsets(positions))

    async def _in_transaction(self, send: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                await self._producer.begin_transaction()
                sent = await send()
            await self._commit()
        except ProducerFenced as error:
            raise FencedError from error
        except (FencedError, StateRefusedError, CheckpointError):
            await self._abort()
            raise
        except _TooLargeError as error:
            await self._abort()
            raise await self._refused(error) from error.__cause__
        except Exception as error:
            await self._abort()
            if not (is_trouble(error) or end_txn.is_used_up(error)):
                raise  # a fault of ours: another producer would meet it again
            raise CheckpointError(type(error).__name__) from error
        return sent

    async def _commit(self) -> None:
        try:
            await end_txn.commit(self._producer, self._seconds)
        except end_txn.SpentError as error:
            raise CommittedError(type(error).__name__) from error

    async def _refused(self, error: _TooLargeError) -> Exception:
        actual = await topics.max_bytes(self._context.role, self._settings, error.name)
        letters = self._context.letters
        if error.name == self._context.role.letters and letters.refused(self._letter_bytes, actual):
            log.warning(
                "a dead letter was too large for its topic: larger ones are cut now",
                topic=self._settings.topic(error.name),
                max_message_bytes=actual,
                at_most=letters.most,
            )
            return LetterRefusedError(error.name)
        return UsageError(batch_too_small(self._context.role, self._settings, error.name, actual, error.size))

    async def _abort(self) -> None:
        """Only a courtesy: the next producer's start ends what is left open."""
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                await self._producer.abort_transaction()
        except Exception as error:  # noqa: BLE001 - the producer is given up either way
            log.debug("the transaction could not be aborted", error=type(error).__name__)

    async def _send_alone(self, outputs: Outputs) -> int:
        """Sends, and makes sure that the state follows on what this shard has written last. Offset of its first record."""
        spans = await self._send_all(outputs)
        for begin, records in spans:
            await self._check_single_writer(begin)
            if self._state_end is not None:
                self._state_end, self._marked = begin + records, 0
        self._marked += MARKER if spans else 0
        return spans[0][0] if spans else NOTHING

    async def _check_single_writer(self, begin: int) -> None:
        """Of a batch of the state that begins there."""
        if self._state_end is None or begin == self._state_end + self._marked:
            return
        if begin < self._state_end + self._marked:
            what = f"{self._context.state.topic} has lost records: {begin} comes after {self._state_end + self._marked}"
            log.error("the end of the state is gone", partition=self._context.partition, detail=what)
            raise CheckpointError(what)
        await single_writer.check_only_markers(self._context, self._state_end, begin)

    async def _send_all(self, outputs: Outputs) -> list[tuple[int, int]]:
        """Sends, and waits until every record has arrived: aiokafka would commit a transaction that lacks some.

        The state is the first to arrive. A transaction that its coordinator forgets hangs where it has written; one that
        hangs in an output hangs in the state then, too, where recovery looks, and the next one does not commit it unseen.
        """
        context, role = self._context, self._context.role
        self._letter_bytes = most = context.letters.most
        spans = await self._send(role.state, ((key, value, state_headers(value)) for key, value in outputs.state))
        contents: dict[str, Iterable[Row]] = {
            role.renamed.get(name, name): _plain(pairs) for name, pairs in outputs.records.items()
        }
        if role.letters is not None:
            origins = {name: tp.topic for name, tp in context.inputs.items()}
            contents[role.letters] = rows(
                outputs.dead_letters, origins, context.partition, outputs.generation, most, run=role.run
            )
        sends = [self._send(name, content) for name, content in contents.items()]
        results = await asyncio.gather(*sends, self._send_offsets(outputs.positions), return_exceptions=True)
        _raise_worst(results)
        return spans

    async def _send(self, name: str, content: Iterable[Row]) -> list[tuple[int, int]]:
        """First offset and number of records of each batch."""
        topic, sent = self._settings.topic(name), list[_Sent]()
        most = min(BATCH_BYTES, self._letter_bytes)  # all others take BATCH_BYTES, see topic_requirements.py
        batches, cut = dict[int, Any](), name == self._context.role.letters
        partition_of = await self._placing(name, topic)
        async for row in time_slices.each(content):
            to = partition_of(row)
            batch = batches.get(to)
            if batch is None:
                batch = batches[to] = self._producer.create_batch()
            if (cut and batch.record_count() and batch.size() + size_of(row) > most) or not _append(batch, row):
                sent.append(await self._hand_over(batch, topic, to))
                if len(sent) > FLYING:
                    await _arrived(sent[-FLYING - 1], name)
                batch = batches[to] = self._producer.create_batch()
                _append(batch, row)
        for to, batch in batches.items():
            sent.append(await self._hand_over(batch, topic, to))
        offsets = [await _arrived(each, name) for each in sent]
        if any(offset < 0 for offset in offsets):
            raise CheckpointError(f"the broker did not say at which offset of {topic} the records are")
        return [(offset, records) for offset, (_, records, _) in zip(offsets, sent, strict=True)]

    async def _placing(self, name: str, topic: str) -> Callable[[Row], int]:
        """Where each record of a topic goes."""
        own = self._context.partition
        by = next((each.by for each in self._context.role.outputs if each.topic == name), None)
        if by is None:
            return lambda _row: own
        partitions = len(await self._producer.partitions_for(topic))
        return lambda row: (murmur2(by(row[0] or b"")) & 0x7FFFFFFF) % partitions

    async def _hand_over(self, batch: Any, topic: str, partition: int) -> "_Sent":
        batch.close()
        size, records, began = batch.size(), batch.record_count(), time.monotonic()
        arrived: asyncio.Future[Any] = await self._producer.send_batch(batch, topic, partition=partition)
        arrived.add_done_callback(_retrieve)
        if topic == self._context.state.topic:
            arrived.add_done_callback(partial(self._note_time, began))
        return size, records, arrived

    def _note_time(self, sent: float, arrived: asyncio.Future[Any]) -> None:
        """The acknowledgement has the broker's time when the topic keeps LogAppendTime."""
        if arrived.cancelled() or arrived.exception() is not None:
            return
        answer = arrived.result()
        stamped = answer.timestamp / 1000 if answer.timestamp_type == LOG_APPEND_TIME else None
        self._context.clock.note(self._context.partition, stamped, sent, time.monotonic(), time.time())

    async def _send_offsets(self, positions: Mapping[Name, int]) -> None:
        """For lag tools and autoscalers; recovery never reads them. The group does not subscribe to side inputs."""
        inputs, names = self._context.inputs, self._context.role.names
        offsets = {inputs[name]: offset for name, offset in positions.items() if name in names}
        if not (offsets and self._context.role.has_group):
            return
        try:
            await self._producer.send_offsets_to_transaction(offsets, self._settings.group)
        except (
            asyncio.CancelledError
        ):  # the time is up; what becomes of them later, a fence for one, nobody awaits any more
            retrieve_offset_failures(self._producer)
            raise


_Sent = tuple[int, int, asyncio.Future[Any]]
"""Size in bytes, number of records and fate of a batch."""


def _plain(pairs: Iterable[tuple[bytes, bytes | None]]) -> Iterator[Row]:
    return ((key, value, []) for key, value in pairs)


def _append(batch: Any, row: Row) -> bool:
    """False: the batch is full."""
    key, value, headers = row
    return batch.append(key=key, value=value, timestamp=None, headers=headers) is not None


async def _arrived(sent: _Sent, name: str) -> int:
    """The offset of a batch's first record."""
    size, _, arrived = sent
    try:
        offset: int = (await arrived).offset
    except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
        raise _TooLargeError(name, size) from error
    return offset


def _retrieve(arrived: asyncio.Future[Any]) -> None:
    """So that asyncio does not complain of the exception of a batch whose neighbour's was raised."""
    if not arrived.cancelled():
        arrived.exception()


def _raise_worst(results: list[Any]) -> None:
    """A fence before anything else, then a size: what they make of the other requests is not what happened."""
    errors = [result for result in results if isinstance(result, BaseException)]
    for worst in (ProducerFenced, _TooLargeError):
        for error in errors:
            if isinstance(error, worst):
                raise error
    if errors:
        raise errors[0]


def state_headers(value: bytes) -> list[Header]:
    """What vouches for a part of the state."""
    return [(CHECKSUM, checksum(value))]
