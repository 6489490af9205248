"""The task of one shard: recover, run, pause when the partition is revoked, and resume if it is assigned again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from typing import Final

import structlog

from stream.kafka import client, gc_tuning
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.inputs import Inputs
from stream.kafka.memory import Memory
from stream.kafka.metrics_hooks import MetricsHooks
from stream.kafka.rebuild_cutoff import RebuildCutoff
from stream.kafka.recovery import Recovered, recover, rehearse
from stream.kafka.shard_context import FencedError, OutdatedError, ShardContext
from stream.kafka.shard_loop import ShardLoop
from stream.kafka.statereader import HangingTransactionError

log: Final = structlog.get_logger()


class Phase(StrEnum):
    RECOVERING = "recovering"
    RUNNING = "running"
    PAUSED = "paused"


class ShardTask:
    """Begins when made. ``done`` is called with it once, when it has ended; ``error`` says why, None for a cancellation.

    ``current`` says whether the assignment stands under which it was started or resumed.
    """

    def __init__(
        self,
        context: ShardContext,
        hooks: MetricsHooks,
        *,
        discard: RebuildCutoff | None,
        current: Callable[[], bool],
        running: Callable[["ShardTask"], None],
        after: "ShardTask | None" = None,
        delay: float = 0.0,
        brokers_there: Callable[[], Awaitable[None]] | None = None,
        rehearse_first: bool = False,
    ) -> None:
        """``running`` is called each time it begins to read. ``after``: the partition's previous task, which must have
        ended first. ``delay``: seconds to wait first. It does not begin while ``brokers_there`` waits.

        ``rehearse_first``: refuse a bad state before fencing anybody, since somebody may be repairing it.
        """
        self.context = context
        self.phase = Phase.RECOVERING
        self.error: BaseException | None = None
        self.began = time.monotonic()
        self.shard_loop: ShardLoop | None = None
        self._hooks = hooks
        self._discard = discard
        self._tell_running = running
        self.current = current
        self._pausing = False
        self._waiters: set[asyncio.Future[None]] = set()
        self._brokers_there = brokers_there
        self._rehearse_first = rehearse_first
        self._task = asyncio.create_task(self._run(after, delay), name=f"shard {context.partition}")

    @property
    def partition(self) -> int:
        return self.context.partition

    def when_done(self, tell: Callable[["ShardTask"], None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self.error = None if task.cancelled() else task.exception()
            tell(self)

        self._task.add_done_callback(ended)

    async def pause(self) -> bool:
        """A last checkpoint, then it waits. False when it was not running, or has failed on the way."""
        if self.phase is Phase.RECOVERING or self._task.done():
            return False
        self._pausing = True
        while self.phase is not Phase.PAUSED and not self._task.done():
            await self._a_change()
        return self.phase is Phase.PAUSED and not self._task.done()

    def resume(self, current: Callable[[], bool]) -> None:
        """The partition was given back: it goes on when it is still the producer, else ends with OutdatedError."""
        self.current = current
        self._pausing = False
        self._note(self.phase)

    def drop(self) -> None:
        """Ends it without a checkpoint. What it has not committed is counted again by whoever comes next."""
        self._task.cancel()

    async def ended(self) -> None:
        """Returns when it has let go of the broker; raises nothing of its own."""
        await asyncio.wait({self._task})

    async def _run(self, after: "ShardTask | None", delay: float) -> None:
        if after is not None:
            await after.ended()
        await asyncio.sleep(delay)
        if self._brokers_there is not None:
            await self._brokers_there()
        began = time.monotonic()
        if self._rehearse_first and self._discard is None:
            with suppress(HangingTransactionError):  # which only who fences can end
                await rehearse(self.context)
        recovered = await recover(self.context, discard=self._discard, current=self.current)
        inputs = Inputs(self.context, self.context.memory or Memory(self.context.settings.buffer_memory))
        try:
            await inputs.start(recovered.machine.positions, recovered.machine.topic_ids)
            self._hooks.recovered(self.partition, time.monotonic() - began, recovered.records)
            gc_tuning.freeze()
            await self._serve(recovered, inputs)
        finally:
            await asyncio.gather(client.end(recovered.producer), inputs.stop())

    async def _serve(self, recovered: Recovered, inputs: Inputs) -> None:
        checkpoints = Checkpoints(self.context, recovered.producer, recovered.state_end)
        shard_loop = self.shard_loop = ShardLoop(self.context, recovered.machine, inputs, checkpoints, self._hooks)
        self._run_on()
        try:
            while True:
                await shard_loop.turn()
                if self._pausing:
                    await self._stay_paused(shard_loop)
        finally:
            await shard_loop.abandon()

    async def _stay_paused(self, shard_loop: ShardLoop) -> None:
        await shard_loop.last_checkpoint()
        shard_loop.release_buffers()
        self._note(Phase.PAUSED)
        resumed = False
        while not resumed:
            while self._pausing:
                await self._a_change()
            await self._check_ownership(shard_loop)
            resumed = not self._pausing  # the partition may have been revoked again during the check
        self._run_on()

    async def _check_ownership(self, shard_loop: ShardLoop) -> None:
        try:
            await shard_loop.check_ownership()
        except FencedError as error:  # others had it meanwhile: what is in memory is old, the new assignment is not
            raise OutdatedError from error

    def _run_on(self) -> None:
        self._note(Phase.RUNNING)
        self._tell_running(self)

    def _note(self, phase: Phase) -> None:
        self.phase = phase
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _a_change(self) -> None:
        """Waits until the phase is noted anew, or the task is done. What is noted from this call on is not missed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            me = asyncio.current_task()
            await asyncio.wait({waiter} if me is self._task else {waiter, self._task}, return_when="FIRST_COMPLETED")
        finally:
            self._waiters.discard(waiter)
            waiter.cancel()
