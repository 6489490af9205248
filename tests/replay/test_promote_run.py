"""From the topics to the live results and back: a range is planned, run, promoted and taken back, while a worker counts."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest

from stream.config import Settings
from stream.errors import UsageError
from stream.model.names import OUTPUTS
from stream.replay import promote
from stream.replay.promotable import Standing
from stream.replay.promote import Asked
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import worker
from tests.outputs import Follower, Value
from tests.replay.test_running import MINUTE, PARTITIONS, START, bare, counted, own, planned, replay

pytestmark = pytest.mark.kafka


async def of(settings: Settings, names: Sequence[str], sessions: list[str]) -> dict[str, Value]:
    """The last windows and totals of some sessions, but for what tells how they came about. Of each key the last record
    counts: a shard alone writes it.
    """
    topics = [settings.topic(name) for name in names[:2]]
    async with Follower(settings.brokers or "", topics, PARTITIONS) as follower:
        found = {record.key.decode(): record.value for record in await follower.more()}
    ours = {key: value for key, value in found.items() if key.partition("/")[0] in sessions and value is not None}
    return bare({key: orjson.loads(value) for key, value in ours.items()})


def test_late_events_that_a_replay_has_counted_are_promoted_and_taken_back(kafka: EmbeddedKafka, prefix: str) -> None:
    """What was too late for the worker counts in the replay. The sessions that it changes are replaced whole."""

    async def run() -> None:
        settings = await counted(kafka, prefix)
        plan = await planned(settings, from_ms=START, to_ms=START + 36 * MINUTE, count_late=True)
        await replay(plan, settings)
        asked = Asked(plan, "me", "late events count")
        sessions = (await promote.promote(settings, Asked(plan, "me", "look", dry_run=True))).of(Standing.PROMOTED)
        assert sessions
        live, replayed = await of(settings, OUTPUTS, sessions), await of(settings, own(plan), sessions)
        assert live != replayed
        async with worker(settings):
            done = await promote.promote(settings, asked)
            assert done.outcomes == {"applied": len(sessions)}, (done.verdicts, done.waiting)
            assert await of(settings, OUTPUTS, sessions) == replayed
            assert (await promote.promote(settings, asked)).of(Standing.PROMOTED) == []
            back = await promote.undo(settings, Asked(plan, "me", "a mistake"))
            assert back.outcomes == {"applied": len(sessions)}, (back.verdicts, back.waiting)
            assert await of(settings, OUTPUTS, sessions) == live

    asyncio.run(run())


def test_other_windows_than_those_of_the_workers_are_not_promoted(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = await counted(kafka, prefix)
        plan = await planned(settings, from_ms=START, to_ms=START + 30 * MINUTE, windows="2m")
        await replay(plan, settings)
        with pytest.raises(UsageError, match="other windows than the workers"):
            await promote.promote(settings, Asked(plan, "me", "a try", dry_run=True))

    asyncio.run(run())
