"""The shard of a replay: the worker's, which ends by itself. Pure.

Each topic is read until its own clock has passed whatever could change a result of the range. The record that moves it there
is the last one counted: so what is counted follows from the log and the plan, wherever reading was cut and resumed. Views
and comments are over when their clocks are behind the end by delay + lateness, checkouts by `session_keep`, since late
orders and refunds belong to the totals. No wall clock closes anything here; the end of the input does.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stream.core.decode import Decoded
from stream.core.policy import Policy
from stream.core.scope import Scope
from stream.core.shard import Shard
from stream.core.timed import Timed
from stream.core.windows import FAR_AHEAD
from stream.model.events import Common
from stream.model.names import KINDS, Kind
from stream.model.results import DeadLetter, Record, part

RANGE: Final = 1
"""The stage of a topic in which what is refused belongs to the replay. Before it is the lead-in."""


class ReplayShard(Shard):
    """One partition number of a replay.

    Its dead letters are those that were refused while the clock of their own topic stood in the range, or behind it by less
    than delay + lateness. Most of them have no event time by which one could choose.
    """

    def __init__(self, policy: Policy, *, scope: Scope, **others: Any) -> None:
        super().__init__(policy, scope=scope, **others)
        self._scope = scope
        passed = scope.to_ms + policy.bound_ms
        stages: tuple[int, ...] = (scope.from_ms, passed)
        self._stages = dict.fromkeys(KINDS, stages)
        if policy.session_keep_ms > policy.bound_ms:
            self._stages[Kind.CHECKOUTS] = (*stages, scope.to_ms + policy.session_keep_ms)

    def is_over(self, kind: Kind) -> bool:
        """Nothing more of the topic is counted."""
        return self._stage(kind) == len(self._stages[kind])

    def _stage(self, kind: Kind) -> int:
        """How many bounds its clock has passed."""
        clock = self.clocks[kind]
        return 0 if clock is None else sum(clock >= bound for bound in self._stages[kind])

    def count(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        """Of the next records those that are wanted."""
        begin = 0
        while begin < len(records) and not self.is_over(kind):
            stage = self._stage(kind)
            end = self._through(records, events, begin, self._stages[kind][stage])
            self._count_part(kind, part(records, begin, end), _part(events, begin, end), stage)
            begin = end

    def _through(self, records: Sequence[Record], events: Sequence[Decoded], begin: int, bound: int) -> int:
        """The place behind the first record that moves the clock to the bound; their number when none does."""
        if isinstance(events, Timed) and events.newest_ms < bound:
            return len(records)
        time_of = events.time_of if isinstance(events, Timed) else lambda place: _time_of(events[place])
        for place in range(begin, len(records)):
            time, stamp = time_of(place), records[place].timestamp
            if time is not None and min(time, stamp) >= bound and time <= stamp + self.policy.max_future_ms:
                return place + 1
        return len(records)

    def _count_part(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded], stage: int) -> None:
        judge = self.judge
        letters, size = len(judge.dead), judge.dead_bytes
        super().count(kind, records, events)
        if len(judge.dead) > letters:
            judge.dead[letters:] = [each for each in judge.dead[letters:] if stage == RANGE and self._is_meant(each)]
            if len(judge.dead) == letters:
                judge.dead_bytes = size

    def _is_meant(self, letter: DeadLetter) -> bool:
        scope = self._scope
        if not (scope.sessions or scope.sellers):
            return True
        return scope.has(letter.record.key or b"", _seller_of(letter.record) if scope.sellers else "")

    def quiet(self, wall_ms: int) -> None:
        """What a wall clock says is of no interest: only the end of the input closes what is open."""
        if wall_ms == FAR_AHEAD:
            super().quiet(wall_ms)


class _Seller(msgspec.Struct):
    seller_id: str = ""


_decode: Final = msgspec.json.Decoder(_Seller).decode


def _seller_of(record: Record) -> str:
    """Empty where it says none, or nothing that can be read."""
    try:
        return _decode(record.value or b"").seller_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""


def _part(events: Sequence[Decoded], begin: int, end: int) -> Sequence[Decoded]:
    return events if end - begin == len(events) else events[begin:end]


def _time_of(event: Decoded) -> int | None:
    return event.event_time if isinstance(event, Common) else None
