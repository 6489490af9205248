"""Panes: the smallest slices of event time that are counted, one per session; a row holds those of all sessions.

A pane is an object while it is counted into, and bytes once it is quiet: some 300 bytes instead of 2 KB, which the state
takes as they are and no garbage collection looks through.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec

from stream.core import vetting
from stream.core.cooperative import Steps, pieces
from stream.core.counts import NEVER, Counts
from stream.core.formats import NEWEST, Format
from stream.core.framing import StateError
from stream.core.ids import IdSet
from stream.core.packing import head_of, outline_of, pack, pack_item, unpack, unpack_into
from stream.core.policy import Policy
from stream.core.session import Session
from stream.core.state_keys import PANE, from_key, ids_bucket, pane_key
from stream.core.switch import NATIVE
from stream.model.names import KINDS, Kind

if TYPE_CHECKING:
    from stream.core.native.judging import Index

if TYPE_CHECKING or not NATIVE:
    from stream.core.pure.panes import Pane, told_values
else:
    from stream.core.native.counts import Pane, told_values

__all__ = ["PLACE", "Marks", "Pane", "Row", "Rows", "told_values", "windows_marked"]

PLACE: Final = {kind: place for place, kind in enumerate(KINDS)}
"""Where a topic's id set stands in a row."""

Marks = tuple[int, ...]
"""Of the windows that start with a pane, by window kind: revision and number of events counted in it when it was
written, one after the other; revision 0 stands for a window not written."""
PACK_AT: Final = 1024
"""Ids of a quiet pane worth packing."""
_encode: Final = msgspec.msgpack.Encoder().encode
_item: Final = msgspec.msgpack.Decoder(tuple[Marks, bytes])
"""A pane in the state: its marks, and the pane as ``packed`` holds it, empty when there is none."""


