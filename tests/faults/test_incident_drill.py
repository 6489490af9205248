"""The drill of docs/operate/replay.md: a bad release has counted an evening wrongly; mended, the evening is counted again.

What was refused wrongly is not lost, since the inputs are read and never written: a replay of the mended release equals an
independent recount of the log, says how far the live results were off, and touches none of them.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from stream.config import Settings
from stream.core import render
from stream.core.decode import Events
from stream.core.rates import Of
from stream.core.shard import Shard
from stream.model.names import ALERTS, OUTPUTS, Kind, Reason
from stream.model.results import Record, Records
from stream.replay import audit, diff, promote
from stream.replay.compare import Verdict
from stream.replay.file_source import FileRecord
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import worker
from tests.outputs import Follower, Value, read_inputs
from tests.recount import Rules, recount
from tests.replay.test_planning import make
from tests.replay.test_promote_run import of
from tests.replay.test_running import (
    MINUTE,
    PARTITIONS,
    START,
    bare,
    counted_live,
    fill,
    own,
    planned,
    replay,
    seen,
    settings_of,
    traffic,
    whole,
    within,
)

pytestmark = pytest.mark.kafka


def spoil(patch: pytest.MonkeyPatch) -> None:
    """The bad release: it cannot read every second event, and shows rates of counts ten times too high."""
    decode, rate = Shard.decode, render._WRITTEN[Of.COUNTS]

    def decoded(shard: Shard, kind: Kind, records: Sequence[Record]) -> tuple[Sequence[Record], Events]:
        return decode(shard, kind, Records(map(half_broken, records), 0, create_time=True))

    def wrong(*arguments: Any) -> Any:
        right: Any = rate(*arguments)
        return None if right is None else right * 10

    patch.setattr(Shard, "decode", decoded)
    patch.setitem(render._WRITTEN, Of.COUNTS, wrong)


def half_broken(record: Record) -> Record:
    value = record.value if record.offset % 2 else b"{"
    return FileRecord(record.offset, record.timestamp, record.key, value, tuple(record.headers))


def counts_of(values: dict[str, Value], name: str) -> int:
    return sum(each["counts"][name] for each in values.values())


async def truth(settings: Settings) -> tuple[dict[str, Value], dict[str, Value]]:
    """Windows and totals as the log has them."""
    records = await read_inputs(settings.brokers or "", settings.topic_prefix, PARTITIONS)
    found = recount(records, Rules(trust_producer_time=True))
    return found.windows, found.sessions


def test_what_a_bad_release_has_counted_wrongly_is_counted_again(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        messages = traffic()
        await fill(settings, messages)
        with monkeypatch.context() as patch:
            spoil(patch)
            await counted_live(settings, len(messages))
        live = await seen(settings, OUTPUTS)
        assert list(live.letters.values()).count(Reason.INVALID_JSON.encode()) > len(messages) / 3

        plan = await planned(settings, id="mended")
        await audit.record(settings, audit.begun(plan, "ana@ops-1", "half of the events were refused", None))
        await replay(plan, settings)
        mended = await seen(settings, own(plan))

        every, sessions = await truth(settings)
        windows = within(every)
        assert without_status(bare(mended.windows)) == without_status(windows) != {}
        ended = whole(mended.totals)
        assert without_status(bare(ended)) == without_status({key: sessions[key] for key in ended}) != {}

        compared = await diff.diff(settings, plan)
        assert not compared.equal
        tallies = compared.tallies["1m"]
        assert tallies[Verdict.CHANGED] > tallies[Verdict.EQUAL], "nearly every window was wrong"
        assert counts_of(within(live.windows), "views") < 0.7 * counts_of(windows, "views")
        assert (await seen(settings, OUTPUTS)).raw == live.raw, "no live result is touched, and no alert delivered"
        await promoted(settings, {**every, **sessions})
        assert written_alerts(await seen_last(settings)) == written_alerts(live.raw), "no alert is delivered"

    asyncio.run(run())


async def promoted(settings: Settings, expected: dict[str, Value]) -> None:
    """A replay of all that was sent is promoted: of each session that lies wholly in it, live results are the truth."""
    plan = await planned(settings, id="whole", from_ms=START, to_ms=START + 36 * MINUTE)
    await replay(plan, settings)
    async with worker(settings):
        done = await promote.promote(settings, promote.Asked(plan, "ana@ops-1", "half of the events were refused"))
    assert done.outcomes == {"applied": len(done.verdicts)}, (done.verdicts, done.waiting)
    sessions = list(done.verdicts)
    assert sessions
    ours = {key: value for key, value in expected.items() if key.partition("/")[0] in sessions}
    assert without_status(await of(settings, OUTPUTS, sessions)) == without_status(ours)


async def seen_last(settings: Settings) -> list[tuple[str, int, int]]:
    """Where there are alerts."""
    topic = settings.topic(ALERTS)
    async with Follower(settings.brokers or "", [topic], PARTITIONS) as follower:
        return [(record.topic, record.partition, record.offset) for record in await follower.more()]


def written_alerts(places: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    return sorted(place for place in places if place[0].endswith(ALERTS))


def without_status(values: dict[str, Value]) -> dict[str, Value]:
    return {
        key: {name: each for name, each in value.items() if name not in {"status", "run"}}
        for key, value in values.items()
    }
