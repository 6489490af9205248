"""live.alerts and the rules, against a real broker: what is told, what a rebuild tells, and rules that change."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka.checkpoint import Checkpoints
from stream.model.names import ALERTS, INPUTS, KINDS, SESSION_WINDOWS, Kind
from stream.model.results import Outputs
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.rules_reload import ReloadedRules
from stream.sessions.worker import make_worker
from tests.core.test_decode import CHECKOUT, COMMENT, VIEW
from tests.kafka.tools import BASE, Memory, everything, make_topics, send, settings, until
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

MINUTE = 60_000
START = BASE // MINUTE * MINUTE
BASES = {Kind.VIEWS: VIEW, Kind.COMMENTS: COMMENT, Kind.CHECKOUTS: CHECKOUT}
CLICKS = """
  - alert: clicks
    window: 1m
    when: w.product_clicks >= 3.0
    severity: page
    summary: "{product_clicks:.0f} clicks"
    runbook: none
"""
SILENT = """
  - alert: silent
    window: 1m
    when: w.events == 0.0
    severity: info
    summary: silent
    runbook: none
"""


def write(folder: Path, *rules: str) -> Path:
    file = folder / "rules.yaml"
    file.write_text("rules:" + "".join(rules))
    return file


def patient(kafka: EmbeddedKafka, prefix: str, rules: Path | str, **changes: Any) -> Settings:
    """No topic is left out for its silence: only events move anything."""
    return settings(kafka, prefix, rules=str(rules), idle_after=timedelta(minutes=10), **changes)


async def see(kafka: EmbeddedKafka, config: Settings, minute: float, session: str, *actions: str) -> None:
    """Views of one session at a moment."""
    time = START + int(minute * MINUTE)
    rows = [
        {**VIEW, "event_id": f"{minute}-{n}", "event_time": time, "session_id": session, "action": action}
        for n, action in enumerate(actions)
    ]
    await send(kafka, config.topic(INPUTS[Kind.VIEWS]), [(session.encode(), json.dumps(row).encode()) for row in rows])


async def reach(kafka: EmbeddedKafka, config: Settings, minute: float) -> None:
    """All three topics have come so far: slides that end 10 s before are judged."""
    time = START + int(minute * MINUTE)
    for kind in KINDS:
        row = {**BASES[kind], "event_id": f"clock-{minute}", "event_time": time, "session_id": "clock"}
        row |= {"checkout_id": f"k{minute}"} if kind is Kind.CHECKOUTS else {}
        await send(kafka, config.topic(INPUTS[kind]), [(b"clock", json.dumps(row).encode())])


async def told(kafka: EmbeddedKafka, config: Settings) -> list[tuple[str, str, float]]:
    """Alert and status with the minute, as they lie in the log; those of the session "clock" aside."""
    values = [json.loads(record.value) for record in await everything(kafka, config.topic(ALERTS))]
    return [
        (value["alert"], value["status"], (value["at"] - START) / MINUTE)
        for value in values
        if value["session_id"] != "clock"
    ]


async def becomes(kafka: EmbeddedKafka, config: Settings, expected: list[Any], deadline: float = PATIENCE) -> None:
    end = asyncio.get_running_loop().time() + deadline
    while (found := await told(kafka, config)) != expected:
        assert asyncio.get_running_loop().time() < end, f"not within {deadline:g} s: {expected}, but {found}"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def worker(config: Settings, *, rebuild: bool = False) -> AsyncIterator[ReloadedRules]:
    """A running worker, stopped in order at the end."""
    memory = Memory()
    reloaded = ReloadedRules(config, memory)
    running = asyncio.ensure_future(make_worker(config, memory, memory, rebuild=rebuild, rules=reloaded).run())
    try:
        await until(lambda: memory.recoveries or running.done(), "it runs")
        yield reloaded
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=PATIENCE)
        if not running.cancelled():
            running.result()


@pytest.fixture
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[Outputs]:
    """All that were committed, each in one transaction."""
    found: list[Outputs] = []
    commit = Checkpoints.write

    async def noted(self: Checkpoints, outputs: Outputs) -> int:
        offset = await commit(self, outputs)
        found.append(outputs)
        return offset

    monkeypatch.setattr(Checkpoints, "write", noted)
    return found


def test_an_alert_is_told_with_the_window_and_resolved_after_a_restart(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, checkpoints: list[Outputs]
) -> None:
    async def main() -> None:
        config = patient(kafka, prefix, write(tmp_path, CLICKS))
        await make_topics(config)
        await see(kafka, config, 0.5, "s1", *["product_click"] * 4)
        async with worker(config):
            await reach(kafka, config, 1.2)
            await becomes(kafka, config, [("clicks", "firing", 1)])
            (record,) = await everything(kafka, config.topic(ALERTS))
            windows = await everything(kafka, config.topic(SESSION_WINDOWS))
        assert record.key == b"clicks/s1"
        assert json.loads(record.value) | {"id": "?"} == {
            "alert": "clicks", "at": START + MINUTE, "id": "?", "run": "live", "runbook": "none", "session_id": "s1",
            "seller_id": VIEW["seller_id"], "severity": "page", "since": START + MINUTE, "status": "firing",
            "summary": "4 clicks", "values": {"product_clicks": 4},
        }  # fmt: skip
        first = next(each for each in windows if each.key.startswith(b"s1/1m/"))
        (together,) = [outputs for outputs in checkpoints if [each.alert for each in outputs.alerts] == ["clicks"]]
        assert (first.key, first.value) in together.windows, "in one transaction"
        async with worker(config):
            await reach(kafka, config, 2.2)
            await becomes(kafka, config, [("clicks", "firing", 1), ("clicks", "resolved", 2)])

    asyncio.run(main())


def test_a_rebuild_tells_only_what_differs_from_what_was_told(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    async def main() -> None:
        config = patient(kafka, prefix, write(tmp_path, CLICKS, SILENT))
        await make_topics(config)
        await see(kafka, config, 0.5, "s1", *["product_click"] * 4)
        before = [("clicks", "firing", 1), ("clicks", "resolved", 2), ("silent", "firing", 2)]
        async with worker(config):
            await reach(kafka, config, 2.2)
            await becomes(kafka, config, before)
        write(tmp_path, SILENT.replace("alert: silent", "alert: still"))
        async with worker(config, rebuild=True):
            after = [*before, ("silent", "resolved", 2), ("still", "firing", 2)]
            await becomes(kafka, config, after)
            await see(kafka, config, 2.5, "s1", "enter")
            await reach(kafka, config, 3.2)
            await becomes(kafka, config, [*after, ("still", "resolved", 3)])
        async with worker(config, rebuild=True):
            await reach(kafka, config, 4.2)
            await becomes(kafka, config, [*after, ("still", "resolved", 3), ("still", "firing", 4)])

    asyncio.run(main())


def test_rules_that_are_read_again_hold_from_the_next_slide_on_and_wrong_ones_do_not(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    async def main() -> None:
        config = patient(kafka, prefix, write(tmp_path, CLICKS))
        await make_topics(config)
        await see(kafka, config, 0.5, "s1", *["product_click"] * 4)
        async with worker(config) as reloaded:
            await reach(kafka, config, 1.2)
            await becomes(kafka, config, [("clicks", "firing", 1)])
            write(tmp_path, SILENT.replace("w.events", "w.evnts"))
            with capture_logs() as logs:
                assert not reloaded.read_again()
            (line,) = [each for each in logs if each["log_level"] == "error"]
            assert any("did you mean" in mistake for mistake in line["mistakes"])
            write(tmp_path, SILENT)
            assert reloaded.read_again()
            await reach(kafka, config, 2.2)
            await becomes(kafka, config, [("clicks", "firing", 1), ("clicks", "resolved", 2), ("silent", "firing", 2)])

    asyncio.run(main())


def test_wrong_rules_are_refused_at_the_start_with_every_mistake(tmp_path: Path) -> None:
    file = write(tmp_path, SILENT.replace("w.events", "w.evnts"), CLICKS.replace("page", "pager"))
    with pytest.raises(UsageError) as refused:
        ReloadedRules(Settings(rules=str(file)), Memory())
    assert "evnts" in str(refused.value)
    assert "pager" in str(refused.value)
