"""A sample is judged as a worker judges; what is above the limit is told with its cause."""

from collections.abc import Sequence
from typing import Any

import pytest

from stream.config import Settings
from stream.core.decode import decode_batch
from stream.doctor.events import LEAST, Sampled, judge_events, sampled
from stream.doctor.finding import Check, Finding, Severity
from stream.model.names import Kind
from tests.bad_records import KEY, NOW, SECRET, VIEWER, checkout, comment, text, view
from tests.doctor.tools import one
from tests.recount import LogRecord

MAKE = {Kind.VIEWS: view, Kind.COMMENTS: comment, Kind.CHECKOUTS: checkout}
HOUR = 3_600_000


def sample(kind: Kind, *times: int | tuple[int, int], first: int = 0, **fields: Any) -> list[Sampled]:
    """Events by event time, or by event time and the broker's timestamp, which is else the same."""
    made = []
    for number, each in enumerate(times):
        time, stamp = each if isinstance(each, tuple) else (each, each)
        value = text(MAKE[kind](first + number, event_time=time, **fields))
        record = LogRecord(str(kind), 0, number, stamp, KEY, value)
        (event,) = decode_batch(kind, (record,), 2**20)
        made.append(sampled(kind, record, event))
    return made


def judged(*samples: Sequence[Sampled], **settings: Any) -> list[Finding]:
    config = Settings(brokers="k:9092", topic_prefix="shop.", **settings)
    found = judge_events({3: [each for sample in samples for each in sample]}, config)
    assert {each.check for each in found} == {Check.EVENTS}
    assert SECRET not in str(found)
    assert VIEWER not in str(found)
    return found


def test_events_in_time_are_one_line() -> None:
    times = [NOW + 100 * number for number in range(LEAST)]
    found = one(judged(sample(Kind.VIEWS, *times), sample(Kind.COMMENTS, *times)), Severity.OK)
    assert found.what == f"{2 * LEAST} sampled records come in time and once"
    assert one(judged(), Severity.INFO).what == "no record to look at"


@pytest.mark.parametrize(
    ("behind", "what"),
    [
        (15_000, "were counted, but came too late for alerts"),
        (6 * 60_000, "came too late for their windows"),
        (-2 * HOUR, "are ahead of the broker's clock"),
    ],
)
def test_times_that_are_off(behind: int, what: str) -> None:
    good = [NOW + 100 * number for number in range(LEAST)]
    off = [(NOW + 5_000 - behind, NOW + 5_000 + number) for number in range(3)]
    found = one(judged(sample(Kind.COMMENTS, *good, *off)), Severity.WARNING)
    assert found.subject == "shop.live.comments/3"
    assert found.what.startswith(f"3 of {LEAST + 3} sampled records {what}")
    assert ": " in found.todo


def test_a_topic_far_behind_another_in_the_same_partition() -> None:
    comments = [(NOW - 2 * HOUR + number, NOW + 10 + number) for number in range(LEAST)]
    found = one(judged(sample(Kind.VIEWS, NOW), sample(Kind.COMMENTS, *comments)), Severity.WARNING)
    assert "came after their pane was dropped" in found.what


def test_a_backlog_that_is_read_in_order_is_not_late() -> None:
    """The sample of a slow topic begins hours before that of a busy one."""
    comments = [NOW - 2 * HOUR + 300_000 * number for number in range(LEAST)]
    one(judged(sample(Kind.VIEWS, NOW), sample(Kind.COMMENTS, *comments)), Severity.OK)


def test_repeats_and_records_without_a_value() -> None:
    times = [NOW + number for number in range(LEAST)]
    again = judged(sample(Kind.CHECKOUTS, *times), sample(Kind.CHECKOUTS, *times[:2]))
    assert "are repeats" in one(again, Severity.WARNING).what
    empty = [Sampled(Kind.VIEWS, number, NOW, KEY, None) for number in range(LEAST)]
    assert "have no value" in one(judged(empty), Severity.WARNING).what


def test_few_records_and_small_shares_tell_nothing() -> None:
    late = [NOW + HOUR] + [(NOW, NOW + HOUR + number) for number in range(LEAST - 2)]
    one(judged(sample(Kind.VIEWS, *late)), Severity.OK)
    enough = [*late, (NOW, NOW + HOUR + LEAST)]
    one(judged(sample(Kind.VIEWS, *enough)), Severity.WARNING)
    one(judged(sample(Kind.VIEWS, *enough), warn_share=0.99), Severity.OK)


def test_what_a_record_says_by_itself_is_told_with_the_keys() -> None:
    times = [NOW + number for number in range(LEAST)]
    one(judged(sample(Kind.VIEWS, *times, action="dance")), Severity.OK)


def test_a_sample_keeps_no_texts_and_no_values() -> None:
    (kept,) = sample(Kind.COMMENTS, NOW)
    assert SECRET not in str(kept)
    (kept,) = sample(Kind.CHECKOUTS, NOW)
    assert "unit_price" not in str(kept)
