"""``liveshop capacity``: flags into a load, and what is printed of it. The sums are tests/operate's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stream.cli import main

PAGE = Path("docs/operate/capacity.md")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["capacity", *arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, _ = said(capsys, *arguments, "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def test_sessions_follow_from_the_rate_when_nobody_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json(capsys, "--rate", "12000")["load"]["sessions"] == 5000
    load = as_json(capsys, "--rate", "12000", "--sessions", "7", "--air-time", "90m", "--busy", "6h")["load"]
    assert (load["sessions"], load["air_seconds"], load["busy_share"]) == (7, 5400, 0.25)


def test_people_see_what_to_provide_and_from_what_it_follows(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--rate", "36000", "--figures")
    assert code == 0
    for word in ("partitions", "workers", "memory", "into brokers", "disk", "live.state", "make bench", "PART=sizes"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--rate", "12000", "--air-time", "soon"), "--air-time"),
        (("--rate", "12000", "--busy", "0s"), "--busy: must be more than 0"),
        (("--rate", "1e9"), "divide the sessions among installations"),
    ],
)
def test_what_cannot_be_is_named(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str) -> None:
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (2, "")
    assert text in err


def test_the_table_of_the_page_is_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| (\d+) \| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == ["1,000", "12,000", "36,000", "500,000"]
    for rate, *shown in rows:
        found = as_json(capsys, "--rate", rate.replace(",", ""))
        expected = found["load"]["sessions"], found["needs"]["partitions"], found["needs"]["workers"]
        assert [int(each.replace(",", "")) for each in shown] == list(expected)
