"""Windows: sums of panes, written when the watermark passes them and again when a late event changes them.

Whether a window has to be written is decided by one comparison: the number of events in its panes against the number it
had when it was last written (the mark in its first pane). So writing twice changes nothing, and a correction cannot be
forgotten.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from operator import le
from typing import Final

from stream.core.cooperative import Steps
from stream.core.counts import NEVER, Counts, total
from stream.core.panes import Marks, Pane, Row, Rows, windows_marked
from stream.core.policy import Policy, WindowSpec
from stream.core.render import Value, ratio, window_value
from stream.core.scope import Scope
from stream.model.names import LIVE_RUN, Closed
from stream.model.results import Tally

LONG_AGO: Final = -(2**62)
"""Before any time."""
FAR_AHEAD: Final = 2**62
"""After any time: the wall clock at the end of a bounded input."""
CORRECT_EVERY_MS: Final = 10_000
"""While a topic is left out, a correction waits so long for what else comes to its window: else all that such a topic says
would be a correction of some closed window at each checkpoint."""
WAITING_BYTES: Final = 4 * 1024 * 1024
"""Corrections that have waited and are written in one checkpoint."""
STALE: Final = NEVER
"""Instead of the number of events in a mark: what was written is out of date, whatever the window holds."""


class Windows:
    """Knows which windows are closed, writes them, and says which panes no window needs any more."""

    def __init__(self, policy: Policy, rows: Rows, run: str = LIVE_RUN, scope: Scope | None = None) -> None:
        self._policy = policy
        self._rows = rows
        self._run = run
        self._scope = scope
        self.generation = 0
        self.tally = Tally()
        """Numbers since the last checkpoint; the shard's own."""
        self.horizon = [LONG_AGO] * len(policy.windows)
        """By window kind: windows that end here or earlier are closed."""
        self._idle_through = [LONG_AGO] * len(policy.windows)
        """By window kind: the wall clock has closed those that end here or earlier."""
        self.marked_through = LONG_AGO
        """No window that ends later has been written."""
        self.marks = 0
        """Closed windows still held."""
        self.written: list[tuple[bytes, bytes]] = []
        self.written_bytes = 0
        self.newest_end = LONG_AGO
        """End of the newest window written for the first time since the last checkpoint; for the emit delay."""
        self._waiting: OrderedDict[tuple[int, int, bytes], int] = OrderedDict()
        """Corrections that wait, by window kind, start and session's key: until when. Their marks are `STALE`."""
        self._unsettled: list[Pane] = []
        """Changed panes of windows that are due and whose turn to be closed has not come."""
        self.touched: list[tuple[int, bytes]] = []
        """(start, session's key) of marks that changed since the last checkpoint."""

    def recall(self, start: int, key: bytes, marks: Marks) -> None:
        """Marks from the state. A correction that waited when it was stored is due at once."""
        for kind, (revision, spec) in enumerate(zip(marks[::2], self._policy.windows, strict=False)):
            if revision:
                self.marks += 1
                if marks[2 * kind + 1] == STALE:
                    self._waiting[kind, start, key] = LONG_AGO
                if start + spec.size_ms > self.marked_through:  # noqa: PLR1730  # a third of the time of max()
                    self.marked_through = start + spec.size_ms

    def begin_anew(self, tally: Tally) -> None:
        """A checkpoint has taken what there was."""
        self.written, self.touched = [], []
        self.written_bytes = 0
        self.newest_end = LONG_AGO
        self.tally = tally

    def forget(self, marks: Marks) -> None:
        """Their pane is dropped."""
        self.marks -= len(windows_marked(marks))

    def mark_incomplete(self, row: Row) -> None:
        """Offsets are lost: what was written of windows that start with a row is out of date, whatever they hold."""
        for key, marks in list(row.marks.items()):
            for kind in windows_marked(marks):
                row.set_mark(key, kind, row.mark(key, kind)[0], STALE)
            self.touched.append((row.start, key))

    def stir(self, changed: Sequence[Pane], since: int) -> None:
        """Panes from that place on are counted into since the last silence: the next one looks at their windows again."""
        if len(changed) == since:
            return
        before = self._idle_through
        if not all(map(le, self._idle_through, self.horizon)):
            first = min(pane.start for pane in changed[since:])
            before = [spec.first_end(first) - 1 for spec in self._policy.windows]
        # A new one, whatever was closed: `close_idle` may be under way, and its step over this window is not done yet
        # (p: what another session had done in it was never written).
        self._idle_through = list(map(min, self._idle_through, before))

    # -- which are due

    def close(self, watermark: int | None, newest: int | None) -> Steps[None]:
        """Closes what is due, a window a step. Windows at the end of their retention count as due, whatever the clocks."""
        for kind, spec in enumerate(self._policy.windows):
            limit = self._limit(spec, watermark, newest)
            yield from self._close_kind(kind, spec, limit, self.horizon, Closed.CLOSED)
            self.horizon[kind] = max(self.horizon[kind], limit)

    def close_idle(self, wall_ms: int) -> Steps[None]:
        """All topics are caught up and silent: closes what the wall clock has passed, moving no horizon."""
        reason = Closed.END_OF_INPUT if wall_ms == FAR_AHEAD else Closed.IDLE
        limit = wall_ms - self._policy.delay_ms
        for kind, spec in enumerate(self._policy.windows):
            self._idle_through[kind] = max(self._idle_through[kind], self.horizon[kind])
            yield from self._close_kind(kind, spec, limit, self._idle_through, reason)

    def _limit(self, spec: WindowSpec, watermark: int | None, newest: int | None) -> int:
        limit = LONG_AGO if watermark is None else watermark
        if newest is not None:
            limit = max(limit, newest - self._policy.longest_ms - self._policy.state_retention_ms + spec.size_ms)
        return limit

    def _close_kind(self, kind: int, spec: WindowSpec, limit: int, through: list[int], reason: Closed) -> Steps[None]:
        while (end := self._next_end(spec, through[kind])) is not None and end <= limit:
            for key in self._keys(end - spec.size_ms, end):
                self.write(kind, end - spec.size_ms, key, reason)
                yield
            through[kind] = max(through[kind], end)
            yield

    def _next_end(self, spec: WindowSpec, after: int) -> int | None:
        """End of the earliest window that ends after ``after`` and touches a row."""
        first = self._rows.first_from(spec.first_ending_after(after))
        if first is None:
            return None
        end = spec.first_end(first)
        return end if end > after else end + ((after - end) // spec.slide_ms + 1) * spec.slide_ms

    def _keys(self, start: int, end: int) -> set[bytes]:
        rows = self._rows.between(start, end)
        return set().union(*(row.panes for row in rows), *(row.packed for row in rows))

    # -- writing

    def write(self, kind: int, start: int, key: bytes, reason: Closed) -> None:
        """Writes one session's window, unless it holds no event or was written with just these events."""
        spec = self._policy.windows[kind]
        rows = self._rows.between(start, start + spec.size_ms)
        revision, seen = rows[0].mark(key, kind) if rows and rows[0].start == start else (0, 0)
        if revision and seen == _events(rows, key):
            return
        panes = [counts for row in rows if (counts := row.counts(key)) is not None]
        events = sum(pane.events for pane in panes)
        if events:
            self._mark(kind, start, key, revision + 1, events)
            if self._scope is None or self._scope.has_window(start, start + spec.size_ms):
                self._emit(spec, key.decode(), total(panes), self._head(spec, start, revision + 1, reason))

    def _mark(self, kind: int, start: int, key: bytes, revision: int, events: int) -> None:
        self._rows.made(start).set_mark(key, kind, revision, events)
        # what has been written waits no longer (p: its mark was not STALE any more, and what came next was forgotten)
        self._waiting.pop((kind, start, key), None)
        self.marks += revision == 1
        self.touched.append((start, key))
        self.marked_through = max(self.marked_through, start + self._policy.windows[kind].size_ms)

    def _head(self, spec: WindowSpec, start: int, revision: int, reason: Closed) -> Value:
        return {
            "run": self._run,
            "generation": self.generation,
            "window": spec.name,
            "start": start,
            "end": start + spec.size_ms,
            "revision": revision,
            "reason": reason if revision == 1 else Closed.CORRECTION,
        }

    def _emit(self, spec: WindowSpec, session_id: str, counts: Counts, head: Value) -> None:
        if self._scope is not None and not self._scope.has(session_id.encode(), counts.seller):
            return
        key = f"{session_id}/{spec.name}/{head['start']}".encode()
        value = window_value(session_id, counts, self._policy.currency, head)
        self.written.append((key, value))
        self.written_bytes += len(key) + len(value)
        self.tally.windows[spec.name, head["reason"]] += 1
        if head["revision"] == 1:
            self.newest_end = max(self.newest_end, head["end"])
            if spec is self._policy.windows[0]:
                self._tell(counts)

    def _tell(self, counts: Counts) -> None:
        """The metrics hear of a window of the first configured kind, once: not of its corrections."""
        if counts.views:
            self.tally.conversions.append(ratio(counts.orders_paid, counts.views))
        for name, source in (counts.sources or {}).items():
            self.tally.source_views[name] += source.views
            self.tally.source_orders[name] += source.orders

    def correct(
        self,
        changed: Iterable[Pane],
        watermark: int | None,
        newest: int | None,
        final: int,
        held_at: int | None = None,
    ) -> Steps[None]:
        """Writes closed windows again that these panes changed: once, with the full new counts.

        With ``held_at`` (now, in ms) those written before wait for `CORRECT_EVERY_MS`; without, none waits any longer.

        Windows that start at ``final`` or earlier are left alone: nothing can have changed them, and their panes may be
        gone. A window that is due, but whose turn to be closed has not come, is looked at again the next time: `close`
        may have passed its place already (p: a pane made between two slices was never written).
        """
        limits = [self._limit(spec, watermark, newest) for spec in self._policy.windows]
        reach = max(self.marked_through, *self.horizon, *limits) - self._policy.pane_ms
        panes, self._unsettled = [*self._unsettled, *changed], []
        for pane in panes:
            if pane.start <= reach:
                if not self._correct_pane(pane, limits, final, held_at):
                    self._unsettled.append(pane)
                yield
        yield from self._write_waiting(final, held_at)

    def _correct_pane(self, pane: Pane, limits: list[int], final: int, held_at: int | None) -> bool:
        """False when a window that contains the pane is due and not closed."""
        settled = True
        for kind, spec in enumerate(self._policy.windows):
            for end in range(spec.first_end(pane.start), spec.last_end(pane.start) + 1, spec.slide_ms):
                start = end - spec.size_ms
                if start <= final:
                    continue
                if end <= self.horizon[kind] or (end <= self.marked_through and self._is_marked(kind, start, pane)):
                    if held_at is None or not self._hold(kind, start, pane.session.key, held_at):
                        self.write(kind, start, pane.session.key, Closed.CORRECTION)
                elif end <= limits[kind]:
                    settled = False
        return settled

    def _hold(self, kind: int, start: int, key: bytes, now: int) -> bool:
        """Lets a correction wait; False for a window that was never written. The mark says so to whoever restores it."""
        row = self._rows.get(start)
        revision, seen = (0, 0) if row is None else row.mark(key, kind)
        if row is None or not revision:
            return False
        rows = self._rows.between(start, start + self._policy.windows[kind].size_ms)
        if (kind, start, key) not in self._waiting and seen != _events(rows, key):
            self._waiting[kind, start, key] = now + CORRECT_EVERY_MS
            row.set_mark(key, kind, revision, STALE)
            self.touched.append((start, key))
        return True

    def _write_waiting(self, final: int, held_at: int | None) -> Steps[None]:
        """Those that have waited long enough, the longest first; not too many in one checkpoint: the rest can wait."""
        most = self.written_bytes + WAITING_BYTES
        while self._waiting and self.written_bytes < most:
            (kind, start, key), due = next(iter(self._waiting.items()))
            if held_at is not None and due > held_at:
                return
            self._waiting.popitem(last=False)
            if start > final:
                self.write(kind, start, key, Closed.CORRECTION)
            yield

    def first_waiting(self) -> int:
        """Start of the earliest window whose correction waits: its panes are needed until then."""
        return min((start for _, start, _ in self._waiting), default=FAR_AHEAD)

    def _is_marked(self, kind: int, start: int, pane: Pane) -> bool:
        row = self._rows.get(start)
        return row is not None and row.mark(pane.session.key, kind)[0] > 0

    # -- looking

    def closed_through(self) -> int:
        """Windows that end here or earlier are closed, of every kind."""
        return min(self.horizon)

    def closed_starts(self) -> int:
        """Windows that start here or earlier are closed, of every kind."""
        return min(horizon - spec.size_ms for horizon, spec in zip(self.horizon, self._policy.windows, strict=True))

    def open_counts(self) -> Steps[dict[str, int]]:
        """Windows by name that hold an event and are not closed: neither passed by the watermark, nor written.

        One that silence has closed is not open again when something comes to it: that makes a correction.
        """
        counts = {}
        for kind, spec in enumerate(self._policy.windows):
            counts[spec.name] = yield from self._open_of(kind, spec)
        return counts

    def _open_of(self, kind: int, spec: WindowSpec) -> Steps[int]:
        """From the newest on: those that reach beyond all rows hold what the next newer one holds, and a little more."""
        first = self._next_end(spec, self.horizon[kind])
        if first is None:
            return 0
        newest = self._rows.starts[-1]
        number, end, after = 0, spec.last_end(newest), newest + 1
        keys: set[bytes] = set()
        while end >= first:
            start = end - spec.size_ms
            if end > newest:
                keys |= self._keys(start, after)
                after = start
                number += len(keys)
            else:
                number += len(self._keys(start, end))
            if end <= self.marked_through:
                number -= self._written_of(kind, start)
            before = self._rows.last_before(end - spec.slide_ms)
            if before is None:
                break
            end = min(end - spec.slide_ms, spec.last_end(before))  # to the next that holds anything
            yield
        return number

    def _written_of(self, kind: int, start: int) -> int:
        """Sessions whose window that starts there was written. Beyond the horizon their panes are all held."""
        row, place = self._rows.get(start), 2 * kind
        return 0 if row is None else sum(len(marks) > place and marks[place] > 0 for marks in row.marks.values())


def _events(rows: Iterable[Row], key: bytes) -> int:
    return sum(row.events(key) for row in rows)
