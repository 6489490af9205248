"""With ``--json`` stdout is for a program: JSON and nothing else, whatever is logged. Every command that has it is here."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import typer

from stream import cli
from stream.children import free_port
from stream.kafka import client
from stream.sandbox.broker import EmbeddedKafka

ALONE = {
    "version": [],
    "dlq fixes": [],
    "rules check": [],
    "capacity": ["--rate=1000"],
    "backtest": ["--input={file}"],
    "simulate": ["--to={file}.new", "--for=1s", "--rate=50"],
    "replay run": ["--input={file}"],
}
"""They ask no Kafka."""
ASKING = {
    "topics create": [],
    "topics show": [],
    "topics clean": [],
    "topics grow": ["--partitions=8", "--to-prefix=new."],
    "doctor": [],
    "state show": [],
    "state verify": [],
    "state rebuild": ["--all"],
    "state adopt": [],
    "offsets show": [],
    "offsets skip": ["--topic=live.views", "--partition=0", "--offset=0", "--reason=test"],
    "dlq list": [],
    "dlq show": [],
    "dlq purge": ["--to=-1h"],
    "dlq redrive": ["--reason=late"],
    "alerts list": [],
    "alerts history": ["7301"],
    "record": ["--from=-1h", "--to=-1m", "-o", "{folder}/recorded.ndjson"],
    "replay plan": ["--from=-1h", "--to=-10m"],
    "replay list": [],
    "replay show": ["friday"],
    "replay diff": ["friday"],
    "replay promote": ["friday", "--reason=test", "--dry-run"],
    "replay undo": ["friday", "--reason=test", "--dry-run"],
    "replay delete": ["friday"],
}
ELSEWHERE = {"run", "top"}
"""They start processes, or look at pages: tests/cli/test_run.py and test_top.py read their JSON whole."""


def _commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its words."""
    if not isinstance(command, typer.core.TyperGroup):
        yield name, command
        return
    context: Any = None
    for each in command.list_commands(context):
        yield from _commands(command.get_command(context, each), f"{name} {each}".strip())


def _output(name: str, arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[str, str, Any]:
    """Of a command that logs at every turn, as if its libraries did: stdout, stderr, and the exit code."""
    with pytest.raises(SystemExit) as end:
        cli.main([*name.split(), "--json", *arguments])
    return *capfd.readouterr(), end.value.code


@pytest.fixture(autouse=True)
def _talks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects to Kafka says so, at each level."""
    start: Callable[..., Any] = client.start

    async def talking(*given: Any, **named: Any) -> Any:
        for level in ("debug", "info", "warning", "error"):
            getattr(structlog.get_logger(), level)("said by the Kafka client")
        return await start(*given, **named)

    monkeypatch.setattr(client, "start", talking)


@pytest.fixture
def recording(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    file = tmp_path / "some.ndjson"
    with pytest.raises(SystemExit):
        cli.main(["simulate", f"--to={file}", "--for=2s", "--rate=100"])
    capfd.readouterr()
    return file


def test_every_command_with_json_is_tried_here() -> None:
    found = {
        name
        for name, command in _commands(typer.main.get_command(cli.app))
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert found == ALONE.keys() | ASKING.keys() | ELSEWHERE


@pytest.mark.parametrize("name", ALONE)
def test_without_kafka(name: str, recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err, code = _output(name, [each.format(file=recording) for each in ALONE[name]], capfd)
    assert code == 0, err
    assert json.loads(out)


@pytest.mark.parametrize("name", ASKING)
def test_when_no_broker_answers(name: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    nobody = [f"--brokers=127.0.0.1:{free_port()}", "--connect-timeout=500ms"]
    out, err, code = _output(name, [*nobody, *(each.format(folder=tmp_path) for each in ASKING[name])], capfd)
    assert code
    assert json.loads(out) if out else err


@pytest.mark.kafka
def test_on_a_real_broker(kafka: EmbeddedKafka, prefix: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One after another on the same topics, as an operator's script would. Some refuse: they say so on stderr alone."""
    for name, own in ASKING.items():
        asked = [each.format(folder=tmp_path) for each in own]
        out, err, code = _output(name, [f"--brokers={kafka.bootstrap}", f"--topic-prefix={prefix}", *asked], capfd)
        assert json.loads(out) is not None if out else code, (name, err)
        assert "debug" not in err, name
        assert not re.search(r"^\S*Traceback", err, re.MULTILINE), name
