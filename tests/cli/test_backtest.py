"""``liveshop backtest``: over a recording; over topics see test_backtest_topics.py."""

import re
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from jsonschema import Draft202012Validator

from stream import cli
from stream.config import Settings
from stream.model.messages import Message
from stream.replay import file_source, recording, topic_range
from stream.replay.backtest import Backtest, Report
from stream.sandbox.traffic import Plan, Traffic

MINUTE: Final = 60_000
START: Final = 1_760_000_040_000
SCHEMA: Final = orjson.loads((Path(__file__).parents[2] / "schemas" / "backtest" / "v1.schema.json").read_bytes())
QUICK: Final = Path(__file__).parents[1] / "replay" / "rules.yaml"


def backtest(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["backtest", *arguments])
    assert (caught.value.code or 0) == code


def traffic(start: int, minutes: int, seed: int = 1) -> list[Message]:
    plan = Plan(seed=seed, rate=40, sessions=8, outages=((5 * MINUTE, 9 * MINUTE),))
    return Traffic(plan, start).step(start + minutes * MINUTE)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recorded") / "traffic.ndjson.gz"
    with recording.create(file) as out:
        recording.write(traffic(START, 15), out)
    return file


def rules(tmp_path: Path, name: str, old: str = "", new: str = "") -> str:
    file = tmp_path / name
    text = QUICK.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return str(file)


# -- a recording


