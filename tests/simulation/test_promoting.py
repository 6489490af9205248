"""Schedules in which sessions are promoted while workers are killed, frozen and cut off."""

import pytest

from tests.simulation.promoting import Promoting, over
from tests.simulation.world import SEEDS_A_CONTENT, simulate

NUMBER = 30
"""Each takes a third of a second."""


@pytest.mark.timeout(600)
def test_each_promotion_is_applied_once_in_any_schedule() -> None:
    failed = []
    for seed in range(0, NUMBER * 7, 7):
        outcome = simulate(seed, job=Promoting(over(seed // SEEDS_A_CONTENT)))
        failed += [f"seed {seed}: {outcome.faults} {outcome.problems[:2]}"] if outcome.problems else []
    assert not failed, "\n".join(failed)
