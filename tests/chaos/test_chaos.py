"""The short form of `make chaos`: two workers, a few faults, a fixed seed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.chaos.faults import BrokerFaults
from tests.chaos.profile import Profile
from tests.chaos.rounds import play


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_nothing_is_missing_and_nothing_twice_after_a_round_of_faults(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as thread:
        outcome = play(BrokerFaults(kafka, thread, Profile.short(7)), tmp_path / "round")
    assert outcome.differences == [], outcome.line()
    assert outcome.exits == [], outcome.line()
    assert outcome.faults.total() >= 3, outcome.line()
    assert {"counted", "duplicate", "late", "rejected"} <= {name for name, number in outcome.outcomes.items() if number}
