"""Event times that are not what they should be: nobody else's windows and alerts wait for them, or miss their events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from stream.model.names import ALERTS, INPUTS, SESSION_WINDOWS, Kind
from stream.sandbox.broker import EmbeddedKafka
from tests.core.test_decode import COMMENT, VIEW
from tests.kafka.tools import everything, producer, settings
from tests.live import Worker, create_topics, eventually
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka
QUICK: Final = {"idle_after": "1s", "checkpoint_every": "200ms", "session_timeout": "6s"}
SHORT: Final = {"windows": "2s", "delay": "2s", "lateness": "1s", "state_retention": "60s"}
RULES: Final = """
rules:
  - alert: clicks
    window: 2s
    when: w.product_clicks >= 2.0
    severity: page
    summary: "{product_clicks:.0f} clicks"
    runbook: none
"""
DEADLINE: Final = PATIENCE
"""Seconds for what takes about six: before, it took minutes, an hour, or did not come."""
BASES: Final = {Kind.VIEWS: VIEW, Kind.COMMENTS: COMMENT}


def now_ms() -> int:
    return int(time.time() * 1000)


class Sender:
    """Sends events one after another, each when the one before is in the log."""

    def __init__(self, made: Any, prefix: str) -> None:
        self._made = made
        self._prefix = prefix
        self._number = 0

    async def send(self, kind: Kind, session: str, event_time: int, **fields: str) -> None:
        self._number += 1
        value = {
            **BASES[kind],
            "event_id": f"e{self._number}",
            "event_time": event_time,
            "session_id": session,
            **fields,
        }
        topic = self._prefix + INPUTS[kind]
        await self._made.send_and_wait(topic, json.dumps(value).encode(), key=session.encode(), partition=0)


@asynccontextmanager
async def repeated(what: Callable[[], Any], every: float) -> AsyncIterator[None]:
    """Goes on meanwhile."""

    async def forever() -> None:
        while True:
            await what()
            await asyncio.sleep(every)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def values(kafka: EmbeddedKafka, topic: str, session: str) -> list[dict[str, Any]]:
    found = [json.loads(record.value) for record in await everything(kafka, topic)]
    return [value for value in found if value["session_id"] == session]


def test_events_stamped_ahead_silence_no_alert(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    """One 59 s ahead of the broker now and then made all others late for alerts."""
    create_topics(kafka.bootstrap, prefix, 1)
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    config = settings(kafka, prefix)

    async def main(worker: Worker) -> None:
        async with producer(kafka) as made:
            sender = Sender(made, prefix)

            async def send() -> None:
                await sender.send(Kind.VIEWS, "fast", now_ms() + 59_000)
                for _ in range(3):
                    await sender.send(Kind.VIEWS, "honest", now_ms(), action="product_click")

            async def fired() -> bool:
                assert worker.child.code is None, worker.child.tail()
                told = await values(kafka, config.topic(ALERTS), "honest")
                return any(value["status"] == "firing" for value in told)

            async with repeated(send, 0.1):
                await eventually("the honest session's alert fires", fired, DEADLINE, every=0.3)

    with Worker(kafka.bootstrap, prefix, tmp_path / "log", rules=str(rules), **QUICK, **SHORT) as worker:
        worker.await_ready()
        asyncio.run(main(worker))
        assert worker.metrics()['liveshop_events_not_on_time_total{type="views"}'] == 0
        worker.stop()


@pytest.mark.parametrize("old", ["ten seconds before", "in the year 2001"])
def test_a_trickle_of_old_events_holds_back_no_window(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, old: str
) -> None:
    """On a topic without others, it did for an hour: the topic was neither silent nor came its clock forward."""
    create_topics(kafka.bootstrap, prefix, 1)
    config = settings(kafka, prefix)
    started = now_ms()
    stuck = started - 10_000 if old == "ten seconds before" else 10**12

    async def main(worker: Worker) -> None:
        async with producer(kafka) as made:
            sender = Sender(made, prefix)

            async def windows(since: int, number: int, reason: str) -> bool:
                assert worker.child.code is None, worker.child.tail()
                found = await values(kafka, config.topic(SESSION_WINDOWS), "honest")
                return len([each for each in found if each["start"] >= since and each["reason"] == reason]) >= number

            async def left_out() -> bool:
                series = f'liveshop_topic_left_out{{partition="0",topic="{prefix}{INPUTS[Kind.COMMENTS]}"}}'
                return worker.metrics().get(series) == 1

            async with repeated(lambda: sender.send(Kind.COMMENTS, "old", stuck), 0.2):
                async with repeated(lambda: sender.send(Kind.VIEWS, "honest", now_ms()), 0.1):
                    await eventually("windows", lambda: windows(started, 2, "closed"), DEADLINE, every=0.3)
                    await eventually("the metric", left_out, DEADLINE, every=0.3)
                last = now_ms()
                await sender.send(Kind.VIEWS, "honest", last)
                await eventually("the last window", lambda: windows(last - 2000, 1, "idle"), DEADLINE, every=0.3)

    with Worker(kafka.bootstrap, prefix, tmp_path / "log", **QUICK, **SHORT) as worker:
        worker.await_ready()
        asyncio.run(main(worker))
        worker.stop()
        told = [line for line in worker.lines() if "far behind" in str(line.get("event"))]
        assert [(line["level"], line["topic"], line["partition"]) for line in told] == [("warning", "comments", 0)]
