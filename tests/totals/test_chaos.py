"""A short round of chaos over a machine that kafka/ has never heard of."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.chaos.faults import BrokerFaults
from tests.chaos.profile import Profile
from tests.chaos.rounds import play
from tests.totals.chaos import Job


@pytest.mark.kafka
def test_no_total_is_wrong_and_none_is_written_twice_after_a_round_of_faults(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as thread:
        outcome = play(BrokerFaults(kafka, thread, Profile.short(7)), tmp_path / "round", job=Job())
    assert (outcome.differences, outcome.exits) == ([], []), outcome.line()
    assert outcome.faults.total() >= 2, outcome.line()
    assert outcome.outcomes["revisions"] > 0, outcome.line()
