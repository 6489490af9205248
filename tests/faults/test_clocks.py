"""A worker whose wall clock is wrong, or jumps, closes and ends nothing before its time by the brokers' clocks."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import pytest

from stream.model.names import SESSION_WINDOWS, SESSIONS
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import everything, newest, view
from tests.live import Outgoing, Worker, create_topics, send_all, wait_for

pytestmark = pytest.mark.kafka

QUICK: Final = {
    "windows": "5s",
    "delay": "1s",
    "idle_after": "500ms",
    "checkpoint_every": "200ms",
    "session_timeout": "6s",
    "session_end_after": "10m",
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of a worker's machine: by how many seconds it is wrong."""
    file = tmp_path / "clock"
    monkeypatch.setenv("WRONG_CLOCK_FILE", str(file))
    return file


def show(clock: Path, seconds: str) -> None:
    """At once: a worker may look at any moment."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(seconds)
    fresh.replace(clock)


def started(kafka: EmbeddedKafka, prefix: str, log: Path, **changes: str) -> Worker:
    return Worker(kafka.bootstrap, prefix, log, program=("tests.faults.wrong_clock",), **(QUICK | changes))


def send_now(kafka: EmbeddedKafka, prefix: str, first: int, number: int) -> None:
    now = int(time.time() * 1000)
    records = [Outgoing("views", b"s1", view(each, event_time=now)) for each in range(first, first + number)]
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, records))


def windows(kafka: EmbeddedKafka, prefix: str) -> list[tuple[int, dict[str, Any]]]:
    """Broker's ms of each window written, and the window."""
    records = asyncio.run(everything(kafka, prefix + SESSION_WINDOWS))
    return [(record.timestamp, newest([record])[record.key]) for record in records]


def closed(kafka: EmbeddedKafka, prefix: str) -> int:
    """How many windows were written; one that came before all of its events once more, as a correction, is one."""
    return len({value["start"] for _, value in windows(kafka, prefix)})


def none_is_early(kafka: EmbeddedKafka, prefix: str, least: int) -> None:
    found = windows(kafka, prefix)
    early = [(value["end"], at) for at, value in found if at < value["end"] + 1000 - 100]
    assert early == []
    assert len({value["start"] for _, value in found}) >= least
    sessions = newest(asyncio.run(everything(kafka, prefix + SESSIONS)))
    assert [value["status"] for value in sessions.values()] == ["open"]


@pytest.mark.parametrize("seconds", [1800, 7200, -1800])
def test_a_wrong_clock_decides_nothing_and_is_told(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, clock: Path, seconds: int
) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    show(clock, str(seconds))
    with started(kafka, prefix, tmp_path / "log") as worker:
        worker.await_ready()
        send_now(kafka, prefix, 0, 10)
        wait_for("a window closed by silence", lambda: closed(kafka, prefix) == 1)
        none_is_early(kafka, prefix, 1)
        offset = wait_for("the metric", lambda: worker.metrics().get("liveshop_clock_offset_seconds"))
        assert abs(offset - seconds) < 5
        status, text = worker.get("/readyz")
        side = "ahead of" if seconds > 0 else "behind"
        assert (status, f"s {side} that of the brokers: their time is used" in text) == (200, True), text
        worker.stop()
    said = [line["event"] for line in worker.lines()]
    assert said.count("the clock of this machine is wrong") == 1
    assert not [line for line in worker.lines() if "CheckpointError" in str(line)]


def test_a_clock_that_jumps_while_it_runs_decides_nothing(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, clock: Path
) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    show(clock, "0")
    with started(kafka, prefix, tmp_path / "log") as worker:
        worker.await_ready()
        for number, seconds in enumerate(("3600", "-3600", "0")):
            send_now(kafka, prefix, number * 10, 10)
            show(clock, seconds)
            wait_for(f"the window of round {number}", lambda: closed(kafka, prefix) > number)  # noqa: B023 - at once
        none_is_early(kafka, prefix, 3)
        worker.stop()


def test_a_worker_that_begins_again_asks_for_the_time_before_it_closes_anything(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, clock: Path
) -> None:
    """Nothing new comes that it would have to write."""
    create_topics(kafka.bootstrap, prefix, 1)
    show(clock, "0")
    with started(kafka, prefix, tmp_path / "log", windows="20s") as worker:
        worker.await_ready()
        send_now(kafka, prefix, 0, 10)
        views = 'liveshop_events_total{outcome="counted",type="views"}'
        wait_for("they are counted", lambda: worker.metrics().get(views) == 10)
        worker.stop()
    show(clock, "1800")
    with started(kafka, prefix, tmp_path / "log2", windows="20s") as worker:
        worker.await_ready()
        wait_for("a window closed by silence", lambda: closed(kafka, prefix) == 1)
        none_is_early(kafka, prefix, 1)
        worker.stop()
