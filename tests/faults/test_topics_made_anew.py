"""A topic that was made anew is never taken for the one before, however long it is, and the printed way out works."""

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from stream.config import Settings
from stream.doctor.finding import Check, Severity
from stream.model.names import DEAD_LETTERS, INPUTS, SESSIONS, STATE, Kind
from stream.operate import show
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.doctor.tools import checked
from tests.kafka.tools import delete, everything, make_anew, make_topics, send, send_views, settings
from tests.live import Worker, path, wait_for
from tests.operate.tools import totals
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

VIEWS: Final = INPUTS[Kind.VIEWS]
QUICK: Final = {"idle_after": "1s", "checkpoint_every": "200ms", "session_timeout": "6s", "transaction_timeout": "5s"}


def worker(kafka: EmbeddedKafka, config: Settings, log: Path, *flags: str) -> Worker:
    return Worker(kafka.bootstrap, config.topic_prefix, log, flags=flags, group=config.group, **QUICK)


def prepared(kafka: EmbeddedKafka, prefix: str) -> Settings:
    config = settings(kafka, prefix)
    asyncio.run(make_topics(config))
    asyncio.run(send_views(kafka, config, range(60)))
    return config


def await_counted(running: Worker, number: int) -> None:
    wait_for(f"{number} are counted", lambda: running.metrics().get("liveshop_views_total") == number)


def await_totals(kafka: EmbeddedKafka, config: Settings, expected: dict[str, int]) -> None:
    """They are written now and then."""
    wait_for(f"the totals are {expected}", lambda: asyncio.run(totals(kafka, config)) == expected, every=0.5)


def ended(running: Worker) -> str:
    """What it said, when it has ended as a command does whose configuration is wrong."""
    wait_for("the worker ends", lambda: running.child.code is not None)
    said = running.log.read_text()
    assert running.child.code == 2, said
    return said


