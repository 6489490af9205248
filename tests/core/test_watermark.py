"""Which topics hold the watermark back, as the clocks say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.policy import HOUR, MINUTE, Policy
from stream.core.watermark import far_behind, slowest, together
from stream.model.names import Kind

V, C, K = Kind.VIEWS, Kind.COMMENTS, Kind.CHECKOUTS
POLICY = Policy()
NOW = 1_700_000_000_000
BOUND = 5 * MINUTE + 10_000


@pytest.mark.parametrize(
    ("behind", "caught_up", "left_out"),
    [
        (0, True, False),
        (BOUND, True, False),
        (BOUND + 1, True, True),
        (BOUND + 1, False, False),
        (HOUR, False, False),
        (HOUR + 1, False, True),
        (NOW, False, True),
        (None, False, False),
        (None, True, True),
    ],
)
def test_how_far_behind_a_topic_may_be(behind: int | None, caught_up: bool, left_out: bool) -> None:
    clocks = {V: NOW, C: NOW - 1, K: None if behind is None else NOW - behind}
    assert far_behind(clocks, POLICY, [V, C, K] if caught_up else [V, C]) == ({K} if left_out else set())


def test_the_topic_with_the_newest_clock_is_never_left_out() -> None:
    assert far_behind({V: 0, C: NOW, K: None}, POLICY, [V, C, K]) == {V, K}
    assert far_behind({V: None, C: None, K: None}, POLICY, [V, C, K]) == set()


def test_the_slowest_of_those_that_are_waited_for() -> None:
    clocks = {V: NOW, C: NOW - 5, K: None}
    assert slowest(clocks, []) is None
    assert slowest(clocks, [K]) == NOW - 5
    assert slowest(clocks, [K, C]) == NOW
    assert slowest(clocks, [V, C, K]) is None


@given(
    st.lists(st.none() | st.sampled_from([0, 1, BOUND, BOUND + 1, HOUR, HOUR + 1]), min_size=3, max_size=3),
    st.sets(st.sampled_from([V, C, K])),
)
def test_of_topics_that_are_together_none_is_far_behind(ages: list[int | None], caught_up: set[Kind]) -> None:
    clocks = {kind: None if age is None else NOW - age for kind, age in zip((V, C, K), ages, strict=True)}
    if together(clocks, POLICY):
        assert far_behind(clocks, POLICY, caught_up) == set()
        assert None not in ages
    elif None not in ages:
        assert far_behind(clocks, POLICY, [V, C, K])
