"""A coordinator is killed when its decision to commit is in no copy of its log, and restarted before anybody has missed it.

Kafka lets it act upon that log while it starts: it writes the commit to partitions of other brokers. Then another
coordinator is elected, which knows of no decision. A checkpoint must be there whole all the same.
"""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.transaction import EndTxnRequest

from stream.config import Settings
from stream.kafka import client
from stream.kafka.patches.end_txn import SpentError
from stream.kafka.shard_context import CommittedError, ShardContext
from stream.model.names import DEAD_LETTERS, SESSION_WINDOWS, SESSIONS, STATE
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from stream.sessions.role import WORKER
from tests.faults.cluster import NEW, Cluster, Node
from tests.kafka.test_checkpoint import checkpoints, outputs
from tests.kafka.tools import everything, settings
from tests.live import eventually

PARTITIONS: Final = 6
NAMES: Final = (STATE, SESSIONS, SESSION_WINDOWS, DEAD_LETTERS)
SESSION: Final = {"broker.session.timeout.ms": "9000"}
"""Kafka's own: a broker needs less to start again."""
FETCH_SECONDS: Final = 0.8
"""After which no fetch of a follower that stands still is waiting at the leader any more: half a second at most."""
DECISIONS: Final = Path("data/__transaction_state-0/00000000000000000000.log")

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif("CHAOS" not in os.environ, reason="takes a minute of three brokers: part of make chaos"),
]


@pytest.mark.timeout(300)
def test_a_checkpoint_is_whole_whatever_its_coordinator_has_half_done(kafka: EmbeddedKafka, prefix: str) -> None:
    assert kafka.running  # the shared one says whether there can be any
    with ThreadPoolExecutor(1) as thread:
        cluster = Cluster(NEW, SESSION)
        try:
            thread.submit(cluster.start).result()
            config = settings(cluster.nodes[0], prefix, transaction_timeout=timedelta(minutes=1))
            config = config.model_copy(update={"brokers": cluster.bootstrap})
            found = asyncio.run(_kill_amid_commit(cluster, thread, config))
        finally:
            thread.submit(cluster.stop).result()
    assert found == dict.fromkeys(NAMES, 2)


async def _kill_amid_commit(cluster: Cluster, thread: ThreadPoolExecutor, config: Settings) -> dict[str, int]:
    """How many records there are of each topic then."""
    await topics.create(config, PARTITIONS, 3)
    await _first_transaction(config)
    await cluster.whole()
    coordinator, partition = await _choose(cluster, config)
    context = ShardContext(config, partition, PARTITIONS, WORKER)
    restarting = asyncio.ensure_future(_restart(coordinator, thread))
    with _dies_when_it_has_decided(cluster, coordinator, after=1):
        async with checkpoints(context) as written:
            await written.write(outputs())
            with pytest.raises(CommittedError) as caught:
                await written.write(outputs(b"2"))
    assert isinstance(caught.value.__cause__, SpentError)
    await restarting
    async with checkpoints(context):
        return {name: len(await everything(cluster.nodes[0], config.topic(name), partition)) for name in NAMES}


async def _first_transaction(config: Settings) -> None:
    """Kafka makes its own topic of transactions for it."""
    producer = client.make_producer(config, config.topic_prefix + "first")
    await client.start(producer, config)
    await client.end(producer)


async def _choose(cluster: Cluster, config: Settings) -> tuple[Node, int]:
    """The coordinator, and a partition of which it leads some topics, but not all."""
    admin = client.make_admin(config)
    await client.start(admin, config)
    try:
        described = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
    finally:
        await client.end(admin)
    leaders = {(topic, each["partition"]): each["leader"] for topic, found in described.items() for each in found}
    number = leaders["__transaction_state", 0]
    for partition in range(PARTITIONS):
        if len({leaders[config.topic(name), partition] == number for name in NAMES}) > 1:
            return cluster.nodes[number - 1], partition
    raise AssertionError(f"each partition is led by one alone: {leaders}")


@contextmanager
def _dies_when_it_has_decided(cluster: Cluster, coordinator: Node, *, after: int) -> Iterator[None]:
    """When it has ended so many. The others stand still meanwhile, so that they have no copy of what it decided."""
    send, others = AIOKafkaClient.send, [node for node in cluster.nodes if node is not coordinator]
    log, ended = coordinator.log.parent / DECISIONS, 0

    async def sending(self: Any, node: Any, request: Any, **options: Any) -> Any:
        nonlocal ended
        ended += isinstance(request, EndTxnRequest)
        if not isinstance(request, EndTxnRequest) or ended != after + 1:
            return await send(self, node, request, **options)
        with _standing_still(others):
            await asyncio.sleep(FETCH_SECONDS)
            size = log.stat().st_size
            answer = asyncio.ensure_future(send(self, node, request, **options))

            async def decided() -> bool:
                return log.stat().st_size > size

            await eventually("the coordinator has decided", decided, 10, every=0.002)
            coordinator.kill()
        return await answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AIOKafkaClient, "send", sending)
        yield


@contextmanager
def _standing_still(nodes: Sequence[Node]) -> Iterator[None]:
    for node in nodes:
        os.kill(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for node in nodes:
            os.kill(node.pid, signal.SIGCONT)


async def _restart(node: Node, thread: ThreadPoolExecutor) -> None:
    async def gone() -> bool:
        return not node.running

    await eventually("it is killed", gone, 60, every=0.01)
    await asyncio.get_running_loop().run_in_executor(thread, node.restart, NEW)
