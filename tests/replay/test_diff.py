"""A replay of an untouched range shows no difference: the proof of law 1. Other settings show theirs."""

import asyncio

import pytest

from stream.replay import diff as diffs
from stream.replay.compare import SESSIONS, Verdict, plain
from stream.replay.openmetrics import Export
from stream.sandbox.broker import EmbeddedKafka
from tests.replay.test_running import counted, planned, replay

pytestmark = pytest.mark.kafka


def test_an_untouched_range_shows_no_difference_and_other_windows_show_theirs(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    """It begins and ends inside sessions, and crosses late events."""

    async def run() -> None:
        settings = await counted(kafka, prefix)
        plan = await planned(settings)
        await replay(plan, settings)
        found = await diffs.diff(settings, plan)
        assert found.equal, plain(found)
        assert found.tallies["1m"][Verdict.EQUAL] > 10
        assert found.tallies["5m"][Verdict.EQUAL] > 10
        assert found.tallies[SESSIONS][Verdict.EQUAL] > 0
        assert found.tallies[SESSIONS][Verdict.PARTIAL] > 0
        assert not found.tallies[SESSIONS][Verdict.LIVE_EXPIRED]
        assert found.differing == found.strays == 0

        export = await diffs.export(settings, plan, Export(), lambda _done, _every: None, live=True)
        assert (
            export.windows["live"] == export.windows["again"] == found.compared - found.tallies[SESSIONS][Verdict.EQUAL]
        )
        lines = [line for line in export.text() if not line.startswith("#")]
        theirs, ours = (
            [line.replace(f'run="{name}"', "") for line in lines if f'run="{name}"' in line]
            for name in ("live", "again")
        )
        assert theirs == ours != []

        other = await planned(settings, id="other", windows="2m")
        await replay(other, settings)
        found = await diffs.diff(settings, other)
        assert {name: {*tally} for name, tally in found.tallies.items()} == {
            "1m": {Verdict.ONLY_LIVE},
            "5m": {Verdict.ONLY_LIVE},
            "2m": {Verdict.ONLY_REPLAY},
            SESSIONS: {Verdict.EQUAL, Verdict.PARTIAL},
        }
        assert not found.equal

    asyncio.run(run())
