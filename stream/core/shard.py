"""The shard: everything with one partition number, as a pure state machine.

Rule: whatever decides a number that liveshop shows is decided here, in core/, from the records and the policy alone.
Batches go in (`read`), time passes only as records say (and as `exclude` and `quiet` allow), and `collect` gives away
what one checkpoint has to write. Laws 1 to 5 of the design are properties of this class (tests/core/test_laws.py).
"""

from collections.abc import Callable, Iterable, Sequence
from operator import sub
from typing import Final

from stream.core.counts import NEVER, Counts
from stream.core.decode import Decoded, Rejected, decode_batch
from stream.core.judge import Judge
from stream.core.look import look
from stream.core.panes import Pane, Row, told_values, windows_marked
from stream.core.persist import checkpoint, restore_into
from stream.core.policy import Policy
from stream.core.render import session_value
from stream.core.sessions import Session, Sessions
from stream.core.snapshot import ids_bucket, pane_key, session_key
from stream.core.statelog import StateLog
from stream.core.steps import Steps, drained
from stream.core.windows import FAR_AHEAD, LONG_AGO, Windows
from stream.model.names import KINDS, LIVE_RUN, Kind, Outcome, Reason
from stream.model.results import Outputs, Record, ShardView

PACK_AT: Final = 1024
"""Ids of a quiet pane worth packing."""


def _anywhere(_key: bytes) -> bool:
    return True


