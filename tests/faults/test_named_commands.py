"""The main commands that messages name are run as they are printed, in the situations in which they are.

`offsets skip` is in test_unreadable.py; that all others are accepted, tests/test_printed.py holds.
"""

import asyncio
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stream.config import Settings
from stream.model.names import STATE, Kind
from stream.operate.show import show
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from stream.sessions.role import WORKER
from tests.kafka.tools import send, send_views, settings
from tests.live import Worker, path, wait_for
from tests.operate.tools import count, make
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

FLAGS = ("--windows", "2m", "--delay", "5s")
"""No defaults, which whoever types the command has to give as well."""


def run(words: list[str], *, answer: str = "") -> subprocess.CompletedProcess[str]:
    """A command in an empty environment; where it asks on the terminal, this is the answer."""
    command = [sys.executable, "-P", "-m", "stream.cli", *words]
    ours, its = pty.openpty()
    try:
        os.write(ours, answer.encode())
        return subprocess.run(
            command,
            stdin=its if answer else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env={"PATH": "", "PYTHONPATH": path()},
        )
    finally:
        os.close(its)
        os.close(ours)


def named(text: str, command: str) -> list[str]:
    """The words after the program's name of the one command that a text names."""
    (found,) = re.findall(rf"liveshop {command}[^`;,\"]*(?=[`;,\"]|$)", text.strip(), re.MULTILINE)
    return shlex.split(found)[1:]


@pytest.mark.parametrize("who", [["worker"], ["simulate", "--for", "1s"], ["doctor"]], ids=lambda who: who[0])
def test_topics_that_are_missing_are_made_by_the_command_that_is_named(
    who: list[str], kafka: EmbeddedKafka, prefix: str
) -> None:
    config = settings(kafka, prefix)
    told = run([*who, "--brokers", kafka.bootstrap, "--topic-prefix", prefix])
    assert told.returncode in (1, 2), told
    words = named(told.stdout + told.stderr, "topics create")
    assert words[2:] == ["--brokers", kafka.bootstrap, "--topic-prefix", prefix, "--replication", "1"]
    done = run(words)
    assert done.returncode == 0, done.stderr
    assert asyncio.run(topics.check(config)) == 4


def test_a_state_that_cannot_be_read_is_verified_and_rebuilt_by_the_commands_that_are_named(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    config = asyncio.run(_spoiled(kafka, prefix))
    given = {"group": str(config.group), "idle_after": "1s", "windows": "2m", "delay": "5s"}
    with Worker(kafka.bootstrap, prefix, tmp_path / "log", **given) as worker:
        page = wait_for("the shard is down", lambda: _down(worker))
        verify, rebuild = named(page, "state verify"), named(page, "state rebuild")
        for words in (verify, rebuild):
            assert set(FLAGS) | {"--group", config.group, "--brokers"} <= set(words)
        found = run(verify)
        assert (found.returncode, found.stderr) == (1, "")
        assert "refused: the state of partition 0" in found.stdout
        assert "cannot be read" in found.stdout
        done = run(rebuild, answer="y\n")
        assert done.returncode == 0, done.stderr
        assert "partition 0 begins anew as generation 1" in done.stdout
        worker.stop()
    with Worker(kafka.bootstrap, prefix, tmp_path / "again", **given) as worker:
        worker.await_ready()  # the one before would have looked at the state again after 30 s
        wait_for("it has counted", lambda: worker.metrics().get("liveshop_views_total") == 20)
        worker.stop()
    assert run(verify).returncode == 0
    (shown,) = asyncio.run(show(WORKER, config, [0]))
    assert shown.figures is not None
    assert (shown.figures["generation"], shown.figures["positions"][Kind.VIEWS]) == (1, 20)


async def _spoiled(kafka: EmbeddedKafka, prefix: str) -> Settings:
    config = await make(kafka, prefix, partitions=2, windows="2m", delay="5s")
    await send_views(kafka, config, range(20))
    await count(kafka, config, partitions=2)
    await send(kafka, config.topic(STATE), [(b"0/0", b"\xff")])
    return config


def _down(worker: Worker) -> str | None:
    status, page = worker.get("/readyz")
    return page if status == 503 and "cannot be read" in page else None
