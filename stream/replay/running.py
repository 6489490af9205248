"""Running a replay: the shards of a plan, read to their ends by the worker's own loop, with its checkpoints and recovery.

Nobody shares them out: who runs a replay runs all of its partitions, or those he is given. It may be ended at any time, and
gone on with: what a partition has done stands in its state. A broker's trouble is waited out through recovery, as a worker
does. Who is fenced stops: somebody else runs the same replay.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import structlog

from stream.config import Settings
from stream.core.deadletters import LETTER_BYTES, LetterSize
from stream.errors import FailedError, UsageError
from stream.kafka import client, topics
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.inputs import Inputs
from stream.kafka.memory import Memory
from stream.kafka.metrics_hooks import MetricsHooks
from stream.kafka.recovery import Recovered, recover
from stream.kafka.retriable import is_trouble
from stream.kafka.retries import Backoff, BackoffPolicy
from stream.kafka.role import Role
from stream.kafka.shard_context import CheckpointError, FencedError, ShardContext
from stream.kafka.shard_loop import ShardLoop
from stream.kafka.state_refused import StateRefusedError
from stream.kafka.topics import TopicStatus
from stream.model.names import KINDS, SESSION_WINDOWS, Kind
from stream.model.results import Tally
from stream.replay.bounded import BoundedInputs
from stream.replay.identity import check
from stream.replay.machine import ReplayShard
from stream.replay.pacing import Pace, Speed
from stream.replay.plan import PartitionPlan, Plan
from stream.replay.role import replay_role, rules_of, settings_of
from stream.sessions.role import WORKER

log: Final = structlog.get_logger("liveshop")

AT_ONCE: Final = 4
"""Partitions that one process reads at a time: each holds what a worker holds of one."""
AGAIN: Final = BackoffPolicy(first=0.2, most=5.0, calm=30.0)
"""Before a failed shard is recovered again."""
TELL_EVERY: Final = 0.2
"""Seconds."""


@dataclass(slots=True)
class Counts:
    """What a run has done. Of one that goes on with another: only since then."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Records by what became of them."""
    written: Counter[str] = field(default_factory=Counter)
    """Results by what they are: windows, totals, alerts."""
    done: set[int] = field(default_factory=set)
    """Partitions that were read to their end."""

    @property
    def records(self) -> int:
        return self.outcomes.total()

    def add(self, tally: Tally) -> None:
        """Of a checkpoint that has committed."""
        for (_, outcome), number in tally.outcomes.items():
            self.outcomes[str(outcome)] += number
        self.written["windows"] += tally.windows.total()
        self.written["totals"] += tally.session_records
        self.written["alerts"] += tally.transitions.total()


async def prepare(plan: Plan, settings: Settings) -> Role:
    """Makes the topics of a replay, those that are missing. Raises UsageError for a plan that does not fit what is there."""
    if plan.letters:
        raise UsageError(
            f"the plan {plan.id} counts dead letters, which no replay can yet: plan it without, and send them again"
        )
    await check(plan, settings)
    role = replay_role(plan, rules_of(plan))
    live = {topic.name: topic for topic in await topics.describe(WORKER, settings)}[settings.topic(SESSION_WINDOWS)]
    copies = None if live.made is TopicStatus.MISSING else live.replication
    await topics.create(role, settings, plan.partitions, copies)
    if await topics.check(role, settings) != plan.partitions:
        raise UsageError(
            f"the topics of the replay {plan.id} have not {plan.partitions} partitions: delete the replay first"
        )
    return role


Tell = Callable[[int, int], None]
"""A partition, and how many of its offsets are done."""


async def run(
    plan: Plan,
    settings: Settings,
    numbers: Collection[int],
    *,
    stop: asyncio.Event,
    tell: Tell,
    pace: Pace | None = None,
    speed: float | None = None,
) -> Counts:
    """These partitions, to their ends or until ``stop`` is set: then with a last checkpoint of each.

    ``pace`` is of all of them together; ``speed``: so many times as fast as it happened, at most.

    Its topics are there already (`prepare`). Raises FailedError when somebody else runs the same replay.
    """
    asked = _Asked(Counts(), pace or Pace(), speed, plan.from_ms, stop, tell)
    role = replay_role(plan, rules_of(plan))
    parts = [part for part in plan.parts if part.partition in numbers]
    memory = Memory(settings.buffer_memory)
    memory.shards = max(1, min(AT_ONCE, len(parts)))
    size = await topics.max_bytes(role, settings, role.letters or "")
    own, letters, turns = settings_of(plan, settings), LetterSize.of(size or LETTER_BYTES), asyncio.Semaphore(AT_ONCE)

    async def one(part: PartitionPlan) -> None:
        context = ShardContext(own, part.partition, plan.partitions, role, letters, memory=memory, begins=part.begins)
        async with turns:
            if not stop.is_set():
                await _Partition(context, part, asked).run()

    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(one(part), name=f"replay {part.partition}")
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return asked.counts


