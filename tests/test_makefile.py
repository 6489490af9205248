"""What ``make`` says while it works: nobody sits before a silent terminal."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


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
