"""The hunt sees what is wrong in every way; and each target for a few seconds, as CI has them (`make fuzz` for long)."""

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.broken import WAY
from tests.fuzz.damage import damaged, repeated
from tests.fuzz.hunt import Hunted, Plan, hunt
from tests.fuzz.targets import NAMES
from tests.live import PROJECT
from tests.support import PATIENCE

SEED = 20
SECONDS = 3.0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_in_a_few_seconds(name: str) -> None:
    done = hunt(Plan(name, SEED, SECONDS, hangs=PATIENCE))
    assert done.finding is None, f"{done.finding.why}\n{done.finding.data[:1000]!r}"
    assert done.number > 0


def broken(way: str, **more: float) -> Hunted:
    seconds = 1.0 if way == "fine" else PATIENCE  # until it is found
    return hunt(Plan("broken", 1, seconds, environ={WAY: way}, **{"hangs": PATIENCE, **more}))  # type: ignore[arg-type] # by name


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("raises", r"KeyError: 'nobody expects it'"),
        ("crashes", r"the process ended with SIGABRT\nFatal Python error: Aborted"),
        ("swells", r"6 bytes took 1[45]\d,\d{3},\d{3} bytes of memory"),
        ("squares", r"\d+,\d{3} bytes took [\d.]+ s of CPU, more than"),
    ],
)
def test_it_sees_what_is_wrong_and_keeps_the_input(way: str, why: str) -> None:
    finding = broken(way).finding
    assert finding is not None
    assert re.search(why, finding.why), finding.why
    assert finding.data.startswith(way.encode())


def test_one_that_hangs_is_ended_and_shows_where() -> None:
    finding = broken("hangs", hangs=2.0).finding
    assert finding is not None
    assert "it was not read within 2 s" in finding.why
    assert "broken.py" in finding.why
    assert finding.data == b"hangs"


def test_what_is_fine_is_tried_until_its_time_or_number_is_over() -> None:
    done = broken("fine")
    assert (done.finding, done.number > 10) == (None, True)
    assert broken("fine", most=7).number == 7


def fuzz(*arguments: object, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.fuzz", *map(str, arguments)]
    env = {"PATH": "", **environ}
    return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_the_command_keeps_what_it_found_and_says_how_to_repeat_it(tmp_path: Path) -> None:
    done = fuzz("--target", "broken", "--for", "1s", "--seed", 1, "--keep", tmp_path, **{WAY: "raises"})
    assert done.returncode == 1, done.stderr
    [kept] = tmp_path.iterdir()
    assert kept.read_bytes() == b"raises"
    [again] = re.findall(r"repeat it: \S+ -m tests.fuzz (.*)", done.stdout)
    repeated = fuzz(*again.split())
    assert repeated.returncode == 1
    assert "KeyError" in repeated.stdout
    kept.write_bytes(b"fine")
    assert fuzz(*again.split()).returncode == 0


def test_wrong_usage_is_told() -> None:
    for arguments in (["--target", "nobody"], ["--for", "5"], ["--input", "x"]):
        assert fuzz(*arguments).returncode == 2


def test_damage_follows_from_the_seed_and_changes_something() -> None:
    whole = bytes(range(200))
    for way in (damaged, repeated):
        made = [way(Random(seed), whole, [b"token"]) for seed in range(200)]
        assert made == [way(Random(seed), whole, [b"token"]) for seed in range(200)]
        assert len(set(made)) > 150
    assert max(len(each) for each in made) > 100_000
