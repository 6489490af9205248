"""Fixes mend their one mistake, change nothing else, and may be applied twice."""

import contextlib
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.decode import decode_one
from stream.core.policy import Policy
from stream.dlq.fixes import FIXES, IDS, FixError, fixed
from stream.dlq.letters import Letter
from stream.model.events import LEAST_MS, MOST_MS, Checkout
from stream.model.money import EXPONENTS, parse_minor
from stream.model.names import Kind, Reason
from tests.dlq.tools import STAMP, Rec, letter, refused
from tests.kafka.tools import BASE, view

CHECKOUT: Final[dict[str, Any]] = {
    **json.loads(view(1)),
    "checkout_id": "c1",
    "status": "paid",
    "amount_minor": 5350000,
    "currency": "IDR",
    "items": [{"product_id": "p1", "quantity": 1, "unit_price_minor": 5350000, "note": 1.10}],
}
NAMES = st.sampled_from(sorted(FIXES))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS: Final = (*IDS, "event_time", "amount_minor", "amount", "currency", "items", "data", "unit_price", "x")


def of(value: bytes | None, key: bytes | None = b"s1", headers: Any = ()) -> Letter:
    return letter(refused(Rec(value, key, headers=headers), Reason.BAD_VALUE))


def mended(value: object, *names: str) -> dict[str, Any]:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    found: dict[str, Any] = json.loads(fixed(of(raw), tuple(FIXES[name] for name in names)).value or b"")
    return found


