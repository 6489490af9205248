"""Outages as people write them."""

import pytest

from stream.sandbox.outage import parse_outages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("at 30s for 20s", ((30_000, 50_000),)),
        ("30s for 20s", ((30_000, 50_000),)),
        ("30s-50s", ((30_000, 50_000),)),
        ("30s to 1m", ((30_000, 60_000),)),
        ("30s-50s, at 2m for 500ms", ((30_000, 50_000), (120_000, 120_500))),
    ],
)
def test_an_outage_is_a_range_or_a_start_and_a_length(text: str, expected: tuple[tuple[int, int], ...]) -> None:
    assert parse_outages(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("now", "write 'at 30s for 20s' or 30s-50s"),
        ("50s-30s", "ends before it begins"),
        ("30-50", "a duration needs a unit"),
        ("at 5s for 0s", "ends before it begins"),
    ],
)
def test_what_is_no_outage_is_refused_with_the_way_to_write_one(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_outages(text)
