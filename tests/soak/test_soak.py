"""A soak of seconds, with one kill; and what a soak says of memory."""

from pathlib import Path

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.soak.plan import Outcome, Plan
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


def grown(seconds: int, by: float) -> Outcome:
    """Memory that fills for ten minutes, and then grows by so many MB a minute."""
    return Outcome(memory=[(at, 200 + by * max(0, at - 600) / 60, 600.0) for at in range(0, seconds, 5)])


def test_memory_that_grows_is_no_good_soak() -> None:
    outcome = grown(1800, 2.0)
    assert outcome.growth == pytest.approx(0.17, abs=0.03)
    assert not outcome.good


def test_flat_memory_is() -> None:
    outcome = grown(1800, 0.0)
    assert outcome.growth == pytest.approx(0.0, abs=1e-6)
    assert outcome.good


def test_a_short_soak_says_nothing_of_memory() -> None:
    assert grown(300, 50.0).growth is None
