"""Which shares of records are above their limits right now, by topic: what the log and the readiness tell.

Pure: a policy and what has happened; ``now`` is given, in seconds of any clock that does not go back. What is counted, and
what it means, is in core/shares.py.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from stream.core.shares import REJECTED, SHARES, Share, records
from stream.model.names import INPUTS, Kind, Reason
from stream.model.results import Tally

MINUTE: Final = 60.0
TOP_REASONS: Final = 3
EVERY: Final = (REJECTED, *SHARES)


@dataclass(frozen=True, slots=True)
class SharePolicy:
    """Of a topic's records in a sliding minute, at least ``minimum``. A share of 1 is never exceeded.

    Above ``bad`` rejected ones for a whole minute make the worker unready. Above ``warn`` anything in the table is told,
    at once, until it has been below for a minute.
    """

    bad: float = 0.5
    warn: float = 0.05
    minimum: int = 100


@dataclass(frozen=True, slots=True)
class ExceededShare:
    """One share above its limit."""

    topic: str
    name: str
    text: str
    is_bad: bool

    @property
    def key(self) -> str:
        """The same for the same share of the same topic."""
        return f"{self.name} {self.topic}"


@dataclass(slots=True)
class _Second:
    at: int
    records: Counter[Kind] = field(default_factory=Counter)
    found: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    reasons: Counter[tuple[Kind, Reason]] = field(default_factory=Counter)

    def add(self, tally: Tally) -> None:
        self.records.update(records(tally))
        self.reasons.update(tally.refused)
        self.reasons.update(tally.batched)
        for kind in self.records:
            for share in EVERY:
                number = share.count(tally, kind)
                if number:
                    self.found[kind, share.name] += number


class ShareState:
    """The last minute of committed records, second by second, and what of it has to be told."""

    def __init__(self, policy: SharePolicy, topic: Callable[[str], str] = str) -> None:
        """``topic``: the name on the broker."""
        self._policy = policy
        self._topic = topic
        self._seconds: deque[_Second] = deque()
        self._since: dict[Kind, float] = {}
        """Since when so many are rejected."""
        self._told: dict[tuple[Kind, str], tuple[float, ExceededShare]] = {}
        """What was above its limit, and when it was the last time."""

    def add(self, now: float, tally: Tally) -> None:
        """One committed checkpoint."""
        if not tally.outcomes.total():
            return
        if not self._seconds or self._seconds[-1].at != int(now):
            self._seconds.append(_Second(int(now)))
        self._seconds[-1].add(tally)

    def judge(self, now: float) -> list[ExceededShare]:
        """What is above its limit, in the order of the table. Call it about every second."""
        while self._seconds and self._seconds[0].at <= now - MINUTE:
            self._seconds.popleft()
        minute = _Second(int(now))
        for second in self._seconds:
            for sums, more in ((minute.records, second.records), (minute.found, second.found)):
                sums.update(more)  # type: ignore[arg-type]  # of the same kind each
            minute.reasons.update(second.reasons)
        bad = [told for kind in Kind if (told := self._bad(now, kind, minute))]
        return [*bad, *self._warnings(now, minute, {told.topic for told in bad})]

    def _bad(self, now: float, kind: Kind, minute: _Second) -> ExceededShare | None:
        number, of = minute.found[kind, REJECTED.name], minute.records[kind]
        if not self._is_above(self._policy.bad, number, of):
            self._since.pop(kind, None)
            return None
        if now - self._since.setdefault(kind, now) < MINUTE:
            return None
        return ExceededShare(
            self._name(kind), REJECTED.name, f"{self._name(kind)}: {_rejected(kind, minute)}", is_bad=True
        )

    def _warnings(self, now: float, minute: _Second, bad_topics: set[str]) -> Iterator[ExceededShare]:
        for kind in Kind:
            for share in SHARES:
                number, of = minute.found[kind, share.name], minute.records[kind]
                if (share.any_number and number) or self._is_above(self._policy.warn, number, of):
                    text = f"{self._name(kind)}: of the last minute {share.told(number, of)}"
                    self._told[kind, share.name] = now, ExceededShare(self._name(kind), share.name, text, is_bad=False)
        for (kind, name), (at, told) in list(self._told.items()):
            share = _BY_NAME[name]
            if not share.any_number and at <= now - MINUTE:
                del self._told[kind, name]
            elif not (share.refused and told.topic in bad_topics):
                yield told

    def _is_above(self, limit: float, number: int, of: int) -> bool:
        return of >= self._policy.minimum and number > limit * of

    def _name(self, kind: Kind) -> str:
        return self._topic(INPUTS[kind])


_BY_NAME: Final = {share.name: share for share in SHARES}


def _rejected(kind: Kind, minute: _Second) -> str:
    """With the most frequent reasons, and the likely cause of the first."""
    reasons = Counter(
        {reason: n for (of, reason), n in minute.reasons.items() if of is kind and reason is not Reason.LATE}
    )
    top = reasons.most_common(TOP_REASONS)
    share: Share = _BY_NAME.get(top[0][0], REJECTED) if top else REJECTED
    listed = ", ".join(f"{reason} {count}" for reason, count in top)
    number, of = minute.found[kind, REJECTED.name], minute.records[kind]
    return f"{number} of the last minute's {of} records were rejected ({listed}): {share.cause}; {share.todo}"
