"""Shards that cannot go on: what people are told, and until when. Such a shard begins again and again; others go on.

Most wait at records which cannot be read (a checksum is wrong): another replica, or a repaired disk, may have them whole.
Others fail at something else each time, such as a checkpoint that no broker takes.
"""

import time
from collections.abc import Mapping
from typing import Final

import structlog
from aiokafka import TopicPartition

from stream.config import Settings
from stream.kafka.health import Health
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.role import Role
from stream.kafka.task import ShardTask
from stream.printed import command

log: Final = structlog.get_logger()

TELL_AGAIN: Final = 60.0
"""Seconds after which the log repeats it."""
ALIVE: Final = 10.0
"""Seconds after which a shard that does not fail goes on."""


def skip_command(settings: Settings, partition: TopicPartition, first: int, last: int) -> str:
    """The command that goes on behind them, as it is typed."""
    words = ("--topic", partition.topic, "--partition", str(partition.partition), "--offset", str(first))
    return command(settings, "offsets skip", *words, "--to", str(last), "--reason", "damaged on disk", "--execute")


class BlockedShards:
    """Which shards of ours cannot go on, by partition."""

    def __init__(self, role: Role, settings: Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._inputs = {settings.topic(each.topic): each.name for each in role.read}
        self._at: dict[int, UnreadableError] = {}
        self._told: dict[int, float] = {}
        """When the log said so."""
        self._failing: dict[int, tuple[float, int] | None] = {}
        """Those that fail at something else: when the task that runs now began, and with which checkpoint."""

    def begins(self, number: int, error: UnreadableError) -> None:
        """Or goes on waiting: said on /readyz until it is over, in the log now and then."""
        same = number in self._at and self._at[number].first == error.first
        out = "mend the broker's log"
        if error.partition.topic in self._inputs:
            out += f", or: {skip_command(self._settings, error.partition, error.first, error.last)}"
        self._at[number] = error
        self._health.waits(number, f"partition {number} waits at records that cannot be read: {error}; {out}")
        now = time.monotonic()
        if not same or now - self._told[number] >= TELL_AGAIN:
            self._told[number] = now
            log.error("a shard waits at records that cannot be read", detail=str(error), way_out=out)

    def fails(self, number: int, why: str) -> None:
        """A shard that has failed more than once in a row. The log has said each time that it has ended."""
        self._failing[number] = None
        if number not in self._at:
            self._health.waits(number, f"partition {number} fails and is begun again: {why}", fails=True)

    def look(self, running: Mapping[int, ShardTask]) -> None:
        """Whether they have gone on: to be called often."""
        for number in self._failing.keys() & running.keys():
            self._look_whether_it_lives(number, running[number])
        for number in self._at.keys() & running.keys():
            shard_loop, error = running[number].shard_loop, self._at[number]
            kind = self._inputs.get(error.partition.topic)
            if shard_loop is not None and (kind is None or shard_loop.inputs.positions[kind] > error.first):
                self._ends(number)
                log.info("a shard goes on behind records that could not be read", partition=number)

    def _look_whether_it_lives(self, number: int, shard: ShardTask) -> None:
        """It does when it has made a checkpoint, or has had nothing to write for a while."""
        if shard.shard_loop is None:
            return
        seen, checkpoint = self._failing[number], shard.shard_loop.machine.checkpoint
        if seen is None or seen[0] != shard.began:
            self._failing[number] = shard.began, checkpoint
        elif checkpoint > seen[1] or time.monotonic() - shard.began > ALIVE:
            self._ends(number)

    def assigned(self, partitions: frozenset[int]) -> None:
        """Others are somebody else's now."""
        for number in (self._at.keys() | self._failing.keys()) - partitions:
            self._ends(number)

    def _ends(self, number: int) -> None:
        self._at.pop(number, None)
        self._told.pop(number, None)
        self._failing.pop(number, None)
        self._health.waits(number, None)
