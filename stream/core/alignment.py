"""Alignment: reading several topics in step of event time while catching up, so that none runs far ahead. Pure.

A batch of a sparse topic spans hours: two thousand checkouts of a small shop are an afternoon, and two thousand views of
it some minutes. Counted at once, it would move the newest clock so far that the views behind it were refused as
``pane_gone``. So what was read waits (`ReadAhead`), and is counted only as far as its topic may go (`limit`). A topic
that is far ahead is not read at all (`paused`). `Alignment` is all of that for whoever reads: the worker and the backtest.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from stream.core.switch import NATIVE
from stream.core.timed import Timed, Timeless
from stream.model.results import Record, nbytes, part, within

K = TypeVar("K", bound=str)
"""What names a topic."""

SLACK_MS: Final = 10_000
"""Event time a topic may be ahead of the one furthest behind."""
PIECE: Final = 1024 if NATIVE else 256
"""Records decoded at a time: half a megabyte of objects, or of bytes and what is native. (p: with 256 native ones what is
done for each piece took 0.1 us an event more.)"""
PIECE_BYTES: Final = 512 * 1024
"""Bytes decoded at a time, or one record if larger: a thousand values of 500 kB held the loop for 12 s."""
NOTHING: Final = -1
"""A limit that no event time is below."""


Decode = Callable[[K, Sequence[Record]], tuple[Sequence[Record], Timed[Any]]]
"""Decodes a piece. It may give other records back, which stand for those given."""


@dataclass(slots=True)
class _Batch:
    records: Sequence[Record]
    """As fetched."""
    decoded: int = 0
    """So many of them are decoded."""
    piece: Sequence[Record] = ()
    events: Timed[Any] = field(default_factory=Timeless)
    """The piece that was decoded last."""
    at: int = 0
    """The first of it that waits."""
    looked: bool = False
    head: int | None = None
    """Where the first of those that move a clock moves it, once ``looked``; None where none of the piece does."""


@dataclass(slots=True)
class ReadAhead(Generic[K]):
    """At most one batch of each topic waits; while it does, no more of that topic is fetched.

    A batch is decoded piece by piece, just before it is counted: what was decoded is then still in the processor's cache
    (a sixth of the time of decoding and counting 2,048 records at once).
    """

    max_future_ms: int
    decode: Decode[K]
    size: int = PIECE
    """Records of the next piece."""
    _waiting: dict[K, _Batch] = field(default_factory=dict)
    _heads: dict[K, int] = field(default_factory=dict)
    """How far those topics are in event time of which something was given back."""

    def __contains__(self, kind: K) -> bool:
        return kind in self._waiting

    def kinds(self) -> list[K]:
        return list(self._waiting)

    @property
    def nbytes(self) -> int:
        """Memory of all that waits, with the rest of the batches in which it lies."""
        return sum(nbytes(batch.records) for batch in self._waiting.values())

    def number(self, kind: K) -> int:
        """Records of a topic that wait."""
        batch = self._waiting.get(kind)
        return 0 if batch is None else len(batch.records) - batch.decoded + len(batch.piece) - batch.at

    def times(self, clocks: Mapping[K, int | None]) -> dict[K, int | None]:
        """How far each topic is in event time: what waits, where something waits, else its clock."""
        return {kind: self._head(kind, clock) for kind, clock in clocks.items()}

    def _head(self, kind: K, clock: int | None) -> int | None:
        batch = self._waiting.get(kind)
        if batch is None:
            head = self._heads.get(kind)
            return head if clock is None or (head is not None and head > clock) else clock
        if not batch.looked:
            batch.head, batch.looked = self._first_moment(batch), True
        head = batch.head
        return clock if head is None or (clock is not None and clock > head) else head

    def _first_moment(self, batch: _Batch) -> int | None:
        for at in range(batch.at, len(batch.events)):
            moment = self._moment(batch, at)
            if moment is not None:
                return moment
        return None

    def wait(self, kind: K, records: Sequence[Record]) -> None:
        """A batch. `take` gives it back, decoded, in parts."""
        self._heads.pop(kind, None)
        self._waiting[kind] = _Batch(records)
        self._go_on(kind)

    def _go_on(self, kind: K) -> None:
        """Decodes the next piece of a batch whose last was taken."""
        batch = self._waiting[kind]
        begin, end = batch.decoded, min(len(batch.records), batch.decoded + self.size)
        if begin == end:
            del self._waiting[kind]
            return
        end = within(batch.records, begin, end, PIECE_BYTES)
        batch.piece, batch.events = self.decode(kind, part(batch.records, begin, end))
        batch.decoded, batch.at, batch.looked = end, 0, False

    def take(self, kind: K, limit: int | None) -> tuple[Sequence[Record], Sequence[Any]]:
        """What may be counted now: of one piece, all before the first event that moves the clock beyond the limit.

        None is no limit.
        """
        batch = self._waiting[kind]
        piece, events, begin = batch.piece, batch.events, batch.at
        end = len(events) if limit is None or events.newest_ms <= limit else self._cut(batch, limit)
        if end == len(events):
            self._go_on(kind)
        else:
            batch.at, batch.looked = end, False
        return (piece, events) if end - begin == len(events) else (piece[begin:end], events[begin:end])

    def _cut(self, batch: _Batch, limit: int) -> int:
        at, events = batch.at, batch.events
        while (at := events.first_above(at, limit)) < len(events):
            moment = self._moment(batch, at)
            if moment is not None and moment > limit:
                return at
            at += 1
        return at

    def _moment(self, batch: _Batch, at: int) -> int | None:
        """Up to where it moves its topic's clock: never beyond the broker's. None: not at all, as it will be refused."""
        time = batch.events.time_of(at)
        if time is None:
            return None
        stamp = batch.piece[at].timestamp
        return None if time > stamp + self.max_future_ms else min(time, stamp)

    def forget(self, kind: K) -> None:
        """What waits of a topic is not wanted any more."""
        self._waiting.pop(kind, None)

    def give_back(self) -> list[K]:
        """Forgets what waits, but not how far its topics are: it will be read again once it may be counted."""
        kinds = self.kinds()
        for kind in kinds:
            head = self._head(kind, None)
            del self._waiting[kind]
            if head is not None:
                self._heads[kind] = head
        return kinds

    def clear(self) -> None:
        """Forgets what waits: something else will be read."""
        self._waiting.clear()
        self._heads.clear()


@dataclass(frozen=True, slots=True)
class Alignment(Generic[K]):
    """Keeps topics in step: says which to read next, and gives what may be counted of what was read.

    ``clocks`` are the machine's, and ``behind`` those topics with records to read. Both may change after each piece.
    """

    ahead: ReadAhead[K]
    clocks: Callable[[], Mapping[K, int | None]]
    behind: Callable[[], Collection[K]]
    state_retention_ms: int
    aligned: bool = True
    """Else nothing that was read waits for other topics."""

    def wanted(self, topics: Collection[K]) -> set[K]:
        """Those of them to read from now."""
        return set(topics) - paused(*self._standing()) - set(self.ahead.kinds())

    def ready(self) -> Iterator[tuple[K, Sequence[Record], Sequence[Any]]]:
        """Pieces of what waits, as far as it may be counted. Each is to be counted before the next is asked for."""
        for kind in self.ahead.kinds():
            while kind in self.ahead:
                records, events = self.ahead.take(kind, self._limit(kind))
                if not records:
                    break
                yield kind, records, events

    def _limit(self, kind: K) -> int | None:
        """One that has no clock of its own waits for nobody."""
        is_free = not self.aligned or kind not in self.clocks()
        return None if is_free else limit(kind, *self._standing())

    def _standing(self) -> tuple[dict[K, int | None], set[K]]:
        """How far each topic is in event time, and which have records to count for which the others wait."""
        clocks = self.clocks()
        times = self.ahead.times(clocks)
        behind = {kind for kind in (*self.behind(), *self.ahead.kinds()) if kind in clocks}
        return times, behind - out_of_reach(times, clocks, self.state_retention_ms)


def limit(kind: K, times: Mapping[K, int | None], behind: Collection[K]) -> int | None:
    """Event time up to which a topic may be counted: some way beyond the slowest of the others that are behind.

    One of which nobody knows how far it is comes first. None without bound.
    """
    others = [times.get(other) for other in behind if other != kind]
    known = [time for time in others if time is not None]
    if len(known) < len(others):
        return NOTHING
    return min(known) + SLACK_MS if known else None


def out_of_reach(times: Mapping[K, int | None], clocks: Mapping[K, int | None], state_retention_ms: int) -> set[K]:
    """Topics that hold nobody back: what comes next of them is refused as ``pane_gone`` whatever the others do.

    ``times`` is how far each is in what it has to read, ``clocks`` in what was counted. A topic that is far behind only
    because others have not been read yet, as in a rebuild, is within reach: the newest clock is not beyond it yet.
    """
    known = [clock for clock in clocks.values() if clock is not None]
    if not known:
        return set()
    line = max(known) - state_retention_ms
    return {kind for kind, time in times.items() if time is not None and time < line}


def paused(clocks: Mapping[K, int | None], behind: Collection[K], slack_ms: int = SLACK_MS) -> set[K]:
    """Topics to pause. ``behind`` are those with records to read; one that is caught up pauses nobody.

    The topic furthest behind is read, and all within ``slack_ms`` of event time of it. One without a clock comes first:
    nobody knows how far behind it is.
    """
    if any(clocks.get(kind) is None for kind in behind):
        return {kind for kind in behind if clocks.get(kind) is not None}
    known = {kind: clock for kind in behind if (clock := clocks.get(kind)) is not None}
    if not known:
        return set()
    slowest = min(known.values())
    return {kind for kind, clock in known.items() if clock > slowest + slack_ms}
