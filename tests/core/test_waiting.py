"""What waits for its manifest is bounded, and what is no promotion is refused."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from stream.core import waiting
from stream.core.figures import NAMES
from stream.core.policy import DAY, HOUR
from stream.core.statelog import StateLog
from stream.core.waiting import Refusal, WaitingRecords
from stream.model.promotions import Manifest, Totals, TotalsChange, WindowChange, records_of, written

P, Q = "a" * 16, "b" * 16
T0 = 1_700_000_000_000


class Topic:
    """A log of promotions, and who collects its records."""

    def __init__(self) -> None:
        self.refused: list[Refusal] = []
        self.records = WaitingRecords(self.refused.append)
        self.end = 0

    def send(self, key: bytes | None, value: bytes | None, after: int = 0) -> None:
        self.records.take(self.end, T0 + after, key, value)
        self.end += 1

    def details(self) -> list[str]:
        return [refusal.detail for refusal in self.refused]


def promotion(session: str = "s", name: str = P) -> list[tuple[bytes, bytes]]:
    head: dict[str, Any] = {"promotion": name, "session_id": session}
    value = msgspec.json.encode({"session_id": session, "window": "1m", "start": 0, "end": 60_000})
    window = WindowChange(**head, window="1m", start=0, end=60_000, before=msgspec.Raw(value), after=msgspec.Raw(value))
    return records_of([window, TotalsChange(**head)], Manifest(**head, replay="r", ends={}, generation=0))


def test_a_promotion_is_whole_with_its_manifest_and_what_was_before_is_not_kept() -> None:
    topic = Topic()
    *changes, manifest = promotion()
    for record in changes:
        topic.send(*record)
    assert (len(topic.records.open), list(topic.records.whole())) == (1, [])
    topic.send(*manifest)
    [whole] = topic.records.whole()
    window, _ = topic.records.changes(whole)
    assert isinstance(window, WindowChange)
    assert (bytes(window.before), window.end) == (b"null", 60_000)
    assert topic.refused == []


def test_it_comes_back_from_the_state_and_leaves_it_when_it_is_done() -> None:
    topic, log = Topic(), StateLog(3)
    topic.records.accept([P, Q])
    for record in (*promotion(), *promotion("t")[:1]):
        topic.send(*record)
    puts: dict[bytes, bytes] = {}
    topic.records.collect(log, puts)
    again = Topic()
    again.records.restore(puts)
    assert again.records.accepted == {P, Q}
    assert [(each.key, each.offsets) for each in again.records.whole()] == [(b"s", [0, 1])]
    assert again.records.size == topic.records.size
    again.end = topic.end
    for record in promotion("t")[1:]:
        again.send(*record)
    assert again.refused == []
    for each in list(again.records.whole()):
        again.records.drop(each)
    assert (again.records.size, len(again.records), again.records.accepted) == (0, 0, {Q})
    puts.clear()
    again.records.collect(log, puts)
    assert list(puts) == [waiting.ACCEPTED]


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (lambda records: records[:1] + records[2:], "its manifest says 2 records, and there are 1"),
        (lambda records: [records[1], records[0], records[2]], "its records are not those of its manifest"),
        (lambda records: [*records[:2], *promotion("s", Q)[:1]], "another one began before its manifest was there"),
        (lambda records: records[2:], "its manifest says 2 records, and there are 0"),
        (lambda _: [(b"s", b"no json")], "no record of a promotion"),
        (lambda records: [(b"t", records[0][1])], "its key is not its session"),
        (lambda records: [(None, records[0][1])], "its key is not its session"),
    ],
)
def test_what_is_no_promotion_is_refused(spoil: Callable[[Any], Any], detail: str) -> None:
    topic = Topic()
    for record in spoil(promotion()):
        topic.send(*record)
    [told] = topic.details()
    assert told.startswith(detail)
    assert list(topic.records.whole()) == []


def of_value(value: object) -> list[tuple[bytes, bytes]]:
    head: dict[str, Any] = {"promotion": P, "session_id": "s"}
    window = WindowChange(**head, window="1m", start=0, end=60_000, after=msgspec.Raw(msgspec.json.encode(value)))
    return records_of([window, TotalsChange(**head)], Manifest(**head, replay="r", ends={}, generation=0))


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ([], "a value that is no result"),
        ({"session_id": "t", "window": "1m", "start": 0, "end": 60_000}, "a value of another session_id"),
        ({"session_id": "s", "window": "1m", "start": 1, "end": 60_000}, "a value of another start"),
        ({"session_id": "s"}, "a value of another window"),
    ],
)
def test_a_value_of_something_else_is_refused(value: object, detail: str) -> None:
    topic = Topic()
    for record in of_value(value):
        topic.send(*record)
    assert [told.startswith(detail) for told in topic.details()] == [True]
    assert topic.records.size == 0


@pytest.mark.parametrize(
    ("totals", "detail"),
    [
        (Totals(packed=b"x", figures=NAMES), "its totals cannot be unpacked"),
        (Totals(packed=b"x", figures=["likes"]), "its totals were packed by another version of liveshop"),
    ],
)
def test_totals_that_cannot_be_unpacked_are_refused(totals: Totals, detail: str) -> None:
    topic = Topic()
    head: dict[str, Any] = {"promotion": P, "session_id": "s"}
    manifest = Manifest(**head, replay="r", ends={}, generation=0)
    for record in records_of([TotalsChange(**head, after=totals)], manifest):
        topic.send(*record)
    assert topic.details() == [detail]


def test_a_tombstone_is_nothing() -> None:
    topic = Topic()
    topic.send(b"s", None)
    assert (topic.refused, len(topic.records)) == ([], 0)


def test_what_waits_is_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic()
    monkeypatch.setattr(waiting, "MOST", 2)
    for session in "abc":
        topic.send(*promotion(session)[0])
    assert topic.details() == ["2 promotions wait here: promote fewer sessions at a time"]
    assert len(topic.records) == 2
    monkeypatch.setattr(waiting, "MOST_BYTES", topic.records.size + 10)
    for record in promotion("a")[1:]:
        topic.send(*record)
    assert topic.details()[1].startswith("more than ")
    assert len(topic.records.open) == 1
    topic.send(*promotion("d")[0])
    assert len(topic.records.open) == 2, "there is room again"


def test_what_waits_too_long_is_refused() -> None:
    topic = Topic()
    topic.send(*promotion("a")[0])
    for record in promotion("b"):
        topic.send(*record, after=1)
    topic.records.expire(T0 + 2)
    assert topic.refused == []
    topic.send(b"c", None, after=HOUR + 1)
    topic.records.expire(None)
    assert topic.details() == ["its manifest never came"]
    topic.records.expire(T0 + 7 * DAY + 2)
    assert topic.details()[1:] == ["its windows were not final for 7 days"]
    assert (len(topic.records), topic.records.size) == (0, 0)


def test_a_later_format_is_refused_by_name() -> None:
    topic = Topic()
    record = msgspec.structs.replace(Manifest(promotion=P, session_id="s", replay="r", ends={}, generation=0), format=9)
    topic.send(b"s", written(record))
    assert topic.details() == ["a record of format 9; this version reads 1"]
