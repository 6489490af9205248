"""How far the worker is behind, in records and in seconds. The first unread record says how long it has been waiting."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from stream.doctor.finding import Check, Finding, Severity
from stream.doctor.unreadable import Unreadable, judge_unreadable

USUAL: Final = timedelta(seconds=10)
"""Checkpoints, a rebalance or a pause of the machine take so long."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Of one input partition, against the last stable offset. ``waiting``: since the first unread record was written;
    None when no record is unread (only markers of transactions).
    """

    subject: str
    offsets: int
    waiting: timedelta | None = None
    unreadable: Unreadable | None = None
    """The next records, where they cannot be read."""


def judge_lag(lags: Sequence[Lag], members: int, stuck_after: timedelta) -> list[Finding]:
    found = [_behind(lag, members, stuck_after) for lag in lags if lag.waiting is not None and lag.waiting > USUAL]
    found += judge_unreadable(Check.LAG, [lag.unreadable for lag in lags if lag.unreadable is not None])
    if not found and lags:
        unread = sum(lag.offsets for lag in lags if lag.waiting is not None)
        what = f"{unread} records of {len(lags)} partitions are unread, none for longer than {USUAL.seconds} s"
        found.append(Finding(Check.LAG, Severity.OK, "inputs", what))
    return found


def _behind(lag: Lag, members: int, stuck_after: timedelta) -> Finding:
    waiting = (lag.waiting or timedelta()).total_seconds()
    what = f"up to {lag.offsets} records are unread, the first for {waiting:.0f} s"
    todo = (
        "see the worker's log and /readyz; if it is only catching up, more workers (up to one a partition) help"
        if members
        else "start a worker: nobody reads"
    )
    severity = Severity.ERROR if waiting >= stuck_after.total_seconds() else Severity.WARNING
    return Finding(Check.LAG, severity, lag.subject, what, todo)
