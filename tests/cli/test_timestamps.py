"""Times as people give them, and as they read them."""

import time
from collections.abc import Iterator

import pytest

from stream.cli.timestamps import clock, in_zone, parse_event_time, parse_moment, use_zone
from stream.errors import UsageError

NOW = 1_760_000_000_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("now", NOW),
        ("90m", NOW - 5_400_000),
        ("0s", NOW),
        ("1760000000123", 1_760_000_000_123),
        ("2025-10-09T08:53:20", NOW),
        ("2025-10-09 08:53:20.500", NOW + 500),
        ("2025-10-09T08:53:20Z", NOW),
        ("2025-10-09T15:53:20+07:00", NOW),
        ("2025-10-09", 1_759_968_000_000),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise_and_a_duration_is_that_long_ago(text: str, ms: int) -> None:
    assert parse_moment(text, NOW, "--from") == ms


@pytest.mark.parametrize("text", ["", "yesterday", "5", "10", "2025", "1.5h", "-5m", "2025-13-01"])
def test_what_is_no_time_is_refused_with_the_flag_and_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--from: .* is no time: write 2026-"):
        parse_moment(text, NOW, "--from")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("-90m", NOW - 5_400_000),
        ("90m", NOW - 5_400_000),
        ("now", NOW),
        ("1760000000123", 1_760_000_000_123),
        ("2025-10-09T08:53:20Z", NOW),
        ("2025-10-09T15:53:20.5+07:00", NOW + 500),
    ],
)
def test_what_changes_something_is_told_the_offset(text: str, ms: int) -> None:
    assert parse_event_time(text, NOW, "--from") == ms


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2025-10-09T08:53", "2025-10-09T08:53"),
        ("2025-10-09 08:53:20", "2025-10-09T08:53:20"),
        ("2025-10-09", "2025-10-09T00:00"),
    ],
)
def test_utc_is_not_guessed_where_something_changes(text: str, written: str) -> None:
    with pytest.raises(UsageError, match=rf"^--from: '{text}' has no offset: write {written}\+07:00 .*, or {written}Z"):
        parse_event_time(text, NOW, "--from")
    for nonsense in ("", "-", "--2h", "-5", "yesterday"):
        with pytest.raises(UsageError, match="is no time"):
            parse_event_time(nonsense, NOW, "--from")


@pytest.mark.parametrize("text", [str(2**42 + 1), "9" * 20, "9" * 5000])
def test_no_time_is_later_than_events_can_be(text: str) -> None:
    with pytest.raises(UsageError, match="--from: no event can be so late: at most 4398046511104 ms since 1970"):
        parse_moment(text, NOW, "--from")


def test_times_are_printed_in_the_zone_that_was_asked_for_and_with_its_name() -> None:
    use_zone("Asia/Jakarta")
    assert clock(NOW / 1000) == "15:53:20 WIB"
    assert in_zone(NOW) == "2025-10-09 15:53:20 WIB"
    use_zone("UTC")
    assert in_zone(NOW) == "2025-10-09 08:53:20 UTC"
    assert in_zone(None) is None
    assert in_zone(2**62) == f"{2**62} ms", "no time of a calendar"


def test_without_a_zone_it_is_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    use_zone(None)
    monkeypatch.setenv("TZ", "Asia/Jayapura")
    time.tzset()
    assert clock(NOW / 1000) == "17:53:20 WIT"
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def machines_zone() -> Iterator[None]:
    yield
    use_zone(None)
