"""``liveshop rules``."""

from pathlib import Path

import orjson
import pytest

from stream import cli
from stream.rules.reading import shipped_text

WRONG = """\
rules:
  - alert: many_views
    window: 1m
    when: w.vievs > 5.0
    severity: info
    summary: many
    runbook: x
"""


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    file = tmp_path / "rules.yaml"
    file.write_text(WRONG)
    return str(file)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["rules", *arguments])
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out + captured.err


def test_mistakes_are_told_with_file_and_line(capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    mistake = f"{wrong}:4: rule many_views: when: w.vievs is not known; did you mean w.views?\n"
    assert run(capsys, "check", wrong) == (2, mistake)
    assert run(capsys, "check", "--rules", wrong) == (2, mistake)


def test_mistakes_as_json(capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    code, shown = run(capsys, "check", wrong, "--json")
    assert code == 2
    assert orjson.loads(shown) == {
        "file": wrong,
        "rules": [],
        "problems": [{"line": 4, "rule": "many_views", "message": "when: w.vievs is not known; did you mean w.views?"}],
    }


def test_a_right_file_is_shown_as_it_was_understood(capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    Path(wrong).write_text(WRONG.replace("vievs", "views"))
    code, shown = run(capsys, "check", wrong)
    assert code == 0
    assert shown.split("\n")[1].split() == ["many_views", "info", "1m", "w.views", ">", "5.0"]
    code, shown = run(capsys, "check", wrong, "--json")
    assert orjson.loads(shown)["rules"][0]["window_ms"] == 60_000


def test_windows_decide_what_a_rule_may_look_at(capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    Path(wrong).write_text(WRONG.replace("vievs", "views"))
    code, shown = run(capsys, "check", wrong, "--windows", "7m")
    assert code == 2
    assert ":3: rule many_views: window: not a multiple of the slide, 420s" in shown


def test_without_a_file_the_shipped_rules_are_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIVESHOP_RULES", raising=False)
    code, shown = run(capsys, "check")
    assert code == 0
    assert "checkout_failures" in shown
    monkeypatch.setenv("LIVESHOP_RULES", "none")
    assert run(capsys, "check") == (0, "no rules: alerts are turned off\n")


def test_what_is_shown_is_a_right_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, shown = run(capsys, "show")
    assert (code, shown) == (0, shipped_text())
    own = tmp_path / "own.yaml"
    own.write_text(shown)
    assert run(capsys, "check", str(own))[0] == 0


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, shown = run(capsys, "check", str(tmp_path / "nowhere.yaml"))
    assert code == 2
    assert "nowhere.yaml cannot be read: No such file or directory" in shown
