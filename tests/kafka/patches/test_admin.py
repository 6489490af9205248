"""The admin client asks another broker when one is away, and sends no change twice."""

import asyncio
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from stream.kafka import client
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import settings

pytestmark = pytest.mark.kafka

GONE = 99
"""Number of a broker that the cluster names and that does not run."""


def asked_first_of_a_broker_that_is_gone(admin: Any, times: int) -> list[int]:
    """Returns the brokers that were asked."""
    pick, asked = admin._client.get_random_node, list[int]()

    def get_random_node() -> int:
        asked.append(GONE if len(asked) < times else pick())
        return asked[-1]

    admin._client.get_random_node = get_random_node
    return asked


def test_another_broker_is_asked_when_one_is_away(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        admin = client.make_admin(config)
        await client.start(admin, config)
        try:
            asked = asked_first_of_a_broker_that_is_gone(admin, 3)
            await admin.describe_topics()
            assert asked == [GONE, GONE, GONE, 1]
        finally:
            await client.end(admin)

    asyncio.run(main())


def test_a_change_that_may_have_been_made_is_not_made_again(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        admin = client.make_admin(config)
        await client.start(admin, config)
        sent: list[Any] = []

        async def lost(_node: int, request: Any, **_how: Any) -> Any:
            sent.append(request)
            raise KafkaConnectionError("the answer was lost")

        try:
            admin._client.send = lost
            with pytest.raises(KafkaConnectionError):
                await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "any", {"retention.ms": "1"})])
            assert len(sent) == 1
        finally:
            await client.end(admin)

    asyncio.run(main())


def test_a_broker_that_was_named_is_asked_alone(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        admin = client.make_admin(config)
        await client.start(admin, config)
        try:
            with pytest.raises(NodeNotReadyError):
                await admin._send_request(None, GONE)
        finally:
            await client.end(admin)

    asyncio.run(main())
