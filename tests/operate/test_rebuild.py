"""A rebuild by hand is what `worker --rebuild` does: planned first, then counted anew by whoever works on the shard."""

import asyncio

import pytest

from stream.config import Change, Settings
from stream.errors import FailedError
from stream.kafka import membership, shard_loop
from stream.kafka.retries import BackoffPolicy
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, SESSIONS, STATE, Kind
from stream.operate import rebuild as rebuilding
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.kafka.test_recovery import delete_records
from tests.kafka.tools import everything, newest, producer, send, send_views, until
from tests.operate.tools import count, eventually, make, worker

pytestmark = pytest.mark.kafka


def test_a_running_worker_counts_everything_anew_of_that_shard_alone(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "BACKOFF", BackoffPolicy(0.1, 0.5))

    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        await send_views(kafka, config, range(10), partition=1)
        async with worker(config) as memory:
            await send_views(kafka, config, range(50))
            await until(lambda: memory.counted == 60, "all are counted")
            context = ShardContext(config, 0, 2, WORKER)

            async def in_state() -> bool:
                (views, *_) = (await rebuilding.plan(context)).topics
                return (views.position, views.begin, views.end, views.records) == (50, 0, 50, 50)

            await eventually(in_state, "the plan shows the state")
            plan = await rebuilding.plan(context)
            assert (plan.generation_now, plan.generation, plan.checkpoint, plan.settings_differ) == (0, 1, None, [])
            done = await rebuilding.execute(context, plan)
            assert (done.generation, done.checkpoint) == (1, 1)
            await send_views(kafka, config, range(50, 60))
            await until(lambda: memory.counted == 120, "it has counted that shard anew, and what is new")

            async def written() -> bool:
                sessions = newest(await everything(kafka, config.topic(SESSIONS)))
                return [(s["generation"], s["counts"]["views"]) for s in sessions.values()] == [(1, 60)]

            await eventually(written, "the new generation is written")
            assert [number for number, _ in memory.recoveries].count(1) == 1

    asyncio.run(main())


def test_a_worker_with_nothing_to_write_hears_of_it_too(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is closed and nothing new comes: no checkpoint of its own would tell it."""
    monkeypatch.setattr(shard_loop, "CHECK_OWNERSHIP_EVERY", 0.5)

    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(50))
        await count(kafka, config)
        written = len(await everything(kafka, config.topic(STATE)))
        async with worker(config) as memory:
            await until(lambda: memory.recoveries == [(0, 3)], "it has the shard, and counts nothing")
            await eventually(lambda: _grown(kafka, config, written), "it has asked the broker for the time")
            await eventually(lambda: _still(kafka, config), "it writes nothing more")
            context = ShardContext(config, 0, 1, WORKER)
            await rebuilding.execute(context, await rebuilding.plan(context))
            await until(lambda: memory.counted == 50, "it has counted all of it anew")

    asyncio.run(main())


async def _grown(kafka: EmbeddedKafka, config: Settings, before: int) -> bool:
    return len(await everything(kafka, config.topic(STATE))) > before


async def _still(kafka: EmbeddedKafka, config: Settings) -> bool:
    """Nothing was written for as long as a checkpoint may be due and a little more."""
    before = len(await everything(kafka, config.topic(STATE)))
    await asyncio.sleep(2 * config.checkpoint_every.total_seconds())
    return before == len(await everything(kafka, config.topic(STATE)))


def test_what_retention_has_deleted_is_lost_to_a_rebuild_and_the_plan_says_so(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    """Also when the state cannot be read at all, which is what a rebuild is for."""

    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        await count(kafka, config)
        await delete_records(kafka, config.topic(INPUTS[Kind.VIEWS]), 4)
        other = config.model_copy(update={"lateness": config.lateness * 2})
        assert (await rebuilding.plan(ShardContext(other, 0, 1, WORKER))).settings_differ == [
            Change("--lateness", "5m", "10m")
        ]
        await send(kafka, config.topic(STATE), [(b"0/0", b"\xff")])
        context = ShardContext(config, 0, 1, WORKER)
        plan = await rebuilding.plan(context)
        assert (plan.generation_now, plan.generation) == (None, 1)
        assert [(each.begin, each.position, each.records) for each in plan.topics] == [(4, None, 6)] + [
            (0, None, 0)
        ] * 2
        await rebuilding.execute(context, plan)
        await count(kafka, config)
        sessions = newest(await everything(kafka, config.topic(SESSIONS)))
        assert (sessions[b"s1"]["counts"]["views"], sessions[b"s1"]["incomplete"]) == (6, True)

    asyncio.run(main())


def test_a_state_whose_end_is_not_known_is_not_planned_over(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        quick = config.model_copy(update={"transaction_timeout": config.heartbeat_every})
        async with producer(kafka, transactional_id=prefix + "foreign") as foreign:
            await foreign.begin_transaction()
            await foreign.send_and_wait(config.topic(STATE), b"x", key=b"x", partition=0)
            with pytest.raises(FailedError, match="a transaction of somebody hangs"):
                await rebuilding.plan(ShardContext(quick, 0, 1, WORKER))
            await foreign.abort_transaction()

    asyncio.run(main())
