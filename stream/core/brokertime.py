"""The brokers' time, estimated from the time that they stamp on our own records.

The wall clock of a worker's machine may be hours wrong, and may jump. Its monotonic clock does neither. So an
acknowledgement is placed between two readings of the monotonic clock, and the brokers' time is that clock and a
difference. Pure: all times are given, in seconds.
"""

from dataclasses import dataclass
from statistics import median_low
from typing import Final

DRIFT: Final = 0.001
"""Seconds that two clocks may drift apart in a second: ten times what bad ones do."""
JUMP: Final = 1.0
"""A larger step of a clock is a jump: it was set, or the machine was suspended."""
FORGET: Final = 600.0
"""Seconds after which a partition that tells nothing any more has no say, while others tell."""


@dataclass(frozen=True, slots=True)
class _Sample:
    ahead: float
    """The broker's time less the monotonic clock."""
    error: float
    """By how much ``ahead`` may be wrong: half of what the request took."""
    at: float
    """By the monotonic clock."""


class BrokerTime:
    """One for all shards of a worker. Leaders' clocks may differ: each partition has one say, and the median holds."""

    def __init__(self) -> None:
        self._samples: dict[int, _Sample] = {}
        self._ahead = 0.0
        self._skew = 0.0
        """The wall clock less the monotonic one, at the newest acknowledgement."""
        self._tells = True

    def note(self, partition: int, stamped: float | None, sent: float, arrived: float, wall: float) -> None:
        """A record of this partition was acknowledged: sent and arrived by the monotonic clock; ``wall``: at arrival.

        ``stamped`` is None when the topic keeps the time of its producer (CreateTime): the broker does not say its own.
        """
        self._tells = stamped is not None
        if stamped is None:
            return
        self._skew = wall - arrived
        new = _Sample(stamped - (sent + arrived) / 2, (arrived - sent) / 2, arrived)
        old = self._samples.get(partition)
        if old is not None and abs(new.ahead - old.ahead) > new.error + old.error + JUMP:
            self._samples = {}  # what the others have said is as old
        elif old is not None and new.error > old.error + DRIFT * (new.at - old.at):
            return  # the older one is surer still
        self._samples = {number: each for number, each in self._samples.items() if new.at - each.at < FORGET}
        self._samples[partition] = new
        self._ahead = median_low(each.ahead for each in self._samples.values())

    def now(self, monotonic: float) -> float | None:
        """Seconds since 1970 by the brokers' clocks. None: no broker has told yet."""
        return monotonic + self._ahead if self._samples else None

    def wall_ahead(self, monotonic: float, wall: float) -> float | None:
        """By how much our wall clock is ahead of the brokers', negative when it is behind. None: nobody knows."""
        now = self.now(monotonic)
        return None if now is None else wall - now

    def is_wanted(self, monotonic: float, wall: float) -> bool:
        """Whether a broker is to be asked, by a record of ours, before its time decides anything.

        So it is when none has told, and after our wall clock and the monotonic one have moved by different times: the
        wall clock was set, or the machine was suspended, when the monotonic one stands still.
        """
        return self._tells and (not self._samples or abs(wall - monotonic - self._skew) > JUMP)
