"""Letters in figures, of bounded size whatever was written."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream.dlq.grouping import MOST_GROUPS, MOST_SPANS, Groups, Histogram
from stream.model.events import MOST_MS
from stream.model.names import Kind, Reason
from stream.model.results import RefusedBatch
from tests.dlq.tools import STAMP, Rec, letter, refused
from tests.kafka.tools import BASE, view


def test_letters_that_differ_in_numbers_are_one_group_with_its_newest_as_sample() -> None:
    groups = Groups()
    for number in (1, 2, 3):
        dead = refused(Rec(view(number)), Reason.LATE, f"event_time: {number}00 ms behind its topic's clock")
        groups.add(letter(dead, offset=number, written=STAMP + (10 if number == 2 else number)))
    groups.add(letter(refused(Rec(view(1)), Reason.LATE, "event_time: 5 ms behind", Kind.COMMENTS)))
    largest, other = groups.groups()
    assert (largest.letters, largest.records, largest.detail) == (3, 3, "event_time: N ms behind its topic's clock")
    assert (largest.first, largest.last) == (BASE + 100, BASE + 300)
    assert (largest.sample.place, largest.sample.detail) == ("0:2", "event_time: 200 ms behind its topic's clock")
    assert (other.topic, other.letters) == ("live.comments", 1)
    assert groups.letters == 4


def test_a_batch_counts_its_records() -> None:
    groups = Groups()
    groups.add(letter(refused(RefusedBatch(10, 19, 10, STAMP, Reason.UNREADABLE, "x", b"raw", 3, "00"))))
    [group] = groups.groups()
    assert (group.letters, group.records) == (1, 10)


def test_a_stranger_makes_no_more_groups_than_there_may_be() -> None:
    groups = Groups()
    for number in range(MOST_GROUPS + 20):
        groups.add(letter(refused(Rec(), detail="x" * (number + 1))))
    assert (len(groups.groups()), groups.rest) == (MOST_GROUPS, 20)
    assert groups.letters == sum(group.letters for group in groups.groups()) + groups.rest


@given(st.lists(st.integers(0, MOST_MS), max_size=300))
def test_all_times_are_in_few_spans_that_do_not_overlap(times: list[int]) -> None:
    histogram = Histogram()
    for each in times:
        histogram.add(each)
    spans = histogram.spans()
    assert len(spans) <= MOST_SPANS
    assert [span.letters for span in spans] == [sum(s.start <= t < s.end for t in times) for s in spans]
    assert sum(span.letters for span in spans) == len(times)
    assert all(before.end <= after.start for before, after in pairwise(spans))


def test_an_evening_is_told_by_the_minute() -> None:
    histogram = Histogram()
    for minute in range(40):
        histogram.add(BASE + minute * 60_000)
    assert len(histogram.spans()) == 40
