"""The short form of a round of `make chaos` in which a new set of topics takes over."""

from pathlib import Path

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.chaos import growing


@pytest.mark.kafka
def test_a_new_set_takes_over_while_workers_and_the_command_are_killed(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    outcome = growing.play(kafka, 5, tmp_path / "round")
    assert outcome.differences == [], outcome.line()
    assert outcome.exits == [], outcome.line()
    assert outcome.faults["worker killed"] > 0
