"""Records that were read but must wait, since they are further in event time than another topic still has records.

A batch of a sparse topic spans hours: two thousand checkouts of a small shop are an afternoon, and two thousand views of
it some minutes. Counted at once, it would move the newest clock so far that the views behind it were refused as
``pane_gone``. So a batch is counted only as far as `core/align.py` lets its topic go. Pure.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from stream.core.align import SLACK_MS
from stream.core.decode import Decoded, Decodeds, Rejected
from stream.model.events import Common
from stream.model.names import Kind
from stream.model.results import Record

NOTHING: Final = -1
"""A limit that no event time is below."""


@dataclass(slots=True)
class _Batch:
    records: Sequence[Record]
    events: Decodeds
    at: int = 0
    """The first that waits."""


@dataclass(slots=True)
class Ahead:
    """At most one batch of each topic waits; while it does, no more of that topic is fetched."""

    max_future_ms: int
    _waiting: dict[Kind, _Batch] = field(default_factory=dict)

    def __contains__(self, kind: Kind) -> bool:
        return kind in self._waiting

    def kinds(self) -> list[Kind]:
        return list(self._waiting)

    def number(self, kind: Kind) -> int:
        """Records of a topic that wait."""
        batch = self._waiting.get(kind)
        return 0 if batch is None else len(batch.records) - batch.at

    def times(self, clocks: Mapping[Kind, int | None]) -> dict[Kind, int | None]:
        """How far each topic is in event time: what waits, where something waits, else its clock."""
        return {kind: self._head(kind, clock) for kind, clock in clocks.items()}

    def _head(self, kind: Kind, clock: int | None) -> int | None:
        batch = self._waiting.get(kind)
        if batch is None:
            return clock
        for at in range(batch.at, len(batch.events)):
            event = batch.events[at]
            if event is not None and not isinstance(event, Rejected) and not self._is_future(batch, at):
                return event.event_time if clock is None else max(clock, event.event_time)
        return clock  # nothing in it moves a clock

    def wait(self, kind: Kind, records: Sequence[Record], events: Decodeds) -> None:
        """A batch, decoded. `take` gives it back, at once or in parts."""
        self._waiting[kind] = _Batch(records, events)

    def take(self, kind: Kind, limit: int | None) -> tuple[Sequence[Record], Sequence[Decoded]]:
        """What may be counted now: all before the first event beyond the limit. None is no limit."""
        batch = self._waiting[kind]
        start = batch.at
        if limit is None or batch.events.newest_ms <= limit:
            del self._waiting[kind]
            return (batch.records[start:], batch.events[start:]) if start else (batch.records, batch.events)
        batch.at = self._cut(batch, limit)
        if batch.at == len(batch.events):
            del self._waiting[kind]
        return batch.records[start : batch.at], batch.events[start : batch.at]

    def _cut(self, batch: _Batch, limit: int) -> int:
        for at, event in enumerate(islice(batch.events, batch.at, None), batch.at):
            if isinstance(event, Common) and event.event_time > limit and not self._is_future(batch, at):
                return at
        return len(batch.events)

    def _is_future(self, batch: _Batch, at: int) -> bool:
        """It will be refused, and then moves no clock either."""
        event, record = batch.events[at], batch.records[at]
        return getattr(event, "event_time", 0) > record.timestamp + self.max_future_ms

    def clear(self) -> None:
        """Forgets what waits: it will be read again."""
        self._waiting.clear()


def limit(kind: Kind, times: Mapping[Kind, int | None], behind: Collection[Kind]) -> int | None:
    """Event time up to which a topic may be counted: some way beyond the slowest of the others that are behind.

    One of which nobody knows how far it is comes first. None without bound.
    """
    others = [times.get(other) for other in behind if other is not kind]
    known = [time for time in others if time is not None]
    if len(known) < len(others):
        return NOTHING
    return min(known) + SLACK_MS if known else None
