"""Judging: what becomes of each record, in the order of docs/architecture.md, and the counting of those that count.

Rule: up to step 3 nothing may look at another topic, at session state or at a clock on a wall; only steps 8 and 9 note
ids and checkout keys. Plain views and comments go through the same in native/judging.pyx, where that is built.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from stream.core.counting import count_checkout, count_comment, count_view
from stream.core.counts import NEVER
from stream.core.decode import Decoded, Rejected
from stream.core.headers import MOST_BYTES, size_of
from stream.core.ids import IdSet, TimedHashes, hash_id
from stream.core.known import Known
from stream.core.ontime import count_late, on_time_ms
from stream.core.panes import PLACE, Pane, Row, Rows
from stream.core.policy import HOUR, MINUTE, Policy
from stream.core.session import Session
from stream.core.state_format import Meta
from stream.core.state_keys import CHECKOUT_KEYS, KNOWN
from stream.core.switch import NATIVE
from stream.core.units import ahead
from stream.model.events import Checkout, Event
from stream.model.names import KINDS, Kind, Outcome, Reason
from stream.model.results import DeadLetter, Record, RefusedBatch, Tally

if TYPE_CHECKING or NATIVE:
    from stream.core.native.judging import judge_plain
    from stream.core.native.plain import PlainEvents
else:
    judge_plain, PlainEvents = None, ()  # nothing is an instance of ()

LETTER: Final = 300
"""Bytes that a dead letter takes until the checkpoint, besides what it holds: an empty record takes as much."""

COUNT: Final[dict[Kind, Callable[..., int]]] = {
    Kind.VIEWS: count_view,
    Kind.COMMENTS: count_comment,
    Kind.CHECKOUTS: count_checkout,
}
"""Each kind of event has its own: none is counted as another."""


def ignored(_: Pane) -> None:
    """Nobody keeps totals."""


class Judge:
    """Judges and counts. ``rows`` are the shard's; ``meet`` gives the session of a key that is counted."""

    def __init__(self, policy: Policy, rows: Rows, meet: Callable[[bytes], Session]) -> None:
        self.policy = policy
        self._rows = rows
        self.meet = meet
        self.clocks: dict[Kind, int | None] = dict.fromkeys(KINDS)
        """The largest min(event time, broker's timestamp) of each topic so far: an event stamped ahead moves none beyond
        the broker's."""
        self.known = {kind: Known(policy, KNOWN + bytes([place])) for kind, place in PLACE.items()}
        """The sessions that each topic knows."""
        self.checkout_keys = TimedHashes(
            policy.checkout_key_ms, policy.max_checkout_keys, MINUTE, sort=CHECKOUT_KEYS, bucket_ms=HOUR
        )
        self.kind = Kind.VIEWS
        """The topic of the batch that is judged."""
        self.add_to_totals: Callable[[Pane], None] = ignored
        """Takes what is counted in no window: a pane of one event, in no row."""
        self.changed: list[Pane] = []
        """Panes counted into since the last checkpoint."""
        self.begin_anew()

    def begin_anew(self) -> None:
        """A checkpoint has taken what there was."""
        self.changed.clear()
        self.dead: list[DeadLetter] = []
        self.dead_bytes = 0
        self.label_bytes = 0
        """Of the names in the panes that have changed, each of which is written whole."""
        self.tally = Tally()

    @property
    def newest(self) -> int | None:
        """The newest clock of the shard."""
        newest = NEVER  # no generator: asked for at each slice of time
        for clock in self.clocks.values():
            if clock is not None and clock > newest:
                newest = clock
        return None if newest == NEVER else newest

    def judge(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        """A batch of one topic, in order."""
        self.kind = kind
        if isinstance(events, PlainEvents):
            judge_plain(self, kind, records, events)
        else:
            self.judge_each(kind, records, events)

    def judge_each(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:  # noqa: C901, PLR0912, PLR0915  # the hot path: the order of docs/architecture.md, with everything in locals
        policy = self.policy
        pane_ms, bound_ms, limit, max_future = policy.pane_ms, policy.bound_ms, policy.max_ids, policy.max_future_ms
        count, place, changed, hashed = COUNT[kind], PLACE[kind], self.changed, hash_id
        known, topic, most = self.known[kind], 1 << place, policy.max_pane_events
        checkouts, on_time = kind is Kind.CHECKOUTS, on_time_ms(policy.delay_ms)
        clock = self.clock(kind)
        floor = self.floor(clock)
        low = high = 0
        panes: dict[bytes, Pane] = {}
        ids = IdSet()
        for record, event in zip(records, events, strict=True):
            # 0, 1: tombstones, and what could not be decoded
            if event is None:
                self.uncount(kind, Outcome.TOMBSTONE)
                continue
            if isinstance(event, Rejected):
                self._reject(kind, record, event.reason, event.detail)
                continue
            # 2: the future, by the broker's clock
            time, stamp = event.event_time, record.timestamp
            if time > stamp + max_future:
                self._reject(kind, record, Reason.FUTURE, ahead(time - stamp))
                continue
            # 3: the clock moves, whatever becomes of the event, but never beyond the broker's timestamp
            if time > clock and stamp > clock:
                clock = time if time < stamp else stamp  # noqa: FURB136  # a third of the time of min()
                floor = max(floor, clock - bound_ms)
            # 4, 5, 6: duplicate, late, pane_gone
            if time <= floor:
                self._refuse_old(kind, record, event, clock)
                continue
            if not low <= time < high:
                low = time // pane_ms * pane_ms
                high = low + pane_ms
                row = self.row(low)
                panes, ids = row.panes, row.ids[place]
            # 4: duplicate by event id
            key = record.key or b""
            pane = panes.get(key)
            seed = pane.seed if pane is not None else hashed(key)
            id_ = hashed(event.event_id.encode(), seed)
            if id_ in ids:
                self.uncount(kind, Outcome.DUPLICATE)
                continue
            # too many sessions; one that this topic has counted in the open pane is known
            is_first = pane is None or not pane.topics & topic
            if is_first and (why := known.refusal(seed, low, clock)) is not None:
                self.refuse_session(kind, record, why)
                continue
            if len(ids) >= most:
                why = f"event_time: max_pane_events ({most}) of its topic are in its pane already"
                self._reject(kind, record, Reason.TOO_MANY_EVENTS, why)
                continue
            # 7, 8: duplicate by checkout key, not an order
            if checkouts and isinstance(event, Checkout):
                outcome = self._judge_checkout(event, seed, clock)
                if outcome is Outcome.DUPLICATE:
                    self.uncount(kind, outcome)
                    continue
                if outcome is Outcome.NOT_AN_ORDER:
                    self.uncount(kind, outcome)
                    ids.note(id_)
                    continue
            # 9: counted
            ids.note(id_)
            if pane is None:
                pane = row.open(self.meet(key))
            if is_first:
                known.note(seed, low, clock)
                pane.topics |= topic
            if not pane.changed:
                pane.changed = True
                changed.append(pane)
                self.label_bytes += pane.name_bytes
            if time + on_time > clock:
                held = count(pane, event, limit)
            else:
                self.tally.not_on_time[kind] += 1
                held = count_late(count, pane, event, limit)
            if held:
                self.label_bytes += held
        self.set_clock(kind, clock)

    def clock(self, kind: Kind) -> int:
        clock = self.clocks[kind]
        return NEVER if clock is None else clock

    def set_clock(self, kind: Kind, clock: int) -> None:
        self.clocks[kind] = None if clock == NEVER else clock

    def floor(self, clock: int) -> int:
        """Event times up to here are late, or belong to a pane that is gone."""
        late = clock - self.policy.bound_ms
        newest = self.newest
        if newest is None:
            return late
        pane_ms = self.policy.pane_ms
        return max(late, (newest - self.policy.state_retention_ms) // pane_ms * pane_ms - 1)

    def _refuse_old(self, kind: Kind, record: Record, event: Event, clock: int) -> None:
        """Steps 4 to 6 for one below the floor. Its ids are held until its own topic's clock has passed pane end + bound."""
        policy = self.policy
        start = event.event_time // policy.pane_ms * policy.pane_ms
        row = self._rows.get(start)
        if row is not None and start + policy.pane_ms + policy.bound_ms > clock:
            id_ = hash_id(event.event_id.encode(), hash_id(event.session_id.encode()))
            if id_ in row.ids[PLACE[kind]]:
                self.uncount(kind, Outcome.DUPLICATE)
                return
        if isinstance(event, Checkout) and event.event_time > max(
            clock - policy.late_totals_ms, self.checkout_keys.floor - 1
        ):
            self._count_in_totals(kind, record, event, clock)  # whose copies are known: none is counted again
            return
        if event.event_time + policy.bound_ms <= clock:
            self.uncount(kind, Outcome.LATE)
            self._refuse(
                kind, record, Reason.LATE, f"event_time: {clock - event.event_time} ms behind its topic's clock"
            )
            return
        behind = (self.newest or clock) - event.event_time  # not by its own clock: by that it is late long before
        self._reject(kind, record, Reason.PANE_GONE, f"event_time: {behind} ms behind the shard")

    def _count_in_totals(self, kind: Kind, record: Record, event: Checkout, clock: int) -> None:
        """Steps 7 to 9 for a checkout whose windows are final. It notes its key and no id: any copy has the same key.

        Its session is known from now on, so a new one is among those that the clock's own pane admits.
        """
        key, pane_ms = record.key or b"", self.policy.pane_ms
        seed, start = hash_id(key), clock // pane_ms * pane_ms
        known = self.known[kind]
        if (why := known.refusal(seed, start, clock)) is not None:
            self.refuse_session(kind, record, why)
            return
        outcome = self._judge_checkout(event, seed, clock)
        if outcome is Outcome.COUNTED:
            outcome = Outcome.TOTAL_ONLY
            known.note(seed, start, clock)
            pane = Pane(self.meet(key), start)
            count_checkout(pane, event, self.policy.max_ids)
            self.add_to_totals(pane)
        self.uncount(kind, outcome)

    def _judge_checkout(self, event: Checkout, seed: int, clock: int) -> Outcome:
        """By (session, checkout, status) and for a failed one its attempt; shops resend webhooks under new event ids."""
        status = event.status
        attempt = f"/{event.attempt or 0}" if status == "failed" else ""
        hashed = hash_id(f"{status}{attempt}/{event.checkout_id}".encode(), seed)
        if self.checkout_keys.holds(hashed, clock):
            return Outcome.DUPLICATE
        self.checkout_keys.note(hashed, event.event_time, clock)
        return Outcome.NOT_AN_ORDER if status == "paid" and event.is_cod else Outcome.COUNTED

    def uncount(self, kind: Kind, outcome: Outcome, number: int = 1) -> None:
        """So many records of the batch are not counted after all."""
        outcomes = self.tally.outcomes
        outcomes[kind, outcome] += number
        outcomes[kind, Outcome.COUNTED] -= number

    def refuse_session(self, kind: Kind, record: Record, why: str) -> None:
        """It is not known, and there is no room for it."""
        self._reject(kind, record, Reason.TOO_MANY_SESSIONS, why)

    def _reject(self, kind: Kind, record: Record, reason: Reason, detail: str) -> None:
        self.uncount(kind, Outcome.REJECTED)
        if isinstance(record, RefusedBatch):  # it was counted as one
            self.tally.outcomes[kind, Outcome.REJECTED] += record.records - 1
            self.tally.batched[kind, reason] += record.records - 1
        self._refuse(kind, record, reason, detail)

    def _refuse(self, kind: Kind, record: Record, reason: Reason, detail: str) -> None:
        self.tally.refused[kind, reason] += 1
        letter = DeadLetter(kind, record, reason, detail)
        self.dead_bytes += _weight(letter)
        self.dead.append(letter)

    def row(self, start: int) -> Row:
        """The row of the slice that begins at ``start``, a new one where there is none."""
        return self._rows.made(start)

    # -- the state

    def meta(self) -> dict[str, Any]:
        """Its own of `state_format.Meta`."""
        return {
            "clocks": {str(kind): clock for kind, clock in self.clocks.items()},
            "checkout_floor": self.checkout_keys.floor,
            "admitted": {str(kind): known.admitted for kind, known in self.known.items()},
        }

    def restore(self, meta: Meta) -> None:
        """Before the buckets of checkout keys and known sessions are."""
        self.clocks.update({kind: meta.clocks.get(kind) for kind in KINDS})
        self.checkout_keys.floor = meta.checkout_floor

    def restore_known(self, meta: Meta, sessions: Callable[[], Iterable[Session]]) -> None:
        """After all else is. A state that did not say who is known: every topic knows every session that is held."""
        pane_ms = self.policy.pane_ms
        for kind, known in self.known.items():
            if meta.admitted is not None:
                known.admitted.update(meta.admitted.get(kind, {}))
            elif self.clocks[kind] is not None:
                clock = self.clock(kind)
                for session in sessions():
                    known.adopt(session.seed, session.last_any // pane_ms * pane_ms, clock)


def _weight(letter: DeadLetter) -> int:
    """Bytes of memory that it holds."""
    record = letter.record
    if isinstance(record, RefusedBatch):
        return LETTER + len(record.data)
    headers = min(size_of(record.headers), 2 * MOST_BYTES)  # no more of them is kept
    return LETTER + len(record.key or b"") + len(record.value or b"") + headers
