"""The worker: keeps one task per partition that is ours, and decides what a failed one means for the membership."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from stream.config import Settings
from stream.core.brokertime import BrokerTime
from stream.core.deadletters import LETTER_BYTES, LetterSize
from stream.errors import UnreachableError, UsageError
from stream.kafka import gc_tuning, preflight, topics
from stream.kafka.blocked_shards import BlockedShards
from stream.kafka.diagnosis import say_why
from stream.kafka.health import COMPANY, KEPT_OUT, PARTITIONS, Health
from stream.kafka.membership import Membership, Owner
from stream.kafka.memory import Memory
from stream.kafka.metrics_hooks import MetricsHooks
from stream.kafka.partitions import Outgrown, OutgrownError, Partitions
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.rebuild_cutoff import RebuildCutoffs, states_now
from stream.kafka.retriable import is_trouble
from stream.kafka.retries import Backoff, BackoffPolicy
from stream.kafka.role import Role
from stream.kafka.shard_context import CheckpointError, FencedError, OutdatedError, ShardContext
from stream.kafka.signals import Signals, leave_at_once
from stream.kafka.state_refused import StateRefusedError
from stream.kafka.task import Phase, ShardTask
from stream.kafka.topic_requirements import Configs, check_configs
from stream.kafka.watchdog import Watchdog

log: Final = structlog.get_logger()

GRACE: Final = 8.5
"""Seconds from the first signal to the end, whatever the broker does; ten are promised."""
LAST_CHECKPOINT: Final = 4.0
"""Of these, for the last checkpoints."""
LOOK_AGAIN: Final = BackoffPolicy(first=1.0, most=20.0)
"""Before topics in which nothing can be counted are looked at again."""
TELL_EVERY: Final = 60.0
"""Seconds after which it is said again what is the matter."""
AGAIN: Final = BackoffPolicy(first=0.2, most=5.0, calm=30.0)
"""Before a failed shard is recovered again."""
REFUSED_AGAIN: Final = 30.0
"""Seconds before a state that was refused is looked at again: somebody may have rebuilt it, or brought it back."""
FORBIDDEN: Final = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    ClusterAuthorizationFailedError,
)
"""Of these, what only a person can mend."""


async def run_worker(
    settings: Settings,
    make_role: Callable[[], Role],
    hooks: MetricsHooks,
    health: Health,
    *,
    rebuild: bool | RebuildCutoffs,
) -> int:
    """Counts until a signal comes: the exit code is 0 after SIGTERM and 130 after SIGINT, within ten seconds.

    ``rebuild``: every shard; or those that have the given states, so that several processes that begin at different times
    rebuild each shard once.

    Raises UsageError for topics or a state that are not as they must be, FailedError for a broker that does not answer
    and for a shard that is stuck. Anything else it raises is a bug, or what nobody has thought of: the last checkpoint
    holds.
    """
    gc_tuning.configure()
    say_why.set(lambda why: log.warning("no Kafka broker answers yet", why=why))
    with Signals() as signals:
        role = make_role()
        signals.at_hang_up(role.machines.read_again)
        worker = Worker(settings, role, hooks, health, rebuild=rebuild)
        work = asyncio.create_task(worker.run())
        either: list[asyncio.Future[Any]] = [work, signals.first]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        log.info("stopping: a last checkpoint", signal=signals.first.result().name)
        work.cancel()
        done, _ = await asyncio.wait({work}, timeout=GRACE)
        if not done:
            log.warning("the broker did not let us finish in time: the checkpoint before the last holds")
            leave_at_once(signals.code)
        if not work.cancelled():
            work.result()
        log.info("stopped")
        return signals.code


class Worker:
    """All shards of this process."""

    def __init__(
        self,
        settings: Settings,
        role: Role,
        hooks: MetricsHooks,
        health: Health,
        *,
        rebuild: bool | RebuildCutoffs,
    ) -> None:
        self._settings = settings
        self._role = self._whole_role = role
        self._hooks = hooks
        self._health = health
        self._rebuild = rebuild
        self._discards: RebuildCutoffs = {} if isinstance(rebuild, bool) else rebuild
        self._partitions = 0
        self._letters = LetterSize()
        self._clock = BrokerTime()
        self._memory = Memory(settings.buffer_memory)
        self._shards: dict[int, ShardTask] = {}
        self._leaving: dict[int, ShardTask] = {}
        """Dropped tasks that have not ended yet."""
        self._backoffs: dict[int, Backoff] = {}
        self._refused: dict[int, StateRefusedError] = {}
        """Shards of ours that stay down."""
        self._waiting = BlockedShards(role, settings, health)
        self._has_run = False
        self._begin()

    def _begin(self) -> None:
        """Whatever lives as long as it is counted, and no longer."""
        settings = self._settings
        self._stopping = False
        self._reclaimer = gc_tuning.Reclaimer(self._hooks.full_collection)
        self._known = Partitions(self._role, settings, self._partitions)
        self._watchdog = Watchdog(
            settings,
            self._hooks,
            self._health,
            self._running,
            self._reclaimer,
            clock=self._clock,
            memory=self._memory,
            waiting=self._waiting,
            partitions=self._known,
        )
        owner = Owner(self._revoked, self._assigned, self._reclaimer.add, self._kept_out, self._foreign_members)
        self._membership = Membership(self._role, settings, owner, self._watchdog.brokers_there)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unassigned_at: float | None = None
        self._deadline = settings.revoke_deadline.total_seconds()

    async def run(self) -> None:
        """Until cancelled: then makes the last checkpoints, leaves the group, and closes everything."""
        while True:
            outgrown = await self._prepare() or await self._count()
            await self._wait_outgrown(outgrown)

    async def _prepare(self) -> Outgrown | None:
        """Looks at topics and states, and touches none. Returns why nothing can be counted here any more."""
        settings = self._settings
        self._role = await self._fitting_role()
        counts = await topics.counts(self._role, settings)
        self._partitions = min(counts.values())
        self._hooks.partitions(self._partitions)
        found = await self._states(counts)
        if self._rebuild is not True or self._discards:  # else all of them are thrown away
            await preflight.check_topics(self._role, settings, found, self._discards)
        if (outgrown := preflight.outgrown(self._role, settings, found, counts)) is not None:
            return outgrown
        configs = await topics.configs(self._role, settings)
        check_configs(self._role, settings, configs, await topics.broker_limits(settings))
        self._letters = _letters(self._role, settings, configs)
        if self._rebuild is True and not self._discards:
            self._discards = await states_now(self._role, settings, self._partitions)
        await preflight.check_states(self._role, settings, self._partitions, self._discards, found)
        return None

    async def _fitting_role(self) -> Role:
        """Without what it may do without, where not all of the topics for that are there."""
        whole = self._whole_role
        unfit = await topics.unfit(whole, self._settings) if whole.optional else []
        if not unfit:
            return whole
        missing = [self._settings.topic(name) for name in unfit]
        log.warning("topics are missing that a worker may do without", missing=missing, without=sorted(whole.optional))
        return whole.without(whole.optional)

    async def _states(self, counts: Mapping[str, int]) -> preflight.Found:
        """A broker's trouble is no reason not to join."""
        try:
            return await preflight.newest_states(
                self._role, self._settings, counts[self._settings.topic(self._role.state)]
            )
        except (KafkaError, OSError) as error:
            if len(set(counts.values())) > 1 or not is_trouble(error):
                raise
            log.warning("the settings could not be compared with every state", error=type(error).__name__)
            return []

    async def _count(self) -> Outgrown:
        """Until cancelled, or nothing can be counted rightly any more."""
        self._begin()
        watchdog = self._watchdog
        lasting = (self._membership.run(), watchdog.beat(), watchdog.watch_dog(), watchdog.watch_brokers())
        tasks = [asyncio.ensure_future(each) for each in lasting]
        try:
            await asyncio.wait({*tasks, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            for done in (self._failed, *tasks):
                if done.done():
                    done.result()
        except OutgrownError as error:
            return error.outgrown
        finally:
            await self._stop(tasks)
        raise AssertionError  # none of them returns

    async def _wait_outgrown(self, outgrown: Outgrown) -> None:
        """Says what is the matter as long as it is. A restart would mend nothing, so the process stays."""
        self._hooks.assigned(frozenset())
        self._health.assigned(frozenset())
        told: tuple[str, float] | None = None
        backoff = Backoff(LOOK_AGAIN)
        while True:
            text = outgrown.text(self._settings)
            if told is None or text != told[0] or time.monotonic() - told[1] > TELL_EVERY:
                log.error("nothing is counted any more", detail=text)
                self._health.clear(PARTITIONS)
                self._health.unready(PARTITIONS, text)
                self._hooks.partitions_added({name: n - outgrown.counted for name, n in outgrown.topics.items()})
                told = text, time.monotonic()
            await asyncio.sleep(backoff.pause())
            try:
                found = await self._prepare()
            except Exception as error:
                if not _is_mendable(error):
                    raise
                log.warning("the topics cannot be checked", error=_named(error))
                continue
            if found is None:
                break
            outgrown = found
        self._health.clear(PARTITIONS)
        self._hooks.partitions_added({})

    async def _stop(self, tasks: Sequence[asyncio.Future[None]]) -> None:
        self._deadline = min(self._deadline, LAST_CHECKPOINT)
        self._stopping = True
        tasks[0].cancel()  # no joining again; the heart beats on
        await asyncio.wait({tasks[0]}, timeout=1.0)
        await self._membership.leave()
        for shard in list(self._shards.values()):
            self._drop(shard)
        await asyncio.gather(*(shard.ended() for shard in list(self._leaving.values())))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if self._failed.done():
            self._failed.exception()  # else asyncio complains of one that came while we were stopping
        gc_tuning.unfreeze()  # what the shards held is garbage now

    def _foreign_members(self, text: str | None) -> None:
        if text is not None:
            log.error("another installation is in this group", detail=text)
        self._health.note(COMPANY, text)

    def _kept_out(self, why: str | None) -> None:
        if why is None:
            self._health.clear(KEPT_OUT)
        else:
            self._health.unready(KEPT_OUT, why)

    def _running(self) -> dict[int, ShardTask]:
        return {number: shard for number, shard in self._shards.items() if shard.phase is Phase.RUNNING}

    # -- the assignment changes

    async def _revoked(self) -> None:
        """Every shard makes a checkpoint and waits. One that does not get there in time is dropped: its state holds."""
        self._unassigned_at = time.monotonic() if self._shards else self._unassigned_at
        shards = list(self._shards.values())
        if not shards:
            return
        pausing = {asyncio.ensure_future(shard.pause()): shard for shard in shards}
        await asyncio.wait(pausing, timeout=self._deadline)
        for waiting, shard in pausing.items():
            paused = waiting.done() and not waiting.cancelled() and waiting.exception() is None and waiting.result()
            waiting.cancel()
            if not paused and self._shards.get(shard.partition) is shard:  # it may have ended by itself meanwhile
                self._drop(shard)

    def _assigned(self, partitions: frozenset[int]) -> None:
        """Goes on with those given back, drops those gone, starts those new.

        A number that is not counted was added a moment ago: the watchdog will see.
        """
        partitions = frozenset(number for number in partitions if number < self._partitions)
        for number in set(self._shards) - partitions:
            self._drop(self._shards[number])
        self._memory.shards = max(1, len(partitions))
        kept = frozenset(self._shards)
        log.info("assigned", partitions=sorted(partitions), kept=sorted(kept))
        self._waiting.assigned(partitions)
        for number in kept:
            self._shards[number].resume(self._is_current())
        for number in partitions - kept:
            self._start(number)
        self._hooks.assigned(partitions)
        self._health.assigned(partitions, kept)
        self._note_rebalanced()

    def _is_current(self) -> Callable[[], bool]:
        epoch = self._membership.epoch
        return lambda: self._membership.current(epoch)

    def _start(self, number: int, delay: float = 0.0, *, rehearse_first: bool = False) -> None:
        context = ShardContext(
            self._settings,
            number,
            self._partitions,
            self._role,
            self._letters,
            self._clock,
            self._memory,
            self._known.confirm,
        )
        shard = ShardTask(
            context,
            self._hooks,
            discard=self._discards.get(number),
            current=self._is_current(),
            after=self._leaving.get(number),
            delay=delay,
            running=self._recovered,
            brokers_there=self._watchdog.brokers_there,
            rehearse_first=rehearse_first,
        )
        self._shards[number] = shard
        shard.when_done(self._ended)

    def _drop(self, shard: ShardTask) -> None:
        if self._shards.get(shard.partition) is not shard:
            return  # it has ended meanwhile, by itself
        del self._shards[shard.partition]
        self._refused.pop(shard.partition, None)
        self._leaving[shard.partition] = shard
        shard.drop()

    def _recovered(self, shard: ShardTask) -> None:
        self._has_run = True
        self._refused.pop(shard.partition, None)
        self._health.recovered(shard.partition)
        self._note_rebalanced()

    def _note_rebalanced(self) -> None:
        if self._unassigned_at is not None and not self._shards.keys() - self._running().keys() - self._refused.keys():
            self._hooks.rebalanced(time.monotonic() - self._unassigned_at)
            self._unassigned_at = None

    # -- a shard has ended

    def _ended(self, shard: ShardTask) -> None:
        self._reclaimer.add(shard, shard.shard_loop)
        if self._leaving.get(shard.partition) is shard:
            del self._leaving[shard.partition]
        if self._shards.get(shard.partition) is not shard:
            return
        del self._shards[shard.partition]
        self._health.assigned(frozenset({*self._shards, shard.partition}), frozenset(self._running()))
        try:
            self._judge(shard)
        except BaseException as error:  # noqa: BLE001 - it ends the process, see run
            if not self._failed.done():
                self._failed.set_exception(error)

    def _judge(self, shard: ShardTask) -> None:
        """What the end of a shard means. Its state in the log is whole in every case."""
        error, number = shard.error, shard.partition
        if self._stopping:
            return
        has_been_said = self._watchdog.brokers_away or isinstance(error, UnreadableError)  # or is about to be
        say = log.debug if has_been_said else log.warning
        say("a shard has ended", partition=number, error=_named(error))
        cause = (error and error.__cause__) or error
        if isinstance(cause, FORBIDDEN):
            raise UsageError(f"the broker refuses the work on partition {number}: {cause}") from error
        if isinstance(error, UnreadableError):
            self._waiting.begins(number, error)
        self._hooks.ended(number, published=isinstance(error, UnreadableError) and shard.shard_loop is not None)
        if isinstance(error, FencedError):
            # never begin again on this assignment, never stay a member without the shard
            self._membership.rejoin(f"partition {number} has another producer now, or its transaction timed out")
        elif isinstance(error, StateRefusedError):
            self._refuse(shard, error)
        elif _is_mendable(error):
            backoff = self._backoffs.setdefault(number, Backoff(AGAIN))
            delay = backoff.pause(time.monotonic() - shard.began)
            if backoff.failures > 1 and not has_been_said and not isinstance(error, OutdatedError):
                self._waiting.fails(number, f"{_named(error)}: {cause}")
            self._start_again(shard, delay)
        elif error is None:  # cancelled, and not by us: never stay a member without the shard
            self._membership.rejoin(f"partition {number} was cancelled from within")
        else:
            raise error

    def _start_again(self, shard: ShardTask, delay: float, *, rehearse_first: bool = False) -> None:
        if shard.current():
            self._start(shard.partition, delay, rehearse_first=rehearse_first)
        else:
            self._membership.rejoin(f"partition {shard.partition} failed on an assignment that is gone")

    def _refuse(self, shard: ShardTask, error: StateRefusedError) -> None:
        """A state that cannot be continued is no reason to end the other shards: only its own one stays down.

        But where nothing could be worked on from the start, that is what whoever starts a worker is to be told: when it
        was given every partition and each is refused, or when all it was given are, for its configuration.
        """
        number = shard.partition
        self._refused[number] = error
        others = self._shards.keys() - self._refused.keys()  # they run, or nobody knows yet
        hopeless = len(self._refused) == self._partitions or all(each.everywhere for each in self._refused.values())
        if not self._has_run and not others and hopeless:
            raise error
        log.error("a shard is down", partition=number, detail=str(error), again_in_seconds=REFUSED_AGAIN)
        self._health.refused(number, str(error))
        self._hooks.refused(number)
        self._start_again(shard, REFUSED_AGAIN, rehearse_first=True)


def _letters(role: Role, settings: Settings, configs: Configs) -> LetterSize:
    if role.letters is None:
        return LetterSize()
    limit = int(configs.get(role.letters, {}).get(topics.MAX_BYTES, LETTER_BYTES))
    letters = LetterSize.of(limit)
    if letters.most < settings.max_value:
        log.warning("dead letters are cut", topic=settings.topic(role.letters), max_message_bytes=limit)
    return letters


def _is_mendable(error: BaseException | None) -> bool:
    """By a new producer, another look or a broker that comes back. Anything else ends the process."""
    return isinstance(error, CheckpointError | OutdatedError | UnreachableError) or is_trouble(error)


def _named(error: BaseException | None) -> str:
    if error is None:
        return "cancelled"
    return type(error).__name__ + (f" ({type(error.__cause__).__name__})" if error.__cause__ else "")
