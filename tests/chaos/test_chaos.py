"""The short form of `make chaos`: two workers, a few faults, a fixed seed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.chaos.faults import BrokerFaults
from tests.chaos.profile import Profile
from tests.chaos.rounds import Outcome, play


def assert_good(outcome: Outcome) -> None:
    assert outcome.differences == [], outcome.line()
    assert outcome.exits == [], outcome.line()


@pytest.mark.kafka
def test_clocks_that_jump_change_nothing(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as thread:
        profile = replace(Profile.short(8), clock_jumps=True)
        outcome = play(BrokerFaults(kafka, thread, profile), tmp_path / "round")
    assert_good(outcome)
    assert outcome.faults["clock jumps"] > 0, outcome.line()


@pytest.mark.kafka
def test_nothing_is_missing_and_nothing_twice_after_a_round_of_faults(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as thread:
        outcome = play(BrokerFaults(kafka, thread, Profile.short(7)), tmp_path / "round")
    assert_good(outcome)
    assert outcome.faults.total() >= 2, outcome.line()
    assert {"counted", "duplicate", "late", "rejected"} <= {name for name, number in outcome.outcomes.items() if number}