def reported(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    backtest("--json", *arguments, code=code)
    found: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    Draft202012Validator(SCHEMA).validate(found)
    return found


def test_a_recording_says_what_would_have_fired(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = reported(capsys, f"--input={recorded}", f"--rules={QUICK}")
    assert report["records"] == sum(report["outcomes"].values()) > 30_000
    assert report["outcomes"]["counted"] > report["outcomes"]["duplicate"] > 0
    assert report["partitions"] == 4
    fired = {each["alert"]: each["fired"] > 0 for each in report["alerts"]}
    assert fired == {"failures": True, "surge": True, "sales": True, "quiet": False}, (
        "rooms that fall silent have said so"
    )
    failures = [each for each in report["incidents"] if each["alert"] == "failures"]
    assert all(START + 5 * MINUTE < each["fired"] < START + 12 * MINUTE for each in failures), "payments failed then"
    assert all(each["fired"] - each["since"] >= MINUTE for each in failures), "the rule says `for`"
    assert all(each["values"]["attempts"] >= 3 for each in failures)
    assert sum(each["fired"] for each in report["alerts"]) == len(report["incidents"])
    assert report["compared"] is None


def test_the_same_recording_says_the_same_again(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, again = (reported(capsys, f"--input={recorded}", f"--rules={QUICK}") for _ in range(2))
    assert one == again


def test_only_decisions_of_the_span_are_told(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = reported(capsys, f"--input={recorded}", f"--rules={QUICK}")
    begin, end = START + 6 * MINUTE, START + 10 * MINUTE
    part = reported(capsys, f"--input={recorded}", f"--rules={QUICK}", f"--from={begin}", f"--to={end}")
    assert (part["from"], part["to"]) == (begin, end)
    within = [each for each in whole["incidents"] if begin <= each["fired"] < end]
    told = [each for each in part["incidents"] if each["fired"] >= begin]
    assert [each["id"] for each in told] == [each["id"] for each in within] != []
    for each, of_whole in zip(told, within, strict=True):
        over = of_whole["resolved"] is not None and of_whole["resolved"] < end
        assert each["resolved"] == (of_whole["resolved"] if over else None)
    assert all(each["resolved"] is None or each["resolved"] >= begin for each in part["incidents"])


@pytest.mark.parametrize("asked", [(), (f"--from={START - 5 * 24 * 60 * MINUTE}",)])
def test_without_an_end_the_timeline_is_that_of_what_was_recorded(
    asked: tuple[str, ...], recorded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Topics that have been silent for days: up to now a column would be a day, and all of it in the first."""

    async def over_topics(_: Settings, test: Backtest, __: int | None, to_ms: int, tell: Any) -> Report:
        assert to_ms > START + 24 * 60 * MINUTE, "now"
        return file_source.over_file(recorded, test, 4, to_ms, tell=tell, complain=lambda *_: None)

    monkeypatch.setattr(topic_range, "over_topics", over_topics)
    topics = ("--brokers=k:9092", f"--rules={QUICK}", *asked)
    backtest(*topics)
    drawn = re.search(r"firing over time, (\d+) s a column", capsys.readouterr().out)
    assert drawn
    assert 15 <= int(drawn[1]) <= 60, "15 minutes, and until the last alerts are over"
    backtest(*topics, "--to=now")
    assert re.search(r"firing over time, [\d.]+ h a column", capsys.readouterr().out), "as it was asked for"


def test_a_table_and_a_timeline_are_for_people(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backtest(f"--input={recorded}", f"--rules={QUICK}")
    out, err = capsys.readouterr()
    assert "2025-10-09 08:" in out
    assert re.search(r"firing over time, \d+ s a column, 2025-10-09 08:", out)
    assert "█" in out
    for name in ("failures", "surge", "quiet", "sales"):
        assert f"\n  {name}" in out
    assert " failed" in out, "the summary"
    assert err == "", "no progress where there is no terminal"


def test_the_rules_that_come_with_liveshop_are_tried_when_no_others_are_given(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {each["alert"] for each in reported(capsys, f"--input={recorded}")["alerts"]}
    assert {"checkout_failures", "conversion_drop", "comment_surge", "stalled_session"} <= names


def test_other_rules_are_compared_on_the_same_events(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slower = rules(tmp_path, "slower.yaml", "for: 1m\n    keep_firing_for: 1m", "for: 2m\n    keep_firing_for: 1m")
    asked = (f"--input={recorded}", f"--rules={slower}", f"--compare={QUICK}")
    report = reported(capsys, *asked)
    compared = report["compared"]
    old = reported(capsys, f"--input={recorded}", f"--rules={QUICK}")["incidents"]
    moved = compared["moved"]
    assert len(old) == compared["same"] + len(compared["only_in_old"]) + len(moved)
    assert len(report["incidents"]) == compared["same"] + len(compared["only_in_new"]) + len(moved)
    assert moved, "it waits longer"
    for each in moved:
        assert each["new"]["alert"] == each["old"]["alert"] == "failures"
        assert each["new"]["fired"] > each["old"]["fired"]
    backtest(*asked)
    out = capsys.readouterr().out
    assert f"compared with the old rules: {compared['same']} the same, {len(moved)} moved" in out
    assert "\nmoved:\n" in out


def test_rules_compared_with_themselves_differ_in_nothing(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = reported(capsys, f"--input={recorded}", f"--rules={QUICK}", f"--compare={QUICK}")
    assert report["compared"]["same"] == len(report["incidents"]) > 0
    assert not report["compared"]["moved"] + report["compared"]["only_in_old"] + report["compared"]["only_in_new"]
    assert report["compared"]["alerts"] == report["alerts"]


def test_bad_lines_are_named_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "some.ndjson"
    file.write_bytes(b"no line\n" + b'{"topic":"live.views","key":"7","at":1,"value":{}}\n')
    report = reported(capsys, f"--input={file}", code=3)
    assert (report["bad_lines"], report["records"], report["rejected"]) == (1, 1, {"missing_field": 1})
    backtest(f"--input={file}", code=3)
    out, err = capsys.readouterr()
    assert "refused: 1 missing_field" in out
    assert "line 1: not JSON" in err


def test_an_empty_recording_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "none.ndjson"
    file.write_bytes(b"")
    assert reported(capsys, f"--input={file}")["records"] == 0
    backtest(f"--input={file}")
    assert "no events" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to read: set --brokers or LIVESHOP_BROKERS to host:port, or give --input FILE"),
        (["--input", "gone.ndjson"], "gone.ndjson: cannot be opened"),
        (["--input", "x", "--rules", "gone.yaml"], "gone.yaml"),
        (["--input", "x", "--rules", "none"], "no rules to try"),
        (["--input", "x", "--compare", "gone.yaml"], "gone.yaml"),
        (["--input", "x", "--from", "1h", "--to", "2h"], "--from must lie before --to"),
        (["--input", "x", "--from", "soon"], "--from: 'soon' is no time"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    backtest(*arguments, code=2)
    assert says in capsys.readouterr().err


def test_every_mistake_in_the_rules_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = rules(tmp_path, "bad.yaml", "w.comments", "w.coments")
    backtest("--input=x", f"--rules={bad}", code=2)
    assert "did you mean w.comments?" in capsys.readouterr().err
