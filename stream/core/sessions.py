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

from stream.core.breakdown import Money, add_money
from stream.core.counts import NEVER
from stream.core.ids import TimedHashes
from stream.core.pages import LARGEST, Pages, Resting
from stream.core.policy import DAY, Policy
from stream.core.session import Session, head_in

FEW: Final = 8
"""Events up to which a session may be a made-up one."""
SHARE_OF_FEW: Final = 4
"""Each so many-th of the totals is of a session of few events, when others wait as well."""
FAR_AHEAD: Final = 2**62
LONG_AGO: Final = -(2**62)
"""After and before any time."""


class Sessions:
    """All sessions held, by key, and who is due: to end, to be written, to rest, to be let go."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.held: dict[bytes, Session] = {}
        """Those that are not at rest."""
        self.pages = Pages()
        """Those at rest."""
        self.gone = TimedHashes(policy.gone_session_ms, policy.max_gone_sessions, DAY)
        self._ends: list[tuple[int, bytes]] = []
        self._let_go: dict[int, dict[bytes, None]] = {}
        """Keys of ``held``, by when they may be let go."""
        self._dues: list[int] = []
        """The keys of ``_let_go``, a heap."""
        self._lines: tuple[list[tuple[int, int, bytes]], ...] = ([], [])
        """Those that wait to be written, of few events and of more: (when, turn, key), heaps."""
        self._turn = 0
        self._written = 0
        self._quiet: dict[bytes, None] = {}
        """Keys of those that may be at rest since."""
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

    def show(self, session: Session, more: Sequence[int]) -> None:
        """Adds to what people are shown of a session: views, product clicks, comments, orders."""
        for place, number in enumerate(more):
            if number:
                session.shown[place] += number
                self.shown[place] += number

    def show_money(self, session: Session, gmv: Money) -> None:
        add_money(session.gmv, gmv)
        self.gmv.update(gmv)

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
        session.ended = True  # until its first event that opens it, see `moved`
        session.written_ended = True
        return session, True

    def adopt(self, session: Session) -> None:
        """A session from the state, its panes recalled: back into every queue it belongs to."""
        self.held[session.key] = session
        self.shown = list(map(add, self.shown, session.shown))
        if session.gmv:
            self.gmv.update(session.gmv)
        if session.ended:
            self.quiet(session)
        else:
            self.open += 1
            heapq.heappush(self._ends, (session.end_due(self._policy), session.key))
        self.keep(session, session.let_go_due(self._policy))
        self.wait(session)

    def moved(self, session: Session, last_event: int, last_any: int) -> None:
        """Events were counted. A later event (not a cancel or refund) opens the session, or opens it again."""
        if last_any > session.last_any:
            session.last_any = last_any
            if session.let_go_at == NEVER:
                self.keep(session, session.let_go_due(self._policy))
        if last_event > session.last_event:
            session.last_event = last_event
            if session.ended:
                session.ended = False
                session.stale = True
                self.open += 1
                heapq.heappush(self._ends, (session.end_due(self._policy), session.key))
        self.wait(session)

    def wait(self, session: Session, at_once: bool = False) -> None:
        """Puts a changed session in line to be written: at its end at once, else ``totals_every`` after the last time.

        Those of few events stand in a line of their own, so that a flood of made-up ones holds up nobody else. One that
        stands in line twice has lost its first place.
        """
        line, is_new = session.events > FEW, session.written_at == NEVER
        has_place = session.turn and line <= session.in_line and (is_new or not at_once)
        if not has_place and not session.frozen and session.changed:
            due = NEVER if at_once or is_new else session.written_at + self._policy.totals_every_ms
            self._turn += 1
            session.turn, session.in_line = self._turn, line
            heapq.heappush(self._lines[line], (due, self._turn, session.key))

    def end(self, now: int) -> Iterator[Session]:
        """Ends what is due at ``now``; it is then in line to be written at once."""
        while self._ends and self._ends[0][0] <= now:
            session = self.held.get(heapq.heappop(self._ends)[1])
            if session is None or session.ended:
                continue
            due = session.end_due(self._policy)
            if due > now:
                heapq.heappush(self._ends, (due, session.key))
                continue
            session.ended = True
            session.stale = True
            self.open -= 1
            self.wait(session, at_once=True)
            self.quiet(session)
            yield session

    def next_to_write(self, watermark: int | None, everything: bool) -> Session | None:
        """The changed session that waits longest and is due, taken out of its line. Every fourth is one of few events."""
        limit = FAR_AHEAD if everything else LONG_AGO if watermark is None else watermark
        self._written += 1
        first = 0 if self._written % SHARE_OF_FEW == 0 else 1
        return self._next_in(self._lines[first], limit) or self._next_in(self._lines[1 - first], limit)

    def _next_in(self, line: list[tuple[int, int, bytes]], limit: int) -> Session | None:
        while line and line[0][0] <= limit:
            _, turn, key = heapq.heappop(line)
            session = self.held.get(key)
            if session is None or session.turn != turn:
                continue
            session.turn = 0
            if session.changed:
                if session.ended:
                    self.quiet(session)
                return session
        return None

    # -- rest

    def quiet(self, session: Session) -> None:
        """It has ended, its totals are written, or a pane of it was dropped: it may be at rest now."""
        self._quiet[session.key] = None

    def _is_at_rest(self, key: bytes, in_panes: Callable[[bytes], bool]) -> bool:
        session = self.held.get(key)
        if session is None or not session.ended or (session.changed and not session.frozen):
            return False
        return not in_panes(key)

    def pack(self, in_panes: Callable[[bytes], bool]) -> list[Session] | None:
        """Packs a page of those at rest, and gives them; None when they are too few. Those too large for a page stay.

        ``in_panes`` says whether anything is held of a key in panes or marks.
        """
        while self._quiet and len(self._ready) < self.pages.size:
            key, _ = self._quiet.popitem()
            if self._is_at_rest(key, in_panes):
                self._ready[key] = None
        if len(self._ready) < self.pages.size:
            return None
        keys = [key for key in islice(self._ready, self.pages.size) if self._is_at_rest(key, in_panes)]
        self._ready = dict(islice(self._ready.items(), self.pages.size, None))
        packed = [(session, each) for session in map(self.held.__getitem__, keys) if (each := self._packed(session))]
        if packed:
            self.pages.add([each for _, each in packed])
        for session, _ in packed:
            self._leave(session)
        return [session for session, _ in packed]

    def _packed(self, session: Session) -> Resting | None:
        """None for one that no page takes. It needs less memory from now on, too."""
        session.rest()
        data = session.packed()
        if len(data) > LARGEST or session.key in self.pages:  # another key of the same hash is there
            return None
        return Resting(session.key, session.let_go_due(self._policy), data)

    def _leave(self, session: Session) -> None:
        """It is not held as an object any more."""
        del self.held[session.key]
        if session.let_go_at != NEVER:
            del self._let_go[session.let_go_at][session.key]

    def _wake(self, key: bytes, data: bytes, incomplete: bool) -> Session:
        session = self.held[key] = _unpacked(key, data, incomplete)
        session.stale = True
        self.keep(session, session.let_go_due(self._policy))
        self.wait(session)
        return session

    # -- lost offsets

    def mark_incomplete(self) -> list[Session]:
        """Offsets are lost: totals of all say so from now on, and are written again. Gives those not at rest."""
        self.pages.mark_incomplete()
        for session in self.held.values():
            session.mark_incomplete()
            self.wait(session)
        return list(self.held.values())

    def wake_incomplete(self) -> list[Session]:
        """Some of those at rest that are to be written again; none when no more are."""
        woken = [self._wake(each.key, each.data, incomplete=True) for each in self.pages.take_incomplete()]
        for session in woken:
            self.quiet(session)
        return woken

    # -- letting go

    def keep(self, session: Session, until: int) -> None:
        """It is let go then at the earliest."""
        if session.let_go_at != NEVER:
            del self._let_go[session.let_go_at][session.key]
        session.let_go_at = until
        if until not in self._let_go:
            self._let_go[until] = {}
            heapq.heappush(self._dues, until)
        self._let_go[until][session.key] = None

    def let_go(self, watermark: int) -> Iterator[Session]:
        """Sessions kept long enough after their end. The caller drops what it holds of them, or keeps those with panes."""
        later = (watermark // self._policy.pane_ms + 1) * self._policy.pane_ms
        while self._dues and self._dues[0] <= watermark:
            for key in self._let_go.pop(heapq.heappop(self._dues)):
                session = self.held[key]
                session.let_go_at = NEVER
                due = session.let_go_due(self._policy)
                if due > watermark or not session.ended or (session.changed and not session.frozen):
                    self.keep(session, max(due, later))
                else:
                    yield session

    def forget(self, session: Session, watermark: int) -> None:
        self._leave(session)
        self._let_it_go(session, watermark)

    def let_go_at_rest(self, watermark: int) -> Iterator[None]:
        """The same for those at rest, one at a step."""
        for resting in self.pages.let_go(watermark):
            self._let_it_go(Session.unpacked(resting.key, resting.data), watermark)
            yield

    def _let_it_go(self, session: Session, watermark: int) -> None:
        self.show(session, [-number for number in session.shown])
        self.gmv.subtract(session.gmv)
        if not session.frozen:
            self.gone.note(session.seed, watermark, watermark)

    # -- the state

    def restore_pages(self, values: Mapping[int, bytes], watermark: int | None) -> None:
        """When all others are there, and those that were let go. Raises StateError."""

        def is_dead(hashed: int, resting: Resting) -> bool:
            if resting.key in self.held or (watermark is not None and resting.due <= watermark):
                return True
            return (
                watermark is not None
                and self.gone.holds(hashed, watermark)
                and not Session.unpacked(resting.key, resting.data).frozen
            )

        for resting in self.pages.restore(values, is_dead):
            head = head_in(resting.data)
            self.shown = list(map(add, self.shown, (head.views, head.product_clicks, head.comments, head.orders_paid)))
            if head.gmv:
                self.gmv.update(head.gmv)


def _unpacked(key: bytes, data: bytes, incomplete: bool) -> Session:
    session = Session.unpacked(key, data)
    if incomplete:
        session.mark_incomplete()
    return session
