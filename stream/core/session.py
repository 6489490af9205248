"""One session: the totals of a whole broadcast, and how far they were written.

Totals are not counted a second time: they are the sum of what dropped panes left behind (``base``) and of the panes
still held. Only which ids a session's own breakdowns name is decided event by event (core/breakdown.py).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import add
from typing import Final

import msgspec

from stream.core.breakdown import Money, add_money
from stream.core.counts import BREAKDOWNS, NEVER, Counts, merge_breakdowns, total, united
from stream.core.figures import SKETCHES
from stream.core.formats import Format
from stream.core.ids import hash_id
from stream.core.packing import head_of, outline_of, pack, unpack
from stream.core.policy import Policy
from stream.core.state_format import Head, Outline

_encode: Final = msgspec.msgpack.Encoder().encode


class _Packed(msgspec.Struct, array_like=True, gc=False):
    base: bytes | None
    named: list[list[str]]
    ended: bool
    frozen: bool
    revision: int
    written_events: int
    written_ended: bool
    written_at: int
    past: tuple[tuple[int, int, int] | None, int, int] = (None, 0, 0)
    """``seen``, ``windows`` and ``promoted``. Before format 5 there was none."""


_decode: Final = msgspec.msgpack.Decoder(_Packed).decode
PAST_SINCE: Final = 5
"""The format that holds what promotions need."""
NOTHING_SHOWN: Final = (0, 0, 0, 0)


class Session:
    """One broadcast as the shard knows it. Times are event times in ms, `NEVER` before the first."""

    __slots__ = (
        "_base",
        "end_at",
        "end_to",
        "ended",
        "events",
        "frozen",
        "gmv",
        "host_names",
        "in_line",
        "key",
        "last_any",
        "let_go_at",
        "named",
        "on_air_to",
        "promoted",
        "revision",
        "seed",
        "seen",
        "session_id",
        "shown",
        "stale",
        "start_to",
        "sum",
        "summed",
        "turn",
        "windows",
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
        self.host_names: dict[str, str] = {}
        """What its host calls it, as the totals said that were written last, for people to look at."""
        self.on_air_to = NEVER
        """Of views and comments, which alone open a session and keep it open."""
        self.start_to = self.end_to = NEVER
        """The last time that the host started it, and ended it."""
        self.end_at = NEVER
        """When it is looked at next whether it has ended, while it is open."""
        self.last_any = NEVER
        """Of all events."""
        self.let_go_at = NEVER
        """When it is looked at next whether it is to be let go."""
        self.ended = False
        self.frozen = False
        """It was let go before: live.sessions keeps the totals of then."""
        self.turn = 0
        """Its number in the line of those that wait to be written; 0 when it stands in none."""
        self.in_line = False
        """In which: of those of more than a few events."""
        self.revision = 0
        self.seen: tuple[int, int, int] | None = None
        """Positions of the inputs before which all lies that it has counted; None when nobody noted them."""
        self.windows = 0
        """The highest revision of its windows, of those whose first pane was dropped."""
        self.promoted = 0
        """Number of the promotion that was applied last; 0 for none."""
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

    def name(self, named: Sequence[Sequence[str]]) -> None:
        """The ids that its breakdowns name, in the order of those."""
        self.named.update((name, set(ids)) for name, ids in zip(BREAKDOWNS, named, strict=False) if ids)

    def restore_base(self, base: bytes) -> None:
        """Of a session that knows nothing yet."""
        self._base = base
        self.recall(outline_of(base))

    def replace(self, base: bytes | None, named: Sequence[Sequence[str]]) -> None:
        """Nothing of it is in a pane, and its totals are others from now on. None: it has none."""
        self._base, self.sum, self.summed = None, None, ()
        self.events, self.shown, self.gmv = 0, [0, 0, 0, 0], {}
        self.on_air_to = self.start_to = self.end_to = self.last_any = NEVER
        self.named.clear()
        self.name(named)
        if base is not None:
            self.restore_base(base)
        self.written_events, self.written_ended = self.events, self.ended
        self.stale = True

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

    def recall(self, counts: Outline) -> None:
        """What it knows of a restored pane or of its base. A hundred thousand times after a restart: most add little."""
        self.events += counts.events
        more = (counts.views, counts.product_clicks, counts.comments, counts.orders_paid)
        if more != NOTHING_SHOWN:
            self.shown = list(map(add, self.shown, more))
        if counts.gmv:
            add_money(self.gmv, counts.gmv)
        self.on_air_to = max(self.on_air_to, counts.on_air_to)
        self.start_to = max(self.start_to, counts.start_to)
        self.end_to = max(self.end_to, counts.end_to)
        if counts.label_at > self.last_any:  # noqa: PLR1730  # a third of the time of max()
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
        for name in SKETCHES:
            setattr(base, name, united((getattr(base, name), getattr(pane, name))))
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
        """Event time at which it has ended unless more comes; one of checkouts alone has ended."""
        silent = self.on_air_to + policy.session_end_after_ms if self.on_air_to != NEVER else self.last_any
        return min(silent, self.end_to + policy.end_grace_ms) if self.is_closed(policy) else silent

    def is_closed(self, policy: Policy) -> bool:
        """By its host, and neither started since nor viewed so much later that the end must have been a mistake."""
        return self.end_to > self.start_to and self.on_air_to <= self.end_to + policy.session_end_after_ms

    def let_go_due(self, policy: Policy) -> int:
        """In whole panes: thousands are let go together."""
        due = max(self.end_due(policy), self.last_any) + policy.session_keep_ms
        return -(-due // policy.pane_ms) * policy.pane_ms

    # -- packed

    def rest(self) -> None:
        """Nothing of it is in a pane any more: its totals are held packed."""
        self._base, self.sum, self.summed = self.packed_base(), None, ()

    def packed(self, form: Format) -> bytes:
        """All of it but the key and what is in panes: what `unpacked` makes it of again."""
        base = self.packed_base()
        whole = (
            base and form.counts(base),
            form.named([list(self.named.get(name, ())) for name in BREAKDOWNS]),
            self.ended,
            self.frozen,
            self.revision,
            self.written_events,
            self.written_ended,
            self.written_at,
        )
        if form.version < PAST_SINCE:
            return _encode(whole)
        return _encode((*whole, (self.seen, self.windows, self.promoted)))

    @classmethod
    def unpacked(cls, key: bytes, data: bytes) -> "Session":
        """Without its panes; what derives from them is worked out when they are there."""
        packed = _decode(data)
        session = cls(key)
        session.stale = False
        if packed.base is not None:
            session.restore_base(packed.base)
        session.name(packed.named)
        session.ended, session.frozen, session.revision = packed.ended, packed.frozen, packed.revision
        session.written_events, session.written_ended = packed.written_events, packed.written_ended
        session.written_at = packed.written_at
        session.seen, session.windows, session.promoted = packed.past
        return session


def head_in(data: bytes) -> Head:
    """The head of the base in a packed session that has one."""
    return head_of(_decode(data).base or b"")
