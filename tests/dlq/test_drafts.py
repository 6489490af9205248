"""Which letters are sent again, as which records; and why the others are left."""

import json
from typing import Any

import pytest

from stream.core.deadletters import oversize
from stream.core.headers import MOST, MOST_BYTES, excess
from stream.core.policy import DAY, Policy
from stream.dlq.drafts import Desk, Draft, Left, Refusal, Tally, headers_of
from stream.dlq.fixes import FIXES
from stream.dlq.outlook import Clocks
from stream.model.names import Kind, Outcome, Reason
from stream.model.results import DeadLetter, RefusedBatch
from tests.core.test_shard import BASES
from tests.dlq.tools import STAMP, Rec, letter, refused
from tests.kafka.tools import BASE, view

KINDS_OF = {"live.views": Kind.VIEWS, "live.comments": Kind.COMMENTS, "live.checkouts": Kind.CHECKOUTS}


def desk(clock: int | None = BASE, *fixes: str, partitions: int = 1, **changes: Any) -> Desk:
    topics = {} if clock is None else dict.fromkeys(Kind, clock)
    clocks = [Clocks(Policy(), topics)] * partitions
    return Desk(KINDS_OF, partitions, clocks, tuple(FIXES[name] for name in fixes), **changes)


def judge(dead: DeadLetter, at: Desk | None = None) -> Draft | Refusal:
    return (at or desk()).judge(letter(dead), STAMP)


def test_a_record_is_sent_as_it_was_with_the_number_of_times_and_its_first_place() -> None:
    record = Rec(headers=[("trace", b"\x00"), ("liveshop-redrives", b"1")])
    found = judge(refused(record))
    assert isinstance(found, Draft)
    assert (found.topic, found.key, found.value, found.outlook) == ("live.views", b"s1", record.value, Outcome.COUNTED)
    assert list(found.headers) == [
        ("trace", b"\x00"),
        ("liveshop-redrives", b"2"),
        ("liveshop-origin", f"live.views/0/7/{STAMP}".encode()),
    ]


@pytest.mark.parametrize(
    ("dead", "left"),
    [
        (refused(RefusedBatch(1, 9, 9, STAMP, Reason.UNREADABLE, "x", b"raw", 3, "00")), Left.BATCH),
        (refused(oversize(Rec(b"x" * 100_000)), Reason.TOO_LARGE), Left.CUT),
        (refused(Rec(None), Reason.SKIPPED), Left.TOMBSTONE),
        (refused(Rec(headers=[("liveshop-redrives", b"3")])), Left.LOOP),
        (refused(Rec(b"no json")), Left.REFUSED),
        (refused(Rec(view(1), b"other")), Left.REFUSED),
        (refused(Rec(view(1, event_time=BASE - DAY))), Left.LATE),
        (refused(Rec(view(1, event_time=STAMP + DAY))), Left.FUTURE),
    ],
)
def test_what_would_come_back_or_is_not_whole_is_left(dead: DeadLetter, left: Left) -> None:
    found = judge(dead)
    assert isinstance(found, Refusal)
    assert found.left is left


def test_a_topic_of_another_installation_is_no_input() -> None:
    other = desk()
    found = Desk({"p.live.views": Kind.VIEWS}, 1, other.clocks).judge(letter(refused(Rec())), STAMP)
    assert found == Refusal(Left.NO_INPUT)


def test_a_late_order_is_for_the_totals_alone() -> None:
    order = BASES[Kind.CHECKOUTS] | {"event_id": "e", "event_time": BASE - DAY + 1}
    record = Rec(json.dumps(order).encode(), str(order["session_id"]).encode())
    found = judge(refused(record, Reason.LATE, kind=Kind.CHECKOUTS))
    assert isinstance(found, Draft)
    assert found.outlook is Outcome.TOTAL_ONLY


def test_a_fix_makes_an_event_of_it_or_says_why_not() -> None:
    seconds = Rec(view(1, event_time=BASE // 1000))
    assert isinstance(judge(refused(seconds)), Refusal)
    found = judge(refused(seconds), desk(BASE, "seconds-to-milliseconds"))
    assert isinstance(found, Draft)
    assert json.loads(found.value or b"")["event_time"] == BASE
    left = judge(refused(Rec(view(1, viewer_id=1.5))), desk(BASE, "numeric-ids-to-text"))
    assert isinstance(left, Refusal)
    assert (left.left, left.detail.split(":")[0]) == (Left.UNFIXABLE, "viewer_id")


def test_a_record_goes_where_its_key_belongs() -> None:
    many = desk(None, "key-from-session-id", partitions=4)
    places = {session: judge(refused(Rec(view(1, session), b"x")), many) for session in ("s1", "s2", "s3", "s4", "s5")}
    found = {session: each.partition for session, each in places.items() if isinstance(each, Draft)}
    assert found == {session: many.place(session.encode(), 0) for session in places}
    assert len(set(found.values())) > 1
    assert many.place(None, 6) == 2


@pytest.mark.parametrize(
    "headers",
    [[(f"h{number}", b"") for number in range(MOST + 5)], [("large", b"x" * (MOST_BYTES - 5)), ("small", b"y")], []],
)
def test_our_headers_never_make_too_many_of_the_original_ones(headers: list[tuple[str, bytes | None]]) -> None:
    found = headers_of(letter(refused(Rec(headers=headers), Reason.TOO_MANY_HEADERS)))
    assert excess(found) is None
    assert [name for name, _ in found[-2:]] == ["liveshop-redrives", "liveshop-origin"]
    assert isinstance(judge(refused(Rec(headers=headers), Reason.TOO_MANY_HEADERS)), Draft)


def test_details_are_counted_and_bounded() -> None:
    tally = Tally()
    tally.note(judge(refused(Rec())))
    for number in range(300):
        tally.note(Refusal(Left.REFUSED, f"field{number}"))
    assert (tally.meant, tally.left[Left.REFUSED], tally.sent) == (301, 300, {("live.views", "counted"): 1})
    assert len(tally.details) == 100
