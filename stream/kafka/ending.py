"""A transaction's end is said once. Touches private parts of aiokafka.

aiokafka asks again when the request that ends a transaction was not answered: the connection broke, or the broker took
too long. But the first one may still be on its way. The version of the requests that aiokafka speaks cannot tell one
transaction from the next of the same producer (KIP-890): a copy that arrives late would commit the *next* one, half
written. So nothing is asked again and the producer is given up; its successor begins under a new epoch, which no old
request has, and reads in the state what became of the checkpoint.
"""

from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.transaction import EndTxnRequest


class EndUnknownError(KafkaError):  # type: ignore[misc]  # aiokafka is not typed for us
    """Nobody knows whether the transaction has ended."""


def end_once(producer: AIOKafkaProducer) -> None:
    """To be called before the producer is started."""
    send = producer.client.send

    async def sending(node: Any, request: Any, **options: Any) -> Any:
        try:
            return await send(node, request, **options)
        except KafkaError as error:
            if isinstance(request, EndTxnRequest) and not isinstance(error, NodeNotReadyError):  # else it was not sent
                give_up(producer._txn_manager)  # noqa: SLF001 - see above
            raise

    producer.client.send = sending


def give_up(transaction: TransactionManager) -> None:
    """Whoever waits for the end is told so; nothing more can be done with this producer."""
    transaction.fatal_error(EndUnknownError("the end of the transaction was not confirmed"))
