"""Several workers on one machine: they share the partitions, one that dies is started again, and none is left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer

import stream
from stream.children import liveshop
from stream.cli.processes import _command, child_ports, page_url
from stream.errors import UsageError
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import view
from tests.live import PROJECT, Outgoing, Worker, create_topics, fetch_page, parse_metrics, send, wait_for
from tests.outputs import Follower
from tests.support import PATIENCE

DEADLINE: Final = PATIENCE
PARTITIONS: Final = 4
SESSIONS: Final = 12


# What is pure


def test_ports_follow_the_one_for_all() -> None:
    assert child_ports(9464, 3) == [9465, 9466, 9467]
    assert child_ports(65_533, 2) == [65_534, 65_535]
    assert len(set(child_ports(0, 5))) == 5


def test_ports_beyond_the_highest_are_usage() -> None:
    with pytest.raises(UsageError, match=r"needs the ports 65533 to 65536, .*--http-port"):
        child_ports(65_533, 3)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("worker-7", "http://worker-7:80"),
    ],
)
def test_a_process_that_listens_everywhere_is_asked_here(host: str, url: str) -> None:
    assert page_url(host, 80) == url


# On a real Kafka


class Supervised(Worker):
    """``liveshop worker --processes 2``."""

    def __init__(self, brokers: str, prefix: str, log: Path, *flags: str, processes: int = 2) -> None:
        quick = {"checkpoint_every": "200ms", "session_timeout": "6s", "heartbeat_every": "500ms", "idle_after": "1s"}
        super().__init__(brokers, prefix, log, flags=flags, processes=str(processes), **quick)

    def lines(self) -> list[dict[str, Any]]:
        """Those of the supervisor."""
        return [line for line in super().lines() if "process" not in line or line.get("why")]

    def children(self) -> dict[int, int]:
        """Process id by number, of those that run, as the kernel says."""
        found: dict[int, int] = {}
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            words = command_of(int(pid))
            numbers = [word.removeprefix("--process=") for word in words if word.startswith("--process=")]
            found |= {int(number): int(pid) for number in numbers}
        return found

    def until(self, what: str, look: Callable[[dict[str, float]], object]) -> dict[str, float]:
        """The first metrics of which ``look`` is true."""
        last: dict[str, float] = {}

        def seen() -> bool:
            nonlocal last
            assert self.child.code is None, f"it ended with {self.child.code}:\n{self.child.tail()}"
            last = self.metrics()
            return bool(look(last))

        try:
            wait_for(what, seen, DEADLINE, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\nat last {last}\n{self.child.tail()}") from None
        return last


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def left(prefix: str) -> list[int]:
    """Processes of this test that still run: its prefix is in their environment or their command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            running = (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if running and prefix.encode() in words and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def read(metrics: dict[str, float]) -> float:
    return sum(value for name, value in metrics.items() if name.startswith("liveshop_events_total{"))


def partitions(metrics: dict[str, float]) -> set[str]:
    return {name for name in metrics if name.startswith("liveshop_state_bytes{")}


def send_views(brokers: str, prefix: str, numbers: range) -> None:
    """Of as many sessions as ``SESSIONS``, in turn."""

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=brokers)
        await producer.start()
        try:
            names = {number: f"s{number % SESSIONS}" for number in numbers}
            rows = [Outgoing("views", name.encode(), view(number, name)) for number, name in names.items()]
            await send(producer, prefix, PARTITIONS, rows)
        finally:
            await producer.stop()

    asyncio.run(run())


async def await_views(brokers: str, prefix: str, expected: dict[str, int]) -> None:
    """Returns when the newest total of each session says so."""
    views: dict[str, int] = {}
    async with Follower(brokers, [f"{prefix}live.sessions"], PARTITIONS) as follower, asyncio.timeout(DEADLINE):
        while views != expected:
            for record in await follower.more():
                value = json.loads(record.value)
                views[value["session_id"]] = value["counts"]["views"]
            await asyncio.sleep(0.05)


