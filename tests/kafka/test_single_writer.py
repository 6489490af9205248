"""A checkpoint is held against the end of the one before: who else has written live.state is known before the commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from stream.core.shard import Shard
from stream.core.statelog import Provenance, newest_provenance
from stream.kafka import client
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.shard_context import CheckpointError, FencedError, ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.model.names import STATE, Kind
from stream.model.results import Outputs
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.kafka.tools import everything, make_topics, producer, settings

pytestmark = pytest.mark.kafka


def first_checkpoint(context: ShardContext) -> Outputs:
    shard = Shard(context.settings.policy())
    shard.owner = context.owner
    shard.begin_at(dict.fromkeys(Kind, 0))
    outputs = shard.collect()
    assert outputs is not None
    return outputs


@asynccontextmanager
async def writing(kafka: EmbeddedKafka, prefix: str) -> AsyncIterator[tuple[ShardContext, Checkpoints]]:
    """One that has written offset 0. Its marker comes in its own time, before or behind what others write at once."""
    config = settings(kafka, prefix)
    await make_topics(config)
    context = ShardContext(config, 0, 1, WORKER)
    made = client.make_producer(config, context.transactional_id)
    await client.start(made, config)
    try:
        checkpoints = Checkpoints(context, made, 0)
        assert await checkpoints.write(first_checkpoint(context)) == 0
        yield context, checkpoints
    finally:
        await client.end(made)


async def states(kafka: EmbeddedKafka, context: ShardContext) -> list[int]:
    """Offsets of what is committed."""
    return [record.offset for record in await everything(kafka, context.settings.topic(STATE))]


def test_markers_and_records_that_are_no_state_stop_nobody(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        async with writing(kafka, prefix) as (context, checkpoints):
            async with producer(kafka, transactional_id=prefix + "other") as other:
                await other.begin_transaction()
                await other.send_and_wait(context.state.topic, b"stray", key=b"stray", partition=0)
                await other.abort_transaction()
            assert await states(kafka, context) == [0], "and the marker is written, which is a moment after it was told"
            with capture_logs() as logs:
                offset = await checkpoints.write(first_checkpoint(context))
                assert offset == 4, "behind 0, its marker, the stray record and its marker"
                assert await checkpoints.write(first_checkpoint(context)) == 6, "and that is the end from now on"
            told = [entry for entry in logs if entry["event"] == "live.state has more than our records"]
            assert [(entry["begin"], entry["others"]) for entry in told] == [(1, 1)]
            assert await states(kafka, context) == [0, 4, 6]

    asyncio.run(main())


@pytest.mark.parametrize("ending", ["committed", "aborted", "open"])
def test_a_state_of_another_installation_is_never_written_over(kafka: EmbeddedKafka, prefix: str, ending: str) -> None:
    async def main() -> None:
        async with writing(kafka, prefix) as (context, checkpoints):
            theirs = ShardContext(context.settings.model_copy(update={"group": "theirs"}), 0, 1, WORKER)
            ((key, value),) = first_checkpoint(theirs).state
            async with producer(kafka, transactional_id=prefix + "theirs") as other:
                await other.begin_transaction()
                await other.send_and_wait(context.state.topic, value, key=key, partition=0)
                if ending != "open":
                    await (other.commit_transaction() if ending == "committed" else other.abort_transaction())
                with pytest.raises(
                    StateRefusedError, match=r"at offset [12] is a record of another .* its group is theirs"
                ):
                    await checkpoints.write(first_checkpoint(context))
                if ending == "open":
                    await other.abort_transaction()
            assert len(await states(kafka, context)) == (2 if ending == "committed" else 1)

    asyncio.run(main())


def test_a_state_of_our_own_group_is_a_fence(kafka: EmbeddedKafka, prefix: str) -> None:
    """A worker of an earlier version had the partition meanwhile."""

    async def main() -> None:
        async with writing(kafka, prefix) as (context, checkpoints):
            async with producer(kafka, transactional_id=context.earlier_id(context.owner)) as other:
                await other.begin_transaction()
                for key, value in first_checkpoint(context).state:
                    await other.send_and_wait(context.state.topic, value, key=key, partition=0)
                await other.commit_transaction()
            with pytest.raises(FencedError):
                await checkpoints.write(first_checkpoint(context))
            assert len(await states(kafka, context)) == 2

    asyncio.run(main())


def test_what_cannot_be_read_under_a_key_of_the_state_is_somebody_elses(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        async with writing(kafka, prefix) as (context, checkpoints):
            async with producer(kafka) as other:
                await other.send_and_wait(context.state.topic, b"\xff", key=b"7/0", partition=0)
            with pytest.raises(StateRefusedError, match=r"at offset [12] is a record that cannot be read"):
                await checkpoints.write(first_checkpoint(context))

    asyncio.run(main())


def test_an_end_that_is_gone_begins_the_shard_again(kafka: EmbeddedKafka, prefix: str) -> None:
    """As after an unclean election: what was committed last is not there any more."""

    async def main() -> None:
        async with writing(kafka, prefix) as (context, checkpoints):
            checkpoints._state_end = 6
            with pytest.raises(CheckpointError, match="has lost records: 2 comes after 7"):
                await checkpoints.write(first_checkpoint(context))
            assert await states(kafka, context) == [0]

    asyncio.run(main())


def test_a_state_says_which_producer_wrote_it(kafka: EmbeddedKafka, prefix: str) -> None:
    """Empty of an earlier version, whose id is then fenced as well."""
    context = ShardContext(settings(kafka, prefix), 0, 1, WORKER)
    shard = Shard(context.settings.policy())
    shard.begin_at(dict.fromkeys(Kind, 0))
    shard.transactional_id = context.transactional_id
    outputs = shard.collect()
    assert outputs is not None
    meta = newest_provenance([(0, value) for _, value in outputs.state], Provenance)
    assert meta.transactional_id == f"liveshop.{prefix}live.state.live.0"
