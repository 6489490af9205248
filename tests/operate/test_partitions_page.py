"""The commands of docs/operate/partitions.md, run as they are written, on partitions that were added to a running set."""

import asyncio
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stream.children import Child
from stream.model.names import INPUTS, Kind
from stream.sandbox.broker import EmbeddedKafka
from tests.faults.grown import add_partitions, partition_of, send_events
from tests.kafka.tools import settings
from tests.live import PROJECT, Worker, create_topics, path, wait_for
from tests.operate.tools import totals
from tests.support import PATIENCE
from tests.test_readme import blocks, lines

pytestmark = pytest.mark.kafka

PAGE = PROJECT / "docs" / "operate" / "partitions.md"
SESSIONS = [f"s{number}" for number in range(12)]


def commands() -> list[list[str]]:
    """Words of each, in the order of the page."""
    return [shlex.split(command) for _, _, block in blocks(PAGE.read_text()) for _, command in lines(block)]


def test_following_the_page_loses_nothing(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    plan, execute, start = commands()
    assert [words[:3] for words in (plan, execute)] == [["liveshop", "topics", "grow"]] * 2
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LIVESHOP_")}
    environ |= {"LIVESHOP_BROKERS": kafka.bootstrap, "LIVESHOP_HTTP_PORT": "0", "PYTHONPATH": path()}
    old = environ | {"LIVESHOP_TOPIC_PREFIX": prefix, "LIVESHOP_GROUP": "liveshop"}

    def run(words: list[str], *more: str) -> str:
        program = [sys.executable, "-P", "-m", "stream.cli", *words[1:], *more]
        done = subprocess.run(program, env=old, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    create_topics(kafka.bootstrap, prefix, 4)
    with Worker(kafka.bootstrap, prefix, tmp_path / "old", group="liveshop", idle_after="1s") as worker:
        worker.await_ready()
        for name in SESSIONS:
            asyncio.run(send_events(kafka, prefix, name, range(10), 4))
        wait_for("all are counted", lambda: _views(kafka, prefix, 4) == 10 * len(SESSIONS))
        asyncio.run(add_partitions(kafka, {f"{prefix}{INPUTS[Kind.VIEWS]}": 6}))
        for name in SESSIONS:
            asyncio.run(send_events(kafka, prefix, name, range(10, 20), 6))
        wait_for("it stops", lambda: "partitions were added" in worker.get("/readyz")[1])

        shown = run(plan)
        assert "nothing is done without --execute" in shown
        moved = run(execute, "--quiet", "1s")
        assert "let producers write to p6.live.views, p6.live.comments, p6.live.checkouts" in moved
        assert "all is moved" in moved
        assert shlex.join(start) in moved.replace(f" --brokers {kafka.bootstrap}", "")
        worker.stop()
    for name in SESSIONS:
        asyncio.run(send_events(kafka, "p6.", name, range(20, 30), 6))
    new = Child(
        [sys.executable, "-P", "-m", "stream.cli", *start[1:]],
        log=tmp_path / "new",
        environ=environ | {"LIVESHOP_IDLE_AFTER": "1s"},
    )
    try:
        both = 30 * len(SESSIONS)
        wait_for(
            "both sets have all", lambda: _views(kafka, prefix, 4) + _views(kafka, "p6.", 6) == both, 60, every=0.5
        )
    finally:
        new.kill()
    split = [name for name in SESSIONS if partition_of(name, 4) != partition_of(name, 6)]
    assert split
    assert all(name in moved for name in split)


def _views(kafka: EmbeddedKafka, prefix: str, partitions: int) -> int:
    async def main() -> int:

        found = [await totals(kafka, settings(kafka, prefix), number) for number in range(partitions)]
        return sum(sum(values.values()) for values in found)

    return asyncio.run(main())
