"""A soak of seconds, with one kill; and what a soak says of memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.soak.plan import Outcome, Plan, Sample
from tests.soak.run import soak


@pytest.mark.kafka
def test_a_short_soak_with_a_kill_ends_without_a_difference(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    plan = Plan(
        seconds=4.0,
        rate=400,
        sessions=8,
        workers=2,
        every=1.5,
        asleep=2.0,
        settings={"idle_after": "1s", "session_timeout": "6s", "checkpoint_every": "300ms"},
    )
    outcome = soak(kafka, plan, tmp_path, print)
    assert outcome.differences == [], outcome.lines()
    assert outcome.exits == [], outcome.lines()
    assert outcome.faults == {"kill": 1}
    assert outcome.windows > 0
    assert outcome.every[0] > 0
    assert outcome.good


def grown(by: float, *, seconds: int = 1800, shards: Sequence[int] = (1,), each: float = 40.0) -> Outcome:
    """Memory that fills for ten minutes, and then grows by so many MB a minute; with so many shards, minute by minute."""
    held = [(at, shards[at // 60 % len(shards)]) for at in range(0, seconds, 5)]
    return Outcome(memory=[Sample(at, 130 + each * n + by * max(0, at - 600) / 60, 600.0, n) for at, n in held])


TAKEN_LATE: Final = (1,) * 24 + (2,) * 6
DEALT_OUT: Final = (2, 1, 1, 2, 1)


def test_memory_that_grows_is_no_good_soak() -> None:
    outcome = grown(1.0)
    assert outcome.growth == pytest.approx(0.11, abs=0.01)
    assert not outcome.good


def test_flat_memory_is() -> None:
    outcome = grown(0.0)
    assert outcome.growth == pytest.approx(0.0, abs=1e-6)
    assert outcome.good


@pytest.mark.parametrize("shards", [TAKEN_LATE, DEALT_OUT])
def test_a_worker_with_more_shards_may_hold_more(shards: tuple[int, ...]) -> None:
    assert grown(0.0, shards=shards).growth == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("shards", [TAKEN_LATE, DEALT_OUT])
def test_memory_that_grows_is_found_whatever_it_holds(shards: tuple[int, ...]) -> None:
    outcome = grown(1.2, shards=shards)
    assert outcome.growth == pytest.approx(0.12, abs=0.02)
    assert not outcome.good


def test_a_takeover_of_seconds_is_no_growth() -> None:
    """For a while it holds what a neighbour held, and some more until that is given back."""
    outcome = grown(0.0)
    outcome.memory = [
        row._replace(spared=row.spared + 100, shards=3) if 30 <= row.at % 60 < 50 and row.at > 1200 else row
        for row in outcome.memory
    ]
    assert outcome.growth == pytest.approx(0.0, abs=1e-6)


def test_a_short_soak_says_nothing_of_memory() -> None:
    assert grown(50.0, seconds=300).growth is None
