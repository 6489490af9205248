"""A transaction's end is asked for until it is confirmed; then, if that took two requests, the producer is given up.

Touches private parts of aiokafka, which asks again when the request that ends a transaction was not answered: the
connection broke, or the broker took too long. Two things can go wrong then.

Whoever gives up instead of asking again leaves the end to be decided by the next producer's start, which aborts what
its coordinator takes for open. That may be in doubt: (p) a coordinator was killed when its decision to commit was in its
own log and in no copy of it. Restarted while it was still the leader, it read that log and wrote markers to partitions
of other brokers. Then its successor was elected, which knew of no decision, and aborted in the other partitions: results
were there twice, and could as well have been lost. A successor that is asked to commit agrees with both.

But the first request may still be on its way. The version of the requests that aiokafka speaks cannot tell one
transaction from the next of the same producer (KIP-890): a copy that arrives late would commit the *next* one, half
written. So there is no next one: its successor begins under a new epoch, which no old request has, and reads in the
state what became of the checkpoint.
"""

import asyncio
import traceback
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError
from aiokafka.producer import transaction_manager
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.transaction import EndTxnRequest

ENDING: Final = 3
"""Times the transaction's timeout for which its end is asked for. A broker that was killed is missed after nine seconds, if
nobody has set it otherwise; only then is there another coordinator, and nobody but that one should decide."""

_ASSERTED_IN: Final = transaction_manager.__file__


class SpentError(KafkaError):  # type: ignore[misc]  # aiokafka is not typed for us
    """The transaction has ended as it should, but the producer must not begin another one."""


async def commit(producer: AIOKafkaProducer, seconds: float) -> None:
    """``seconds``: the timeout of the transaction. After an exception the producer is not to be used again.

    SpentError: it is committed. TimeoutError: nobody knows.
    """
    async with asyncio.timeout(ENDING * seconds):
        await producer.commit_transaction()


def enlist(producer: AIOKafkaProducer, partitions: Iterable[TopicPartition]) -> None:
    """Makes all of them part of the transaction that has begun, in one request and before anything is written: whoever
    ends it, ends it in all of them.
    """
    for partition in partitions:
        producer._txn_manager.maybe_add_partition_to_txn(partition)


def is_used_up(error: BaseException) -> bool:
    """Whether aiokafka says that its producer has failed before: it asserts the state in which it should be."""
    places = traceback.extract_tb(error.__traceback__) if isinstance(error, AssertionError) else []
    return bool(places) and places[-1].filename == _ASSERTED_IN


def confirm_transaction_ends(producer: AIOKafkaProducer) -> None:
    """To be called before the producer is started."""
    send, unanswered = producer.client.send, False

    async def sending(node: Any, request: Any, **options: Any) -> Any:
        nonlocal unanswered
        ends = isinstance(request, EndTxnRequest)
        try:
            answer = await send(node, request, **options)
        except KafkaConnectionError as error:
            if isinstance(request, FindCoordinatorRequest):
                raise NodeNotReadyError from error  # any other broker may be asked, but aiokafka would end its sender
            unanswered = unanswered or ends
            raise
        except KafkaError as error:
            unanswered = unanswered or (ends and not isinstance(error, NodeNotReadyError))  # else it was not sent
            raise
        if ends and unanswered and not answer.error_code:
            give_up(producer._txn_manager)
            raise SpentError
        return answer

    producer.client.send = sending


def give_up(transaction: TransactionManager) -> None:
    """Whoever waits for the end is told so; nothing more can be done with this producer."""
    transaction.fatal_error(SpentError("the end of the transaction was confirmed only when it was asked for again"))
