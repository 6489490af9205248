"""When too many records are rejected for too long, somebody has deployed a broken producer.

Pure: a policy and what has happened; ``now`` is given, in seconds of any clock that does not go back.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from stream.model.names import Reason
from stream.model.results import Tally

MINUTE: Final = 60.0
TOP_REASONS: Final = 3


@dataclass(frozen=True, slots=True)
class BadSharePolicy:
    """Above ``share`` rejected of at least ``minimum`` records in a sliding minute, for a whole minute, is bad.

    Late records are not rejected ones: a producer that comes back after an outage is not broken. A share of 1 is
    never exceeded.
    """

    share: float = 0.5
    minimum: int = 100


@dataclass(slots=True)
class _Second:
    at: int
    records: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)


class BadShareState:
    """The last minute of committed records, second by second."""

    def __init__(self, policy: BadSharePolicy) -> None:
        self._policy = policy
        self._seconds: deque[_Second] = deque()
        self._since: float | None = None

    def add(self, now: float, tally: Tally) -> None:
        """One committed checkpoint."""
        records = tally.outcomes.total()
        if not records:
            return
        if not self._seconds or self._seconds[-1].at != int(now):
            self._seconds.append(_Second(int(now)))
        second = self._seconds[-1]
        second.records += records
        second.reasons.update({reason: n for reason, n in tally.rejected.items() if reason is not Reason.LATE})

    def judge(self, now: float) -> str | None:
        """What is wrong, in one line, or None. Call it about every second."""
        while self._seconds and self._seconds[0].at <= now - MINUTE:
            self._seconds.popleft()
        records = sum(second.records for second in self._seconds)
        reasons: Counter[Reason] = Counter()
        for second in self._seconds:
            reasons.update(second.reasons)
        if records < self._policy.minimum or reasons.total() <= self._policy.share * records:
            self._since = None
            return None
        self._since = now if self._since is None else self._since
        return None if now - self._since < MINUTE else _text(records, reasons)


def _text(records: int, reasons: Counter[Reason]) -> str:
    top = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(TOP_REASONS))
    return (
        f"{reasons.total()} of the last minute's {records} records were rejected ({top}): "
        "somebody has probably deployed a broken producer; live.dead-letters holds the records"
    )
