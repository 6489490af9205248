"""How many of the known mistakes in the protocol are noticed: by the tests in memory, else by so many schedules."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from tests.simulation.mutants import MUTANTS
from tests.simulation.slips import SLIPS

TESTS: Final = ("tests/simulation/test_protocol.py", "tests/simulation/test_findings.py")
"""They take seconds."""
STUCK: Final = 300
"""Seconds after which tests that run on for ever count as failed."""


def score(seed: int, number: int, say: Callable[[str], None]) -> int:
    """0 when each is noticed. ``number``: schedules that are tried, from ``seed`` on."""
    names, noticed = (*MUTANTS, *SLIPS), 0
    for name in names:
        how = _noticed(name, seed, number)
        noticed += how is not None
        say(f"{name}: {how or 'NOT NOTICED'}")
    say(f"{noticed} of {len(names)} mistakes in the protocol are noticed")
    return 0 if noticed == len(names) else 1


def _noticed(name: str, seed: int, number: int) -> str | None:
    """By what. The tests are tried first: they are quick."""
    if name not in MUTANTS and _fails(name):
        return "tests"
    command = ["--mutant", name, "--seed", str(seed), "--number", str(number), "--until-found", "--json"]
    found = json.loads(_run(*command).stdout)
    return f"simulation, after {found['schedules']} schedules" if found["failed"] else None


def _fails(name: str) -> bool:
    try:
        return _run("--mutant", name, "--tests", seconds=STUCK).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def _run(*options: str, seconds: float | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
