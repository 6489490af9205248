"""Which states a rebuild throws away, each once."""

import pytest

from stream.kafka.rebuild_cutoff import ANY, RebuildCutoff


@pytest.mark.parametrize(
    ("newest", "generation", "held"),
    [
        (-1, -1, True),  # there is none
        (99, 3, True),  # it was there
        (180, 3, True),  # a running worker has written on
        (180, 4, False),  # it was rebuilt since
        (180, -1, True),  # nobody can tell
    ],
)
def test_a_state_is_thrown_away_until_it_was_rebuilt(newest: int, generation: int, *, held: bool) -> None:
    assert RebuildCutoff(100, 3).covers(newest, generation) is held


def test_where_none_could_be_read_whatever_comes_later_is_continued() -> None:
    assert not RebuildCutoff(100).covers(100, 0)
    assert ANY.covers(10**12, 7)


@pytest.mark.parametrize("state", [RebuildCutoff(0), RebuildCutoff(12, 0), RebuildCutoff(12, 31)])
def test_a_parent_tells_its_processes(state: RebuildCutoff) -> None:
    assert RebuildCutoff.parse(str(state)) == state