def counted_before(kafka: EmbeddedKafka, config: Settings, log: Path) -> None:
    """A worker's life."""
    with worker(kafka, config, log) as running:
        await_counted(running, 60)
        running.stop()


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A command as a person types it."""
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path()}
    command = [sys.executable, "-m", "stream.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environ, check=False)


def way_out(said: str, positions: str) -> list[str]:
    """The words of the command that the message names."""
    (command,) = {each for each in re.findall(r"liveshop (state adopt .+?--execute)", said) if positions in each}
    return shlex.split(command)


async def position(config: Settings) -> int:
    (shown,) = await show.show(WORKER, config, [0])
    assert shown.figures is not None, shown
    number: int = shown.figures["positions"]["views"]
    return number


def test_while_a_worker_runs_nothing_of_it_is_counted_until_it_is_adopted(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    config = prepared(kafka, prefix)
    with worker(kafka, config, tmp_path / "first.log") as running:
        await_counted(running, 60)
        await_totals(kafka, config, {"s1": 60})
        asyncio.run(make_anew(config, VIEWS))
        asyncio.run(send_views(kafka, config, range(1000, 1200)))
        said = ended(running)
    assert f"{prefix}{VIEWS} was made anew while a worker ran" in said
    assert asyncio.run(position(config)) == 60
    assert asyncio.run(totals(kafka, config)) == {"s1": 60}
    asyncio.run(_everybody_shows_it(config))
    with worker(kafka, config, tmp_path / "refused.log") as refused:
        assert f"{prefix}{VIEWS} was made anew: " in ended(refused)
    done = run(way_out(said, "beginning"))
    assert done.returncode == 0, done.stderr
    assert "they are adopted in partition 0: start the workers" in done.stdout
    with worker(kafka, config, tmp_path / "second.log") as running:
        await_counted(running, 200)
        await_totals(kafka, config, {"s1": 260})
        running.stop()


async def _everybody_shows_it(config: Settings) -> None:
    topic = config.topic(VIEWS)
    (shown,) = await show.show(WORKER, config, [0])
    assert shown.figures is not None
    assert shown.figures["topics_made_anew"] == [topic]
    found = [each for each in await checked(config, Check.POSITIONS) if each.severity is Severity.ERROR]
    (anew,) = (each for each in found if each.subject == topic)
    assert "was made anew" in anew.what
    assert "--positions beginning --execute" in anew.todo


def test_a_worker_that_starts_refuses_a_longer_one_before_it_joins(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    config = prepared(kafka, prefix)
    counted_before(kafka, config, tmp_path / "first.log")
    asyncio.run(make_anew(config, VIEWS))
    asyncio.run(send_views(kafka, config, range(500)))
    with worker(kafka, config, tmp_path / "second.log") as running:
        said = ended(running)
        assert f"{prefix}{VIEWS} was made anew: " in said
        assert "joining the group" not in said
    assert asyncio.run(position(config)) == 60


def test_the_same_log_elsewhere_is_read_on_where_the_state_stands(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    """As after a move to another cluster that keeps offsets."""
    config = prepared(kafka, prefix)
    counted_before(kafka, config, tmp_path / "first.log")
    asyncio.run(make_anew(config, VIEWS))
    asyncio.run(send_views(kafka, config, range(80)))
    with worker(kafka, config, tmp_path / "second.log") as running:
        said = ended(running)
    words = way_out(said, "keep")
    planned = run([word for word in words if word != "--execute"])
    assert planned.returncode == 0, planned.stderr
    assert "nothing is done without --execute" in planned.stdout
    done = run(words)
    assert done.returncode == 0, done.stderr
    with worker(kafka, config, tmp_path / "third.log") as running:
        await_counted(running, 20)
        await_totals(kafka, config, {"s1": 80})
        again = run(words)
        assert again.returncode == 2
        assert f"the group {config.group} has members (1): stop all workers first" in again.stderr
        running.stop()
    nothing = run(words)
    assert (nothing.returncode, "there is nothing to adopt" in nothing.stdout) == (0, True)


def test_results_made_anew_are_noticed_and_written_on_when_adopted(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    config = prepared(kafka, prefix)
    with worker(kafka, config, tmp_path / "first.log") as running:
        await_counted(running, 60)
        asyncio.run(make_anew(config, SESSIONS))
        said = ended(running)
    assert f"{prefix}{SESSIONS} was made anew while a worker ran" in said
    done = run(way_out(said, "keep"))
    assert done.returncode == 0, done.stderr
    asyncio.run(send_views(kafka, config, range(1000, 1040)))
    with worker(kafka, config, tmp_path / "second.log") as running:
        await_counted(running, 40)
        await_totals(kafka, config, {"s1": 100})
        running.stop()


def test_a_state_made_anew_is_refused_and_a_rebuild_goes_on(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    config = prepared(kafka, prefix)
    with worker(kafka, config, tmp_path / "first.log") as running:
        await_counted(running, 60)
        asyncio.run(make_anew(config, STATE))
        asyncio.run(send_views(kafka, config, range(1000, 1040)))
        wait_for("it is told", lambda: told_of(running, prefix + STATE))
    with worker(kafka, config, tmp_path / "second.log") as running:
        assert prefix + STATE in ended(running)
    with worker(kafka, config, tmp_path / "third.log", "--rebuild") as running:
        await_counted(running, 100)
        await_totals(kafka, config, {"s1": 100})
        running.stop()


def told_of(running: Worker, topic: str) -> bool:
    """It has ended with a message, or stays with its shard down and says why."""
    said = [line for line in running.lines() if topic in str(line.get("detail", line["event"]))]
    return running.child.code == 2 or any(line["event"] == "a shard is down" for line in said)


def test_a_deleted_topic_is_missed_and_told_until_it_is_made_anew(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    config = prepared(kafka, prefix)
    with worker(kafka, config, tmp_path / "first.log") as running:
        await_counted(running, 60)
        asyncio.run(delete(config, VIEWS))
        wait_for("it is told", lambda: f"missing topics: {prefix}{VIEWS}." in running.get("/readyz")[1])
        assert running.get("/healthz")[0] == 200
        asyncio.run(make_topics(config))
        asyncio.run(send_views(kafka, config, range(1000, 1200)))
        assert f"{prefix}{VIEWS} was made anew" in ended(running)
    assert asyncio.run(position(config)) == 60


def test_dead_letters_made_anew_are_written_on(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    config = prepared(kafka, prefix)
    with worker(kafka, config, tmp_path / "first.log") as running:
        await_counted(running, 60)
        asyncio.run(make_anew(config, DEAD_LETTERS))
        told = "the topic of dead letters was made anew: those in it before are gone"
        wait_for("it is told", lambda: told in running.log.read_text())
        asyncio.run(send(kafka, config.topic(VIEWS), [(b"s1", b"no JSON")]))
        wait_for("the letter is there", lambda: asyncio.run(letters(kafka, config)))
        running.stop()
    counted_again(kafka, config, tmp_path / "second.log")


async def letters(kafka: EmbeddedKafka, config: Settings) -> list[Any]:
    return await everything(kafka, config.topic(DEAD_LETTERS))


def counted_again(kafka: EmbeddedKafka, config: Settings, log: Path) -> None:
    asyncio.run(send_views(kafka, config, range(1000, 1010)))
    with worker(kafka, config, log) as running:
        await_counted(running, 10)
        running.stop()