class Row:
    """All panes of one slice of event time, the marks of the windows that start with it, and the ids seen by topic."""

    __slots__ = ("ids", "index", "marks", "packed", "panes", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.panes: dict[bytes, Pane] = {}
        """Counted into of late; all others are packed."""
        self.index: Index | None = None
        """Of ``panes``, for the native hot path, which makes it; none after one of them is gone."""
        self.packed: dict[bytes, bytes] = {}
        self.marks: dict[bytes, Marks] = {}
        """Also of sessions without a pane here: a hopping window may start before its first event."""
        self.ids = [IdSet() for _ in KINDS]

    def number(self) -> int:
        """Of panes."""
        return len(self.panes) + len(self.packed)

    def holds(self, key: bytes) -> bool:
        return key in self.panes or key in self.packed or key in self.marks

    def is_empty(self) -> bool:
        return not (self.panes or self.packed or self.marks or any(map(len, self.ids)))

    # -- panes

    def open(self, session: Session) -> Pane:
        """The session's pane to count into, when it is not among ``panes``."""
        pane = self.panes[session.key] = Pane(session, self.start)
        data = self.packed.pop(session.key, None)
        if data is not None:
            session.sum = None
            unpack_into(pane, data)
            pane.told, pane.told_gmv = told_values(pane), dict(pane.gmv)
            pane.name_bytes = sum(
                labels.size() for labels in (pane.product_labels, pane.host_names) if labels is not None
            )
        return pane

    def pack(self, pane: Pane) -> None:
        """For one that has told everything."""
        self.packed[pane.session.key] = pack(pane)
        del self.panes[pane.session.key]
        self.index = None

    def pack_quiet(self) -> Steps[None]:
        """Once its time is over, late events aside. Each pane is let go of at once: 12,500 together take 40 ms to free."""
        quiet = [pane for pane in self.panes.values() if not pane.changed]
        while quiet:
            self.pack(quiet.pop())
            yield

    def clear(self) -> None:
        """Panes that are counted into are forgotten."""
        self.panes.clear()
        self.index = None

    def counts(self, key: bytes) -> Counts | None:
        """To be read only."""
        pane = self.panes.get(key)
        if pane is not None:
            return pane
        data = self.packed.get(key)
        return None if data is None else unpack(data)

    def events(self, key: bytes) -> int:
        pane = self.panes.get(key)
        if pane is not None:
            return int(pane.events)
        data = self.packed.get(key)
        return 0 if data is None else head_of(data).events

    def mark_incomplete(self, sessions: Mapping[bytes, Session]) -> list[Pane]:
        """Offsets are lost: all panes say so. Gives those that had not changed since the last checkpoint."""
        fresh: list[Pane] = []
        for key in self.packed.keys() | self.panes.keys():
            pane = self.panes.get(key) or self.open(sessions[key])
            pane.incomplete = True
            if not pane.changed:
                pane.changed = True
                fresh.append(pane)
        return fresh

    def all_keys(self) -> list[bytes]:
        """Of all sessions of which it holds anything; some twice."""
        return [*self.panes, *self.packed, *self.marks]

    def take(self, key: bytes) -> tuple[Counts | None, Marks]:
        """What there is of a session, which is then forgotten."""
        counts = self.counts(key)
        self.index = self.index if self.panes.pop(key, None) is None else None
        self.packed.pop(key, None)
        return counts, self.marks.pop(key, ())

    # -- marks

    def mark(self, key: bytes, kind: int) -> tuple[int, int]:
        """(revision, events) of the window that starts here; revision 0 when it has not been written."""
        marks = self.marks.get(key, ())
        return (marks[2 * kind], marks[2 * kind + 1]) if len(marks) > 2 * kind else (0, 0)

    def set_mark(self, key: bytes, kind: int, revision: int, events: int) -> None:
        marks = list(self.marks.get(key, ()))
        marks += [0] * (2 * kind + 2 - len(marks))
        marks[2 * kind : 2 * kind + 2] = revision, events
        self.marks[key] = tuple(marks)

    # -- ids

    def ids_of(self, kind: Kind) -> IdSet:
        return self.ids[PLACE[kind]]

    def retire_ids(
        self, policy: Policy, clocks: Mapping[Kind, int | None], forgotten: Callable[[bytes], None]
    ) -> Steps[None]:
        """Ids go when their own topic's clock says that any later copy is late; they are packed once it is past them.

        ``forgotten`` hears of the buckets that are gone.
        """
        end = self.start + policy.pane_ms
        for place, kind in enumerate(KINDS):
            ids, clock = self.ids[place], clocks[kind]
            clock = NEVER if clock is None else clock
            if clock >= end + policy.bound_ms:
                if len(ids) or ids.fresh:
                    self.ids[place] = IdSet()
                    forgotten(ids_bucket(place, self.start))
            elif clock >= end + policy.delay_ms and ids.busy > PACK_AT:
                yield from ids.freeze()

    # -- the state

    def value(self, key: bytes, form: Format) -> bytes:
        """Of a session's pane and marks. Empty when nothing is held of them."""
        pane, marks = self.panes.get(key), self.marks.get(key, ())
        if pane is not None:
            return pack_item(marks, pane, form)
        packed = self.packed.get(key, b"")
        if packed:
            return _encode((marks, form.counts(packed)))
        return _encode((marks, b"")) if marks else b""

    def restore(self, session: Session, value: bytes) -> Marks:
        """A pane from the state. It stays packed until it is counted into again."""
        marks, pane = _item.decode(value)
        if pane:
            self.packed[session.key] = pane
            session.recall(outline_of(pane))
        if marks:
            self.marks[session.key] = marks
        return marks


class Rows(dict[int, Row]):
    """The rows that there are, by start. Who walks through time asks for the next one: there may be years between two."""

    __slots__ = ("format", "starts")

    def __init__(self) -> None:
        super().__init__()
        self.format = NEWEST
        self.starts: list[int] = []
        """In order."""

    def __setitem__(self, start: int, row: Row) -> None:
        if start not in self:
            insort(self.starts, start)
        super().__setitem__(start, row)

    def __delitem__(self, start: int) -> None:
        super().__delitem__(start)
        del self.starts[bisect_left(self.starts, start)]

    def made(self, start: int) -> Row:
        """The row that begins there, a new one where there is none."""
        row = self.get(start)
        if row is None:
            row = self[start] = Row(start)
        return row

    def first_from(self, time: int) -> int | None:
        """Start of the first row that begins then or later."""
        place = bisect_left(self.starts, time)
        return self.starts[place] if place < len(self.starts) else None

    def last_before(self, time: int) -> int | None:
        """Start of the last row that begins before that."""
        place = bisect_left(self.starts, time)
        return self.starts[place - 1] if place else None

    def hold(self, key: bytes, last: int) -> bool:
        """Whether anything is held of a session, whose last event was then."""
        starts = self.starts
        return any(self[start].holds(key) for start in starts[: bisect_right(starts, last)])

    def between(self, start: int, end: int) -> list[Row]:
        """Rows that begin in ``[start, end)``, in order."""
        starts = self.starts
        return [self[each] for each in starts[bisect_left(starts, start) : bisect_left(starts, end)]]

    def of(self, session: Session) -> Counts:
        """Everything counted of a session so far."""
        key, rows = session.key, self.values()
        busy: list[Counts] = [pane for row in rows if (pane := row.panes.get(key)) is not None]
        quiet = {row.start: data for row in rows if (data := row.packed.get(key)) is not None}
        return session.totals(busy, quiet)

    # -- the state

    def collect(
        self, changed: Iterable[Pane], marks: Iterable[tuple[int, bytes]], puts: dict[bytes, bytes]
    ) -> Steps[None]:
        """Adds the items of panes and ``marks`` (by start and session's key) that changed."""
        places = ((pane.start, pane.session.key) for pane in changed)
        for piece in pieces(chain(places, marks)):
            for start, key in piece:
                row = self.get(start)
                if row is not None and (value := row.value(key, self.format)):
                    puts[pane_key(start, key)] = value
            yield

    def value(self, key: bytes) -> bytes:
        """Of an item, by its key in the state."""
        return self[from_key(key[1:9])].value(key[9:], self.format)

    def additions(self) -> Iterator[tuple[bytes, bytes]]:
        """Ids that are new."""
        for start, row in self.items():
            for place, ids in enumerate(row.ids):
                if ids.fresh:
                    yield ids_bucket(place, start), ids.take_fresh()

    def restore(
        self,
        items: Mapping[bytes, bytes],
        sessions: Mapping[bytes, Session],
        recall: Callable[[int, bytes, Marks], None],
    ) -> None:
        """All panes. Each adds to its session, by key; ``recall`` hears of marks. Raises StateError."""
        rows: dict[bytes, Row] = {}
        for key, value in items.items():
            if key[:1] == PANE:
                session, row = sessions.get(key[9:]), rows.get(key[1:9])
                if session is None:
                    raise StateError("a pane without its session")
                if row is None:
                    row = rows[key[1:9]] = self.made(from_key(key[1:9]))
                marks = row.restore(session, value)
                if marks:
                    recall(row.start, session.key, marks)

    def restore_ids(self, bucket: bytes, chunks: Iterable[bytes]) -> None:
        self.made(from_key(bucket[2:10])).ids[bucket[1]].restore(chunks)

    def vetted(self) -> Iterator[tuple[bytes, str, bool]]:
        """What is still packed: its key in the state, what it is, and whether it can be unpacked."""
        for start, row in self.items():
            for key, data in row.packed.items():
                yield pane_key(start, key), "a pane", vetting.is_packed(data)


def windows_marked(marks: Marks) -> list[int]:
    """The window kinds that have been written."""
    return [place // 2 for place in range(0, len(marks), 2) if marks[place]]
