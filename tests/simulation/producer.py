"""What stream/kafka uses of AIOKafkaProducer, on the wire of the simulation.

aiokafka's own TransactionManager decides what is allowed when, so that every quirk of its states is here too; the sender
around it sends the requests that aiokafka's does, in its order, and treats each error as that does.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    NotCoordinatorError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    RequestTimedOutError,
)
from aiokafka.producer.transaction_manager import TransactionManager, TransactionResult
from aiokafka.structs import OffsetAndMetadata, RecordMetadata

from stream.kafka.patches.end_txn import give_up
from tests.simulation.cluster import Who
from tests.simulation.connection import Client
from tests.simulation.outgoing import Batch
from tests.simulation.wire import Wire

BACKOFF: Final = 0.1
SOON: Final = 0.02
"""Between two transactions, while the markers of the one before are still being written."""
AGAIN: Final = (
    NotCoordinatorError,
    CoordinatorNotAvailableError,
    CoordinatorLoadInProgressError,
    ConcurrentTransactions,
    KafkaConnectionError,
    RequestTimedOutError,
)
"""Errors on which a coordinator is asked again, for ever."""


class Producer:
    """``most``: records of one batch."""

    def __init__(self, wire: Wire, name: str, timeout: float, most: int = 1000) -> None:
        self._client = Client(wire)
        self._wire = wire
        self._name = name
        self._timeout = timeout
        self._most = most
        self._txn_manager = TransactionManager(name, int(timeout * 1000))
        self._waiting: dict[TopicPartition, Batch] = {}
        self._resend: dict[TopicPartition, Batch] = {}
        self._flying: dict[TopicPartition, Batch] = {}
        self._stir: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._dead: Exception | None = None
        self._unanswered = False
        """Nobody knows whether an earlier request to end the transaction has arrived."""
        self._closed = False

    # -- what a producer does

    async def start(self) -> None:
        await self._client.bootstrap()
        while not self._txn_manager.has_pid():
            try:
                self._txn_manager.set_pid_and_epoch(
                    *await self._wire.ask("init", lambda: self._coordinator.init(self._name, self._timeout))
                )
            except AGAIN:
                await asyncio.sleep(BACKOFF)
        self._sender = asyncio.create_task(self._send_all())

    async def stop(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._sender is None:
            return
        flushing = asyncio.ensure_future(self._flush())
        await asyncio.wait({flushing, self._sender}, return_when=asyncio.FIRST_COMPLETED)
        flushing.cancel()
        self._sender.cancel()
        await asyncio.wait({self._sender})
        if not self._sender.cancelled():
            self._sender.exception()
        waiter = self._txn_manager.wait_for_transaction_end()
        if waiter is not None and waiter.done() and not waiter.cancelled():
            waiter.exception()

    async def begin_transaction(self) -> None:
        await self._txn_manager.wait_for_pid()
        self._txn_manager.begin_transaction()

    async def commit_transaction(self) -> None:
        self._txn_manager.committing_transaction()
        await asyncio.shield(self._txn_manager.wait_for_transaction_end())

    async def abort_transaction(self) -> None:
        self._txn_manager.aborting_transaction()
        await asyncio.shield(self._txn_manager.wait_for_transaction_end())

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, int], group: str) -> None:
        if not self._txn_manager.is_in_transaction():
            raise IllegalOperation("Not in the middle of a transaction")
        formatted = {partition: OffsetAndMetadata(offset, "") for partition, offset in offsets.items()}
        await asyncio.shield(self._txn_manager.add_offsets_to_txn(formatted, group))

    async def partitions_for(self, topic: str) -> set[int]:
        await asyncio.sleep(0)
        return {place.partition for place in self._wire.cluster.logs if place.topic == topic}

    def create_batch(self) -> Batch:
        return Batch(self._most)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[RecordMetadata]":
        if not self._txn_manager.is_in_transaction():
            raise IllegalOperation("Can't send messages while not in transaction")
        place = TopicPartition(topic, partition)
        while place in self._waiting:
            await asyncio.shield(self._waiting[place].drained)
        if self._closed:
            raise ProducerClosed
        if self._dead is not None:
            raise self._dead
        self._txn_manager.maybe_add_partition_to_txn(place)
        self._waiting[place] = batch
        self._wake()
        return batch.arrived

    async def send_and_wait(
        self, topic: str, value: bytes | None, key: bytes | None = None, partition: int = 0
    ) -> RecordMetadata:
        batch = self.create_batch()
        batch.append(key=key, value=value, timestamp=None, headers=())
        return await (await self.send_batch(batch, topic, partition=partition))

    # -- the sender

    @property
    def _coordinator(self) -> Any:
        return self._wire.cluster.transactions

    @property
    def _who(self) -> tuple[str, int, int]:
        return self._name, self._txn_manager.producer_id, self._txn_manager.producer_epoch

    def _wake(self) -> None:
        if self._stir is not None and not self._stir.done():
            self._stir.set_result(None)

    async def _send_all(self) -> None:
        chains = [asyncio.ensure_future(self._produce_all()), asyncio.ensure_future(self._transact())]
        try:
            await asyncio.wait(chains, return_when=asyncio.FIRST_COMPLETED)
            for chain in chains:
                if chain.done():
                    chain.result()
        except (ProducerFenced, OutOfOrderSequenceNumber) as error:
            self._fail_all(error)
        except KafkaError:
            self._fail_all(KafkaError("Unexpected error during batch delivery"))
        finally:
            for chain in chains:
                chain.cancel()

    def _fail_all(self, error: Exception) -> None:
        self._dead = error
        for batches in (self._resend, self._waiting, self._flying):
            for batch in batches.values():
                batch.fail(error)
            batches.clear()
        self._txn_manager.fatal_error(error)
        self._txn_manager.wait_for_transaction_end().exception()

    async def _produce_all(self) -> None:
        while True:
            unadded = self._txn_manager.partitions_to_add()
            fresh = {tp: each for tp, each in self._waiting.items() if tp not in unadded and tp not in self._resend}
            batches = self._resend | fresh
            if not batches:
                self._stir = asyncio.get_running_loop().create_future()
                await self._stir
                continue
            for place, batch in fresh.items():
                del self._waiting[place]
                batch.sequence = self._txn_manager.sequence_number(place)
                self._txn_manager.increment_sequence_number(place, len(batch.rows))
                batch.drain()
            self._resend, self._flying = {}, batches
            await self._produce(batches)
            self._flying = {}

    async def _produce(self, batches: dict[TopicPartition, Batch]) -> None:
        who = Who(*self._who)
        content = {tp: (batch.rows, batch.sequence, batch.timestamp) for tp, batch in batches.items()}
        answers: Mapping[TopicPartition, int | KafkaError]
        try:
            answers = await self._wire.ask("produce", lambda: self._wire.cluster.produce(who, content))
        except KafkaError as error:
            answers = dict.fromkeys(batches, error)
        again = {}
        for place, batch in batches.items():
            answer = answers[place]
            if isinstance(answer, int):
                batch.arrived.set_result(
                    RecordMetadata(place.topic, place.partition, place, answer, batch.timestamp, 0, 0)
                )
            elif answer.retriable:
                again[place] = batch
            else:
                batch.fail(ProducerFenced() if isinstance(answer, InvalidProducerEpoch) else answer)
        if again:
            await asyncio.sleep(BACKOFF)
            self._resend = again

    async def _transact(self) -> None:
        """One request to the coordinators at a time."""
        while True:
            step = self._next_step()
            if step is None:
                await self._txn_manager.make_task_waiter()
                continue
            what, perform, then = step
            if what == "end":
                await self._flush()
                if self._txn_manager.is_empty_transaction():
                    self._txn_manager.complete_transaction()
                    continue
            try:
                await self._wire.ask(what, perform)
            except AGAIN as error:
                if what == "end" and isinstance(error, KafkaConnectionError | RequestTimedOutError):
                    self._unanswered = True
                quick = (
                    what == "add" and isinstance(error, ConcurrentTransactions) and not self._txn_manager.txn_partitions
                )
                await asyncio.sleep(SOON if quick else BACKOFF)
            except InvalidProducerEpoch:
                raise ProducerFenced from None
            else:
                if what == "end" and self._unanswered:
                    give_up(self._txn_manager)  # as `confirm_transaction_ends` has it do
                else:
                    then()
                self._wake()

    def _next_step(self) -> tuple[str, Callable[[], Any], Callable[[], None]] | None:
        txn, coordinator, who = self._txn_manager, self._coordinator, self._who
        if partitions := sorted(txn.partitions_to_add()):
            return "add", lambda: coordinator.add(*who, partitions=partitions), lambda: self._added(partitions)
        group = txn.consumer_group_to_add()
        if group is not None:
            return "add group", lambda: coordinator.add(*who, group=group), lambda: txn.consumer_group_added(group)
        if (data := txn.offsets_to_commit()) is not None:
            offsets = {place: each.offset for place, each in data[0].items()}
            into, writer = data[1], Who(*who)
            return (
                "offsets",
                lambda: self._wire.cluster.write_offsets(writer, into, offsets),
                lambda: self._offsets_written(offsets, into),
            )
        result = txn.needs_transaction_commit()
        if result is not None:
            commit = result is TransactionResult.COMMIT
            return "end", lambda: coordinator.end(*who, commit=commit), txn.complete_transaction
        return None

    def _added(self, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._txn_manager.partition_added(partition)

    def _offsets_written(self, offsets: Mapping[TopicPartition, int], group: str) -> None:
        for partition, offset in offsets.items():
            self._txn_manager.offset_committed(partition, offset, group)

    async def _flush(self) -> None:
        """Until every batch has arrived or failed."""
        while batches := [*self._waiting.values(), *self._resend.values(), *self._flying.values()]:
            pending = {batch.arrived for batch in batches if not batch.arrived.done()}
            if not pending:
                return
            await asyncio.wait(pending)
