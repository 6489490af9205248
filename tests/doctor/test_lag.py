"""Lag: it is the seconds that the first unread record has waited that count, not how many wait."""

from datetime import timedelta

import pytest

from stream.doctor.finding import Severity
from stream.doctor.lag import Lag, judge_lag
from tests.doctor.tools import one

STUCK = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("seconds", "severity"), [(0, Severity.OK), (10, Severity.OK), (11, Severity.WARNING), (60, Severity.ERROR)]
)
def test_it_is_as_bad_as_it_is_old(seconds: int, severity: Severity) -> None:
    one(judge_lag([Lag("views/0", 10**6, timedelta(seconds=seconds))], 1, STUCK), severity)


def test_without_members_a_worker_is_to_be_started() -> None:
    lags = [Lag("views/0", 7, timedelta(seconds=90))]
    assert "start a worker" in one(judge_lag(lags, 0, STUCK), Severity.ERROR).todo
    assert "worker's log" in one(judge_lag(lags, 1, STUCK), Severity.ERROR).todo


def test_markers_of_transactions_are_no_lag() -> None:
    assert "0 records of 1 partitions are unread" in one(judge_lag([Lag("views/0", 1)], 0, STUCK), Severity.OK).what