@given(st.integers(-(-LEAST_MS // 1000), MOST_MS // 1000))
def test_seconds_are_milliseconds_afterwards(seconds: int) -> None:
    event = CHECKOUT | {"event_time": seconds}
    assert mended(event, "seconds-to-milliseconds") == event | {"event_time": seconds * 1000}


@pytest.mark.parametrize(
    ("fix", "given_time", "ms"),
    [
        ("seconds-to-milliseconds", "1700000000.25", 1_700_000_000_250),
        ("seconds-to-milliseconds", "1700000000.123456", 1_700_000_000_123),
        ("seconds-to-milliseconds", '"1700000000"', 1_700_000_000_000),
        ("seconds-to-milliseconds", "1.7e9", 1_700_000_000_000),
        ("microseconds-to-milliseconds", "1700000000123456", 1_700_000_000_123),
        ("nanoseconds-to-milliseconds", "1700000000123456789", 1_700_000_000_123),
        ("seconds-to-milliseconds", "1700000000000", 1_700_000_000_000),
        ("microseconds-to-milliseconds", "1700000000", 1_700_000_000),
    ],
)
def test_times_of_other_units_and_forms(fix: str, given_time: str, ms: int) -> None:
    assert mended(b'{"event_time": %b}' % given_time.encode(), fix) == {"event_time": ms}


@pytest.mark.parametrize(
    "time", ["1e99", "1e999999999", '"2023-11-14T22:13:20Z"', "-5", "null", "true", "9" * 4000, "[]"]
)
def test_what_is_no_time_in_that_unit_stays(time: str) -> None:
    value = b'{"event_time": %b}' % time.encode()
    for name in ("seconds-to-milliseconds", "microseconds-to-milliseconds", "nanoseconds-to-milliseconds"):
        assert fixed(of(value), (FIXES[name],)).value == value


@given(st.sampled_from(IDS), st.integers(-(10**30), 10**30))
def test_an_id_keeps_all_its_digits(name: str, number: int) -> None:
    event = CHECKOUT | {name: number}
    assert mended(event, "numeric-ids-to-text") == event | {name: str(number)}


def test_ids_of_items_are_mended_and_floats_are_refused() -> None:
    event = CHECKOUT | {"items": [{"product_id": 2**63, "quantity": 1}, {"product_id": "p"}]}
    assert mended(event, "numeric-ids-to-text")["items"] == [
        {"product_id": str(2**63), "quantity": 1},
        {"product_id": "p"},
    ]
    for number in (b"1.0", b"1e5", b"1" * 129):
        with pytest.raises(FixError, match="viewer_id: a number with a fraction, an exponent or too many digits"):
            mended(b'{"viewer_id": %b}' % number, "numeric-ids-to-text")


@given(st.integers(0, 10**12), st.sampled_from(sorted(EXPONENTS)), st.integers(0, 4))
def test_money_is_what_the_table_of_currencies_says(units: int, currency: str, digits: int) -> None:
    digits = min(digits, EXPONENTS[currency])
    text = f"{units}.{'5' * digits}" if digits else str(units)
    item = {"product_id": "p", "quantity": 1, "unit_price": text}
    event = CHECKOUT | {"amount_minor": text, "currency": currency, "discount": text, "items": [item]}
    found = mended(event, "decimal-money-to-minor")
    minor = parse_minor(text, currency)
    assert (found["amount_minor"], found["discount_minor"]) == (minor, minor)
    assert found["items"] == [item | {"unit_price_minor": minor}]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"amount_minor": 53500.5}, "amount_minor: a number, and a float is no amount of money"),
        ({"amount_minor": 1e3}, "amount_minor: a number"),
        ({"amount_minor": None, "amount": 53500}, "amount: a number"),
        ({"amount_minor": "53.500"}, "amount_minor: is no amount with a point and at most 2 digits behind it"),
        ({"amount_minor": "53,500"}, "amount_minor: is no amount"),
        ({"amount_minor": "1_000"}, "amount_minor: is no amount"),
        ({"amount_minor": "1e5"}, "amount_minor: is no amount"),
        ({"amount_minor": "-5"}, "amount_minor: is no amount"),
        ({"amount_minor": "NaN"}, "amount_minor: is no amount"),
        ({"amount_minor": "٣"}, "amount_minor: is no amount"),
        ({"amount_minor": ""}, "amount_minor: is no amount"),
        ({"amount_minor": "5.00", "currency": "JPY"}, "at most 0 digits"),
        ({"amount_minor": "5", "currency": "XXX"}, "currency: not a currency"),
        ({"amount_minor": "5", "currency": 7}, "currency: not a currency"),
        ({"items": [{"unit_price_minor": 1.5}]}, "unit_price_minor: a number"),
    ],
)
def test_money_is_never_guessed(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(FixError, match=says):
        mended(CHECKOUT | changed, "decimal-money-to-minor")


def test_minor_units_stay_what_they_are() -> None:
    assert mended(CHECKOUT, "decimal-money-to-minor") == CHECKOUT


@given(NAMES)
def test_a_right_event_keeps_every_byte(name: str) -> None:
    value = b' { "event_time" : %d, "session_id":"s1",  "x": 1.10, "x": 1e400 } ' % BASE
    found = fixed(of(value), (FIXES[name],))
    assert (found.key, found.value) == (b"s1", value)


def test_fields_that_a_fix_is_not_about_keep_their_bytes() -> None:
    value = '{"event_time":1700000000,"x":1.10,"y":1e400,"z":"\\u00e9é","n":123456789012345678901234567890}'.encode()
    found = fixed(of(value), (FIXES["seconds-to-milliseconds"],)).value
    assert found == value.replace(b"1700000000", b"1700000000000")


@given(st.dictionaries(st.sampled_from(FIELDS), anything), NAMES, st.booleans())
def test_a_fix_may_be_applied_twice_and_raises_nothing_else(value: dict[str, Any], name: str, wrapped: bool) -> None:
    headers = [("content-type", b"application/cloudevents+json")] if wrapped else []
    first = of(json.dumps({"data": value} if wrapped else value).encode(), headers=headers)
    try:
        once = fixed(first, (FIXES[name],))
    except FixError:
        return
    again = fixed(of(once.value, once.key, headers), (FIXES[name],))
    assert again == once


@given(st.none() | st.binary(max_size=100), NAMES)
def test_what_is_no_json_raises_a_fix_error_or_stays(value: bytes | None, name: str) -> None:
    with contextlib.suppress(FixError):
        assert fixed(of(value), (FIXES[name],)).value == value


def test_a_key_is_the_session_of_the_event() -> None:
    found = fixed(of(view(1, "s9"), b'"s9"'), (FIXES["key-from-session-id"],))
    assert (found.key, found.value) == (b"s9", view(1, "s9"))
    for value in (b"{}", b'{"session_id": 7}', b'{"session_id": ""}'):
        with pytest.raises(FixError, match="session_id"):
            fixed(of(value), (FIXES["key-from-session-id"],))


def test_fixes_work_within_a_cloud_event_and_one_after_the_other() -> None:
    event = CHECKOUT | {"event_time": BASE // 1000, "amount_minor": "53500.00", "viewer_id": 2**60}
    wrapped = {"specversion": "1.0", "id": "x", "data": event}
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    record = of(json.dumps(wrapped).encode(), headers=headers)
    names = ("seconds-to-milliseconds", "decimal-money-to-minor", "numeric-ids-to-text")
    found = fixed(record, tuple(FIXES[name] for name in names))
    sent = Rec(found.value, found.key, timestamp=STAMP, headers=headers)
    decoded = decode_one(Kind.CHECKOUTS, sent, Policy().max_value)
    assert isinstance(decoded, Checkout), decoded
    assert (decoded.event_time, decoded.amount_minor, decoded.viewer_id) == (BASE, 5350000, str(2**60))
