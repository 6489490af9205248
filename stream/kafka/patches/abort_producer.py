"""Ends a producer whose brokers are gone: aiokafka would wait for them, and complain of failures that nobody awaits."""

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

ABORT_SECONDS: Final = 0.5


class _LenientSet(set[Any]):
    """aiokafka takes each batch that fails out of those on their way, also one that waits to be sent again."""

    def remove(self, element: Any) -> None:
        self.discard(element)


async def abort_sending(producer: AIOKafkaProducer) -> None:
    """Ends the producer's background tasks, which would wait for a broker as long as none is there. aiokafka has no abort.

    Its sender, when it is cancelled, waits for the requests that it has begun; those are cancelled here as well.
    """
    accumulator = producer._message_accumulator
    accumulator._pending_batches = _LenientSet(accumulator._pending_batches)
    accumulator.fail_all(KafkaConnectionError("the producer is given up"))
    sender = producer._sender.sender_task
    if sender is None:
        return
    frame = sender.get_coro().cr_frame
    requests: set[asyncio.Task[None]] = set() if frame is None else {*frame.f_locals.get("tasks", ())}
    for task in (sender, *requests):
        task.cancel()
    await asyncio.wait({sender, *requests}, timeout=ABORT_SECONDS)


def retrieve_failures(producer: AIOKafkaProducer) -> None:
    """The checkpoint raises what happened. asyncio would complain of aiokafka's other futures, one by one."""
    accumulator = producer._message_accumulator
    batches = list(accumulator._pending_batches)
    batches += [batch for waiting in accumulator._batches.values() for batch in waiting]
    waiting = [fate for batch in batches for fate in (batch.future, batch._drain_waiter)]
    fates = [producer._txn_manager.wait_for_transaction_end(), *waiting]
    for fate in fates:
        if fate is not None:
            fate.add_done_callback(_retrieve)


def _retrieve(fate: asyncio.Future[Any]) -> None:
    if not fate.cancelled():
        fate.exception()


def retrieve_offset_failures(producer: AIOKafkaProducer) -> None:
    """The same for offsets that were to be committed with a transaction which its caller has given up."""
    for _, _, fate in producer._txn_manager._pending_txn_offsets:
        fate.add_done_callback(_retrieve)
