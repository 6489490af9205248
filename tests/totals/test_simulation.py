"""The schedules of the protocol with a machine that kafka/ has never heard of: nothing is lost or counted twice."""

from collections.abc import Callable

import pytest

from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.world import simulate
from tests.totals.job import Job

SCHEDULES = 80
MOST = 400
"""Schedules within which a known mistake is found."""


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_counted_twice_in_any_schedule(record_property: Callable[[str, object], None]) -> None:
    outcomes = [simulate(seed, job=Job()) for seed in range(SCHEDULES)]
    record_property("told", f"{SCHEDULES} schedules of totals, {sum(each.requests for each in outcomes)} requests")
    assert {each.seed: each.problems for each in outcomes if each.problems} == {}
    assert sum(bool(each.faults) for each in outcomes) > SCHEDULES / 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_known_mistake_is_found(mutant: str) -> None:
    with mutated(mutant):
        assert any(simulate(seed, job=Job()).problems for seed in range(MOST)), f"not within {MOST} schedules"
