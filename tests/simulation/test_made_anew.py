"""A topic made anew at any moment between a fetch and a commit: nothing of it is ever counted for the one before."""

import asyncio
import json
from collections.abc import Iterable

import pytest
from aiokafka import TopicPartition

from stream.kafka import client, statereader
from stream.kafka.shard_context import ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.model.names import INPUTS, SESSIONS, Kind
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.kafka.tools import Memory, views
from tests.simulation.stage import InMemory, eventually, in_memory, started

VIEWS = INPUTS[Kind.VIEWS]
OLD = 40


def write(stage: InMemory, numbers: Iterable[int], session: str) -> None:
    tp = TopicPartition(stage.settings.topic(VIEWS), 0)
    rows = [(key, value, ()) for key, value in views(numbers, session)]
    stage.cluster.produce(None, {tp: (rows, 0, -1)})


async def position(stage: InMemory) -> int:
    context = ShardContext(stage.settings, 0, 1, WORKER)
    async with started(client.make_reader(stage.settings), stage.settings) as reader:
        reader.assign([context.state])
        newest = await statereader.newest_checkpoint(reader, context.state)
    return 0 if newest is None else newest.meta.positions[Kind.VIEWS]


def counted(stage: InMemory) -> set[str]:
    """Sessions in committed totals."""
    log = stage.cluster.log(TopicPartition(stage.settings.topic(SESSIONS), 0))
    return {json.loads(entry.value)["session_id"] for entry in log.committed() if entry.value}


@pytest.mark.parametrize("moment", range(25))
def test_whatever_is_under_way_then(prefix: str, moment: int) -> None:
    """Its records are there at once, more than of the old one, also from where that was read to."""
    stage = in_memory(prefix)

    async def act() -> None:
        await stage.make_topics()
        write(stage, range(OLD // 2), "old")
        memory = Memory()
        running = asyncio.ensure_future(make_worker(stage.settings, memory, memory, rebuild=False).run())
        try:
            await eventually(lambda: _true(memory.checkpoints > 0), "it counts")
            write(stage, range(OLD // 2, OLD), "old")
            await asyncio.sleep(moment * 0.02)
            await stage.make_anew(VIEWS)
            write(stage, range(1000, 1000 + 5 * OLD), "new")
            async with asyncio.timeout(60):
                with pytest.raises(StateRefusedError, match="was made anew"):
                    await asyncio.shield(running)
            assert counted(stage) <= {"old"}
            assert await position(stage) <= OLD
        finally:
            running.cancel()
            await asyncio.wait({running})

    stage.play(act)


async def _true(value: object) -> object:
    return value
