"""The command itself: what ends it, with which exit code, and that it is quick where it should be."""

import subprocess
import sys
from typing import Any, Never

import pytest

from stream import __version__, cli
from stream.errors import FailedError, UsageError
from tests.support import PATIENCE


def ended(arguments: list[str]) -> Any:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UsageError("no such thing"), 2, "liveshop: no such thing\n"),
        (FailedError("broken"), 1, "liveshop: broken\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_error_has_its_exit_code_and_one_message(
    error: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Never:
        raise error

    monkeypatch.setattr("stream.cli.version.command", fail)
    assert ended(["version"]) == code
    assert capsys.readouterr().err == says


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Never:
        raise ZeroDivisionError

    monkeypatch.setattr("stream.cli.version.command", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["version"])


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_help_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([name, "--help"]) == 0
    assert "--help" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["version", "--nonsense"]])
def test_what_does_not_exist_is_wrong_usage(arguments: list[str]) -> None:
    assert ended(arguments) == 2


def test_version_imports_neither_kafka_nor_metrics() -> None:
    code = (
        "import sys\ntry:\n  from stream.cli import main; main(['version', '--json'])\nfinally:\n  print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    version, modules = done.stdout.splitlines()
    assert '"liveshop":"' in version
    assert not {"aiokafka", "prometheus_client", "stream.config"} & set(modules.split())


def test_version_is_a_flag_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["--version"]) == 0
    assert capsys.readouterr().out == f"liveshop {__version__}\n"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tpo", "liveshop: no command 'tpo'; did you mean top?\n"),
        ("Topic", "liveshop: no command 'Topic'; did you mean topics?\n"),
        ("zzz", f"liveshop: no command 'zzz'; there are: {', '.join(cli.COMMANDS)}\n"),
    ],
)
def test_a_command_that_there_is_not_is_answered_with_one_that_there_is(
    name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended([name]) == 2
    assert capsys.readouterr().err == says


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["state", "shwo"], "show"), (["topics", "creat"], "create"), (["rules", "chekc"], "check")],
)
def test_so_is_a_part_of_a_command_that_there_is_not(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(arguments) == 2
    told = capsys.readouterr().err
    assert "Did you mean " in told
    assert f"'{meant}'" in told


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc", ""])
def test_a_zone_that_nobody_knows_is_wrong_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["top", f"--timezone={name}"]) == 2
    assert "--timezone: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["alerts", "list"], ["state", "show"], ["run"], ["backtest"], ["top"]])
def test_every_command_that_prints_times_takes_their_zone(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended([*arguments, "--help"]) == 0
    assert "--timezone" in capsys.readouterr().out


def test_commands_are_completed_by_the_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_LIVESHOP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "liveshop s")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert ended([]) == 0
    assert capsys.readouterr().out.split() == ["state", "simulate"]
