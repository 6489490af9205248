"""Event times in the wrong unit are refused and named; the rule looks at the record alone."""

import json

import pytest

from stream.core.decode import Decoded, Rejected, decode_one
from stream.core.units import ahead, unit
from stream.model.names import Kind
from tests.core.test_decode import CHECKOUT, COMMENT, VIEW
from tests.recount import LogRecord

NOW = 1_700_000_000_000
EVENTS = {Kind.VIEWS: VIEW, Kind.COMMENTS: COMMENT, Kind.CHECKOUTS: CHECKOUT}


def stamped(event_time: object, timestamp: int = NOW, kind: Kind = Kind.VIEWS, **more: object) -> Decoded:
    value = json.dumps(EVENTS[kind] | {"event_time": event_time} | more).encode()
    return decode_one(kind, LogRecord(str(kind), 0, 0, timestamp, b"s1", value), 2**20)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("event_time", "guess"),
    [
        (NOW // 1000, "seconds"),
        (NOW * 1000, "microseconds"),
        (NOW * 10**6, "nanoseconds"),
        (0, "a time since another moment"),
        (86_400_000, "a time since another moment"),
        (10**11 - 1, "a time since another moment"),
    ],
)
def test_the_detail_says_which_unit_it_looks_like(kind: Kind, event_time: int, guess: str) -> None:
    for found in (stamped(event_time, kind=kind), stamped(event_time, kind=kind, pad="é" * 600)):
        assert isinstance(found, Rejected)
        assert found.reason == "bad_value"
        assert found.detail.startswith("event_time: ")
        assert found.detail.endswith(f"; looks like {guess}")
        assert str(event_time) not in found.detail or event_time == 0


@pytest.mark.parametrize(
    ("event_time", "timestamp", "refused"),
    [
        (10**11 - 1, 10**12 + 1, True),
        (10**11 - 1, 10**12, False),
        (10**11, 10**12 + 1, False),
        (0, 0, False),
        (0, -1, False),
        (2**42, NOW, False),
    ],
)
def test_small_times_are_right_where_the_broker_s_are_small(event_time: int, timestamp: int, refused: bool) -> None:
    assert isinstance(stamped(event_time, timestamp), Rejected) is refused


@pytest.mark.parametrize(
    ("event_time", "guess"),
    [
        (NOW / 1000 + 0.5, "seconds with a fraction or an exponent"),
        (float(NOW), "milliseconds with a fraction or an exponent"),
        (str(NOW), "milliseconds in quotes"),
        (str(NOW // 1000), "seconds in quotes"),
        ("2023-11-14T22:13:20Z", "a date as text"),
        ("2023/11/14", "a date as text"),
        ("soon", ""),
        ("9" * 100, ""),
        (True, ""),
        (10**30, ""),
        (2**42 + 1, ""),
    ],
)
def test_other_forms_are_named_too(event_time: object, guess: str) -> None:
    found = stamped(event_time)
    assert isinstance(found, Rejected)
    assert found.detail.partition("; looks like ")[2] == guess


def test_a_fault_elsewhere_is_a_true_reason_too() -> None:
    found = stamped(5, seller_id="a/b")
    assert isinstance(found, Rejected)
    assert found.reason == "bad_value"


@pytest.mark.parametrize(
    "number", [-1, 0, 10**8 - 1, 10**11 - 1, 10**13, 10**14 - 1, 10**17 - 1, 10**20, float("inf"), 10**400]
)
def test_what_is_no_time_between_1973_and_2109_has_no_unit(number: float) -> None:
    assert unit(number) == ""


@pytest.mark.parametrize(
    ("hours", "off", "zone"),
    [(7, 0, "7"), (5.5, -900, "5.5"), (14, 59_000, "14"), (7, 61_000, ""), (0.5, 0, ""), (15, 0, "")],
)
def test_hours_ahead_are_a_time_zone(hours: float, off: int, zone: str) -> None:
    ms = int(hours * 3_600_000) + off
    expected = f"; looks like a local time, of UTC+{zone} h" if zone else ""
    assert ahead(ms) == f"event_time: {ms} ms ahead of the broker{expected}"
