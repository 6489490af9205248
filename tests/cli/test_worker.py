"""``liveshop worker``: what it is told, what it says, and how it ends. The work itself is tests/kafka's."""

import asyncio
import json
import os
import re
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from typer.testing import CliRunner

from stream.cli import app, main, worker
from stream.cli.flags import environment, metavar
from stream.config import SETTINGS, Settings, load
from stream.errors import FailedError
from stream.kafka.health import Health
from stream.kafka.metrics_hooks import MetricsHooks
from stream.observe import health as observe
from stream.sandbox.broker import EmbeddedKafka
from tests.live import Worker, create_topics, wait_for
from tests.observe.views import logging_restored, tally
from tests.support import PATIENCE

Work = Callable[[Settings, MetricsHooks, Health, bool], Any]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], None]:
    """Puts something in the place of the Kafka edge."""

    def put(work: Work) -> None:
        async def run_worker(settings: Settings, hooks: MetricsHooks, health: Health, *, rebuild: bool) -> int:
            code: int = await asyncio.to_thread(work, settings, hooks, health, rebuild)
            return code

        monkeypatch.setattr(worker, "run_worker", run_worker)

    return put


def ended(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as end:
        main(["worker", *arguments])
    return end.value.code


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_it_shows_its_settings_serves_its_pages_and_ends_with_the_workers_code(
    works: Callable[[Work], None], capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def work(settings: Settings, hooks: MetricsHooks, health: Health, rebuild: bool) -> int:
        settings_shown, listening = lines(capsys.readouterr().err)
        seen.update(settings_shown)
        health.assigned(frozenset())
        hooks.committed(0, tally(), 0.01)
        health.beat()
        for page in ("metrics", "health", "ready"):
            with urllib.request.urlopen(listening[page], timeout=PATIENCE) as answer:
                seen[page] = answer.read().decode()
        seen["rebuild"] = rebuild
        assert settings.http_port == 0
        return 130

    works(work)
    assert ended("--brokers", "k:9092", "--http-port", "0", "--delay", "3s", "--rebuild") == 130
    assert seen["rebuild"] is True
    assert (seen["delay"], seen["lateness"], seen["brokers"]) == ("3s", "5m", "k:9092")
    assert "topic_prefix" not in seen, "what is empty says nothing"
    assert "liveshop_views_total 40.0" in seen["metrics"]
    assert seen["health"] == "ok\n"
    note = "note: live.views: of the last minute 1 of 100 records began sessions on another partition"
    assert note in seen["ready"], "health is told what was committed"


def test_it_runs_on_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_worker(*_: object, **__: object) -> int:
        return 0 if isinstance(asyncio.get_running_loop(), uvloop.Loop) else 1

    monkeypatch.setattr(worker, "run_worker", run_worker)
    assert ended("--brokers", "k:9092", "--http-port", "0") == 0


def test_a_worker_that_waits_for_its_broker_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop beats before the edge has begun to."""
    monkeypatch.setattr(worker, "BEAT", 0.001)
    thrice = asyncio.Semaphore(0)
    monkeypatch.setattr(observe.Health, "beat", lambda _: thrice.release())

    async def run_worker(*_: object, **__: object) -> int:
        async with asyncio.timeout(PATIENCE):
            for _beat in range(3):
                await thrice.acquire()
        return 0

    monkeypatch.setattr(worker, "run_worker", run_worker)
    assert ended("--brokers", "k:9092", "--http-port", "0") == 0


def test_everything_wrong_is_one_message_and_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text("delay = 10\nsesion_keep = '1h'\n")
    assert ended("--http-port", "x", "--config", str(file)) == 2
    [told] = lines(capsys.readouterr().err)
    assert told["level"] == "error"
    assert told["event"].startswith("the configuration is wrong:\n")
    for part in ("brokers is needed", "session_keep", "write 10s", "--http-port: 'x'"):
        assert part in told["event"]
    assert "exception" not in told


def test_its_last_error_is_for_people_where_its_log_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--http-port", "x", "--log-format=console") == 2
    assert capsys.readouterr().err.startswith("liveshop: the configuration is wrong:\n")


@pytest.mark.parametrize(("flags", "as_json"), [((), False), (("--log-format=json",), True)])
def test_the_last_error_of_another_command_is_json_only_where_that_is_asked_for(
    flags: tuple[str, ...], as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    grow = ("topics", "grow", "--partitions=8", "--to-prefix=new.", "--quiet=x", "--brokers=k:9092")
    with pytest.raises(SystemExit) as end:
        main([*grow, *flags])
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert json.loads(told)["event"].startswith("--quiet: ") if as_json else told.startswith("liveshop: --quiet: ")


@pytest.mark.parametrize(
    ("host", "warns"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("localhost", False)]
)
def test_pages_that_everybody_can_read_are_warned_of(
    host: str, warns: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their server is not started: nothing listens on every address here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "work", lambda *_, **__: 0)
        assert ended("--brokers", "k:9092", "--http-host", host) == 0
    warned = [line for line in lines(capsys.readouterr().err) if line["level"] == "warning"]
    assert [line["http_host"] for line in warned] == ([host] if warns else [])
    assert all("session and seller ids" in line["event"] and "127.0.0.1" in line["todo"] for line in warned)


def test_a_taken_port_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ended("--brokers", "k:9092", "--http-port", str(port)) == 2
    assert f"port {port} on 127.0.0.1 is taken" in capsys.readouterr().err


def test_work_that_cannot_be_done_is_failed(works: Callable[[Work], None], capsys: pytest.CaptureFixture[str]) -> None:
    def work(*_: object) -> int:
        raise FailedError("no broker answered")

    works(work)
    assert ended("--brokers", "k:9092", "--http-port", "0") == 1
    last = lines(capsys.readouterr().err)[-1]
    assert (last["level"], last["event"]) == ("error", "no broker answered")


def test_there_is_a_flag_with_help_for_every_setting() -> None:
    text = CliRunner().invoke(app, ["worker", "--help"], env={"COLUMNS": "400"}).output
    for setting in SETTINGS:
        assert setting.env in text
        assert (f"{setting.flag} " in text) is not setting.secret
        assert setting.secret or setting.help in text


def test_a_secret_given_as_a_flag_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--brokers", "k:9092", "--sasl-password=hunter2") == 2
    text = capsys.readouterr().err
    assert "No such option: --sasl-password" in text
    assert "hunter2" not in text


def test_help_says_what_each_value_looks_like_and_lists_the_choices() -> None:
    output = CliRunner().invoke(app, ["worker", "--help"], env={"COLUMNS": "80"}).output
    assert "…" not in output, "cut off on an ordinary terminal"
    rows: dict[str, str] = dict(re.findall(r"^│ (--[\w-]+) +(\S+) ", output, re.MULTILINE))
    for setting in [each for each in SETTINGS if not each.secret]:
        assert rows[setting.flag] == metavar(setting.name)
        assert metavar(setting.name).isupper()
    assert (rows["--delay"], rows["--http-port"], rows["--processes"]) == ("TIME", "PORT", "N")
    wide = CliRunner().invoke(app, ["worker", "--help"], env={"COLUMNS": "400"}).output
    assert "(earliest, latest; LIVESHOP_START_AT; default earliest)" in wide
    assert "(debug, info, warning, error; LIVESHOP_LOG_LEVEL; default info)" in wide
    assert "rebuild-before" not in wide


def test_a_child_gets_the_same_settings_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESHOP_DELAY", "7s")
    settings = Settings(brokers="k:9092,l:9092", topic_prefix="", windows="2m,10m/2m", bad_share=0.25, top_sessions=0)
    given = environment(settings)
    assert load({}, None, given) == settings
    assert given["PATH"] == os.environ["PATH"]


def test_processes_are_one_to_some() -> None:
    assert ended("--brokers", "k:9092", "--processes", "0") == 2


@pytest.mark.kafka
def test_missing_topics_are_usage_and_the_message_says_how_to_make_them(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("--brokers", kafka.bootstrap, "--topic-prefix", prefix, "--http-port", "0") == 2
    last = lines(capsys.readouterr().err)[-1]
    assert last["event"].startswith(f"missing topics: {prefix}live.views, ")
    assert "liveshop topics create" in last["event"]


@pytest.mark.kafka
def test_a_real_worker_serves_its_pages_and_says_nothing_but_lines_of_json(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, prefix, partitions=2)
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log") as process:
        process.await_ready()
        assert process.get("/healthz") == (200, "ok\n")
        recovered = "liveshop_recovery_duration_seconds_count"
        wait_for("both recoveries are shown", lambda: process.metrics().get(recovered) == 2)
        process.stop()
    assert {line["level"] for line in lines(process.log.read_text())} <= {"info", "warning"}


@pytest.mark.kafka
def test_an_ordinary_rebalance_warns_of_nothing(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    """A second worker comes and goes while events come, as in each rolling restart: nobody has to look."""
    create_topics(kafka.bootstrap, prefix, partitions=4)
    settled = "liveshop_recovery_duration_seconds_count"
    with Worker(kafka.bootstrap, prefix, tmp_path / "first.log") as first:
        first.await_ready()
        with Worker(kafka.bootstrap, prefix, tmp_path / "second.log") as second:
            second.await_ready()
            wait_for("its shards are restored", lambda: second.metrics().get(settled) == 2)
            second.stop()
        wait_for("the first has all again", lambda: first.metrics().get(settled) == 6)
        first.stop()
    said = [line for worker in (first, second) for line in worker.lines()]
    assert [line for line in said if line["level"] != "info"] == []
    assert {"assigned", "restored"} <= {line["event"] for line in said}


def test_wrong_rules_are_refused_with_every_mistake_before_anything_is_asked_of_the_broker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n  - {alert: A, window: 1m, when: w.evnts > 1.0, severity: loud, summary: s, runbook: r}\n"
    )
    assert ended("--brokers", "127.0.0.1:1", "--http-port", "0", "--rules", str(rules)) == 2
    told = capsys.readouterr().err
    for part in (f"{rules}:2", "did you mean w.events?", "loud"):
        assert part in told
