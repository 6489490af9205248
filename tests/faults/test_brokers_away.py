"""No broker answers while a worker runs: it says so at once and briefly, keeps trying, and goes on by itself."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import BASE, view
from tests.live import Outgoing, Worker, create_topics, send_all, wait_for

OUTAGE_SECONDS: Final = 25.0
FIRST_SECONDS: Final = 10.0
"""From the last answer to the first line and the reason not to be ready."""
LINES_A_MINUTE: Final = 90
"""Measured: about 20. A worker that logs each retry of each connection writes thousands."""

pytestmark = pytest.mark.kafka


@pytest.fixture
def own_kafka(kafka: EmbeddedKafka) -> Iterator[EmbeddedKafka]:
    """One that may be killed. (The shared one says whether there can be any.)"""
    assert kafka.running
    with EmbeddedKafka() as broker:
        yield broker


def test_a_worker_outlives_an_outage(
    own_kafka: EmbeddedKafka, prefix: str, tmp_path: Path, record_property: Any
) -> None:
    create_topics(own_kafka.bootstrap, prefix, 2)
    settings = {"idle_after": "1s", "trust_producer_time": "yes"}
    with Worker(own_kafka.bootstrap, prefix, tmp_path / "log", **settings) as worker:
        worker.await_ready()
        send_now(own_kafka.bootstrap, prefix, 2, _events(0))
        _await_counted(worker, 20)
        assert any(name.startswith("liveshop_lag_records") for name in worker.metrics())

        own_kafka.kill()
        began = time.monotonic()
        text = wait_for("it says that brokers are away", lambda: _away(worker))
        first = time.monotonic() - began
        assert "refused" in text
        assert "is being restored" not in worker.get("/readyz")[1]
        before = len(worker.lines())
        wait_for("the outage is long enough", lambda: time.monotonic() - began > OUTAGE_SECONDS, OUTAGE_SECONDS * 2)
        series = worker.metrics()
        assert series["liveshop_brokers_connected"] == 0
        assert not [name for name in series if name.startswith("liveshop_lag")]
        assert worker.child.code is None
        assert worker.get("/healthz")[0] == 200
        lines = worker.lines()
        a_minute = (len(lines) - before) * 60 / (time.monotonic() - began - first)

        own_kafka.restart()
        away = time.monotonic() - began
        worker.await_ready()
        send_now(own_kafka.bootstrap, prefix, 2, _events(20))
        _await_counted(worker, 40)
        assert worker.metrics()["liveshop_brokers_connected"] == 1
        worker.stop()
    written = worker.log.read_text()
    record_property("told", f"brokers away: told after {first:.1f} s, {a_minute:.0f} lines of the log a minute")
    assert first < FIRST_SECONDS * 3
    assert a_minute < LINES_A_MINUTE, "\n".join(str(line) for line in lines[before:])
    told = [line for line in worker.lines() if line["event"].startswith("brokers away since")]
    assert 2 <= len(told) <= away / 10 + 2
    assert [line["event"] for line in worker.lines()].count("brokers answer again") == 1
    for complaint in ("Task was destroyed", "never retrieved", "Traceback"):
        assert complaint not in written, written[written.index(complaint) - 500 :][:3000]


def send_now(brokers: str, prefix: str, partitions: int, records: list[Outgoing]) -> None:
    asyncio.run(send_all(brokers, prefix, partitions, records, together=10))


def _away(worker: Worker) -> str | None:
    status, page = worker.get("/readyz")
    return page if status == 503 and "brokers away since" in page else None


def _events(first: int) -> list[Outgoing]:
    names = [f"s{number % 4}" for number in range(20)]
    return [
        Outgoing("views", name.encode(), view(first + number, name, event_time=BASE + first + number))
        for number, name in enumerate(names)
    ]


def _await_counted(worker: Worker, number: int) -> None:
    def look() -> bool:
        counted = {name: n for name, n in worker.metrics().items() if name.startswith("liveshop_events_total")}
        return sum(n for name, n in counted.items() if 'outcome="counted"' in name) >= number

    wait_for(f"{number} events are counted", look)
