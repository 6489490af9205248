"""Open transactions: one that somebody will end is a warning, one that hangs an error with the command that ends it."""

import pytest

from stream.doctor.finding import Severity
from stream.doctor.transactions import OpenTransaction, Owner, judge_transactions
from tests.doctor.tools import one

ABORT = "kafka-transactions.sh --bootstrap-server k:9092 abort --topic live.views --partition 3 --start-offset 70"


def held(owner: Owner | None) -> OpenTransaction:
    return OpenTransaction("live.views", 3, start_offset=70, hidden=12, producer_id=5, quiet_ms=9000, owner=owner)


def test_one_within_its_timeout_is_a_warning() -> None:
    found = one(
        judge_transactions([held(Owner("shop", "Ongoing", True, 50_000, 60_000))], 9, "k:9092"), Severity.WARNING
    )
    assert found.subject == "live.views/3"
    assert "shop is open for 50 s since offset 70" in found.what


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        (None, "no coordinator knows it"),
        (Owner("shop", "Empty", False, 0, 60_000), "has forgotten it"),
        (Owner("shop", "Ongoing", True, 200_000, 60_000), "has not ended it in time"),
    ],
)
def test_one_that_nothing_will_end_is_an_error(owner: Owner | None, why: str) -> None:
    found = one(judge_transactions([held(owner)], 9, "k:9092"), Severity.ERROR)
    assert why in found.what
    assert found.todo.endswith(ABORT)


def test_none_is_told_once() -> None:
    assert "9 partitions" in one(judge_transactions([], 9, "k:9092"), Severity.OK).what
    assert judge_transactions([], 0, "k:9092") == []
