"""The running of one shard: its records in, its checkpoints out, until it is taken away. Step 4 of the protocol."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from aiokafka.errors import OffsetOutOfRangeError

from stream.core.alignment import PIECE, Alignment, ReadAhead
from stream.core.silence import Hidden, LeftOut, Silence
from stream.core.timed import Timed
from stream.kafka import time_slices
from stream.kafka.client import ms
from stream.kafka.log import Sink, Source
from stream.kafka.machine import Machine, Name, Outputs
from stream.kafka.metrics_hooks import Activity, MetricsHooks
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.recovery import resolve_positions
from stream.kafka.shard_context import CheckpointError, CommittedError, FencedError, OutdatedError, ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.kafka.time_slices import SLICE
from stream.model.results import Record

log: Final = structlog.get_logger()

PIECES: Final = 8
"""Pieces of records that one fetch may bring."""
CLOSE_AT_ONCE: Final = 4
"""Windows that are closed between two checks of the clock; each takes 15 to 100 us."""
READ_EVERY: Final = 0.1
"""Seconds after which new records are read even while windows are due. At a full minute windows may be due for seconds."""
READ_OLD_EVERY: Final = 5.0
"""The same in a backlog."""
POLL: Final = 0.2
"""Seconds to wait for records."""
FIRST_CHECKPOINT_AFTER: Final = 0.2
"""Seconds after which a shard makes its first checkpoint. Results of a restored shard have waited already. The checkpoint
of a new shard tells other installations whose state it is."""
MAX_RECORDS: Final = 500_000
MAX_SLICES: Final = 5_000
"""Records read and slices of event time begun that trigger an early checkpoint, as the size of the results does
(kafka/memory.py). Reading and closing wait while it is written. This bounds memory while a backlog is read, and the work of
one checkpoint when each event falls into another slice."""
TURN: Final = 0.2
"""Seconds that a shard may read in its turn, when there is no memory for all shards at once."""
POLL_IN_TURN: Final = 0.05
"""Seconds that it waits in its turn for records whose buffers were released and that are fetched again."""
BACKLOG: Final = 10.0
"""A shard that is further behind than so many seconds reads a backlog. Running totals may be that old anyway."""
CHECK_OWNERSHIP_EVERY: Final = 5.0
"""Seconds without a checkpoint after which a shard checks that it still owns its partition. Without it, a shard that has
nothing to write would not notice a rebuild, and would show old figures."""
PUBLISH_EVERY: Final = 1.0
PUBLISH_PAUSE: Final = 50
"""The next view is made after so many times the duration of the last one, which is long with many thousand sessions."""


@dataclass(slots=True)
class _Since:
    """What has been read since the last checkpoint was collected."""

    began: float
    slices_held: int
    """Of event time, by the machine at the beginning."""
    records: int = 0
    samples: list[tuple[Name, int, int]] = field(default_factory=list)
    """Input, the broker's ms of the last record, and number of records, of each batch."""


