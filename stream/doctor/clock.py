"""Whether this machine and the brokers agree on the time.

The brokers' clocks judge which events lie in the future; the worker's closes windows of silent shards and measures delays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from stream.doctor.finding import Check, Finding, Severity

SMALL_MS: Final = 1000
TODO: Final = "run NTP (chrony, systemd-timesyncd) on this machine and on the brokers"


@dataclass(frozen=True, slots=True)
class Controller:
    """The controller's time, and ours before the question and after the answer, all in ms."""

    time: int
    asked: int
    answered: int

    @property
    def ahead(self) -> tuple[int, int]:
        """Its clock is ahead of ours by at least and by at most so many ms; negative: behind."""
        return self.time - self.answered, self.time - self.asked


@dataclass(frozen=True, slots=True)
class Stamp:
    """The broker's time of a newest record (LogAppendTime only), and ours when we had read it."""

    subject: str
    time: int
    seen: int


def judge_controller(controller: Controller, delay: timedelta) -> list[Finding]:
    """A difference is certain only beyond the time that question and answer took."""
    least, most = controller.ahead
    certain = max(least, -most, 0)
    if certain <= SMALL_MS:
        return [Finding(Check.CLOCK, Severity.OK, "controller", f"differs from ours by {_span(least, most)}")]
    way = "ahead of" if least > 0 else "behind"
    what = f"its clock is {way} ours by {_span(*sorted((abs(least), abs(most))))}"
    return [Finding(Check.CLOCK, _severity(certain, delay), "controller", what, TODO)]


def judge_stamps(stamps: Sequence[Stamp], delay: timedelta) -> list[Finding]:
    """A record from the future proves a difference; records from the past prove nothing."""
    ahead = {stamp.subject: stamp.time - stamp.seen for stamp in stamps if stamp.time - stamp.seen > SMALL_MS}
    return [
        Finding(
            Check.CLOCK,
            _severity(by, delay),
            subject,
            f"its newest record was stamped by its broker {by / 1000:g} s ahead of our clock",
            TODO,
        )
        for subject, by in ahead.items()
    ]


def _severity(by_ms: int, delay: timedelta) -> Severity:
    return Severity.ERROR if timedelta(milliseconds=by_ms) > delay else Severity.WARNING


def _span(least: int, most: int) -> str:
    return f"{least / 1000:.3f} to {most / 1000:.3f} s"
