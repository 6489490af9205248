"""The totals on a real Kafka: counted, continued after a stop, counted anew, and refused, as sessions are."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import murmur2

from stream.config import Settings
from stream.core.cooperative import drained
from stream.errors import UsageError
from stream.kafka import client, topicids, topics
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.recovery import recover, rehearse
from stream.kafka.shard_context import FencedError, ShardContext
from stream.kafka.worker import Worker
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import everything, send, settings, until
from tests.live import eventually
from tests.support import PATIENCE
from tests.totals.job import OWNERS, Quiet
from tests.totals.machine import BY_OWNER, PAID, REFUNDED, ROLE, TOTALS, owner_of

pytestmark = pytest.mark.kafka
ACCOUNTS = (b"a/1", b"b/1", b"c/1", b"d/1")


async def make(kafka: EmbeddedKafka, prefix: str) -> Settings:
    """Two partitions of each topic, but for the one that is written by owner."""
    config = settings(kafka, prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=config.brokers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(config.topic(BY_OWNER), OWNERS, 1)])
    finally:
        await admin.close()
    await topics.create(ROLE, config, 2)

    async def known() -> bool:
        return len(await topicids.current(ROLE, config)) == len(ROLE.specs)

    await eventually("each broker knows the topics", known)
    return config


async def pay(kafka: EmbeddedKafka, config: Settings, topic: str, amounts: range) -> Counter[bytes]:
    """Returns what that adds to each account."""
    sums: Counter[bytes] = Counter()
    for number in range(2):
        rows: list[tuple[bytes | None, bytes | None]] = []
        for amount in amounts:
            account = ACCOUNTS[2 * number + amount % 2]
            rows.append((account, b"%d" % amount))
            sums[account] += amount if topic == PAID else -amount
        await send(kafka, config.topic(topic), rows, number)
    return sums


@asynccontextmanager
async def working(config: Settings, *, rebuild: bool = False) -> AsyncIterator[Quiet]:
    memory = Quiet()
    running = asyncio.ensure_future(Worker(config, ROLE, memory, memory, rebuild=rebuild).run())
    memory.running = running
    try:
        yield memory
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=PATIENCE)
        assert running.done()
        if not running.cancelled():
            running.result()


async def written(kafka: EmbeddedKafka, config: Settings) -> dict[bytes, list[dict[str, Any]]]:
    """All that was written of each account, in order."""
    found: dict[bytes, list[dict[str, Any]]] = defaultdict(list)
    for number in range(2):
        for record in await everything(kafka, config.topic(TOTALS), number):
            found[record.key].append(json.loads(record.value))
    return found


async def written_by_owner(kafka: EmbeddedKafka, config: Settings) -> dict[bytes, list[dict[str, Any]]]:
    """The same, each in its owner's partition."""
    found: dict[bytes, list[dict[str, Any]]] = defaultdict(list)
    for number in range(OWNERS):
        for record in await everything(kafka, config.topic(BY_OWNER), number):
            assert (murmur2(owner_of(record.key)) & 0x7FFFFFFF) % OWNERS == number
            found[record.key].append(json.loads(record.value))
    return found


async def await_totals(kafka: EmbeddedKafka, config: Settings, sums: Counter[bytes], generation: int = 0) -> None:
    async def right() -> bool:
        newest = {account: values[-1] for account, values in (await written(kafka, config)).items()}
        return all(value["generation"] == generation for value in newest.values()) and sums == {
            account: value["total"] for account, value in newest.items()
        }

    await eventually(f"the totals are {sums}", right)


def test_totals_are_counted_once_over_stops_and_fences_and_counted_anew(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        sums = await pay(kafka, config, PAID, range(1, 40))
        async with working(config):
            await await_totals(kafka, config, sums)
            sums.update(await pay(kafka, config, REFUNDED, range(1, 10)))
            await await_totals(kafka, config, sums)
            fence = client.make_producer(config, ShardContext(config, 0, 2, ROLE).transactional_id)
            await client.start(fence, config)
            await client.end(fence)
            sums.update(await pay(kafka, config, PAID, range(40, 50)))
            await await_totals(kafka, config, sums)
        sums.update(await pay(kafka, config, PAID, range(50, 60)))
        async with working(config) as memory:
            await await_totals(kafka, config, sums)
            assert all(records for _, records in memory.recoveries), "both were restored"
        own = await written(kafka, config)
        assert await written_by_owner(kafka, config) == own
        for values in own.values():
            assert [value["revision"] for value in values] == list(range(1, len(values) + 1)), "each once"
        async with working(config, rebuild=True) as memory:
            await await_totals(kafka, config, sums, generation=1)
            await until(lambda: len(memory.recoveries) == 2, "both were counted anew")

    asyncio.run(main())


def test_whoever_was_fenced_writes_nothing_and_anothers_state_is_refused(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await pay(kafka, config, PAID, range(1, 20))
        context = ShardContext(config, 0, 2, ROLE)
        zombie = await recover(context, discard=None, current=lambda: True)
        async with working(config):
            await eventually("it has counted", lambda: anything(kafka, config))
        outputs = drained(zombie.machine.collecting())
        assert outputs is not None
        with pytest.raises(FencedError):
            await Checkpoints(context, zombie.producer, zombie.state_end).write(outputs)
        await client.end(zombie.producer)
        machine, records = await rehearse(context)
        assert (machine.positions, records > 0) == ({"paid": 19, "refunded": 0}, True)
        elsewhere = config.model_copy(update={"group": prefix + "another"})
        with pytest.raises(UsageError, match="is another's"):
            await rehearse(ShardContext(elsewhere, 0, 2, ROLE))

    asyncio.run(main())


async def anything(kafka: EmbeddedKafka, config: Settings) -> bool:
    return len(await written(kafka, config)) == len(ACCOUNTS)
