"""What live.redrives says of letters."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.dlq import ledger
from stream.dlq.ledger import Entry, Redriven, runs
from stream.sandbox.broker import EmbeddedKafka
from tests.operate.tools import make

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


def test_what_may_name_letters_of_the_topic_is_not_forgotten() -> None:
    every = [Entry(topic_id, 0, [(0, 0)], 1, "me") for topic_id in ("id", "other", "")]
    assert [each.is_of("id") for each in every] == [True, False, True]
    assert all(each.is_of("") for each in every)


@pytest.mark.kafka
def test_the_ledger_is_there_once_it_was_made(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        assert not await ledger.there(config)
        await ledger.make(config)
        await ledger.make(config)
        assert await ledger.there(config)

    asyncio.run(main())


@given(st.sets(numbers))
def test_runs_are_as_few_as_can_be(offsets: set[int]) -> None:
    found = runs(sorted(offsets))
    assert [each for first, last in found for each in range(first, last + 1)] == sorted(offsets)
    assert all(after[0] > before[1] + 1 for before, after in pairwise(found))
