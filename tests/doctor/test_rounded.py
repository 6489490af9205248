"""Ids that a float has rounded are noticed, in every field that has ids; others, and chance, are not."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from stream.config import Settings
from stream.core.decode import decode_batch
from stream.doctor import checks
from stream.doctor.events import Sampled, sampled
from stream.doctor.finding import Finding, Severity
from stream.doctor.rounded import EXACT, LEAST, is_large, judge_rounded
from stream.model.names import Kind
from tests.bad_records import KEY, NOW, SECRET, checkout, comment, text, view
from tests.doctor.tools import one
from tests.recount import LogRecord

MAKE = {Kind.VIEWS: view, Kind.COMMENTS: comment, Kind.CHECKOUTS: checkout}
FIRST = 7_713_657_742_019_412_345
"""A session id of a real platform has so many digits."""


def sent(kind: Kind, number: int, key: bytes = KEY, **fields: Any) -> Sampled:
    record = LogRecord(str(kind), 0, number, NOW, key, text(MAKE[kind](number, event_time=NOW, **fields)))
    (event,) = decode_batch(kind, (record,), 2**20)
    return sampled(kind, record, event)


def ids(number: int, *, rounded: bool) -> list[str]:
    """As JavaScript writes them after it has read them as numbers: the shortest digits of the float, then zeros."""
    exact = [FIRST + 7_919 * each for each in range(number)]
    return [format(float(each), ".0f")[:16] + "000" if rounded else str(each) for each in exact]


def judged(sample: Iterable[Sampled]) -> list[Finding]:
    found = judge_rounded(sample)
    assert SECRET not in str(found)
    assert str(FIRST)[:8] not in str(found)
    return found


@pytest.mark.parametrize("name", ["session_id", "seller_id", "product_id", "creator_id", "viewer_id", "event_id"])
def test_rounded_ids_are_a_warning_that_says_what_to_do(name: str) -> None:
    def sample(*, rounded: bool) -> list[Sampled]:
        given = enumerate(ids(20, rounded=rounded))
        return [
            sent(Kind.VIEWS, n, value.encode() if name == "session_id" else KEY, **{name: value}) for n, value in given
        ]

    assert judged(sample(rounded=False)) == []
    found = one(judged(sample(rounded=True)), Severity.WARNING, name)
    assert found.what.startswith("20 of 20 different ids of 2^53 and above end in 000")
    assert "send ids as strings" in found.todo


def test_those_of_items_and_checkouts_too() -> None:
    sample = [
        sent(Kind.CHECKOUTS, n, order_id=value, items=[{"product_id": value, "quantity": 1, "unit_price_minor": 1}])
        for n, value in enumerate(ids(LEAST, rounded=True))
    ]
    assert [found.subject for found in judged(sample)] == ["order_id", "product_id"]
    comments = [sent(Kind.COMMENTS, n, comment_id=value) for n, value in enumerate(ids(LEAST, rounded=True))]
    one(judged(comments), Severity.WARNING, "comment_id")


def test_one_id_in_many_records_is_one_id() -> None:
    (value,) = ids(1, rounded=True)
    assert judged(sent(Kind.VIEWS, n, product_id=value) for n in range(100)) == []


def test_chance_small_numbers_and_names_are_no_sign() -> None:
    some = [*ids(20 * LEAST, rounded=False)[:-1], *ids(LEAST - 1, rounded=True)]
    assert judged(sent(Kind.VIEWS, n, product_id=value) for n, value in enumerate(some)) == []
    many = [*ids(20 * LEAST + 1, rounded=False), *ids(LEAST, rounded=True)]
    assert judged(sent(Kind.VIEWS, n, product_id=value) for n, value in enumerate(many)) == []
    small = [str(1000 * n) for n in range(1, 30)] + [f"p-{n}000" for n in range(30)]
    assert judged(sent(Kind.VIEWS, n, product_id=value) for n, value in enumerate(small)) == []


def test_the_checks_tell_them_beside_what_is_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = [sent(Kind.VIEWS, n, product_id=value) for n, value in enumerate(ids(LEAST, rounded=True))]

    async def input_samples(_: object) -> list[SimpleNamespace]:
        return [SimpleNamespace(partition=0, events=sample)]

    monkeypatch.setattr(checks, "input_samples", input_samples)
    facts: Any = SimpleNamespace(settings=Settings(brokers="k:9092"))
    facts.patiently = lambda ask: ask(facts)
    found = asyncio.run(checks.Checks(facts).events())
    one(found, Severity.OK)
    one(found, Severity.WARNING, "product_id")


def test_what_was_refused_and_what_is_empty_is_passed_over() -> None:
    assert judged([sent(Kind.VIEWS, 1, action="dance"), Sampled(Kind.VIEWS, 2, NOW, KEY, None)]) == []


def test_what_a_float_may_not_hold() -> None:
    assert is_large(str(EXACT))
    assert not is_large(str(EXACT - 1))
    assert not any(map(is_large, ["", "-9007199254740992", "٩" * 17, "9" * 128, "9e15"]))
