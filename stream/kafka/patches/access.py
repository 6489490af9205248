"""The client beneath each of aiokafka's objects: what has no method of theirs is sent over the same connections."""

from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

from stream.kafka.patches.admin import Admin

Asker: TypeAlias = Admin | AIOKafkaConsumer


def client_of(connection: Any) -> AIOKafkaClient:
    """Of a consumer, a producer or an admin client. Only a producer shows its own."""
    return connection.client if isinstance(connection, AIOKafkaProducer) else connection._client


async def send(asker: Asker, request: Any, node: int | None = None) -> Any:
    """The answer of one broker, any one unless it is named; an admin client asks as patiently as for its own requests."""
    if isinstance(asker, Admin):
        return await asker._send_request(request, node)
    client = client_of(asker)
    return await client.send(client.get_random_node() if node is None else node, request)


async def send_when_ready(admin: Admin, request: Any, node: int) -> Any:
    """The answer of this broker, once it takes requests."""
    return await admin._send_request_to_node(node, request)


def nodes(asker: Asker) -> list[int]:
    """The brokers that the cluster names, whether they run or not."""
    return [broker.nodeId for broker in client_of(asker).cluster.brokers()]


def transactional_id(connection: Any) -> str | None:
    """Of a producer that has transactions."""
    transactions = connection._txn_manager if isinstance(connection, AIOKafkaProducer) else None
    return None if transactions is None else str(transactions.transactional_id)
