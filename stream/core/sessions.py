"""Sessions: the totals of whole broadcasts, their end, reopening, keeping and letting go.

Totals are not counted a second time: they are the sum of what dropped panes left behind (``base``) and of the panes
still held. Only which ids a session's own breakdowns name is decided event by event (core/breakdown.py).
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import add
from typing import Final

from stream.core.breakdown import Money, add_money
from stream.core.counts import NEVER, Counts, merge_breakdowns, total, united
from stream.core.ids import TimedHashes, hash_id
from stream.core.packing import head_of, pack, unpack
from stream.core.policy import Policy
from stream.core.stored import Head

NOTHING_SHOWN: Final = (0, 0, 0, 0)


class Session:
    """One broadcast as the shard knows it. Times are event times in ms, `NEVER` before the first."""

    __slots__ = (
        "_base",
        "ended",
        "events",
        "frozen",
        "gmv",
        "key",
        "last_any",
        "last_event",
        "named",
        "queued",
        "revision",
        "seed",
        "session_id",
        "shown",
        "stale",
        "sum",
        "summed",
        "written_at",
        "written_ended",
        "written_events",
    )

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.session_id = key.decode()
        self.seed = hash_id(key)
        """Ids are hashed with their session, so that one set serves all sessions."""
        self._base: Counts | bytes | None = None
        self.sum: bytes | None = None
        """The base and the quiet panes added up and packed, so that the next totals need not unpack each of them."""
        self.summed: tuple[int, ...] = ()
        """Starts of the panes in it that are still held."""
        self.named: defaultdict[str, set[str]] = defaultdict(set)
        """By breakdown, the ids its own name."""
        self.stale = True
        """Its own item in the state is out of date."""
        self.events = 0
        """Counted so far, panes included."""
        self.shown = [0, 0, 0, 0]
        """views, product clicks, comments, orders so far, for people to look at."""
        self.gmv: Money = {}
        self.last_event = NEVER
        """Of events that keep a session open: cancels and refunds aside."""
        self.last_any = NEVER
        self.ended = False
        self.frozen = False
        """It was let go before: live.sessions keeps the totals of then."""
        self.queued = False
        self.revision = 0
        self.written_events = NEVER
        self.written_ended = False
        self.written_at = NEVER
        """Watermark when its totals were last written."""

    @property
    def base(self) -> Counts | None:
        """What dropped panes left behind. A restored one stays packed until somebody asks: many never do."""
        if isinstance(self._base, bytes):
            self._base = unpack(self._base)
        return self._base

    @base.setter
    def base(self, base: Counts) -> None:
        self._base = base

    def packed_base(self) -> bytes | None:
        return self._base if self._base is None or isinstance(self._base, bytes) else pack(self._base)

    def restore_base(self, base: bytes) -> None:
        """Of a session that knows nothing yet."""
        self._base = base
        self.recall(head_of(base))

    @property
    def changed(self) -> bool:
        """Its totals differ from those last written."""
        return self.events != self.written_events or self.ended != self.written_ended

    def mark_incomplete(self) -> None:
        """Offsets are lost: its totals say so from now on."""
        base = self.base = self.base or Counts()
        base.incomplete = True
        self.sum = None
        self.stale = True
        self.written_events = NEVER

    def recall(self, counts: Head) -> None:
        """What it knows of a restored pane or of its base. A hundred thousand times after a restart: most add little."""
        self.events += counts.events
        more = (counts.views, counts.product_clicks, counts.comments, counts.orders_paid)
        if more != NOTHING_SHOWN:
            self.shown = list(map(add, self.shown, more))
        if counts.gmv:
            add_money(self.gmv, counts.gmv)
        if counts.last_event > self.last_event:  # noqa: PLR1730  # a third of the time of max()
            self.last_event = counts.last_event
        if counts.label_at > self.last_any:  # noqa: PLR1730  # the same
            self.last_any = counts.label_at

    def absorb(self, pane: Counts, start: int) -> None:
        """A pane is dropped: its figures live on in the base."""
        if start in self.summed:
            self.summed = tuple(other for other in self.summed if other != start)
        else:
            self.sum = None
        if not pane.events:
            return
        base = self.base = self.base or Counts()
        base.add(pane)
        merge_breakdowns(base, pane, self.named)
        base.viewers = united((base.viewers, pane.viewers))
        base.buyers = united((base.buyers, pane.buyers))
        self.stale = True

    def totals(self, busy: list[Counts], quiet: Mapping[int, bytes]) -> Counts:
        """Base plus the panes still held, ``quiet`` ones packed and by start, bounded by the session's own named ids."""
        if quiet or self._base is not None:
            settled = self._settled(quiet)
            return total([settled, *busy], self.named) if busy else settled
        return total(busy, self.named)

    def _settled(self, quiet: Mapping[int, bytes]) -> Counts:
        """The sum of the base and of the quiet panes; a quiet pane that is counted into again begins it anew."""
        if self.sum is None:
            parts, self.summed = [] if self.base is None else [self.base], ()
        else:
            parts = [unpack(self.sum)]
        fresh = [start for start in quiet if start not in self.summed]
        if fresh or self.sum is None:
            whole = total([*parts, *(unpack(quiet[start]) for start in fresh)], self.named)
            self.sum, self.summed = pack(whole), (*self.summed, *fresh)
            return whole
        return parts[0]

    def end_due(self, policy: Policy) -> int:
        """Event time at which it has ended unless more comes; a session of cancels and refunds alone ends at once."""
        return self.last_event + policy.session_end_after_ms if self.last_event != NEVER else self.last_any

    def let_go_due(self, policy: Policy) -> int:
        return self.last_any + policy.session_end_after_ms + policy.session_keep_ms


