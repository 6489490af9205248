import pytest

from stream.core import ledger
from stream.core.cooperative import drained
from stream.core.ledger import HOLD_MS, Ledger, Past
from stream.core.policy import DAY
from stream.core.statelog import StateLog


def test_what_is_known_of_a_session_is_all_that_was_noted_of_it() -> None:
    told = Ledger()
    told.note(7, Past(0, 3, 1, (10, 0, 5)), 1)
    told.note(8, Past(0, 9, 9, (99, 99, 99)), 1)
    told.note(7, Past(44, 4, 2, (10, 0, 5)), DAY)
    told.note(7, Past(0, 0, 1, (10, 0, 6)), 2 * DAY)
    assert told.find(7) == Past(44, 4, 2, (10, 0, 6))
    assert told.find(9) is None


def test_a_hash_within_an_entry_is_no_entry() -> None:
    told = Ledger()
    told.note(7, Past(5, 3, 1, (6, 0, 0)), 1)
    assert told.find(5) is None
    assert told.find(6) is None


def test_it_comes_back_from_its_chunks_and_what_is_cut_off_is_refused() -> None:
    told, again, log = Ledger(), Ledger(), StateLog(3)
    for number in range(5):
        told.note(number, Past(0, number, 1, (1, 2, 3)), number * DAY // 3)
    chunks = dict(told.additions(log))
    assert len(chunks) == 2
    assert dict(told.additions(log)) == {}
    for bucket, chunk in chunks.items():
        again.restore(bucket, [chunk])
    assert [again.find(number) for number in range(6)] == [told.find(number) for number in range(6)]
    bucket, chunk = chunks.popitem()
    with pytest.raises(ValueError, match="cut off"):
        again.restore(bucket, [chunk[:-1]])


def test_days_that_are_over_are_forgotten_and_the_oldest_of_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    told, log = Ledger(), StateLog(3)
    for day in range(3):
        told.note(day, Past(), day * DAY)
    drained(told.retire(log, DAY + HOLD_MS - 1))
    assert told.find(0) is not None
    drained(told.retire(log, DAY + HOLD_MS))
    assert (told.find(0), told.floor) == (None, DAY)
    monkeypatch.setattr(ledger, "MOST", 1)
    drained(told.retire(log, DAY + HOLD_MS))
    assert (told.find(1), told.floor, len(told)) == (None, 2 * DAY, 1)


def test_in_a_state_of_before_nothing_is_remembered_and_that_is_known() -> None:
    told = Ledger()
    told.stored = False
    told.note(1, Past(), 5 * DAY)
    assert (len(told), told.floor) == (0, 5 * DAY)
