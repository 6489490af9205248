"""Watching: does the event loop move, do brokers answer, are the topics as they were, and does every shard move?"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Final
from weakref import WeakKeyDictionary

import structlog
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.core.brokertime import BrokerTime
from stream.errors import FailedError, UnreachableError
from stream.kafka import client, gc_tuning
from stream.kafka.blocked_shards import BlockedShards
from stream.kafka.broker_availability import BrokerAvailability, Change
from stream.kafka.client import Reader, make_probe
from stream.kafka.gc_tuning import LoopLoad, Reclaimer
from stream.kafka.health import BROKERS_AWAY, CLOCK, STUCK, Health
from stream.kafka.machine import Machine, Name
from stream.kafka.memory import Memory
from stream.kafka.metrics_hooks import MetricsHooks
from stream.kafka.partitions import Partitions
from stream.kafka.shard_context import ShardContext
from stream.kafka.task import ShardTask
from stream.kafka.topicwatch import TopicWatch

log: Final = structlog.get_logger()

BEAT: Final = 0.5
QUIET_AFTER: Final = 5.0
"""Seconds without a record."""
TRIM_EVERY: Final = 40
"""Beats."""
PROBE_EVERY: Final = 1.0
LOOK_EVERY: Final = 5.0
ASK_SECONDS: Final = 10.0
WRONG_FROM: Final = 10.0
"""Seconds by which our wall clock may differ from the brokers' without a word."""
TELL_AGAIN: Final = 600.0
"""Seconds after which the log repeats it."""


