"""What ``make`` says while it works: nobody sits before a silent terminal."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("code", "failed"), [(0, False), (1, True), (2, True), (130, False)])
def test_ctrl_c_in_make_run_is_no_error_of_make(tmp_path: Path, code: int, failed: bool) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "liveshop"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    for mark in (".packages", ".made", ".sandbox"):  # in this order: each is newer than the one before
        (tmp_path / mark).touch()
    done = subprocess.run(["make", "run", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == failed
    assert bool(done.stderr) == failed, done.stderr


def recipes() -> list[list[str]]:
    """The commands of each target, in order."""
    found: list[list[str]] = [[]]
    for line in (ROOT / "Makefile").read_text().splitlines():
        if line.startswith("\t"):
            found[-1].append(line.strip())
        elif found[-1]:
            found.append([])
    return found


def test_whatever_is_fetched_or_built_for_make_run_is_told_right_before() -> None:
    """pip is quiet, and may take a minute. `make constraints`, for who develops, runs pip-compile in many lines."""
    before = {
        command: recipe[number - 1] if number else ""
        for recipe in recipes()
        for number, command in enumerate(recipe)
        if re.search(r"pip install .*(-r|--editable)", command)
    }
    assert len(before) == 3, "packages, liveshop itself, the embedded Kafka"
    for command, told in before.items():
        assert re.fullmatch(r'@echo "(installing|building) .*" >&2', told), command
