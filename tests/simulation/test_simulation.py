"""Schedules of the protocol, as many as fit into 90 seconds of CPU; and proof that they can fail."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.__main__ import command
from tests.simulation.mutants import MUTANTS

LEAST = 1000
MOST = 1200
"""All of these were tried. More, which a quick machine would have time for, are for `make simulate-faults`: what is found
there fails nobody's change to something else.
"""
CPU = 80.0
"""Seconds of CPU for the schedules; the rest of the 90 is for the last one of each process, and for the other tests here."""
CORES = 2
START = int(os.environ.get("SIMULATION_SEED", "0"))


def launch(*options: object, hash_seed: str = "0") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.simulation", "--json", *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )


def result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What it printed. It is ended, whatever happens here."""
    with process:
        try:
            out, _ = process.communicate(timeout=1500)
        finally:
            process.kill()
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.timeout(1600)  # it is CPU that is counted, and the machine may have other things to do
def test_nothing_is_lost_or_counted_twice_in_any_schedule(record_property: Callable[[str, object], None]) -> None:
    batches = [
        launch(
            "--seed", START + core * 10**6, "--number", LEAST // CORES, "--most", MOST // CORES, "--cpu", CPU / CORES
        )
        for core in range(CORES)
    ]
    results = [result(batch) for batch in batches]
    schedules = sum(each["schedules"] for each in results)
    seconds, requests = (sum(each[name] for each in results) for name in ("seconds", "requests"))
    record_property("told", f"{schedules} schedules of the protocol, {requests} requests, in {seconds:.0f} s of CPU")
    failed = [failed for each in results for failed in each["failed"]]
    assert not failed, "\n".join(f"{command(each['seed'])}: {each['faults']} {each['problems'][:3]}" for each in failed)
    assert schedules >= LEAST


@pytest.mark.timeout(600)
def test_a_seed_is_the_same_schedule_in_every_process() -> None:
    first, second = (result(launch("--seed", 4711, "--number", 12, hash_seed=seed)) for seed in ("0", "1"))
    assert first["digest"] == second["digest"]
    assert first["requests"] == second["requests"] > 1000
    other = result(launch("--seed", 4712, "--number", 12))
    assert other["digest"] != first["digest"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_known_mistake_is_found(mutant: str) -> None:
    found = result(launch("--mutant", mutant, "--seed", 0, "--number", 600, "--until-found"))
    assert found["failed"], f"not within {found['schedules']} schedules"
