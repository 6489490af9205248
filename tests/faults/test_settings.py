"""A worker with other settings is refused before it joins: it takes no shard from those that work."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import preflight
from stream.kafka.rebuild_cutoff import RebuildCutoff
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.kafka.tools import Memory, send_views, settings, until
from tests.live import Worker, eventually
from tests.operate.tools import count, make, worker
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

REFUSED: Final = (
    "the state of partition 0 (and of 1 more) was counted under other settings: --windows was 1m,5m/1m, is now 2m; "
    "--lateness was 5m, is now 10m. Put them back, or start once with --rebuild to count everything anew under the new ones"
)


async def counted(kafka: EmbeddedKafka, config: Settings, partition: int) -> None:
    await send_views(kafka, config, range(60), partition)
    await count(kafka, config, partition, 2)


async def ended(config: Settings, *, rebuild: bool = False) -> None:
    """Runs a worker until it ends by itself."""
    memory = Memory()
    async with asyncio.timeout(PATIENCE):
        await make_worker(config, memory, memory, rebuild=rebuild).run()


def test_it_ends_with_one_message_and_the_others_notice_nothing(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        await counted(kafka, config, 0)
        await counted(kafka, config, 1)
        async with worker(config) as memory:
            await until(lambda: memory.told and len(memory.recoveries) == 2, "both shards run")
            before = memory.rebalances
            other = Worker(kafka.bootstrap, prefix, tmp_path / "log", group=config.group, windows="2m", lateness="10m")
            with other:

                async def gone() -> bool:
                    return other.child.code is not None

                await eventually("the worker with other settings ends", gone)
                said = [line["event"] for line in other.lines()]
                assert other.child.code == 2, said
            assert sum(REFUSED in text for text in said) == 1, said
            assert "joining the group" not in said
            await send_views(kafka, config, range(60, 100), 1)
            await until(lambda: memory.counted == 40, "the shards count on")
            assert (memory.rebalances, len(memory.recoveries)) == (before, 2)

    asyncio.run(main())


def test_a_partition_without_a_state_has_no_say(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        await counted(kafka, config, 1)
        with pytest.raises(UsageError, match=r"^the state of partition 1 was counted under .*--currency was IDR"):
            await ended(settings(kafka, prefix, currency="MYR"))

    asyncio.run(main())


def test_what_a_running_state_can_follow_joins_and_so_does_a_rebuild(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        await counted(kafka, config, 0)
        shorter = settings(kafka, prefix, lateness="1m", max_sessions=10, checkpoint_every="300ms")
        await preflight.check_states(WORKER, shorter, 2, {})
        longer = settings(kafka, prefix, lateness="10m")
        with pytest.raises(UsageError, match="--lateness was 5m, is now 10m"):
            await preflight.check_states(WORKER, longer, 2, {})
        await preflight.check_states(WORKER, longer, 2, {0: RebuildCutoff(10**9)})

    asyncio.run(main())


def test_where_only_some_states_are_refused_the_others_are_worked_on(kafka: EmbeddedKafka, prefix: str) -> None:
    """So it is after one partition was rebuilt under settings of its own by mistake."""

    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        await counted(kafka, config, 0)
        await counted(kafka, settings(kafka, prefix, windows="2m"), 1)
        await send_views(kafka, config, range(60, 100), 0)
        async with worker(config) as memory:
            await until(lambda: memory.counted == 40 and 1 in memory.down, "partition 0 counts, 1 is down")
            assert "--windows was 2m, is now 1m,5m/1m" in memory.down[1]

    asyncio.run(main())


def test_a_state_of_another_group_is_refused_as_early(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        await counted(kafka, config, 0)
        with pytest.raises(UsageError, match="is another's: its group is"):
            await preflight.check_states(WORKER, settings(kafka, prefix, group="another"), 2, {})

    asyncio.run(main())