class Watchdog:
    """``running`` gives the shards that read, by partition; ``reclaimer`` it calls at every beat."""

    def __init__(
        self,
        settings: Settings,
        hooks: MetricsHooks,
        health: Health,
        running: Callable[[], Mapping[int, ShardTask]],
        reclaimer: Reclaimer,
        *,
        clock: BrokerTime,
        memory: Memory,
        waiting: BlockedShards,
        partitions: Partitions,
    ) -> None:
        self._waiting = waiting
        self._memory = memory
        self._settings = settings
        self._hooks = hooks
        self._health = health
        self._running = running
        self._reclaimer = reclaimer
        self._clock = clock
        self._told_wrong = -math.inf
        self._patience = settings.stuck_after.total_seconds()
        self._topics = TopicWatch(partitions.role, settings, health, partitions)
        self._availability = BrokerAvailability(time.monotonic())
        self._read: tuple[list[dict[Name, int]], float] = [], time.monotonic()
        """Where the shards stand, and since when."""
        self._there = asyncio.Event()
        self._there.set()
        self._seen: WeakKeyDictionary[ShardTask, tuple[dict[Name, int], float]] = WeakKeyDictionary()
        """Where each stood, and since when. One that has ended is not to be held until the next look."""

    async def beat(self) -> None:
        """Until cancelled: says that the loop moves, and how late it wakes; keeps memory in order."""
        for turn in count(1):
            began = time.monotonic()
            await asyncio.sleep(BEAT)
            self._hooks.loop_lag(max(0.0, time.monotonic() - began - BEAT))
            self._hooks.buffered(self._memory.unpacked)
            self._health.beat()
            self._reclaimer.collect(self._load())
            self._waiting.look(self._running())
            self._look_at_the_clock()
            if not turn % TRIM_EVERY:
                gc_tuning.trim_memory()

    def _load(self) -> LoopLoad:
        """What a stall would hold up now."""
        loops = [task.shard_loop for task in self._running().values()]
        positions = [dict(each.inputs.positions) for each in loops if each is not None]
        if positions != self._read[0]:
            self._read = positions, time.monotonic()
        if self._memory.unpacked:
            return LoopLoad.BUSY
        return LoopLoad.QUIET if time.monotonic() - self._read[1] > QUIET_AFTER else LoopLoad.IDLE

    @property
    def brokers_away(self) -> bool:
        """No broker answers, and people have been told."""
        return self._availability.away

    async def brokers_there(self) -> None:
        """Returns at once unless brokers are away, else when they answer again: until then nobody need try."""
        await self._there.wait()

    async def watch_brokers(self) -> None:
        """Until cancelled: asks them all about once a second, and tells when they are away and when they are back.

        With connections of its own: whatever becomes of those of shards, this says whether anybody is there.
        """
        probe = make_probe(self._settings)
        since = datetime.now(UTC)
        try:
            while True:
                connected, why = await probe.ask()
                if connected:
                    since = datetime.now(UTC)
                self._note_answers(connected, why, since)
                await asyncio.sleep(PROBE_EVERY)
        finally:
            await probe.close()

    def _note_answers(self, connected: int, why: str, since: datetime) -> None:
        now = time.monotonic()
        seconds = round(now - self._availability.last_answer)
        change = self._availability.update(now, connected, why)
        self._hooks.brokers(0 if self._availability.away else max(1, connected))
        text = f"brokers away since {since:%H:%M:%S} UTC ({self._availability.why or 'no answer'})"
        match change:
            case Change.AWAY | Change.STILL_AWAY:
                self._there.clear()
                self._health.unready(BROKERS_AWAY, text)
                log.error(text, seconds=seconds)
            case Change.BACK:
                self._there.set()
                self._health.clear(BROKERS_AWAY)
                log.info("brokers answer again", away_seconds=seconds)
            case None:
                pass

    def _look_at_the_clock(self) -> None:
        """Says how wrong our wall clock is: in a metric always, in the log and on /readyz when it matters."""
        now = time.monotonic()
        ahead = self._clock.wall_ahead(now, time.time())
        if ahead is None:
            return
        self._hooks.clock_offset(ahead)
        if abs(ahead) < WRONG_FROM:
            self._health.note(CLOCK, None)
            self._told_wrong = -math.inf
            return
        text = (
            f"the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of the brokers: "
            "their time is used; set this one by NTP"
        )
        self._health.note(CLOCK, text)
        if now - self._told_wrong >= TELL_AGAIN:
            self._told_wrong = now
            log.warning("the clock of this machine is wrong", detail=text, clock_offset_seconds=round(ahead, 1))

    async def watch_dog(self) -> None:
        """Until cancelled. Raises FailedError when a shard has records to read and has not moved for ``stuck_after``.

        It asks for the ends itself, with a consumer of its own: one that has stopped fetching does not know that it is
        behind. Without an answer nobody is stuck, and the last stable offset is what counts: a broker that is away or a
        transaction that hangs upstream is no reason to exit.

        Raises StateRefusedError when a topic that shards read or write was made anew, and OutgrownError when partitions were
        added to one.
        """
        reader = await self._reader()
        try:
            while True:
                await asyncio.sleep(min(LOOK_EVERY, self._patience / 4))
                await self._topics.look(reader, self._counting())
                await self._look(reader)
        finally:
            await client.end(reader)

    async def _reader(self) -> Reader:
        while True:
            await self.brokers_there()
            reader = client.make_reader(self._settings)
            try:
                await client.start(reader, self._settings)
            except UnreachableError:
                continue  # they went away after the start of this process, which has more time now
            return reader

    def _counting(self) -> list[tuple[ShardContext, Machine]]:
        return [
            (task.context, task.shard_loop.machine) for task in self._running().values() if task.shard_loop is not None
        ]

    async def _look(self, reader: Reader) -> None:
        shards = dict(self._running())
        inputs = {number: shard.context.inputs for number, shard in shards.items()}
        partitions = [tp for by_name in inputs.values() for tp in by_name.values()]
        try:
            async with asyncio.timeout(ASK_SECONDS):
                ends = await reader.end_offsets(partitions)
        except (KafkaError, TimeoutError):
            self._seen.clear()
            return
        now = time.monotonic()
        for ended in set(self._seen) - set(shards.values()):
            del self._seen[ended]
        for number, shard in shards.items():
            self._judge(shard, {name: ends[tp] for name, tp in inputs[number].items()}, now)

    def _judge(self, shard: ShardTask, ends: Mapping[Name, int], now: float) -> None:
        if shard.shard_loop is None:
            return
        positions = dict(shard.shard_loop.inputs.positions)
        before, since = self._seen.get(shard, (None, now))
        behind = [name for name, end in ends.items() if positions[name] < end]
        if not behind or before != positions:
            self._seen[shard] = (positions, since := now)
        self._hooks.stuck(shard.partition, now - since)
        if now - since > self._patience:
            still = f"has not moved for {now - since:.0f} s"
            text = f"partition {shard.partition} has records of {', '.join(behind)} to read and {still}"
            log.error("a shard is stuck", partition=shard.partition, behind=behind)
            self._health.unready(STUCK, text)
            raise FailedError(text)
