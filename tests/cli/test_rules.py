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


def test_every_mistake_of_every_rule_is_told_at_once(capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    """A mistake of syntax hid the others of its expression: a file was mended one run at a time."""
    rule = (
        WRONG.removeprefix("rules:\n")
        .replace("many_views", "one")
        .replace("w.vievs > 5.0", "w.vievs = 5.0 and (w.likse > 2.0")
    )
    other = (
        rule.replace("alert: one", "alert: two")
        .replace("window: 1m", "window: 90s")
        .replace("w.vievs = 5.0 and ", "w.views > or ")
    )
    Path(wrong).write_text("rules:\n" + rule + other.replace("(", ""))
    code, shown = run(capsys, "check", wrong)
    assert code == 2
    assert shown.replace(f"{wrong}:", "").splitlines() == [
        "4: rule one: when: w.vievs is not known; did you mean w.views?",
        "4: rule one: when: write == for =",
        "4: rule one: when: write && for and",
        "4: rule one: when: w.likse is not known; did you mean w.likes?",
        "4: rule one: when: ')' is missing at the end",
        "9: rule two: window: not a multiple of the slide, 60s (what all sizes and slides of windows divide by)",
        "10: rule two: when: write || for or",
        "10: rule two: when: '||' is not expected after '>'",
        "10: rule two: when: w.likse is not known; did you mean w.likes?",
    ]


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


def test_a_rule_needs_no_runbook(capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    Path(wrong).write_text(WRONG.replace("vievs", "views").replace("    runbook: x\n", ""))
    assert run(capsys, "check", wrong)[0] == 0


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
