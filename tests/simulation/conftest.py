"""Each contract is played on both stages."""

import pytest

from tests.simulation.stage import Demo, in_memory, real


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
def stage(request: pytest.FixtureRequest, prefix: str) -> Demo:
    return in_memory(prefix) if request.param == "memory" else real(request.getfixturevalue("kafka"), prefix)
