"""``liveshop replay run --input``: a first look at a recording, with no broker at all."""

import json
from pathlib import Path

import pytest

from stream import cli
from stream.replay import recording
from tests.replay.test_from_file import MESSAGES


@pytest.fixture
def source(tmp_path: Path) -> Path:
    with recording.create(tmp_path / "events.ndjson.gz") as opened:
        recording.write(MESSAGES[:4_000], opened)
    return tmp_path / "events.ndjson.gz"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["replay", "run", *words])
    return int(caught.value.code or 0)


def test_a_summary_says_what_was_counted_and_whose_clock_it_was(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--input", str(source), "--max-future", "30s") == 0
    said = capsys.readouterr().out
    assert "4,000 records" in said
    assert "duplicate" in said
    assert "GMV" in said or "IDR" in said
    assert "what was more than 30s ahead was refused as future" in said


def test_windows_are_those_asked_for(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--input", str(source), "--windows", "30s", "--rules", "none", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [*found["windows"]] == ["30s"]
    assert found["records"] == sum(found["outcomes"].values()) == 4_000
    assert found["files"] == []
    assert found["alerts"] == {}


def test_lines_that_are_no_messages_are_named_and_end_it_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.ndjson").write_bytes(b"rahasia\n" * 12)
    assert run("--input", str(tmp_path / "bad.ndjson")) == 3
    said = capsys.readouterr()
    assert "line 1: not JSON" in said.err
    assert "12 lines" in said.err
    assert "rahasia" not in said.out + said.err
    assert "no messages" in said.out


def test_files_are_written_once(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--input", str(source), "--to", str(tmp_path / "out"))
    assert run(*words, "--no-parquet") == 0
    assert f"written: {tmp_path / 'out' / 'sessions.ndjson'}" in capsys.readouterr().out
    assert run(*words) == 2
    assert "--force" in capsys.readouterr().err
    assert run(*words, "--force", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 7


def test_a_file_that_is_not_there_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--input", str(tmp_path / "none.ndjson")) == 2
    assert "cannot be opened" in capsys.readouterr().err


def test_of_a_recording_that_is_cut_off_nothing_is_left(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.ndjson.gz").write_bytes(source.read_bytes()[:-500])
    assert run("--input", str(tmp_path / "cut.ndjson.gz"), "--to", str(tmp_path / "out"), "--no-parquet") == 2
    assert "cannot be read to its end" in capsys.readouterr().err
    assert [*(tmp_path / "out").iterdir()] == []
