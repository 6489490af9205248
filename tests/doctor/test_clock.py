"""Clocks: a difference is only claimed as far as it is certain."""

from datetime import timedelta

import pytest

from stream.doctor.clock import Controller, Stamp, judge_controller, judge_stamps
from stream.doctor.finding import Severity
from tests.doctor.tools import one

DELAY = timedelta(seconds=10)


@pytest.mark.parametrize(
    ("time", "severity"),
    [
        (1_000_000, Severity.OK),
        (1_000_950, Severity.OK),
        (1_001_600, Severity.WARNING),
        (1_012_000, Severity.ERROR),
        (998_000, Severity.WARNING),
        (980_000, Severity.ERROR),
    ],
)
def test_a_difference_beyond_the_delay_is_an_error(time: int, severity: Severity) -> None:
    findings = judge_controller(Controller(time, asked=1_000_000, answered=1_000_100), DELAY)
    one(findings, severity)


def test_a_slow_answer_proves_nothing() -> None:
    one(judge_controller(Controller(1_004_000, asked=1_000_000, answered=1_005_000), DELAY), Severity.OK)


def test_the_way_of_the_difference_is_said() -> None:
    ahead = one(judge_controller(Controller(5_000, asked=0, answered=10), DELAY), Severity.WARNING)
    assert "ahead of ours by 4.990 to 5.000 s" in ahead.what
    behind = one(judge_controller(Controller(5_000, asked=10_000, answered=10_010), DELAY), Severity.WARNING)
    assert "behind ours by 5.000 to 5.010 s" in behind.what


def test_a_record_from_the_future_proves_a_difference_and_one_from_the_past_nothing() -> None:
    stamps = [Stamp("views/0", 90_000, 100_000), Stamp("views/1", 100_900, 100_000), Stamp("views/2", 103_500, 100_000)]
    found = one(judge_stamps(stamps, DELAY), Severity.WARNING)
    assert (found.subject, "3.5 s ahead" in found.what) == ("views/2", True)
    one(judge_stamps([Stamp("views/0", 130_000, 100_000)], DELAY), Severity.ERROR)