@dataclass(frozen=True, slots=True)
class _Asked:
    """For all partitions."""

    counts: Counts
    pace: Pace
    speed: float | None
    from_ms: int
    stop: asyncio.Event
    tell: Tell


class _Tallied(MetricsHooks):
    """Keeps the numbers of committed checkpoints; nobody is shown anything else."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def committed(self, partition: int, tally: Tally, seconds: float) -> None:  # noqa: ARG002 - of all partitions
        self._counts.add(tally)


class _Partition:
    """One of them."""

    def __init__(self, context: ShardContext, part: PartitionPlan, asked: "_Asked") -> None:
        self._context = context
        self._part = part
        self._counts = asked.counts
        self._pace = asked.pace
        self._speed = None if asked.speed is None else Speed(asked.speed, asked.from_ms)
        self._stop = asked.stop
        self._tell = asked.tell
        self._told = 0.0

    async def run(self) -> None:
        """Through as many lives as it takes."""
        backoff = Backoff(AGAIN)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await self._live()
                break
            except FencedError:
                raise FailedError(
                    f"somebody else runs the replay {self._context.role.run}, or a broker was silent for long: partition "
                    f"{self._context.partition} has stopped, and can be gone on with"
                ) from None
            except StateRefusedError as error:
                log.error("the state of a replay does not fit", partition=self._context.partition, why=str(error))  # noqa: TRY400
                raise UsageError(
                    f"partition {self._context.partition} of the replay {self._context.role.run} cannot be gone on with: "
                    "its state is gone, or is of other topics. Delete the replay, and plan it anew under another id"
                ) from None
            except Exception as error:
                if not (isinstance(error, CheckpointError) or is_trouble(error)):
                    raise
                pause = backoff.pause(time.monotonic() - began)
                log.warning(
                    "a partition of the replay failed and is recovered",
                    partition=self._context.partition,
                    error=str(error) or type(error).__name__,
                    pause_seconds=round(pause, 2),
                )
                await asyncio.sleep(pause)

    async def _live(self) -> None:
        recovered = await recover(self._context, discard=None, current=lambda: True)
        inputs = Inputs(self._context, self._context.memory or Memory(self._context.settings.buffer_memory))
        try:
            await inputs.start(recovered.machine.positions, recovered.machine.topic_ids)
            await self._serve(recovered, inputs)
        finally:
            await asyncio.gather(client.end(recovered.producer), inputs.stop())

    async def _serve(self, recovered: Recovered, inputs: Inputs) -> None:
        machine = shard_of(recovered)
        if not machine.checkpoint:
            for name, lost in self._part.lost.items():
                machine.gap(Kind(name), lost)
        source = BoundedInputs(inputs, self._part.ends, machine, self._pace, self._speed)
        hooks = _Tallied(self._counts)  # type: ignore[abstract]  # nobody is to hear of the rest
        checkpoints = Checkpoints(self._context, recovered.producer, recovered.state_end)
        loop = ShardLoop(self._context, machine, source, checkpoints, hooks)
        try:
            while source.behind() or loop.waits:
                if self._stop.is_set():
                    await loop.last_checkpoint()
                    return
                await loop.turn()
                for kind in filter(machine.is_over, KINDS):
                    loop.forget(kind)
                self._say(machine)
            machine.finish()
            await loop.drain()
        finally:
            await loop.abandon()
        self._counts.done.add(self._context.partition)
        self._tell(self._context.partition, self._part.records)

    def _say(self, machine: ReplayShard) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_EVERY:
            self._told = now
            begins = self._part.begins
            self._tell(self._context.partition, sum(machine.positions[kind] - begins[kind] for kind in KINDS))


def shard_of(recovered: Recovered) -> ReplayShard:
    """A machine of this role, as what it is."""
    assert isinstance(recovered.machine, ReplayShard)  # noqa: S101 - the role makes no others
    return recovered.machine