class ShardLoop:
    """One life of a shard with its inputs and its producer. Everything in it runs in one task."""

    def __init__(
        self, context: ShardContext, machine: Machine, inputs: Source, checkpoints: Sink, hooks: MetricsHooks
    ) -> None:
        self.machine = machine
        self._account = inputs.account
        self.inputs = inputs
        self._context = context
        self._checkpoints = checkpoints
        self._hooks = hooks
        self._every = context.settings.checkpoint_every.total_seconds()
        self._names = tuple(each.name for each in context.role.read)
        self._timed, self._aligned = context.role.names, context.role.aligned
        self._delay_ms = ms(context.settings.delay)
        self._silence = Silence(self._timed, context.settings.idle_after.total_seconds())
        self._left_out = LeftOut[Name]()
        self._hidden = Hidden[Name]()
        self._since = _Since(time.monotonic() - max(0.0, self._every - FIRST_CHECKPOINT_AFTER), machine.slices_held)
        self._commit: asyncio.Task[None] | None = None
        self._ownership_checked = time.monotonic()
        self._read_ahead = ReadAhead[Name](ms(context.settings.max_future), self._decode)
        retention_ms = ms(context.settings.state_retention)
        self._alignment = Alignment(
            self._read_ahead, lambda: machine.clocks, inputs.behind, retention_ms, self._aligned
        )
        self._decoded = 0.0
        self._held = 0.0
        self._more = False
        self._read_at = 0.0
        self._publish_at = 0.0
        self._clock = context.clock
        self._newest_ms: dict[Name, int] = {}

    async def turn(self) -> None:
        """Reads a little, closes what is due, and begins a checkpoint when it is time. Returns within 0.2 s or so."""
        self._context.role.machines.follow(self.machine)
        if not self._more or self._is_urgent():
            await self._read()
        self._more = await self._close()
        self._exclude_silent_inputs()
        await self._keep_checkpoints()
        await self._publish_view_if_due()

    async def last_checkpoint(self) -> None:
        """Waits for the one being written, then writes all that there is."""
        await self._finish_commit()
        await self._begin_commit()
        await self._finish_commit()

    @property
    def waits(self) -> bool:
        """Something was read that is not counted yet."""
        return bool(self._read_ahead.kinds())

    def forget(self, name: Name) -> None:
        """What was read of an input and waits is not wanted any more."""
        self._read_ahead.forget(name)

    async def drain(self) -> None:
        """Does all that is due, with as many checkpoints as that takes: there are no more records."""
        collected = None
        while collected != self.machine.checkpoint:
            collected = self.machine.checkpoint
            while await self._close():
                if self._is_large():
                    await self.last_checkpoint()
            await self.last_checkpoint()

    async def check_ownership(self) -> None:
        """Raises FencedError when the shard is no longer ours, OutdatedError when there is nothing yet to go on with."""
        if not self.machine.checkpoint:
            # The group's offsets without a state would look like a state that was lost, and be refused for ever.
            raise OutdatedError
        await self._checkpoints.check_ownership(self.machine.positions)

    async def abandon(self) -> None:
        """Stops what is under way, without a checkpoint."""
        if self._commit is not None:
            self._commit.cancel()
            await asyncio.wait({self._commit}, timeout=1.0)

    # -- records in

    def _is_urgent(self) -> bool:
        """Whether new records go before the windows that are due; of a backlog few do, so that few windows are open at once.

        (p: busy with 50,000 windows beside much else, a shard read nothing for a minute and was taken for stuck.)
        """
        return time.monotonic() - self._read_at > (READ_OLD_EVERY if self._in_backlog() else READ_EVERY)

    def _in_backlog(self) -> bool:
        return any(self._behind(name) > BACKLOG for name in self._names)

    async def _read(self) -> None:
        await self._read_some()
        self._read_at = time.monotonic()

    async def _read_some(self) -> None:
        waiting = await self._count_waiting() or self._more
        names = self._wanted()
        if not names or self._is_large():
            return
        if self._account.needs_turn:
            await self._read_in_turn()
        else:
            await self._fetch(names, 0.0 if waiting else POLL)
            await self._count_waiting()
        self._note_positions()

    def _wanted(self) -> set[Name]:
        return self._alignment.wanted(self._names)

    async def _read_in_turn(self) -> None:
        """There is no room: a few batches, of which nothing is held afterwards that cannot be counted yet.

        Each shard gets its turn, and in it something of the topic furthest behind is counted: that waits for nobody.
        """
        async with self._account.memory.turn:
            self._account.begin_turn()
            until = time.monotonic() + TURN
            try:
                while (names := self._wanted()) and time.monotonic() < until and not self._is_large():
                    if not await self._fetch(names, POLL_IN_TURN):
                        break
                    await self._count_waiting()
            finally:
                self._account.end_turn()
            if self._account.memory.is_full:
                self.release_buffers()

    def release_buffers(self) -> None:
        """Drops the records that are unpacked but cannot be counted yet. They are read again later."""
        names = {*self._read_ahead.give_back(), *self.inputs.unfinished()}
        self.inputs.seek({name: self.machine.positions[name] for name in names})
        self._account.set(0)

    async def _fetch(self, names: set[Name], seconds: float) -> bool:
        """What was fetched waits; True when that is anything."""
        began = time.perf_counter()
        try:
            batches = await self.inputs.fetch(names, seconds, PIECES * self._read_ahead.size)
        except OffsetOutOfRangeError:
            self._read_ahead.clear()
            await resolve_positions(self._context, self.inputs.reader, self.machine)
            self.inputs.seek(self.machine.positions)
            return False
        except UnreadableError:
            await self.last_checkpoint()  # what lies before it is kept, and the state stands exactly at it
            await self._publish_view()  # and so do the gauges
            raise
        self._hooks.activity(Activity.POLL if batches else Activity.IDLE, time.perf_counter() - began)
        for name, records in batches.items():
            self._read_ahead.wait(name, records)
        return bool(batches)

    def _note_positions(self) -> None:
        """Beyond markers and aborted records, which were never handed out."""
        for name in self._names:
            if name not in self._read_ahead:
                self.machine.positions[name] = max(self.machine.positions[name], self.inputs.positions[name])

    def _decode(self, name: Name, records: Sequence[Record]) -> tuple[Sequence[Record], Timed[Any]]:
        began = time.perf_counter()
        records, events = self.machine.decode(name, records)
        seconds = time.perf_counter() - began
        self._decoded += seconds
        self._hooks.activity(Activity.DECODE, seconds)
        return records, events

    async def _count_waiting(self) -> bool:
        """Counts what waits as far as it may be; True when that was anything."""
        counted = False
        for name, records, events in () if self._is_large() else self._alignment.ready():
            counted = True
            self._count(name, records, events)
            await self._yield_to_others()
            if self._is_large():
                break
        self._account.set(self._read_ahead.nbytes + self.inputs.left)
        return counted

    async def _yield_to_others(self) -> None:
        """Lets the others have their turn when this shard has held the event loop long enough."""
        if self._held > SLICE / 2:
            self._held = 0.0
            await asyncio.sleep(0)

    def _count(self, name: Name, records: Sequence[Record], events: Sequence[Any]) -> None:
        began = time.perf_counter()
        self.machine.count(name, records, events)
        seconds = time.perf_counter() - began
        self._hooks.activity(Activity.COUNT, seconds)
        self._held += seconds + self._decoded
        self._adapt_piece_size(seconds + self._decoded)
        self._decoded = 0.0
        self._silence.heard(name)
        self._newest_ms[name] = records[-1].timestamp
        self._since.records += len(records)
        if name in self._timed:
            self._since.samples.append((name, records[-1].timestamp, len(records)))

    def _adapt_piece_size(self, seconds: float) -> None:
        """Pieces shrink at once when records take long (large ones), and grow again slowly."""
        if seconds > SLICE:
            self._read_ahead.size = max(1, int(self._read_ahead.size * SLICE / seconds / 2))
        elif seconds < SLICE / 4:
            self._read_ahead.size = min(PIECE, self._read_ahead.size * 2)

    # -- time passes

    async def _close(self) -> bool:
        began = time.perf_counter()
        while more := self.machine.work(CLOSE_AT_ONCE):
            if time.perf_counter() - began > SLICE:
                break
        self._hooks.activity(Activity.CLOSE, time.perf_counter() - began)
        await asyncio.sleep(0)
        return more

    def _exclude_silent_inputs(self) -> None:
        if not self._aligned:
            return
        now = time.monotonic()
        caught_up = [name for name in self._timed if self._caught_up(name)]
        self._more = self.machine.keep_up(caught_up) or self._more
        for name in self._silence.fallen_silent(now, caught_up):
            self.machine.exclude(name)
            self._more = True
        if self._silence.is_quiet(now, self.machine.far_behind()):
            self._close_while_idle(now)

    def _close_while_idle(self, now: float) -> None:
        """Closes what the brokers' time has passed, which our wall clock may be far ahead of."""
        if self._clock.is_wanted(now, time.time()):
            self.machine.moved = True  # so that a checkpoint is made now: its acknowledgement tells the time
            return
        self.machine.quiet(int(self._now() * 1000))
        self._more = True

    def _now(self) -> float:
        """Seconds since 1970, by the brokers' clocks; by ours where none tells."""
        now = self._clock.now(time.monotonic())
        return time.time() if now is None else now

    def _caught_up(self, name: Name) -> bool:
        return name not in self._read_ahead and self.inputs.caught_up(name)

    # -- results out

    async def _keep_checkpoints(self) -> None:
        if self._commit is not None and (self._commit.done() or self._is_large()):
            await self._finish_commit()
        due = time.monotonic() - self._since.began >= self._every or self._is_large()
        if due and self._commit is None:
            await self._begin_commit()

    def _is_large(self) -> bool:
        since, machine = self._since, self.machine
        return (
            machine.waiting_bytes >= self._account.memory.results
            or since.records >= MAX_RECORDS
            or machine.slices_held - since.slices_held >= MAX_SLICES
        )

    async def _begin_commit(self) -> None:
        began = time.monotonic()
        # the shard is ours alone: it does nothing else meanwhile
        collecting = self.machine.collecting(in_backlog=self._in_backlog(), now_ms=int(began * 1000))
        outputs = await time_slices.run(collecting, partial(self._hooks.activity, Activity.CHECKPOINT))
        since, self._since = self._since, _Since(began, self.machine.slices_held)
        if outputs is not None:
            self._commit = asyncio.create_task(self._write(outputs, since))
            self._ownership_checked = began
        elif began - self._ownership_checked >= CHECK_OWNERSHIP_EVERY and self.machine.checkpoint:
            self._commit = asyncio.create_task(self._check_ownership())
            self._ownership_checked = began

    async def _finish_commit(self) -> None:
        commit, self._commit = self._commit, None
        if commit is not None:
            await commit

    async def _write(self, outputs: Outputs, since: _Since) -> None:
        """One checkpoint from beginning to end. While it is written the shard steps on, but what it counts is the next."""
        began = time.perf_counter()
        await self._confirm_partitions(outputs)
        try:
            offset = await self._checkpoints.write(outputs)
        except CommittedError:
            self._hooks.committed(self._context.partition, outputs.tally, time.perf_counter() - began)
            raise  # its numbers count, though no shard goes on from what is in memory
        except (FencedError, CheckpointError, StateRefusedError) as error:
            self._hooks.transaction_failed(self._context.partition, type(error.__cause__ or error).__name__)
            raise
        self.machine.committed(outputs.checkpoint, offset)
        self._hooks.committed(self._context.partition, outputs.tally, time.perf_counter() - began)
        self._report_delays(outputs, since)

    async def _check_ownership(self) -> None:
        try:
            await self.check_ownership()
        except (FencedError, CheckpointError) as error:
            self._hooks.transaction_failed(self._context.partition, type(error.__cause__ or error).__name__)
            raise

    async def _confirm_partitions(self, outputs: Outputs) -> None:
        """Keys of other partitions come from a producer with another partitioner, or after partitions were added.

        Then another shard has them as well, and what was counted of them here must not be committed. The records came
        after the change, so brokers know of it by now. Raises OutgrownError.
        """
        if self._context.confirm is not None and outputs.misplaced:
            await self._context.confirm(self.inputs.reader)

    # -- what people see

    def _report_delays(self, outputs: Outputs, since: _Since) -> None:
        now = self._now()
        for name, timestamp, count in since.samples:
            self._hooks.latency(name, max(0.0, now - timestamp / 1000), count)
        if outputs.newest_end is not None:
            self._hooks.emit_delay(max(0.0, now - (outputs.newest_end + self._delay_ms) / 1000))

    async def _publish_view_if_due(self) -> None:
        if time.monotonic() >= self._publish_at:
            await self._publish_view()

    async def _publish_view(self) -> None:
        now = time.monotonic()
        spent: list[float] = []
        view = await time_slices.run(self.machine.viewing(self._context.settings.top_sessions), spent.append)
        self._hooks.activity(Activity.LOOK, sum(spent))
        self._publish_at = now + max(PUBLISH_EVERY, PUBLISH_PAUSE * sum(spent))
        for name in self._names:
            self._hooks.lag(self._context.partition, name, self._unread(name), self._seconds(name))
            self._hooks.hidden(self._context.partition, name, self._hidden.seconds(name, self.inputs.hidden(name), now))
        self._hooks.pending(self._context.partition, something=self._commit is not None or self._since.records > 0)
        self._hooks.shard(self._context.partition, view)
        self._log_left_out()

    def _log_left_out(self) -> None:
        newest = self.machine.newest or 0
        for name, out in self._left_out.changes(time.monotonic(), self.machine.left_out):
            clock, where = self.machine.clocks[name], {"topic": name, "partition": self._context.partition}
            if out:
                seconds = None if clock is None else (newest - clock) / 1000
                log.warning(
                    "a topic is far behind the others: windows do not wait for it", **where, behind_seconds=seconds
                )
            else:
                log.info("a topic has caught up: windows wait for it again", **where)

    def _unread(self, name: Name) -> int:
        return self.inputs.lag(name) + self._read_ahead.number(name)

    def _seconds(self, name: Name) -> float | None:
        """How far the newest record read is behind, for people. Nothing of this life may have been read yet: then the
        clock of the topic says it, which is never ahead of the broker's.
        """
        clock = self.machine.clocks.get(name)
        if not self._unread(name) or name in self._newest_ms:
            return self._behind(name)
        return None if clock is None else max(0.0, self._now() - clock / 1000)

    def _behind(self, name: Name) -> float:
        """Seconds since what was counted last came to the broker; 0 when there is nothing more to read."""
        newest = self._newest_ms.get(name)
        return max(0.0, self._now() - newest / 1000) if newest is not None and self._unread(name) else 0.0
