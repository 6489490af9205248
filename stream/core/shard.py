"""The shard: everything with one partition number, as a pure state machine.

Rule: whatever decides a number that liveshop shows is decided here, in core/, from the records and the policy alone.
Batches go in (`read`), time passes only as records say (and as `exclude` and `quiet` allow), and `collect` gives away
what one checkpoint has to write. Laws 1 to 5 of docs/architecture.md are properties of this class (tests/core/test_laws.py).

It composes its parts, and holds where it stands: positions, gaps, whose it is. Each part collects and restores what it has
in the state; core/checkpoint.py makes one checkpoint of them, and core/view.py looks at them.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, cast

from stream.core import formats
from stream.core.alerts.alerting import Alerting, Stopwatch, stopped
from stream.core.checkpoint import Parts, fitting_meta, reading
from stream.core.cooperative import Steps, drained, pieces
from stream.core.deadletters import shortened
from stream.core.decode import Decoded, Events, Rejected, decode_batch
from stream.core.formats import NEWEST, Format
from stream.core.gaps import Gaps
from stream.core.judge import Judge
from stream.core.panes import Pane, Row, Rows
from stream.core.policy import Policy
from stream.core.promotions import Now, Promotions
from stream.core.scope import Scope
from stream.core.session import Session
from stream.core.sessions import Sessions
from stream.core.state_keys import pane_key
from stream.core.statelog import Restored, StateLog
from stream.core.timed import Timeless
from stream.core.view import look
from stream.core.watermark import Watermark
from stream.core.windows import FAR_AHEAD, LONG_AGO, Windows
from stream.model.names import KINDS, LIVE_RUN, PROMOTED, Kind, Outcome, Reason
from stream.model.results import Outputs, Record, ShardView

if TYPE_CHECKING:
    from stream.core.alerts.rules import Rules


PANE_BYTES: Final = 256
WINDOW_BYTES: Final = 2500
ALERT_BYTES: Final = 2000
"""What a changed pane takes in the state, its names aside, a window or an alert until it is written: rounded, most are
smaller."""
IN_BACKLOG: Final = 10
"""So many times fewer totals are written while a backlog is read: nobody acts on a running total of an hour ago."""


def anywhere(_key: bytes) -> bool:
    """Each key belongs here."""
    return True


class Shard:
    """One partition number of the three topics: judges, counts, closes, and gives away checkpoints.

    Times are milliseconds since 1970, UTC. ``placed`` says whether a key belongs to this partition. Without ``rules``
    no alert is told, and what the state says of alerts stays as it is. ``stopwatch``: for the metrics, in seconds. ``run``
    stands in all that it writes; with a ``scope`` it writes no other results.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        generation: int = 0,
        placed: Callable[[bytes], bool] = anywhere,
        rules: "Rules | None" = None,
        stopwatch: Stopwatch = stopped,
        run: str = LIVE_RUN,
        scope: Scope | None = None,
    ) -> None:
        self.policy = policy
        self.run = run
        self.scope = scope
        self._placed = placed
        self.owner: dict[str, str] = {}
        """Who writes this state; kept in it, so that another's state is recognised."""
        self.transactional_id = ""
        """Of the producer that writes it; kept in it, so that a later version knows whom to fence."""
        self.partitions: int | None = None
        """How many each topic has, if anybody has said so: keys are placed by it, so it is kept in the state."""
        self.moved_to: str | None = None
        """The prefix of the topics to which what is not counted here was moved."""
        self.topic_ids: dict[str, str] = {}
        """Kafka's ids of the topics it reads and writes, by their names in the code: one made anew has another."""
        self.positions: dict[Any, int] = {}
        """Next offset to read, by input."""
        self.log = StateLog(policy.checkpoint_span)
        self.format = NEWEST
        """In which the state is written."""
        self.rows = Rows()
        self.sessions = Sessions(policy, self.rows, run, scope)
        self.judge = Judge(policy, self.rows, self._meet)
        self.judge.add_to_totals = self._add_to_totals
        self.clocks = self.judge.clocks
        self.event_time = Watermark(policy, self.clocks)
        self.windows = Windows(policy, self.rows, run, scope)
        self.windows.generation = generation
        self.alerting = Alerting(policy, rules, stopwatch, run, scope)
        self.promotions = Promotions(policy, self.rows, self.sessions, self.windows)
        self.windows.tally = self.alerting.emitter.tally = self.promotions.tally = self.judge.tally
        self._parts = Parts(
            *(self.rows, self.sessions, self.judge, self.event_time, self.windows, self.alerting, self.promotions)
        )
        self.gaps = Gaps()
        self.drop_line = LONG_AGO
        """Panes that start here or earlier are needed by no window any more."""
        self.moved = False
        """Something happened that the next checkpoint has to keep."""
        self._steps: Steps[None] | None = None
        self._stirred = True
        """Something happened since the last look at what is due."""
        self._touched_bytes = 0
        self._corrections = sum(-(-spec.size_ms // spec.slide_ms) for spec in policy.windows)
        """Windows that hold a pane: so many are corrected when it changes late."""

    def begin_at(self, positions: dict[Any, int]) -> None:
        """A new shard's first offsets. The first checkpoint keeps them, also when no record ever comes."""
        self.positions = positions
        self.moved = True

    @property
    def generation(self) -> int:
        return self.windows.generation

    @property
    def checkpoint(self) -> int:
        """Number of the last one that was collected."""
        return self.log.number

    # -- records come in

    def read(self, kind: Kind, records: Sequence[Record]) -> None:
        """Judges and counts one batch of one topic."""
        self.count(kind, *self.decode(kind, records))

    def decode(self, kind: Kind, records: Sequence[Record]) -> tuple[Sequence[Record], Events]:
        """What `count` takes. Of a value that is too large only the beginning is kept."""
        if kind == PROMOTED:
            return records, cast("Events", Timeless(records))
        policy = self.policy
        events = decode_batch(kind, records, policy.max_value, trust_producer_time=policy.trust_producer_time)
        return shortened(records, events), events

    def count(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        """The same with the records decoded already (`decode_batch`)."""
        if not records:
            return
        if kind == PROMOTED:
            self._promote(records)
            return
        self.moved = self._stirred = True
        self.event_time.hear(kind)
        changed_before = len(self.judge.changed)
        self.judge.tally.outcomes[kind, Outcome.COUNTED] += len(records)  # judging takes away what is not
        self.judge.judge(kind, records, events)
        self.windows.stir(self.judge.changed, changed_before)
        self._note_touched(kind, self.judge.changed[changed_before:])
        self.positions[kind] = records[-1].offset + 1
        self.event_time.follow(kind)

    def skip(self, kind: Kind, records: Sequence[Record], why: str) -> None:
        """The next records of a topic, as an operator has named them: dead letters, unjudged. They move no clock."""
        if kind == PROMOTED:
            for record in records:
                self.promotions.refuse(record, why)
            self._promote(records[-1:], read=False)
            return
        self.count(kind, records, [Rejected(Reason.SKIPPED, why)] * len(records))

    def _promote(self, records: Sequence[Record], *, read: bool = True) -> None:
        """Records of live.promotions: they have no event time, and are no events."""
        if read:
            self.promotions.read(records)
        self.positions[PROMOTED] = records[-1].offset + 1
        self.moved = True

    def _note_touched(self, kind: Kind, touched: Sequence[Pane]) -> None:
        """Panes that a batch has changed for the first time since the last checkpoint."""
        if self.gaps:
            self.gaps.mark(kind, touched, self.clocks[kind], self.policy)
        if touched:
            closed = max(self.windows.horizon) - self.policy.pane_ms
            late = sum(pane.start <= closed for pane in touched)
            self._touched_bytes += PANE_BYTES * len(touched) + late * self._corrections * WINDOW_BYTES

    def _meet(self, key: bytes) -> Session:
        session, is_new = self.sessions.meet(key, self.watermark)
        if is_new:
            self.judge.tally.misplaced[self.judge.kind] += not self._placed(key)
            self.judge.tally.totals_frozen += session.frozen
        return session

    def _add_to_totals(self, pane: Pane) -> None:
        """An order that is too late for its windows: at once, since its session may be packed before the checkpoint."""
        if self.gaps:
            pane.incomplete = True
        self.sessions.add(pane, self.judge.tally)
        self._touched_bytes += PANE_BYTES

    def gap(self, kind: Kind, lost: int) -> None:
        """Offsets of a topic are lost to retention: results say so until nothing can be missing from them."""
        if kind == PROMOTED:
            self.moved = True
            return
        self.judge.tally.lost_offsets += lost
        self.gaps[kind] = None
        self.moved = True
        for row in self.rows.values():
            self.judge.changed += row.mark_incomplete(self.sessions.held)
            self.windows.mark_incomplete(row)
        self.sessions.mark_incomplete()

    # -- time passes

    @property
    def watermark(self) -> int | None:
        return self.event_time.now

    @property
    def left_out(self) -> set[Kind]:
        """Topics that are far behind in what they say, and not waited for."""
        return self.event_time.left_out

    @property
    def newest(self) -> int | None:
        """The newest clock of the shard."""
        return self.judge.newest

    def far_behind(self) -> set[Kind]:
        """Topics that hold nothing back now, since their clocks are far behind. One that never spoke is only silent."""
        return self.event_time.far_behind()

    def keep_up(self, caught_up: Collection[Kind]) -> bool:
        """Says of which topics all there is has been counted; to be called often. True when the watermark moves."""
        moved = self.event_time.keep_up(caught_up)
        self._stirred = self._stirred or moved
        return moved

    def exclude(self, kind: Kind) -> None:
        """The topic is caught up and silent: it holds the watermark back no longer, until its next record."""
        self.event_time.exclude(kind)
        self._stirred = True

    def quiet(self, wall_ms: int) -> None:
        """All topics are caught up and silent: what the wall clock has passed may be closed, ended and written."""
        self.event_time.wall = wall_ms
        self._stirred = True

    def finish(self) -> None:
        """The end of a bounded input: everything closes and ends."""
        self.quiet(FAR_AHEAD)

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
        """Records may be counted between two steps."""
        windows, time = self.windows, self.event_time
        yield from windows.close(time.now, self.newest)
        if time.wall is not None:
            yield from windows.close_idle(time.wall)
        yield from self.alerting.follow(self.rows, self.judge.changed, windows.closed_through(), time.complete)
        for piece in pieces(list(self.rows.starts)):
            for start in piece:
                yield from self._retire(self.rows[start])
            yield
        yield from self.sessions.pack(self.log)

    def _retire(self, row: Row) -> Steps[None]:
        """What need not be held as it is any more: quiet panes are packed, old ones dropped, ids forgotten."""
        if row.start <= self.drop_line:
            yield from self._drop_panes(row)
        elif row.start <= min(self.event_time.passed - self.policy.pane_ms, self.alerting.taken_in()):
            yield from row.pack_quiet()
        yield from row.retire_ids(self.policy, self.clocks, self.log.drop_bucket)
        if row.is_empty():
            del self.rows[row.start]

    def _drop_panes(self, row: Row) -> Steps[None]:
        """Their figures stay in the totals of their sessions."""
        for key in row.all_keys():
            pane = row.panes.get(key)
            if row.holds(key) and (pane is None or not pane.changed):
                counts, marks = row.take(key)
                self.windows.forget(marks)
                self.sessions.note_written(key, marks)
                self.log.drop(pane_key(row.start, key))
                if counts is not None:
                    self.sessions.absorb(key, counts, row.start)
                yield

    # -- results go out

    def collect(self, *, in_backlog: bool = False, now_ms: int | None = None) -> Outputs | None:
        """All that one checkpoint has to write; None when nothing has changed since the last.

        ``in_backlog``: what is read is old, and totals are written at a slower pace. ``now_ms``: of any clock that never
        goes back; while a topic is left out corrections wait by it (`CORRECT_EVERY_MS`). Without it none waits.
        """
        return drained(self.collecting(in_backlog=in_backlog, now_ms=now_ms))

    def collecting(self, *, in_backlog: bool = False, now_ms: int | None = None) -> Steps[Outputs | None]:
        """`collect` in steps. Until it is done nothing else may be asked of the shard; left undone, it is of no use."""
        windows, judge, alerting, sessions, time = (
            *(self.windows, self.judge, self.alerting, self.sessions, self.event_time),
        )
        sessions.stand(self._standing())
        # in one transaction with the windows of their slides, or after them
        limit = windows.closed_through()
        yield from alerting.catch_up(self.rows, judge.changed, limit, time.wall_passed, time.complete)
        spoken = alerting.speak(self.positions, time.now)
        held_at = now_ms if time.waits else None
        yield from windows.correct(judge.changed, time.now, self.newest, self.drop_line, held_at)
        for piece in pieces(judge.changed):
            for pane in piece:
                sessions.hear(pane, judge.tally)
            yield
        self.gaps.end(self.clocks)
        yield from sessions.end(max(time.passed, time.wall_passed))
        yield from sessions.let_go(time.passed, self.log)
        most = self.policy.totals_per_checkpoint
        totals = yield from sessions.write_totals(
            max(1, most // IN_BACKLOG) if in_backlog else most,
            time.now,
            self.generation,
            everything=time.wall is not None,
        )
        judge.tally.session_records += len(totals)
        yield from self.promotions.apply(self._now())
        is_changed = spoken or totals or windows.written or sessions.stale or alerting.changed
        if not (self.moved or is_changed or self.promotions.changed):
            return None
        return (yield from self._outputs(totals))

    def _standing(self) -> tuple[int, int, int]:
        views, comments, checkouts = (self.positions.get(kind, 0) for kind in KINDS)
        return views, comments, checkouts

    def _now(self) -> Now:
        time = self.event_time
        return Now(self.positions, self.drop_line, max(time.passed, time.wall_passed), time.now, self.newest)

    def _outputs(self, totals: list[tuple[bytes, bytes]]) -> Steps[Outputs]:
        windows, judge = self.windows, self.judge
        state = yield from self._parts.checkpoint(self.log, self._meta())
        for pane in judge.changed:
            pane.changed = False
        outputs = Outputs(
            windows=windows.written,
            sessions=totals,
            dead_letters=judge.dead,
            alerts=self.alerting.emitter.written,
            promoted_windows=self.promotions.windows,
            promoted_sessions=self.promotions.sessions,
            promotions=self.promotions.told,
            state=state,
            positions=dict(self.positions),
            generation=self.generation,
            checkpoint=self.checkpoint,
            tally=judge.tally,
            newest_end=windows.newest_end if windows.newest_end != LONG_AGO else None,
        )
        judge.begin_anew()
        windows.begin_anew(judge.tally)
        self.alerting.begin_anew(judge.tally)
        self.promotions.begin_anew(judge.tally)
        self._touched_bytes = 0
        self.moved = False
        self._stirred = True
        self._move_drop_line()
        return outputs

    def committed(self, number: int, first_state_offset: int) -> None:
        """Checkpoint ``number`` is in the log. Must be called before the next `collect`."""
        self.log.committed(number, first_state_offset)

    def _move_drop_line(self) -> None:
        """Panes from which every window that starts with them is final: closed, corrected, and open to no more events."""
        needed = min(self.windows.closed_starts(), self.alerting.taken_in(), self.windows.first_waiting() - 1)
        self.drop_line = max(self.drop_line, min(self.event_time.final, needed))

    # -- the state

    def keep_format(self, form: Format) -> None:
        """The state is written so from now on."""
        self.format = form
        self.log.version = form.version
        self._parts.keep_format(form)

    @property
    def kept_format(self) -> str | None:
        """Of an earlier version, and what it does not hold; None when it is the newest."""
        return None if self.format.is_newest else str(self.format)

    def upgrade(self) -> None:
        """The next checkpoint is written in the newest format, also when no record ever comes."""
        self.keep_format(NEWEST)
        self.sessions.unseen = self._standing()
        self.moved = True

    def _meta(self) -> dict[str, Any]:
        return {
            "owner": self.owner,
            "policy": self.policy.deciding(),
            "generation": self.generation,
            "positions": {str(kind): self.positions[kind] for kind in KINDS if kind in self.positions},
            "promoted_to": self.positions.get(PROMOTED),
            "drop_line": self.drop_line,
            "gaps": {str(kind): until for kind, until in self.gaps.items()},
            "transactional_id": self.transactional_id,
            "partitions": self.partitions,
            "moved_to": self.moved_to,
            "topic_ids": self.topic_ids,
        }

    @classmethod
    def restore(
        cls,
        policy: Policy,
        records: Iterable[tuple[int, bytes]],
        *,
        placed: Callable[[bytes], bool] = anywhere,
        rules: "Rules | None" = None,
        stopwatch: Stopwatch = stopped,
        run: str = LIVE_RUN,
        scope: Scope | None = None,
        vouched: bool = False,
    ) -> Self:
        """From the records (offset, value) of live.state that `statelog.first_needed` asks for.

        ``vouched``: each had its checksum (`framing.check`), so that what is in there need not be looked at. Raises
        StateError for records that are no state, StateRefused for one counted under other settings.
        """
        shard = cls(policy, placed=placed, rules=rules, stopwatch=stopwatch, run=run, scope=scope)
        shard.log, content = StateLog.restore(records, policy.checkpoint_span)
        shard.fill(content, vouched=vouched)
        return shard

    def fill(self, content: Restored, *, vouched: bool = False) -> None:
        """A new shard. Raises StateError for what cannot be unpacked. An error of another kind is none of the state's.

        Unless checksums have ``vouched`` for it, that goes for what is only unpacked when it is needed, too.
        """
        with reading(vouched=vouched):
            meta = fitting_meta(content, self.policy)
            self.keep_format(formats.found(content.version, meta.figures))
            self.owner, self.partitions, self.moved_to = meta.owner, meta.partitions, meta.moved_to
            self.topic_ids = dict(meta.topic_ids)
            self.windows.generation = meta.generation
            self.positions = {Kind(name): offset for name, offset in meta.positions.items()}
            if meta.promoted_to is not None:
                self.positions[PROMOTED] = meta.promoted_to
            self.drop_line = meta.drop_line
            self.gaps.update({Kind(name): until for name, until in meta.gaps.items()})
            self._parts.restore(content, meta)
            if not vouched:
                self._parts.vet(self.log)

    # -- looking

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes wait for the next `collect`, or are made by it: a backlog makes many at once.

        Windows closed and to be corrected, dead letters, alerts, and the state of what has changed.
        """
        alerts = len(self.alerting.emitter.written) * ALERT_BYTES
        judged = self.judge.dead_bytes + self.judge.label_bytes
        promoted = self.promotions.written_bytes + self.promotions.waiting.waiting_bytes
        return self.windows.written_bytes + judged + self._touched_bytes + alerts + promoted

    @property
    def slices_held(self) -> int:
        """Slices of event time of which something is held."""
        return len(self.rows)

    def view(self, top: int) -> ShardView:
        """As of now, for people: the ``top`` busiest sessions, all others summed."""
        return drained(look(self, top))

    def viewing(self, top: int) -> Steps[ShardView]:
        """`view` in steps."""
        return look(self, top)
