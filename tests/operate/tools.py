"""What the tests of the operators' room share: shards that have counted something, and workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from stream.config import Settings
from stream.kafka import client
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.recovery import Recovered, recover
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, SESSIONS, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.machines import shard_of
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.kafka.tools import Memory, everything, make_topics, newest, settings
from tests.support import PATIENCE


async def make(kafka: EmbeddedKafka, prefix: str, partitions: int = 1, **changes: Any) -> Settings:
    config = settings(kafka, prefix, **changes)
    await make_topics(config, partitions)
    return config


async def count(kafka: EmbeddedKafka, config: Settings, partition: int = 0, partitions: int = 1) -> None:
    """Counts all views there are, in several checkpoints; in the end all windows are closed and all totals written."""
    context = ShardContext(config, partition, partitions, WORKER)
    found = await recover(context, discard=None, current=lambda: True)
    shard = shard_of(found.machine)
    try:
        records = await everything(kafka, config.topic(INPUTS[Kind.VIEWS]), partition)
        rest = [record for record in records if record.offset >= shard.positions[Kind.VIEWS]]
        for start in range(0, len(rest), 40):
            shard.read(Kind.VIEWS, rest[start : start + 40])
            for other in (Kind.COMMENTS, Kind.CHECKOUTS):
                shard.exclude(other)
            await _write(found, context)
        shard.finish()
        await _write(found, context)
    finally:
        await client.end(found.producer)


async def _write(found: Recovered, context: ShardContext) -> None:
    while shard_of(found.machine).work(100):
        pass
    outputs = shard_of(found.machine).collect()
    if outputs is not None:
        offset = await Checkpoints(context, found.producer).write(outputs)
        shard_of(found.machine).committed(outputs.checkpoint, offset)


@asynccontextmanager
async def worker(config: Settings) -> AsyncIterator[Memory]:
    memory = Memory()
    running = asyncio.ensure_future(make_worker(config, memory, memory, rebuild=False).run())
    memory.running = running
    try:
        yield memory
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=PATIENCE)
        assert running.done()
        if not running.cancelled():
            running.result()


async def totals(kafka: EmbeddedKafka, config: Settings, partition: int = 0) -> dict[str, int]:
    """Views by session as live.sessions has them."""
    records = await everything(kafka, config.topic(SESSIONS), partition)
    return {key.decode(): value["counts"]["views"] for key, value in newest(records).items()}


async def eventually(look: Any, what: str, deadline: float = PATIENCE) -> None:
    end = asyncio.get_running_loop().time() + deadline
    while not await look():
        assert asyncio.get_running_loop().time() < end, f"not within {deadline:g} s: {what}"
        await asyncio.sleep(0.1)