class Sessions:
    """All sessions held, by key, and who is due: to end, to be written, to be let go."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.held: dict[bytes, Session] = {}
        self.gone = TimedHashes(policy.gone_session_ms)
        self._ends: list[tuple[int, bytes]] = []
        self._let_go: list[tuple[int, bytes]] = []
        self._waiting: list[tuple[int, int, bytes]] = []
        self._turn = 0
        self.open = 0
        self.shown = [0, 0, 0, 0]
        """views, product clicks, comments, orders of all sessions held, for people to look at."""
        self.gmv: Counter[str] = Counter()

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
        if not session.ended:
            self.open += 1
            heapq.heappush(self._ends, (session.end_due(self._policy), session.key))
        heapq.heappush(self._let_go, (session.let_go_due(self._policy), session.key))
        self.wait(session)

    def moved(self, session: Session, last_event: int, last_any: int) -> None:
        """Events were counted. A later event (not a cancel or refund) opens the session, or opens it again."""
        if last_any > session.last_any:
            if session.last_any == NEVER:
                heapq.heappush(self._let_go, (last_any, session.key))
            session.last_any = last_any
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

        It may stand in line twice; the second turn then finds it unchanged.
        """
        if (at_once or not session.queued) and not session.frozen and session.changed:
            session.queued = True
            first = at_once or session.written_at == NEVER
            due = NEVER if first else session.written_at + self._policy.totals_every_ms
            self._turn += 1
            heapq.heappush(self._waiting, (due, self._turn, session.key))

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
            yield session

    def next_to_write(self, watermark: int | None, everything: bool) -> Session | None:
        """The changed session that waits longest and is due, taken out of the line."""
        while self._waiting:
            due, _, key = self._waiting[0]
            if not everything and (watermark is None or due > watermark):
                return None
            heapq.heappop(self._waiting)
            session = self.held.get(key)
            if session is not None and session.queued and session.changed:
                session.queued = False
                return session
        return None

    def let_go(self, watermark: int) -> Iterator[Session]:
        """Sessions kept long enough after their end. The caller drops what it holds of them, or keeps those with panes."""
        while self._let_go and self._let_go[0][0] <= watermark:
            session = self.held.get(heapq.heappop(self._let_go)[1])
            if session is None:
                continue
            due = session.let_go_due(self._policy)
            if due > watermark or not session.ended or (session.changed and not session.frozen):
                heapq.heappush(self._let_go, (max(due, watermark + 1), session.key))
                continue
            yield session

    def keep(self, session: Session, until: int) -> None:
        heapq.heappush(self._let_go, (until, session.key))

    def forget(self, session: Session, watermark: int) -> None:
        del self.held[session.key]
        self.show(session, [-number for number in session.shown])
        self.gmv.subtract(session.gmv)
        if not session.frozen:
            self.gone.note(session.seed, watermark)