class Shard:
    """One partition number of the three topics: judges, counts, closes, and gives away checkpoints.

    Times are milliseconds since 1970, UTC. ``placed`` says whether a key belongs to this partition.
    """

    def __init__(self, policy: Policy, *, generation: int = 0, placed: Callable[[bytes], bool] = _anywhere) -> None:
        self.policy = policy
        self.owner: dict[str, str] = {}
        """Who writes this state; kept in it, so that another's state is recognised."""
        self.positions: dict[Kind, int] = {}
        """Next offset to read."""
        self.watermark: int | None = None
        self.rows: dict[int, Row] = {}
        self.sessions = Sessions(policy)
        self.judge = Judge(policy, self.rows, self._session)
        self.clocks = self.judge.clocks
        self.checkout_keys = self.judge.checkout_keys
        self.windows = Windows(policy, self.rows)
        self.windows.tally = self.judge.tally
        self.windows.generation = generation
        self.log = StateLog(policy.checkpoint_span)
        self.gaps: dict[Kind, int | None] = {}
        """Topics that lost offsets: until which event time results are incomplete; None before the first event after."""
        self.drop_line = LONG_AGO
        """Panes that start here or earlier are needed by no window any more."""
        self._placed = placed
        self._excluded: set[Kind] = set()
        self._wall: int | None = None
        self._stale: dict[bytes, Session] = {}
        """Sessions whose own item in the state is out of date."""
        self._steps: Steps[None] | None = None
        self._moved = False
        self._stirred = True
        """Something happened since the last look at what is due."""

    @classmethod
    def restore(
        cls, policy: Policy, records: Iterable[tuple[int, bytes]], *, placed: Callable[[bytes], bool] = _anywhere
    ) -> "Shard":
        """From the records (offset, value) of live.state that `statelog.first_needed` asks for.

        Raises StateError for records that are no state, StateRefused for one counted under other settings.
        """
        shard = cls(policy, placed=placed)
        shard.log, content = StateLog.restore(records, policy.checkpoint_span)
        restore_into(shard, content)
        return shard

    def begin_at(self, positions: dict[Kind, int]) -> None:
        """A new shard's first offsets. The first checkpoint keeps them, also when no record ever comes."""
        self.positions = positions
        self._moved = True

    @property
    def generation(self) -> int:
        return self.windows.generation

    @property
    def newest(self) -> int | None:
        """The newest clock of the shard."""
        return self.judge.newest

    # -- records come in

    def read(self, kind: Kind, records: Sequence[Record]) -> None:
        """Judges and counts one batch of one topic."""
        self.count(kind, records, decode_batch(kind, records, self.policy.max_value))

    def count(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        """The same with the records decoded already (`decode_batch`)."""
        if not records:
            return
        self._moved = self._stirred = True
        self._wall = None
        self._excluded.discard(kind)
        self.windows.stir()
        changed_before = len(self.judge.changed)
        self.judge.tally.outcomes[kind, Outcome.COUNTED] += len(records)  # judging takes away what is not
        self.judge.judge(kind, records, events)
        if self.gaps:
            self._mark_incomplete(kind, self.judge.changed[changed_before:])
        self.positions[kind] = records[-1].offset + 1
        self._move_watermark()

    def skip(self, kind: Kind, records: Sequence[Record], why: str) -> None:
        """The next records of a topic, as an operator has named them: dead letters, unjudged. They move no clock."""
        self.count(kind, records, [Rejected(Reason.SKIPPED, why)] * len(records))

    def _mark_incomplete(self, kind: Kind, touched: Sequence[Pane]) -> None:
        """Panes that a batch has changed while offsets are missing; held ones were marked when the gap was found."""
        for pane in touched:
            pane.incomplete = True
        clock = self.clocks[kind]
        if self.gaps.get(kind, 0) is None and clock is not None:  # the first batch after the gap that moves the clock
            self.gaps[kind] = clock + self.policy.longest_ms + self.policy.bound_ms

    def _session(self, key: bytes) -> Session:
        session, is_new = self.sessions.meet(key, self.watermark)
        if is_new:
            self.judge.tally.misplaced += not self._placed(key)
            self.judge.tally.totals_frozen += session.frozen
        return session

    # -- time passes

    def _move_watermark(self) -> None:
        clocks = [clock for kind, clock in self.clocks.items() if kind not in self._excluded]
        known = [clock for clock in clocks if clock is not None]
        if known and len(known) == len(clocks):
            passed = min(known) - self.policy.delay_ms
            self.watermark = passed if self.watermark is None else max(self.watermark, passed)

    def exclude(self, kind: Kind) -> None:
        """The topic is caught up and silent: it holds the watermark back no longer, until its next record."""
        self._excluded.add(kind)
        self._stirred = True
        self._move_watermark()

    def quiet(self, wall_ms: int) -> None:
        """All topics are caught up and silent: what the wall clock has passed may be closed, ended and written."""
        self._wall = wall_ms
        self._stirred = True

    def finish(self) -> None:
        """The end of a bounded input: everything closes and ends."""
        self._wall = FAR_AHEAD
        self._stirred = True

    def gap(self, kind: Kind, lost: int) -> None:
        """Offsets of a topic are lost to retention: results say so until nothing can be missing from them."""
        self.judge.tally.lost_offsets += lost
        self.gaps[kind] = None
        self._moved = True
        for row in self.rows.values():
            for key in row.packed.keys() | row.panes.keys():
                pane = row.panes.get(key) or row.open(self.sessions.held[key])
                pane.incomplete = True
                self._touch(pane)
            for key, marks in list(row.marks.items()):
                for window in windows_marked(marks):
                    row.set_mark(key, window, row.mark(key, window)[0], NEVER)
                self.windows.touched.append((row.start, key))
        for session in self.sessions.held.values():
            session.mark_incomplete()
            self._stale[session.key] = session
            self.sessions.wait(session)

    def _touch(self, pane: Pane) -> None:
        if not pane.changed:
            pane.changed = True
            self.judge.changed.append(pane)

    def work(self, steps: int) -> bool:
        """Closes windows that are due and drops old panes, at most ``steps`` of them. True while more is due."""
        for _ in range(steps):
            if self._steps is None:
                if not self._stirred:
                    return False
                self._stirred = False
                self._steps = self._due()
            if next(self._steps, self) is self:
                self._steps = None
        return self._steps is not None or self._stirred

    def _due(self) -> Steps[None]:
        yield from self.windows.close(self.watermark, self.newest)
        if self._wall is not None:
            yield from self.windows.close_idle(self._wall)
        yield from self._drop_old()

    def _drop_old(self) -> Steps[None]:
        for start in sorted(self.rows):
            row = self.rows[start]
            if start <= self.drop_line:
                for key in [*row.panes, *row.packed, *row.marks]:
                    pane = row.panes.get(key)
                    if row.holds(key) and (pane is None or not pane.changed):
                        self._drop(row, key)
                        yield
            elif self.watermark is not None and start + self.policy.pane_ms <= self.watermark:
                yield from self._pack(row)
            yield from self._tidy_ids(row)
            if row.is_empty():
                del self.rows[start]

    def _drop(self, row: Row, key: bytes) -> None:
        """Its figures stay in the session's totals."""
        counts, marks = row.take(key)
        self.windows.marks -= len(windows_marked(marks))
        self.log.drop(pane_key(row.start, key))
        if counts is not None:
            session = self.sessions.held[key]
            session.absorb(counts)
            self._stale[key] = session

    def _pack(self, row: Row) -> Steps[None]:
        """Its time is over, stragglers aside."""
        for pane in list(row.panes.values()):
            if not pane.changed:
                row.pack(pane)
                yield

    def _tidy_ids(self, row: Row) -> Steps[None]:
        """Ids go when their own topic's clock says that any later copy is late; they are packed once it is past them."""
        end = row.start + self.policy.pane_ms
        for kind in KINDS:
            ids, clock = row.ids_of(kind), self.judge.clock(kind)
            if clock >= end + self.policy.bound_ms:
                if len(ids) or ids.fresh:
                    row.forget_ids(kind)
                    self.log.drop_bucket(ids_bucket(kind, row.start))
            elif clock >= end + self.policy.delay_ms and len(ids.live) > PACK_AT:
                yield from ids.freeze()

    # -- results go out

    def collect(self) -> Outputs | None:
        """All that one checkpoint has to write; None when nothing has changed since the last."""
        return drained(self.collecting())

    def collecting(self) -> Steps[Outputs | None]:
        """`collect` in steps. Until it is done nothing else may be asked of the shard; left undone, it is of no use."""
        yield from self.windows.correct(self.judge.changed, self.watermark, self.newest, self.drop_line)
        yield from self._tell()
        self._end_gaps()
        yield from self._end_and_let_go()
        sessions = yield from self._write_totals()
        if not (self._moved or sessions or self.windows.written or self._stale):
            return None
        state = yield from checkpoint(self, self.judge.changed, self.windows.touched, self._stale)
        for pane in self.judge.changed:
            pane.changed = False
        outputs = Outputs(
            windows=self.windows.written,
            sessions=sessions,
            dead_letters=self.judge.dead,
            state=state,
            positions=dict(self.positions),
            generation=self.generation,
            checkpoint=self.log.number,
            tally=self.judge.tally,
            newest_end=self.windows.newest_end if self.windows.newest_end != LONG_AGO else None,
        )
        self._begin_anew()
        return outputs

    def _begin_anew(self) -> None:
        self.windows.written, self.windows.touched = [], []
        self.windows.written_bytes = 0
        self.windows.newest_end = LONG_AGO
        self.judge.begin_anew()
        self.windows.tally = self.judge.tally
        self._stale.clear()
        self._moved = False
        self._stirred = True
        self._move_drop_line()

    def committed(self, number: int, first_state_offset: int) -> None:
        """Checkpoint ``number`` is in the log. Must be called before the next `collect`."""
        self.log.committed(number, first_state_offset)

    def _move_drop_line(self) -> None:
        """Panes from which every window that starts with them is final: closed, corrected, and open to no more events.

        Final by all clocks, or at the latest when `state_retention` says that whatever could change it is refused.
        """
        policy = self.policy
        clocks = [clock for clock in self.clocks.values() if clock is not None]
        if not clocks:
            return
        line = max(clocks) - policy.longest_ms - policy.state_retention_ms
        if len(clocks) == len(KINDS):
            line = max(line, min(clocks) - policy.longest_ms - policy.bound_ms)
        self.drop_line = max(self.drop_line, min(line, self.windows.closed_starts()))

    def _tell(self) -> Steps[None]:
        """Tells sessions and metrics what their panes have counted since the last checkpoint."""
        for pane in self.judge.changed:
            session = pane.session
            before, now = pane.told, told_values(pane)
            if before != now:
                pane.told = now
                events, views, clicks, comments, orders = map(sub, now, before)
                session.events += events
                self.sessions.show(session, (views, clicks, comments, orders))
                self.judge.tally.views += views
                self.judge.tally.product_clicks += clicks
                self.judge.tally.comments += comments
                if orders:
                    self.judge.tally.orders_paid += orders
                    money = pane.untold_gmv()
                    self.sessions.show_money(session, money)
                    self.judge.tally.gmv_minor.update(money)
            self.sessions.moved(session, pane.last_event, pane.label_at)
            if session.stale:
                self._stale[session.key] = session
            yield

    def _end_gaps(self) -> None:
        for kind, until in list(self.gaps.items()):
            if until is not None and self.judge.clock(kind) >= until:
                del self.gaps[kind]

    def _end_and_let_go(self) -> Steps[None]:
        watermark = LONG_AGO if self.watermark is None else self.watermark
        now = watermark if self._wall is None else max(watermark, self._wall - self.policy.delay_ms)
        for session in self.sessions.end(now):
            self._stale[session.key] = session
            yield
        for session in self.sessions.let_go(watermark):
            yield
            if any(row.holds(session.key) for row in self.rows.values()):
                self.sessions.keep(session, watermark + self.policy.pane_ms)
                continue
            self.sessions.forget(session, watermark)
            self._stale.pop(session.key, None)
            self.log.drop(session_key(session))

    def _write_totals(self) -> Steps[list[tuple[bytes, bytes]]]:
        """Totals of changed sessions that are due, at most so many a checkpoint, the longest waiting first."""
        written: list[tuple[bytes, bytes]] = []
        quiet = self._wall is not None
        while len(written) < self.policy.totals_per_checkpoint:
            session = self.sessions.next_to_write(self.watermark, everything=quiet)
            if session is None:
                break
            written.append((session.key, self._totals(session)))
            self._stale[session.key] = session
            yield
        self.judge.tally.session_records += len(written)
        return written

    def _totals(self, session: Session) -> bytes:
        session.revision += 1
        session.written_events, session.written_ended = session.events, session.ended
        session.written_at = NEVER if self.watermark is None else self.watermark
        head = {
            "run": LIVE_RUN,
            "generation": self.generation,
            "revision": session.revision,
            "status": "ended" if session.ended else "open",
        }
        totals = session.totals(self.panes_of(session))
        return session_value(session.session_id, totals, self.policy.currency, head)

    # -- looking

    @property
    def waiting_bytes(self) -> int:
        """Bytes of closed windows and dead letters that wait for the next `collect`; a backlog makes many at once."""
        return self.windows.written_bytes + self.judge.dead_bytes

    def panes_of(self, session: Session) -> list[Counts]:
        return [pane for row in self.rows.values() if (pane := row.counts(session.key)) is not None]

    def view(self, top: int) -> ShardView:
        """As of now, for people: the ``top`` busiest sessions, all others summed."""
        return drained(look(self, top))

    def viewing(self, top: int) -> Steps[ShardView]:
        """`view` in steps."""
        return look(self, top)
