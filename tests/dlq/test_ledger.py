"""What live.redrives says of letters."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream.dlq.ledger import Entry, Redriven, runs

numbers = st.integers(0, 60)


def entry(partition: int, offsets: list[tuple[int, int]]) -> Entry:
    return Entry("id", partition, offsets, sum(last - first + 1 for first, last in offsets), "me")


@given(st.lists(st.tuples(st.integers(0, 2), st.sets(numbers, min_size=1))))
def test_every_letter_that_was_sent_is_known_and_no_other(sent: list[tuple[int, set[int]]]) -> None:
    redriven = Redriven(entry(partition, runs(sorted(offsets))) for partition, offsets in sent)
    every = {(partition, offset) for partition, offsets in sent for offset in offsets}
    for partition in range(3):
        for offset in range(62):
            assert redriven.has(partition, offset) == ((partition, offset) in every)


@given(st.sets(numbers))
def test_runs_are_as_few_as_can_be(offsets: set[int]) -> None:
    found = runs(sorted(offsets))
    assert [each for first, last in found for each in range(first, last + 1)] == sorted(offsets)
    assert all(after[0] > before[1] + 1 for before, after in pairwise(found))
