"""The shard: everything with one partition number, as a pure state machine.

Rule: whatever decides a number that liveshop shows is decided here, in core/, from the records and the policy alone.
Batches go in (`read`), time passes only as records say (and as `exclude` and `quiet` allow), and `collect` gives away
what one checkpoint has to write. Laws 1 to 5 of docs/architecture.md are properties of this class (tests/core/test_laws.py).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from stream.core.alerts.alerting import Stopwatch, stopped
from stream.core.checkpoint import restore_into
from stream.core.collect import collecting
from stream.core.cooperative import Steps, drained
from stream.core.counts import NEVER
from stream.core.deadletters import shortened
from stream.core.decode import Decoded, Events, Rejected, decode_batch
from stream.core.panes import Pane, windows_marked
from stream.core.policy import Policy
from stream.core.retention import tidy
from stream.core.shard_state import ShardState, anywhere
from stream.core.statelog import StateLog
from stream.core.view import look
from stream.core.watermark import far_behind, slowest, together
from stream.core.windows import FAR_AHEAD, LONG_AGO
from stream.model.names import KINDS, Kind, Outcome, Reason
from stream.model.results import Outputs, Record, ShardView

if TYPE_CHECKING:
    from stream.core.alerts.rules import Rules


PANE: Final = 256
WINDOW: Final = 2500
ALERT: Final = 2000
"""Bytes that a changed pane takes in the state, a window or an alert until it is written: rounded, most are smaller."""


class Shard(ShardState):
    """One partition number of the three topics: judges, counts, closes, and gives away checkpoints.

    Times are milliseconds since 1970, UTC. ``placed`` says whether a key belongs to this partition. Without ``rules``
    no alert is told, and what the state says of alerts stays as it is. ``stopwatch``: for the metrics, in seconds.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        generation: int = 0,
        placed: Callable[[bytes], bool] = anywhere,
        rules: "Rules | None" = None,
        stopwatch: Stopwatch = stopped,
    ) -> None:
        super().__init__(policy, generation=generation, placed=placed, rules=rules, stopwatch=stopwatch)
        self._excluded: set[Kind] = set()
        """Silent ones, which are not waited for either."""
        self._caught_up: frozenset[Kind] = frozenset()
        self._spoken: set[Kind] = set()
        self._steps: Steps[None] | None = None
        self._stirred = True
        """Something happened since the last look at what is due."""
        self._touched_bytes = 0
        self._corrections = sum(-(-spec.size_ms // spec.slide_ms) for spec in policy.windows)
        """Windows that hold a pane: so many are corrected when it changes late."""

    @classmethod
    def restore(
        cls,
        policy: Policy,
        records: Iterable[tuple[int, bytes]],
        *,
        placed: Callable[[bytes], bool] = anywhere,
        rules: "Rules | None" = None,
        stopwatch: Stopwatch = stopped,
        vouched: bool = False,
    ) -> "Shard":
        """From the records (offset, value) of live.state that `statelog.first_needed` asks for.

        ``vouched``: each had its checksum (`framing.check`), so that what is in there need not be looked at. Raises
        StateError for records that are no state, StateRefused for one counted under other settings.
        """
        shard = cls(policy, placed=placed, rules=rules, stopwatch=stopwatch)
        shard.log, content = StateLog.restore(records, policy.checkpoint_span)
        restore_into(shard, content, vouched=vouched)
        return shard

    def begin_at(self, positions: dict[Kind, int]) -> None:
        """A new shard's first offsets. The first checkpoint keeps them, also when no record ever comes."""
        self.positions = positions
        self.moved = True

    # -- records come in

    def read(self, kind: Kind, records: Sequence[Record]) -> None:
        """Judges and counts one batch of one topic."""
        self.count(kind, *self.decode(kind, records))

    def decode(self, kind: Kind, records: Sequence[Record]) -> tuple[Sequence[Record], Events]:
        """What `count` takes. Of a value that is too large only the beginning is kept."""
        policy = self.policy
        events = decode_batch(kind, records, policy.max_value, trust_producer_time=policy.trust_producer_time)
        return shortened(records, events), events

    def count(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        """The same with the records decoded already (`decode_batch`)."""
        if not records:
            return
        self.moved = self._stirred = True
        self._excluded.discard(kind)
        self._spoken.add(kind)
        changed_before = len(self.judge.changed)
        self.judge.tally.outcomes[kind, Outcome.COUNTED] += len(records)  # judging takes away what is not
        self.judge.judge(kind, records, events)
        self.windows.stir(self.judge.changed, changed_before)
        self._note_touched(kind, self.judge.changed[changed_before:])
        self.positions[kind] = records[-1].offset + 1
        if kind in self._move_watermark():
            self.left_out.add(kind)  # what it says is no reason to wait for clocks instead of the wall's
        else:
            self.wall = None

    def skip(self, kind: Kind, records: Sequence[Record], why: str) -> None:
        """The next records of a topic, as an operator has named them: dead letters, unjudged. They move no clock."""
        self.count(kind, records, [Rejected(Reason.SKIPPED, why)] * len(records))

    def _note_touched(self, kind: Kind, touched: Sequence[Pane]) -> None:
        """Panes that a batch has changed for the first time since the last checkpoint."""
        if self.gaps:
            self._mark_incomplete(kind, touched)
        if touched:
            closed = max(self.windows.horizon) - self.policy.pane_ms
            late = sum(pane.start <= closed for pane in touched)
            self._touched_bytes += PANE * len(touched) + late * self._corrections * WINDOW

    def _mark_incomplete(self, kind: Kind, touched: Sequence[Pane]) -> None:
        """Panes that a batch has changed while offsets are missing; held ones were marked when the gap was found."""
        for pane in touched:
            pane.incomplete = True
        clock = self.clocks[kind]
        if self.gaps.get(kind, 0) is None and clock is not None:  # the first batch after the gap that moves the clock
            # what was lost may have been stamped ahead of the clock, as the first event after it may be
            self.gaps[kind] = clock + self.policy.max_future_ms + self.policy.longest_ms + self.policy.bound_ms

    # -- time passes

    def far_behind(self) -> set[Kind]:
        """Topics that hold nothing back now, since their clocks are far behind. One that never spoke is only silent."""
        clocks = self.clocks
        if together(clocks, self.policy):
            return set()
        up = [kind for kind in self._caught_up if clocks[kind] is not None or kind in self._spoken]
        return far_behind(clocks, self.policy, up)

    def _move_watermark(self) -> set[Kind]:
        """Returns the topics that are far behind now."""
        far = self.far_behind()
        self.left_out &= far
        clock = slowest(self.clocks, self._excluded | far)
        if clock is not None:
            passed = clock - self.policy.delay_ms
            self.watermark = passed if self.watermark is None else max(self.watermark, passed)
        return far

    def keep_up(self, caught_up: Collection[Kind]) -> bool:
        """Says of which topics all there is has been counted; to be called often. True when the watermark moves."""
        before, self._caught_up = self.watermark, frozenset(caught_up)
        self._move_watermark()
        moved = self.watermark != before
        self._stirred = self._stirred or moved
        return moved

    def exclude(self, kind: Kind) -> None:
        """The topic is caught up and silent: it holds the watermark back no longer, until its next record."""
        self._excluded.add(kind)
        self._stirred = True
        self._move_watermark()

    def quiet(self, wall_ms: int) -> None:
        """All topics are caught up and silent: what the wall clock has passed may be closed, ended and written."""
        self.wall = wall_ms
        self._stirred = True

    def finish(self) -> None:
        """The end of a bounded input: everything closes and ends."""
        self.wall = FAR_AHEAD
        self._stirred = True

    def gap(self, kind: Kind, lost: int) -> None:
        """Offsets of a topic are lost to retention: results say so until nothing can be missing from them."""
        self.judge.tally.lost_offsets += lost
        self.gaps[kind] = None
        self.moved = True
        for row in self.rows.values():
            for key in row.packed.keys() | row.panes.keys():
                pane = row.panes.get(key) or row.open(self.sessions.held[key])
                pane.incomplete = True
                self._touch(pane)
            for key, marks in list(row.marks.items()):
                for window in windows_marked(marks):
                    row.set_mark(key, window, row.mark(key, window)[0], NEVER)
                self.windows.touched.append((row.start, key))
        self.stale.update((session.key, session) for session in self.sessions.mark_incomplete())

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
        if self.wall is not None:
            yield from self.windows.close_idle(self.wall)
        yield from self.alerting.follow(self.rows, self.judge.changed, self.windows.closed_through(), self.complete())
        yield from tidy(self)

    # -- results go out

    def collect(self, *, in_backlog: bool = False, now_ms: int | None = None) -> Outputs | None:
        """All that one checkpoint has to write; None when nothing has changed since the last.

        ``in_backlog``: what is read is old, and totals are written at a slower pace. ``now_ms``: of any clock that never
        goes back; while a topic is left out corrections wait by it (`CORRECT_EVERY_MS`). Without it none waits.
        """
        return drained(self.collecting(in_backlog=in_backlog, now_ms=now_ms))

    def collecting(self, *, in_backlog: bool = False, now_ms: int | None = None) -> Steps[Outputs | None]:
        """`collect` in steps. Until it is done nothing else may be asked of the shard; left undone, it is of no use."""
        hold = bool(self.left_out - self._excluded) and self.wall != FAR_AHEAD
        outputs = yield from collecting(self, in_backlog=in_backlog, held_at=now_ms if hold else None)
        if outputs is not None:
            self._begin_anew()
        return outputs

    def _begin_anew(self) -> None:
        self._touched_bytes = 0
        self.windows.written, self.windows.touched = [], []
        self.windows.written_bytes = 0
        self.windows.newest_end = LONG_AGO
        self.judge.begin_anew()
        self.windows.tally = self.judge.tally
        self.alerting.begin_anew(self.judge.tally)
        self.stale.clear()
        self.moved = False
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
        needed = min(self.windows.closed_starts(), self.alerting.taken_in(), self.windows.first_waiting() - 1)
        self.drop_line = max(self.drop_line, min(line, needed))

    # -- looking

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes wait for the next `collect`, or are made by it: a backlog makes many at once.

        Windows closed and to be corrected, dead letters, alerts, and the state of what has changed.
        """
        alerts = len(self.alerting.emitter.written) * ALERT
        return self.windows.written_bytes + self.judge.dead_bytes + self._touched_bytes + alerts

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
