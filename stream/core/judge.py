"""Judging: what becomes of each record, in the order of the design, and the counting of those that count.

Rule: up to step 3 nothing may look at another topic, at session state or at a clock on a wall; only steps 8 and 9 note
ids and checkout keys. The loop is the program's hot path: everything in locals, no object made for an event.
"""

from collections.abc import Callable, Sequence
from typing import Final, cast

from stream.core.counting import count_checkout, count_comment, count_view
from stream.core.counts import NEVER
from stream.core.decode import Decoded, Events, Rejected
from stream.core.ids import IdSet, TimedHashes, hash_id
from stream.core.ontime import count_late, on_time_ms
from stream.core.panes import PLACE, Pane, Row
from stream.core.policy import Policy
from stream.core.sessions import Session
from stream.core.windows import LONG_AGO
from stream.model.events import Checkout, Event, View
from stream.model.names import KINDS, Kind, Outcome, Reason
from stream.model.results import DeadLetter, Record, Records, Tally

_COUNT: Final[dict[Kind, Callable[..., None]]] = {
    Kind.VIEWS: count_view,
    Kind.COMMENTS: count_comment,
    Kind.CHECKOUTS: count_checkout,
}
VIEWS_PLACE: Final = PLACE[Kind.VIEWS]


class Judge:
    """Judges and counts. ``rows`` are the shard's; ``meet`` gives the session of a key that is counted."""

    def __init__(self, policy: Policy, rows: dict[int, Row], meet: Callable[[bytes], Session]) -> None:
        self._policy = policy
        self._rows = rows
        self._meet = meet
        self.clocks: dict[Kind, int | None] = dict.fromkeys(KINDS)
        """The largest event time of each topic so far."""
        self.checkout_keys = TimedHashes(policy.checkout_key_ms)
        self.changed: list[Pane] = []
        """Panes counted into since the last checkpoint."""
        self.begin_anew()

    def begin_anew(self) -> None:
        """A checkpoint has taken what there was."""
        self.changed.clear()
        self.dead: list[DeadLetter] = []
        self.dead_bytes = 0
        self.tally = Tally()

    @property
    def newest(self) -> int | None:
        """The newest clock of the shard."""
        return max((clock for clock in self.clocks.values() if clock is not None), default=None)

    def judge(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        """A batch of one topic, in order."""
        if kind is Kind.VIEWS and isinstance(events, Events) and events.clean:
            self._judge_views(records, cast("Sequence[View]", events))
        else:
            self._judge_each(kind, records, events)

    def _judge_views(self, records: Sequence[Record], events: Sequence[View]) -> None:
        """The same for well-formed views, 19 of 20 records: nothing is asked of one that is plainly on time.

        [low, high) is where an event can be neither future nor refused nor behind by the delay, and falls into the current
        row: all before it in the batch are below high as well, so that the clock cannot have come far enough.
        """
        pane_ms, limit = self._policy.pane_ms, self._policy.max_ids
        oldest = records.oldest_ms if isinstance(records, Records) else min(record.timestamp for record in records)
        ceiling = oldest + self._policy.max_future_ms + 1
        on_time = on_time_ms(self._policy.delay_ms)
        changed, hashed = self.changed, hash_id
        clock = self.clock(Kind.VIEWS)
        low = high = 0
        panes: dict[bytes, Pane] = {}
        note = IdSet().note
        for record, event in zip(records, events, strict=True):
            time = event.event_time
            if not low <= time < high:
                start = time // pane_ms * pane_ms
                high = min(start + pane_ms, ceiling, max(clock, time) + (on_time + 1) // 2)
                low = max(start, self._floor(clock) + 1, max(clock + 1, high) - on_time)
                if not low <= time < high:
                    self.clocks[Kind.VIEWS] = None if clock == NEVER else clock
                    self._judge_each(Kind.VIEWS, (record,), (event,))
                    clock = self.clock(Kind.VIEWS)
                    high = low
                    continue
                row = self._rows.get(start) or self._new_row(start)
                panes, note = row.panes, row.ids[VIEWS_PLACE].note
            if time > clock:  # noqa: PLR1730  # a third of the time of max()
                clock = time
            key = record.key or b""
            pane = panes.get(key)
            id_ = hashed(event.event_id.encode(), hashed(key) if pane is None else pane.seed)
            if not note(id_):
                self._uncount(Kind.VIEWS, Outcome.DUPLICATE)
                continue
            if pane is None:
                pane = row.open(self._meet(key))
            if not pane.changed:
                pane.changed = True
                changed.append(pane)
            count_view(pane, event, limit)
        self.clocks[Kind.VIEWS] = None if clock == NEVER else clock

    def _judge_each(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:  # noqa: C901, PLR0912, PLR0915  # the hot path: the design's order of judging, with everything in locals
        policy = self._policy
        pane_ms, bound_ms, limit, max_future = policy.pane_ms, policy.bound_ms, policy.max_ids, policy.max_future_ms
        count, place, rows, changed, hashed = _COUNT[kind], PLACE[kind], self._rows, self.changed, hash_id
        checkouts, on_time = kind is Kind.CHECKOUTS, on_time_ms(policy.delay_ms)
        clock = self.clock(kind)
        floor = self._floor(clock)
        low = high = 0
        panes: dict[bytes, Pane] = {}
        ids = IdSet()
        for record, event in zip(records, events, strict=True):
            # 0, 1: tombstones, and what could not be decoded
            if event is None:
                self._uncount(kind, Outcome.TOMBSTONE)
                continue
            if isinstance(event, Rejected):
                self._reject(kind, record, event.reason, event.detail)
                continue
            # 2: the future, by the broker's clock
            time = event.event_time
            if time > record.timestamp + max_future:
                self._reject(
                    kind, record, Reason.FUTURE, f"event_time: {time - record.timestamp} ms ahead of the broker"
                )
                continue
            # 3: the clock moves, whatever becomes of the event
            if time > clock:
                clock = time
                floor = max(floor, time - bound_ms)
            # 4, 5, 6: duplicate, late, pane_gone; of those that are old enough for any of it
            if time <= floor and self._is_refused(kind, record, event, clock):
                continue
            if not low <= time < high:
                low = time // pane_ms * pane_ms
                high = low + pane_ms
                row = rows.get(low) or self._new_row(low)
                panes, ids = row.panes, row.ids[place]
            # 4: duplicate by event id
            key = record.key or b""
            pane = panes.get(key)
            seed = pane.seed if pane is not None else hashed(key)
            id_ = hashed(event.event_id.encode(), seed)
            if id_ in ids:
                self._uncount(kind, Outcome.DUPLICATE)
                continue
            # 7, 8: duplicate by checkout key, not an order
            if checkouts and isinstance(event, Checkout):
                outcome = self._judge_checkout(event, seed, clock)
                if outcome is Outcome.DUPLICATE:
                    self._uncount(kind, outcome)
                    continue
                if outcome is Outcome.NOT_AN_ORDER:
                    self._uncount(kind, outcome)
                    ids.note(id_)
                    continue
            # 9: counted
            ids.note(id_)
            if pane is None:
                pane = row.open(self._meet(key))
            if not pane.changed:
                pane.changed = True
                changed.append(pane)
            if time + on_time > clock:
                count(pane, event, limit)
            else:
                count_late(count, pane, event, limit)
        if clock != NEVER:
            self.clocks[kind] = clock

    def clock(self, kind: Kind) -> int:
        clock = self.clocks[kind]
        return NEVER if clock is None else clock

    def _floor(self, clock: int) -> int:
        """Event times up to here may be late or belong to a pane that is gone."""
        late = LONG_AGO if clock == NEVER else clock - self._policy.bound_ms
        newest = self.newest
        if newest is None:
            return late
        pane_ms = self._policy.pane_ms
        return max(late, (newest - self._policy.state_retention_ms) // pane_ms * pane_ms - 1)

    def _is_refused(self, kind: Kind, record: Record, event: Event, clock: int) -> bool:
        """Steps 4 to 6 for an old event. Its ids are held until its own topic's clock has passed pane end + bound."""
        policy = self._policy
        start = event.event_time // policy.pane_ms * policy.pane_ms
        end = start + policy.pane_ms
        row = self._rows.get(start)
        if row is not None and end + policy.bound_ms > clock:
            id_ = hash_id(event.event_id.encode(), hash_id(event.session_id.encode()))
            if id_ in row.ids[PLACE[kind]]:
                self._uncount(kind, Outcome.DUPLICATE)
                return True
        if event.event_time + policy.bound_ms <= clock:
            self._uncount(kind, Outcome.LATE)
            self._refuse(
                kind, record, Reason.LATE, f"event_time: {clock - event.event_time} ms behind its topic's clock"
            )
            return True
        newest = max(self.newest or clock, clock)
        if end + policy.state_retention_ms <= newest:
            self._reject(kind, record, Reason.PANE_GONE, f"event_time: {newest - event.event_time} ms behind the shard")
            return True
        return False

    def _judge_checkout(self, event: Checkout, seed: int, clock: int) -> Outcome:
        """By (session, checkout, status) and for a failed one its attempt; shops resend webhooks under new event ids."""
        status = event.status
        attempt = f"/{event.attempt or 0}" if status == "failed" else ""
        hashed = hash_id(f"{status}{attempt}/{event.checkout_id}".encode(), seed)
        if self.checkout_keys.holds(hashed, clock):
            return Outcome.DUPLICATE
        self.checkout_keys.note(hashed, event.event_time)
        return Outcome.NOT_AN_ORDER if status == "paid" and event.is_cod else Outcome.COUNTED

    def _uncount(self, kind: Kind, outcome: Outcome) -> None:
        """One record of the batch is not counted after all."""
        outcomes = self.tally.outcomes
        outcomes[kind, outcome] += 1
        outcomes[kind, Outcome.COUNTED] -= 1

    def _reject(self, kind: Kind, record: Record, reason: Reason, detail: str) -> None:
        self._uncount(kind, Outcome.REJECTED)
        self._refuse(kind, record, reason, detail)

    def _refuse(self, kind: Kind, record: Record, reason: Reason, detail: str) -> None:
        self.tally.rejected[reason] += 1
        self.dead_bytes += len(record.key or b"") + len(record.value or b"")
        self.dead.append(DeadLetter(kind, record, reason, detail))

    def _new_row(self, start: int) -> Row:
        row = self._rows[start] = Row(start)
        return row
