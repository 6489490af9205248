"""Three brokers, each a controller too, that can be killed, restarted, and upgraded one by one."""

import base64
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Final

from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int8, Int16, Int32, Schema, TaggedFields

from stream.config import Settings
from stream.kafka import client, requests
from stream.sandbox.broker import HOST, EmbeddedKafka, free_ports
from tests.live import eventually

NODES: Final = 3
OLD: Final = "4.1.1"
NEW: Final = "4.3.0"
_HEAP: Final = "-Xmx256m"
_TEXT: Final = CompactString("utf-8")
_UPDATE: Final = requests._Api(
    57,
    1,
    Schema(
        ("timeout_ms", Int32),
        (
            "updates",
            CompactArray(("feature", _TEXT), ("level", Int16), ("upgrade_type", Int8), ("tags", TaggedFields)),
        ),
        ("validate_only", Boolean),
        ("tags", TaggedFields),
    ),
    Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", _TEXT),
        (
            "results",
            CompactArray(("feature", _TEXT), ("error_code", Int16), ("error_message", _TEXT), ("tags", TaggedFields)),
        ),
        ("tags", TaggedFields),
    ),
)


class Node(EmbeddedKafka):
    """One of the three. It answers only when a majority of them runs."""

    def __init__(
        self, number: int, ports: tuple[int, int], version: str, *, cluster: str, more: Mapping[str, str]
    ) -> None:
        copies = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic", "default")
        settings = {
            "node.id": str(number),
            "transaction.state.log.min.isr": "2",
            "share.coordinator.state.topic.min.isr": "2",
            "min.insync.replicas": "2",
            "replica.lag.time.max.ms": "5000",
            **{f"{name}.replication.factor": "3" for name in copies},
            **more,
        }
        super().__init__(settings=settings, version=version, cluster=cluster)
        self._ports = ports

    def _start_on_free_ports(self) -> None:
        """They were given, since the others must know them; who waits for an answer is the cluster."""
        self._write_settings()
        self._format()
        self._spawn()

    def await_answer(self) -> None:
        self._await_answer()

    def _command(self, main: str, *arguments: str) -> list[str]:
        command = super()._command(main, *arguments)
        return [command[0], *(_HEAP if word.startswith("-Xmx") else word for word in command[1:])]


class Cluster:
    """The three together. ``stop`` them, whatever happens."""

    def __init__(self, version: str = NEW, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """``settings``: more lines of each server.properties."""
        free = free_ports(2 * NODES)
        ports = list(zip(free[::2], free[1::2], strict=True))
        voters = ",".join(f"{number}@{HOST}:{control}" for number, (_, control) in enumerate(ports, start=1))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        more = {"controller.quorum.voters": voters, **settings}
        self.nodes = [
            Node(number, each, version, cluster=cluster, more=more) for number, each in enumerate(ports, start=1)
        ]
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Returns when all three answer. From a thread that lives as long as they should."""
        try:
            for node in self.nodes:
                node.start()
            for node in self.nodes:
                node.await_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """The data goes with them, so none has to leave in order."""
        for node in self.nodes:
            node.kill()
            node.stop()

    async def whole(self, seconds: float = 60.0) -> None:
        """Until every partition has all its copies in sync again, so that the next broker may go."""
        async with _admin(self.bootstrap) as admin:

            async def look() -> bool:
                topics = await admin.describe_topics()
                partitions = [each for topic in topics for each in topic["partitions"]]
                return bool(partitions) and all(len(each["isr"]) == NODES for each in partitions)

            await eventually("every copy is in sync", look, seconds, every=0.5)

    async def raise_features(self) -> dict[str, int]:
        """Finalizes what the brokers' software knows, as an operator does after the last upgrade. Returns the levels."""
        async with _admin(self.bootstrap) as admin:
            node = admin._client.get_random_node()
            known = (await requests.features(admin, node)).supported
            updates: list[object] = [(name, level, 1, {}) for name, level in known.items() if level]
            await requests._ask(admin, requests._Question(_UPDATE, 30_000, updates, False))

            async def look() -> dict[str, int] | None:
                found = (await requests.features(admin, node)).finalized
                return found if found.get("metadata.version") == known["metadata.version"] else None

            return await eventually("the new features are finalized", look, every=0.3)


@contextlib.asynccontextmanager
async def _admin(brokers: str) -> AsyncIterator[client.Admin]:
    settings = Settings(brokers=brokers)
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        yield admin
    finally:
        await client.end(admin)
