"""How a worker ends: in order after the first signal, at once after the second, in time without a broker."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream.children import Child
from stream.config import Settings
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.process import SESSION_SECONDS
from tests.kafka.tools import everything, make_topics, send_views, settings, stopped
from tests.support import eventually, handles_sigterm

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
IN_TIME = 20.0
"""Seconds from a SIGTERM to the end. Ten are promised, of which a worker gives itself 8.5; a busy machine needs some to end
a process."""


@contextmanager
def worker(kafka: EmbeddedKafka, prefix: str, folder: Path, *arguments: str) -> Iterator[Child]:
    """A worker that has recovered, killed at the end if need be."""
    command = [sys.executable, "-m", "tests.kafka.process", kafka.bootstrap, prefix, *arguments]
    child = Child(command, log=folder / "log", environ={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        eventually(lambda: "running" in child.tail(200), what="the worker runs")
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()


def counted(child: Child) -> int:
    lines = [line for line in child.tail(200).splitlines() if line.startswith("counted")]
    return int(lines[-1].split()[1]) if lines else 0


def written(kafka: EmbeddedKafka, config: Settings) -> int:
    """Records of the state."""
    return len(asyncio.run(everything(kafka, config.topic("live.state"))))


def ended(child: Child, seconds: float) -> int | None:
    started = time.monotonic()
    code = child.wait(seconds)
    assert code is not None, f"it did not end within {seconds} s:\n{child.tail()}"
    assert time.monotonic() - started < seconds
    return code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_first_signal_makes_a_last_checkpoint(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    config = settings(kafka, prefix)
    asyncio.run(make_topics(config))
    with worker(kafka, prefix, tmp_path, "600000") as child:  # no other checkpoint comes by itself
        eventually(lambda: written(kafka, config), what="its first checkpoint, of nothing, is there")
        asyncio.run(send_views(kafka, config, range(50)))
        eventually(lambda: "seen 50" in child.tail(200), what="it has read them")
        assert counted(child) == 0
        child.send(number)
        assert ended(child, IN_TIME) == code
        assert counted(child) == 50, "the last checkpoint held what was read"
        assert written(kafka, config) > 1


def test_it_leaves_the_group_so_that_others_need_not_wait(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    config = settings(kafka, prefix)
    asyncio.run(make_topics(config))
    with worker(kafka, prefix, tmp_path) as child:
        child.send(signal.SIGTERM)
        assert ended(child, IN_TIME) == 0
    started = time.monotonic()
    (tmp_path / "heir").mkdir()
    with worker(kafka, prefix, tmp_path / "heir"):
        assert time.monotonic() - started < SESSION_SECONDS - 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_in_time_though_the_broker_does_not_answer(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    config = settings(kafka, prefix)
    asyncio.run(make_topics(config, 4))
    with worker(kafka, prefix, tmp_path) as child:
        for partition in range(4):
            asyncio.run(send_views(kafka, config, range(50), partition))
        eventually(lambda: counted(child) >= 150, what="it counts")
        with stopped(kafka):
            child.send(number)
            assert ended(child, IN_TIME) == code


def test_it_ends_in_time_though_the_broker_is_gone(prefix: str, tmp_path: Path, kafka: EmbeddedKafka) -> None:
    config = settings(kafka, prefix)
    asyncio.run(make_topics(config, 2))
    with worker(kafka, prefix, tmp_path) as child:
        kafka.kill()
        try:
            child.send(signal.SIGTERM)
            assert ended(child, IN_TIME) == 0
        finally:
            kafka.restart()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, number: signal.Signals
) -> None:
    config = settings(kafka, prefix)
    asyncio.run(make_topics(config))
    with worker(kafka, prefix, tmp_path) as child:
        asyncio.run(send_views(kafka, config, range(50)))
        eventually(lambda: counted(child), what="it counts")
        with stopped(kafka):
            child.send(signal.SIGTERM)
            eventually(lambda: "stopping" in child.tail(200), what="it has heard the first")
            child.send(number)
            assert ended(child, IN_TIME) == 128 + number


def test_a_signal_while_the_broker_is_looked_for_ends_it(prefix: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.kafka.process", "127.0.0.1:9", prefix]
    child = Child(command, log=tmp_path / "log", environ={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        eventually(
            lambda: handles_sigterm(child.pid), what="it has its signal handlers"
        )  # it says nothing while it tries
        child.send(signal.SIGTERM)
        assert ended(child, IN_TIME) == 0
    finally:
        child.kill()