@pytest.fixture
def two(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> Iterator[Supervised]:
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    with Supervised(kafka.bootstrap, prefix, tmp_path / "log") as supervised:
        yield supervised
    wait_for("no process is left", lambda: not left(prefix), DEADLINE)


@pytest.mark.kafka
def test_one_that_is_killed_is_started_again_and_every_count_stays_exact(
    kafka: EmbeddedKafka, prefix: str, two: Supervised
) -> None:
    two.await_ready(DEADLINE)
    two.until("the shards are shared", lambda seen: len(partitions(seen)) == PARTITIONS)

    def each_has_its_own() -> bool:
        """By its own page, which is as old as a second."""
        owners = [partitions(parse_metrics(fetch_page(url + "/metrics")[1])) for url in urls_of(two)]
        return [len(each) for each in owners] == [2, 2]

    wait_for("each process has two of them", each_has_its_own)
    send_views(kafka.bootstrap, prefix, range(600))
    before = two.until("600 are counted", lambda seen: read(seen) == 600)
    assert before["liveshop_views_total"] == 600

    victim = two.children()[1]
    os.kill(victim, signal.SIGKILL)
    send_views(kafka.bootstrap, prefix, range(600, 1000))
    history = [before["liveshop_views_total"]]

    def again(seen: dict[str, float]) -> bool:
        history.append(seen["liveshop_views_total"])
        return seen["liveshop_processes_up"] == 2 and read(seen) == 1000 and len(partitions(seen)) == PARTITIONS

    after = two.until("all 1000 are counted, by two processes", again)
    assert history == sorted(history), "a counter went back"
    assert after["liveshop_views_total"] == 1000
    assert after['liveshop_process_restarts_total{process="1"}'] == 1
    assert after['liveshop_process_restarts_total{process="0"}'] == 0
    assert two.children()[1] != victim
    told = [line for line in two.lines() if line.get("why")]
    assert [(line["process"], line["why"]) for line in told] == [(1, "killed by signal 9")]
    assert all(0 <= line["pause_seconds"] <= 0.5 for line in told), "drawn at random below the first pause"
    two.await_ready(DEADLINE)

    top = subprocess.run(
        [sys.executable, "-m", "stream.cli", "top", "--url", two.url() + "/metrics", "--once", "--json"],
        capture_output=True, text=True, check=True, cwd=PROJECT, timeout=DEADLINE,
    )  # fmt: skip
    assert {row["session_id"] for row in json.loads(top.stdout)["sessions"]} == {f"s{n}" for n in range(SESSIONS)}

    expected = {f"s{session}": len(range(session, 1000, SESSIONS)) for session in range(SESSIONS)}
    asyncio.run(await_views(kafka.bootstrap, prefix, expected))
    two.stop()
    assert not left(prefix)
    asyncio.run(await_views(kafka.bootstrap, prefix, expected))


def urls_of(supervised: Supervised) -> list[str]:
    """Of the processes' own pages."""
    listening = [line for line in Worker.lines(supervised) if line.get("event") == "listening" and "process" in line]
    return [
        str(line["metrics"]).removesuffix("/metrics") for line in sorted(listening, key=lambda each: each["process"])
    ]


@pytest.mark.kafka
def test_ctrl_c_ends_all_of_them_in_order(two: Supervised, prefix: str) -> None:
    two.await_ready(DEADLINE)
    os.killpg(two.pid, signal.SIGINT)  # as a terminal does
    assert two.child.wait(DEADLINE) == 130, two.child.tail()
    assert not left(prefix)
    stopped = [line for line in Worker.lines(two) if line.get("event") == "stopped"]
    assert sorted(line["process"] for line in stopped) == [0, 1], "both made a last checkpoint"
    assert [line["level"] for line in Worker.lines(two) if line.get("level") not in {"info", "warning"}] == []


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("T")


@pytest.mark.kafka
def test_a_second_signal_ends_all_of_them_at_once(two: Supervised, prefix: str) -> None:
    def both() -> dict[int, int] | None:
        return found if len(found := two.children()) == 2 else None

    pids = wait_for("both have been started", both, DEADLINE).values()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # they cannot end in order
    wait_for("both stand still", lambda: all(is_stopped(pid) for pid in pids), DEADLINE)
    two.child.send(signal.SIGTERM)
    wait_for("it has noticed", lambda: any("stopping" in line["event"] for line in two.lines()), DEADLINE)
    two.child.send(signal.SIGINT)
    assert two.child.wait(DEADLINE) == 128 + signal.SIGINT
    wait_for("no process is left", lambda: not left(prefix), DEADLINE)


@pytest.mark.kafka
def test_none_is_left_when_the_supervisor_is_killed(two: Supervised, prefix: str) -> None:
    wait_for("both have been started", lambda: len(two.children()) == 2, DEADLINE)
    two.child.kill()
    wait_for("no process is left", lambda: not left(prefix), DEADLINE)


@pytest.mark.kafka
def test_what_would_fail_again_ends_all_with_its_code_and_message(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    with Supervised(kafka.bootstrap, prefix, tmp_path / "log") as supervised:  # there are no topics
        assert supervised.child.wait(DEADLINE) == 2, supervised.child.tail()
    assert f"missing topics: {prefix}live.views" in supervised.child.tail()
    assert "Traceback" not in supervised.child.tail()
    assert not left(prefix)


@pytest.mark.kafka
def test_a_rebuild_is_made_once_though_processes_are_started_again(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    send_views(kafka.bootstrap, prefix, range(200))
    with Supervised(kafka.bootstrap, prefix, tmp_path / "first", processes=1) as first:
        first.until("200 are counted", lambda seen: read(seen) == 200)
        first.stop()
    with Supervised(kafka.bootstrap, prefix, tmp_path / "second", "--rebuild") as second:
        second.until("200 are counted anew", lambda seen: read(seen) == 200)
        for pid in second.children().values():
            os.kill(pid, signal.SIGTERM)  # in order, so that nobody waits for the session timeout
        every = set(range(PARTITIONS))

        def lives(which: slice) -> list[Lines]:
            return [life for number in (0, 1) for life in lives_of(second, number)[which]]

        wait_for("all was restored", lambda: said("restored", lives(slice(1, None))) == every, DEADLINE)
        assert said("rebuilding from the oldest records", lives(slice(1))) == every
        assert said("rebuilding from the oldest records", lives(slice(1, None))) == set()
        second.stop()


Lines = list[dict[str, Any]]


def lives_of(supervised: Supervised, number: int) -> list[Lines]:
    """The log of one process, by life."""
    lives: list[Lines] = []
    for line in Worker.lines(supervised):
        if line.get("process") == number and not line.get("why"):
            if line["event"] == "worker starts":
                lives.append([])
            lives[-1].append(line)
    return lives


def said(event: str, lives: list[Lines]) -> set[int]:
    """Of which partitions."""
    return {line["partition"] for life in lives for line in life if line["event"] == event}


def test_a_hang_up_makes_every_process_read_its_rules_again(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    text = """
rules:
  - {alert: silent, window: 1m, when: w.events == 0.0, severity: info, summary: silent, runbook: none}
"""
    rules.write_text(text)
    create_topics(kafka.bootstrap, prefix, PARTITIONS)

    def said(event: str) -> list[dict[str, Any]]:
        return [line for line in Worker.lines(stage) if line["event"] == event]

    with Supervised(kafka.bootstrap, prefix, tmp_path / "log", "--rules", str(rules)) as stage:
        stage.await_ready()
        rules.write_text(text.replace("alert: silent", "alert: stalled"))
        stage.child.send(signal.SIGHUP)
        wait_for("both have read them", lambda: len(said("alert rules read again")) == 2, DEADLINE)
        assert {tuple(line["alerts"]) for line in said("alert rules read again")} == {("stalled",)}
        rules.write_text(text.replace("w.events", "w.evnts"))
        stage.child.send(signal.SIGHUP)
        wrong = "the alert rules are wrong: those of before stay"
        wait_for("both have refused them", lambda: len(said(wrong)) == 2, DEADLINE)
        assert all("w.evnts" in str(line["mistakes"]) for line in said(wrong))
        series = 'liveshop_alerts_firing{alert="stalled",severity="info"}'
        wait_for("the page, made once a second, has the new rule", lambda: stage.metrics().get(series) == 0, DEADLINE)
        assert stage.get("/readyz")[0] == 200
        stage.stop()


def test_every_child_is_started_without_the_current_folder() -> None:
    """tests/sandbox/test_process.py shows what `liveshop` is good for; here, that nobody starts Python in another way."""
    assert _command(0, 9000, {})[: len(liveshop())] == liveshop()
    for file in Path(stream.__file__).parent.rglob("*.py"):
        assert "sys.executable" not in file.read_text() or file.name == "children.py", file
