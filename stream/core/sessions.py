"""All sessions held: their end, reopening, keeping and letting go.

Most of them are at rest for a day: nothing of them is in a pane and nothing waits to be written. Those are packed, a page
at a time (core/pages.py), and come back as soon as something of them is counted.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import add
from typing import Final

from stream.core import vetting
from stream.core.breakdown import add_money
from stream.core.cooperative import Steps
from stream.core.counts import NEVER, Counts
from stream.core.formats import NEWEST
from stream.core.ids import TimedHashes, hash_id
from stream.core.late import newest
from stream.core.ledger import NOWHERE, Ledger, Past, Seen
from stream.core.pages import LARGEST, Pages, Resting
from stream.core.panes import Marks, Pane, Rows
from stream.core.policy import DAY, Policy
from stream.core.scope import Scope
from stream.core.session import Session, head_in
from stream.core.state_keys import GONE, RESTING, SESSION, from_key, page_key
from stream.core.statelog import StateLog
from stream.core.totals import TotalsQueue, note_written, session_record
from stream.model.names import LIVE_RUN
from stream.model.results import Tally

TOTALS_BYTES: Final = 2 * 1024 * 1024
"""Totals of one checkpoint: most have 3 KB, but money in every currency makes some a hundred times as large."""
PAGES_AT_ONCE: Final = 16
"""Pages of sessions at rest packed at a time: some 1,000 sessions."""


class Sessions:
    """All sessions held, by key, and who is due: to end, to be written, to rest, to be let go. ``rows`` hold their panes."""

    def __init__(self, policy: Policy, rows: Rows, run: str = LIVE_RUN, scope: Scope | None = None) -> None:
        self._policy = policy
        self._rows = rows
        self._run = run
        self._scope = scope
        self.held: dict[bytes, Session] = {}
        """Those that are not at rest."""
        self.pages = Pages()
        """Those at rest, packed as the state holds them."""
        self.format = NEWEST
        self.gone = TimedHashes(policy.gone_session_ms, policy.max_gone_sessions, DAY, sort=GONE, bucket_ms=DAY)
        self.ledger = Ledger()
        self.at: Seen = NOWHERE
        """Where the inputs stood when what has changed was last looked at."""
        self.unseen: Seen = NOWHERE
        """Where they stood before it was noted up to where each session has changed."""
        self._added: list[Session] = []
        """Those that have changed since, in no pane."""
        self.stale: dict[bytes, Session] = {}
        """Those of ``held`` whose own item in the state is out of date."""
        self._queue = TotalsQueue(policy, self.held)
        self._ends: list[tuple[int, bytes]] = []
        self._moved: dict[bytes, None] = {}
        """Keys of those that their hosts have moved on, or views and comments after their end."""
        self._let_go: dict[int, dict[bytes, None]] = {}
        """Keys of ``held``, by when they may be let go."""
        self._dues: list[int] = []
        """The keys of ``_let_go``, a heap."""
        self._quiet: dict[bytes, None] = {}
        """Keys of those that have ended, were written, or lost a pane: they may be at rest since."""
        self._ready: dict[bytes, None] = {}
        """Keys of those that were at rest when looked at, and wait for others to fill a page."""
        self.open = 0
        self.shown = [0, 0, 0, 0]
        """views, product clicks, comments, orders of all sessions held, for people to look at."""
        self.gmv: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.held) + len(self.pages)

    def find(self, key: bytes) -> Session | None:
        """To be read only."""
        session = self.held.get(key)
        found = None if session is not None else self.pages.find(key)
        return session if found is None else _unpacked(key, *found)

    def each(self) -> Iterator[Session]:
        """All of them, to be read only."""
        yield from self.held.values()
        for _, session in self.at_rest():
            yield session

    def at_rest(self) -> Iterator[tuple[int, Session]]:
        """Those, with the number of their page."""
        for number, resting, incomplete in self.pages.each():
            yield number, _unpacked(resting.key, resting.data, incomplete)

    def meet(self, key: bytes, watermark: int | None) -> tuple[Session, bool]:
        """The session of a key, and whether it is new here."""
        session = self.held.get(key)
        if session is not None:
            return session, False
        found = self.pages.take(key)
        if found is not None:
            return self._wake(key, *found), False
        session = self.held[key] = Session(key)
        session.frozen = watermark is not None and self.gone.holds(session.seed, watermark)
        session.ended = True  # until its first view or comment
        session.written_ended = True
        return session, True

    def _adopt(self, session: Session) -> None:
        """A session from the state, its panes recalled: back into every queue it belongs to."""
        self.held[session.key] = session
        if session.changed:
            session.seen = self.at
        self.shown = list(map(add, self.shown, session.shown))
        if session.gmv:
            self.gmv.update(session.gmv)
        if session.ended:
            self._quiet[session.key] = None
        else:
            self.open += 1
            self._await_end(session)
        self._keep(session, session.let_go_due(self._policy))
        self._queue.wait(session)

    def hear(self, pane: Pane, tally: Tally) -> None:
        """What a pane has counted since it was heard of last."""
        session, untold = pane.session, pane.tell()
        session.seen = self.at
        if untold is not None:
            session.events += untold[0]
            if any(untold[1:]):  # most events are none of what is shown
                self._show_more(pane, untold[1:], tally)
        last_any = newest(pane)[1] if pane.late else pane.label_at
        if last_any > session.last_any:
            session.last_any = last_any
            if session.let_go_at == NEVER:
                self._keep(session, session.let_go_due(self._policy))
        if pane.on_air_to > session.on_air_to:
            session.on_air_to = pane.on_air_to
            if session.ended:
                self._moved[session.key] = None
            # an open one is looked at anyway when it would have ended without this
        if pane.start_to > session.start_to or pane.end_to > session.end_to:
            session.start_to = max(session.start_to, pane.start_to)
            session.end_to = max(session.end_to, pane.end_to)
            self._moved[session.key] = None
        self._queue.wait(session)
        if session.stale:
            self.stale[session.key] = session

    def add(self, pane: Pane, tally: Tally) -> None:
        """What is counted in no window."""
        session = pane.session
        self.hear(pane, tally)
        session.absorb(pane, NEVER)
        self._added.append(session)
        self.stale[session.key] = session
        if session.ended:
            self._quiet[session.key] = None

    def _show_more(self, pane: Pane, more: tuple[int, int, int, int], tally: Tally) -> None:
        self._show(pane.session, more)
        views, clicks, comments, orders = more
        tally.views += views
        tally.product_clicks += clicks
        tally.comments += comments
        if orders:
            tally.orders_paid += orders
            gmv = pane.untold_gmv()
            add_money(pane.session.gmv, gmv)
            self.gmv.update(gmv)
            tally.gmv_minor.update(gmv)

    def _show(self, session: Session, more: Sequence[int]) -> None:
        """Adds to what people are shown of a session: views, product clicks, comments, orders."""
        for place, number in enumerate(more):
            if number:
                session.shown[place] += number
                self.shown[place] += number

    def _open_moved(self, now: int) -> None:
        """Those on air are open that have not ended by ``now``, by all that is known of them: so their status does not
        depend on which of it came first, or in which checkpoint.
        """
        for key in self._moved:
            session = self.held[key]
            if session.ended and session.on_air_to != NEVER and session.end_due(self._policy) > now:
                session.ended = False
                session.stale = True
                self.stale[key] = session
                self.open += 1
            if not session.ended:
                self._await_end(session)
        self._moved = {}

    def _await_end(self, session: Session) -> None:
        """It may end earlier than was known: its host has ended it."""
        due = session.end_due(self._policy)
        if session.end_at == NEVER or due < session.end_at:
            session.end_at = due
            heapq.heappush(self._ends, (due, session.key))

    def end(self, now: int) -> Steps[None]:
        """Opens what was moved on, and ends what is due at ``now``; it is then in line to be written at once."""
        self._open_moved(now)
        while self._ends and self._ends[0][0] <= now:
            looked_at, key = heapq.heappop(self._ends)
            session = self.held.get(key)
            if session is None or session.ended or session.end_at != looked_at:
                continue
            session.end_at = NEVER
            if session.end_due(self._policy) > now:
                self._await_end(session)
                continue
            session.ended = True
            session.stale = True
            self.open -= 1
            self._queue.wait(session, at_once=True)
            self._quiet[session.key] = None
            self.stale[session.key] = session
            yield

    def write_totals(
        self, most: int, watermark: int | None, generation: int, *, everything: bool
    ) -> Steps[list[tuple[bytes, bytes]]]:
        """Keys and values of changed sessions that are due (or just wait: ``everything``), at most so many."""
        records: list[tuple[bytes, bytes]] = []
        size = 0
        while len(records) < most and size < TOTALS_BYTES:
            session = self._queue.take(watermark, everything)
            if session is None:
                if not self._wake_incomplete():
                    break
                continue
            if session.ended:
                self._quiet[session.key] = None
            totals = self._rows.of(session)
            note_written(session, watermark)
            if self._scope is None or self._scope.has_totals(session.key, totals):
                record = session_record(session, totals, self._policy.currency, self._run, generation)
                records.append((session.key, record))
                size += len(record)
            self.stale[session.key] = session
            yield
        return records

    # -- what promotions need

    def stand(self, at: Seen) -> None:
        """All that is counted so far lies before these positions."""
        self.at = at
        for session in self._added:
            session.seen = at
        self._added = []

    def note_written(self, key: bytes, marks: Marks) -> None:
        """A pane is dropped, with the marks of the windows that start with it."""
        session, revision = self.held[key], max(marks[::2], default=0)
        if revision > session.windows:
            session.windows = revision
            session.stale = True
            self.stale[key] = session

    def past(self, key: bytes) -> Past | None:
        """What is known of a session, also of one that was let go. None: nothing was ever counted of it, or long ago."""
        session, known = self.find(key), self.ledger.find(hash_id(key))
        if session is None:
            return known
        return self._past_of(session) if known is None else self._past_of(session).merged(known)

    def _past_of(self, session: Session) -> Past:
        seen = self.unseen if session.seen is None else session.seen
        return Past(session.promoted, session.revision, session.windows, seen)

    def note_past(self, key: bytes, past: Past, now: int) -> None:
        """Of a session that is not held."""
        self.ledger.note(hash_id(key), past, now)

    def replace(
        self, key: bytes, base: bytes | None, named: Sequence[Sequence[str]], past: Past, watermark: int | None
    ) -> Session:
        """An ended session of which nothing is in a pane: its totals are others from now on."""
        session, _ = self.meet(key, watermark)
        self._show(session, [-number for number in session.shown])
        self.gmv.subtract(session.gmv)
        session.replace(base, named)
        session.promoted, session.revision, session.windows, session.seen = past
        self.shown = list(map(add, self.shown, session.shown))
        self.gmv.update(session.gmv)
        self.stale[key] = session
        self._quiet[key] = None
        self._keep(session, session.let_go_due(self._policy))
        return session

    # -- rest

    def absorb(self, key: bytes, pane: Counts, start: int) -> None:
        """A pane is dropped. Its figures stay in the session's totals."""
        session = self.held[key]
        session.absorb(pane, start)
        self.stale[key] = session
        if session.ended:
            self._quiet[key] = None

    def _is_at_rest(self, key: bytes) -> bool:
        session = self.held.get(key)
        if session is None or not session.ended or (session.changed and not session.frozen):
            return False
        # in no pane: not in one of later than all that was heard of it either, which may have been begun meanwhile
        return not any(row.holds(key) for row in self._rows.values())

    def pack(self, log: StateLog) -> Steps[None]:
        """Packs those at rest, a page a step: so many that a checkpoint after a restart is no larger than others."""
        for _ in range(PAGES_AT_ONCE):
            if not self._pack_page(log):
                break
            yield
        if self.pages.merge():
            yield

    def _pack_page(self, log: StateLog) -> bool:
        """False when those at rest are too few for a page. Those too large for one stay."""
        while self._quiet and len(self._ready) < self.pages.size:
            key, _ = self._quiet.popitem()
            if self._is_at_rest(key):
                self._ready[key] = None
        if len(self._ready) < self.pages.size:
            return False
        keys = [key for key in islice(self._ready, self.pages.size) if self._is_at_rest(key)]
        self._ready = dict(islice(self._ready.items(), self.pages.size, None))
        packed = [(session, each) for session in map(self.held.__getitem__, keys) if (each := self._packed(session))]
        if packed:
            self.pages.add([each for _, each in packed])
        for session, _ in packed:
            self._leave(session, log)
        return True

    def _packed(self, session: Session) -> Resting | None:
        """None for one that no page takes. It needs less memory from now on, too."""
        session.rest()
        data = session.packed(self.format)
        if len(data) > LARGEST or session.key in self.pages:  # another key of the same hash is there
            return None
        return Resting(session.key, session.let_go_due(self._policy), data)

    def _leave(self, session: Session, log: StateLog) -> None:
        """It is not held as an object any more."""
        del self.held[session.key]
        self.stale.pop(session.key, None)
        log.drop(SESSION + session.key)
        if session.let_go_at != NEVER:
            del self._let_go[session.let_go_at][session.key]

    def _wake(self, key: bytes, data: bytes, incomplete: bool) -> Session:
        session = self.held[key] = _unpacked(key, data, incomplete)
        session.stale = True
        self._keep(session, session.let_go_due(self._policy))
        self._queue.wait(session)
        return session

    # -- lost offsets

    def mark_incomplete(self) -> None:
        """Offsets are lost: totals of all say so from now on, and are written again."""
        self.pages.mark_incomplete()
        for session in self.held.values():
            session.mark_incomplete()
            self._queue.wait(session)
        self.stale.update(self.held)

    def _wake_incomplete(self) -> bool:
        """Some of those at rest that are to be written again; False when no more are."""
        woken = [self._wake(each.key, each.data, incomplete=True) for each in self.pages.take_incomplete()]
        for session in woken:
            self._quiet[session.key] = None
            self.stale[session.key] = session
        return bool(woken)

    # -- letting go

    def _keep(self, session: Session, until: int) -> None:
        """It is let go then at the earliest."""
        if session.let_go_at != NEVER:
            del self._let_go[session.let_go_at][session.key]
        session.let_go_at = until
        if until not in self._let_go:
            self._let_go[until] = {}
            heapq.heappush(self._dues, until)
        self._let_go[until][session.key] = None

    def let_go(self, watermark: int, log: StateLog) -> Steps[None]:
        """Those kept long enough after their end, unless something of them is in a pane. Those at rest, too."""
        later = (watermark // self._policy.pane_ms + 1) * self._policy.pane_ms
        while self._dues and self._dues[0] <= watermark:
            for key in self._let_go.pop(heapq.heappop(self._dues)):
                session = self.held[key]
                session.let_go_at = NEVER
                due = session.let_go_due(self._policy)
                if due > watermark or not session.ended or (session.changed and not session.frozen):
                    self._keep(session, max(due, later))
                    continue
                yield
                if self._rows.hold(key, session.last_any):
                    self._keep(session, watermark + self._policy.pane_ms)
                    continue
                self._leave(session, log)
                self._forget(session, watermark)
        for resting in self.pages.let_go(watermark):
            self._forget(Session.unpacked(resting.key, resting.data), watermark)
            yield

    def _forget(self, session: Session, watermark: int) -> None:
        self._show(session, [-number for number in session.shown])
        self.gmv.subtract(session.gmv)
        self.ledger.note(session.seed, self._past_of(session), watermark)
        if not session.frozen:
            self.gone.note(session.seed, watermark, watermark)

    # -- the state

    def collect(self, log: StateLog, puts: dict[bytes, bytes]) -> Steps[None]:
        """Adds the items of those that changed and of new pages; drops those of pages that are gone."""
        for session in self.stale.values():
            puts[SESSION + session.key] = session.packed(self.format)
            session.stale = False
            yield
        self.stale.clear()
        yield from self.pages.collect(log, puts)

    def value(self, key: bytes) -> bytes:
        """Of an item, by its key in the state."""
        if key[:1] == RESTING:
            return self.pages.value(from_key(key[1:]))
        return self.held[key[1:]].packed(self.format)

    def restore(self, items: Mapping[bytes, bytes], recall: Callable[[int, bytes, Marks], None]) -> None:
        """Those not at rest, and their panes, whose marks ``recall`` hears of. Raises StateError."""
        sessions = {key[1:]: Session.unpacked(key[1:], value) for key, value in items.items() if key[:1] == SESSION}
        self._rows.restore(items, sessions, recall)
        for session in sessions.values():
            self._adopt(session)

    def restore_pages(self, items: Mapping[bytes, bytes], watermark: int | None) -> None:
        """When all others are there, and those that were let go. Raises StateError."""

        def is_dead(hashed: int, resting: Resting) -> bool:
            if resting.key in self.held or (watermark is not None and resting.due <= watermark):
                return True
            return (
                watermark is not None
                and self.gone.holds(hashed, watermark)
                and not Session.unpacked(resting.key, resting.data).frozen
            )

        values = {from_key(key[1:]): value for key, value in items.items() if key[:1] == RESTING}
        for resting in self.pages.restore(values, is_dead):
            head = head_in(resting.data)
            self.shown = list(map(add, self.shown, (head.views, head.product_clicks, head.comments, head.orders_paid)))
            if head.gmv:
                self.gmv.update(head.gmv)

    def vetted(self) -> Iterator[tuple[bytes, str, bool]]:
        """What is still packed: its key in the state, what it is, and whether it can be unpacked."""
        for session in self.held.values():
            base = session.packed_base()
            yield SESSION + session.key, "the totals of a session", base is None or vetting.is_packed(base)
        for page, session in self.at_rest():
            base = session.packed_base()
            is_whole = base is not None and vetting.is_packed(base)
            yield page_key(page), "the totals of a session at rest", is_whole


def _unpacked(key: bytes, data: bytes, incomplete: bool) -> Session:
    session = Session.unpacked(key, data)
    if incomplete:
        session.mark_incomplete()
    return session
