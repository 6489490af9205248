"""Records whose checksum is wrong, as a failing disk leaves them: what is said everywhere, and the command that is named."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stream.config import Settings
from stream.model.names import INPUTS, Kind
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import damage, send_batches, send_views
from tests.live import Worker, path, wait_for
from tests.operate.tools import make, totals
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

LOOKS = 30
"""So often /readyz and /metrics are read while the shard begins again: some seconds."""


def test_a_shard_at_unreadable_records_says_so_everywhere_and_names_a_command_that_works(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    config = asyncio.run(_damaged(kafka, prefix))
    topic = config.topic(INPUTS[Kind.VIEWS])
    settings = {"group": str(config.group), "idle_after": "1s", "delay": "5s"}
    began = time.monotonic()
    with Worker(kafka.bootstrap, prefix, tmp_path / "log", **settings) as worker:
        page = wait_for("it says what it waits for", lambda: _waiting(worker))
        assert f"{topic}, partition 0: offsets 10 to 14 cannot be read (wrong checksum)" in page
        wait_for("the other shard has counted", lambda: _series(worker, topic, 1).get("lag_records") == 0)
        committed = 'liveshop_checkpoint_timestamp_seconds{partition="1"}'
        wait_for("the other shard has kept it", lambda: committed in worker.metrics())
        for _ in range(LOOKS):
            _look(worker, topic, unread=20)
        asyncio.run(send_views(kafka, config, range(30, 35)))
        wait_for("its lag goes on", lambda: _series(worker, topic, 0).get("lag_records") == 25)
        _look(worker, topic, unread=25)

        errors = _doctor(worker, kafka, config)
        assert [(each["check"], each["subject"]) for each in errors] == [("lag", f"{topic}/0"), ("keys", f"{topic}/0")]
        assert "offsets 10 to 14 cannot be read (wrong checksum): the shard waits there" in errors[0]["what"]
        command = _command(errors[0]["todo"])
        assert command == _command(page)
        assert {"--execute", "--delay", "--topic-prefix", "--group", "--brokers"} <= set(command)
        done = _run(command[1:])
        assert done.returncode == 0, done.stderr
        assert "partition 0: skipped 5, goes on at 15" in done.stdout
        worker.await_ready()
        wait_for("all is counted", lambda: asyncio.run(totals(kafka, config)) == {"s1": 30})
        assert not [each for each in _doctor(worker, kafka, config) if each["check"] in ("lag", "positions")]
        worker.stop()
    told = [line for line in worker.lines() if "way_out" in line]
    assert 1 <= len(told) <= 1 + (time.monotonic() - began) / 60, "it is repeated once a minute, not at each try"
    assert _command(told[0]["way_out"]) == command


async def _damaged(kafka: EmbeddedKafka, prefix: str) -> Settings:
    config = await make(kafka, prefix, partitions=2)
    await send_batches(kafka, config, [range(10), range(10, 15), range(15, 30)])
    await send_views(kafka, config, range(7), partition=1)
    damage(kafka, config.topic(INPUTS[Kind.VIEWS]), 10)
    return config


def _waiting(worker: Worker) -> str | None:
    status, page = worker.get("/readyz")
    return page if status == 503 and "partition 0 waits at records that cannot be read" in page else None


def _series(worker: Worker, topic: str, partition: int) -> dict[str, float]:
    """Of one input's partition, by name without the prefix."""
    label = f'{{partition="{partition}",topic="{topic}"}}'
    found = worker.metrics().items()
    return {name.removeprefix("liveshop_").removesuffix(label): value for name, value in found if name.endswith(label)}


def _look(worker: Worker, topic: str, unread: int) -> None:
    """All of its gauges are there and right, whether it has just begun again or waits to."""
    page = _waiting(worker)
    assert page is not None
    assert "is being restored" not in page
    found = worker.metrics()
    gauges = [{_place(name, each) for name in found} - {None} for each in (0, 1)]
    assert gauges[0] == gauges[1]
    of_topic = _series(worker, topic, 0)
    assert of_topic["lag_records"] == unread
    assert of_topic["lag_seconds"] > 0
    assert found["liveshop_ready"] == 0
    assert found['liveshop_unready{reason="waiting"}'] == 1
    assert found['liveshop_uncommitted_seconds{partition="0"}'] < 10, "what lies before them is committed"
    assert found['liveshop_dedupe_ids{partition="0"}'] == 10


def _place(name: str, partition: int) -> str | None:
    """Of a series of a partition its name without the number."""
    label = f'partition="{partition}"'
    return name.replace(label, "") if label in name else None


def _doctor(worker: Worker, kafka: EmbeddedKafka, config: Settings) -> list[dict[str, Any]]:
    """Its errors, but for the keys that this test has put on the wrong partition."""
    named = ("--brokers", kafka.bootstrap, "--topic-prefix", config.topic_prefix, "--group", str(config.group))
    done = _run(["doctor", "--json", "--delay", "5s", *named])
    assert worker.child.code is None
    assert "could not be made" not in done.stdout
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return [each for each in found if each["severity"] == "error" and "keys of other partitions" not in each["what"]]


def _command(text: str) -> list[str]:
    (command,) = re.findall(r"liveshop offsets skip .* --execute", text)
    return shlex.split(command)


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "stream.cli", *words]
    environ = {"PATH": "", "PYTHONPATH": path()}
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environ)
