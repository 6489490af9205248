"""What every connection has: the part of aiokafka's client that stream/kafka/client.py looks at, and the admin client."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.structs import OffsetAndMetadata

from stream.kafka.requests import TopicMetadata
from tests.simulation.wire import Wire


class Client:
    """Of one connection."""

    def __init__(self, wire: Wire) -> None:
        self.cluster = SimpleNamespace(brokers=lambda: (SimpleNamespace(nodeId=1, host="broker", port=9092),))
        self._security_protocol = "PLAINTEXT"
        self._wire = wire

    async def bootstrap(self) -> None:
        await self._wire.ask("connect", lambda: None)

    async def close(self) -> None:
        """Nothing is left to close."""


async def diagnose(_addresses: object, _protocol: str) -> str:
    """There is no network to look at."""
    return ""


async def topic_metadata(asker: Any, names: Iterable[str], _node: int) -> dict[str, TopicMetadata]:
    """The same question over a connection of this world."""
    wanted, wire = list(names), asker._wire
    found = await wire.ask("metadata", lambda: wire.cluster.metadata(wanted))
    return {name: TopicMetadata(*told) for name, told in found.items()}


class Probe:
    """Brokers of this world are never all away: connections break, and answers are lost."""

    async def ask(self) -> tuple[int, str]:
        return 1, ""

    async def close(self) -> None:
        """Nothing is left to close."""


def _metadata(topics: Iterable[str]) -> bytes:
    encoded: bytes = ConsumerProtocolMemberMetadata(0, list(topics), b"").encode() if topics else b""
    return encoded


def _assignment(owned: Iterable[TopicPartition] | None) -> bytes:
    by_topic: dict[str, list[int]] = {}
    for topic, partition in owned or ():
        by_topic.setdefault(topic, []).append(partition)
    encoded: bytes = ConsumerProtocolMemberAssignment(0, list(by_topic.items()), b"").encode() if by_topic else b""
    return encoded


class Admin:
    """What stream/kafka uses of AIOKafkaAdminClient."""

    def __init__(self, wire: Wire) -> None:
        self._client = Client(wire)
        self._wire = wire

    async def start(self) -> None:
        await self._client.bootstrap()

    async def stop(self) -> None:
        """Nothing is left to close."""

    async def describe_topics(self) -> list[dict[str, Any]]:
        logs = self._wire.cluster.logs
        partitions: dict[str, list[dict[str, Any]]] = {}
        await self._wire.ask("describe", lambda: None)
        for place in logs:
            partitions.setdefault(place.topic, []).append({"leader": 1, "replicas": [1]})
        return [{"topic": topic, "partitions": described} for topic, described in partitions.items()]

    async def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [{"node_id": 1}]}

    async def describe_configs(self, _resources: object) -> list[Any]:
        """Nothing is told of settings, as to a user who may not see them."""
        return []

    async def describe_consumer_groups(self, names: Iterable[str]) -> list[Any]:
        (name,) = names
        state, members = await self._wire.ask("describe group", lambda: self._wire.cluster.group(name).describe())
        described = [
            (member, client, "/memory", _metadata(topics), _assignment(owned))
            for member, client, topics, owned in members
        ]
        return [SimpleNamespace(groups=[(0, name, state, "consumer", "range", described)])]

    async def list_consumer_group_offsets(
        self, group: str, *, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        wanted = list(partitions)
        offsets = await self._wire.ask("group offsets", lambda: self._wire.cluster.offsets(group, wanted))
        return {partition: OffsetAndMetadata(offset, "") for partition, offset in offsets.items()}
