"""Shards that wait at records which cannot be read (a checksum is wrong): what people are told, and until when.

Such a shard begins again and again: another replica, or a repaired disk, may have the records whole. Others go on.
"""

import time
from collections.abc import Mapping
from typing import Final

import structlog
from aiokafka import TopicPartition

from stream.config import Settings
from stream.kafka.fetch import UnreadableError
from stream.kafka.health import Health
from stream.kafka.task import ShardTask
from stream.model.names import INPUTS
from stream.printed import command

log: Final = structlog.get_logger()

TELL_AGAIN: Final = 60.0
"""Seconds after which the log repeats it."""


def way_out(settings: Settings, partition: TopicPartition, first: int, last: int) -> str:
    """The command that goes on behind them, as it is typed."""
    words = ("--topic", partition.topic, "--partition", str(partition.partition), "--offset", str(first))
    return command(settings, "offsets skip", *words, "--to", str(last), "--reason", "damaged on disk", "--execute")


class Waiting:
    """Which shards of ours wait so, by partition."""

    def __init__(self, settings: Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._inputs = {settings.topic(name): kind for kind, name in INPUTS.items()}
        self._at: dict[int, UnreadableError] = {}
        self._told: dict[int, float] = {}
        """When the log said so."""

    def begins(self, number: int, error: UnreadableError) -> None:
        """Or goes on waiting: said on /readyz until it is over, in the log now and then."""
        same = number in self._at and self._at[number].first == error.first
        out = "mend the broker's log"
        if error.partition.topic in self._inputs:
            out += f", or: {way_out(self._settings, error.partition, error.first, error.last)}"
        self._at[number] = error
        self._health.waits(number, f"partition {number} waits at records that cannot be read: {error}; {out}")
        now = time.monotonic()
        if not same or now - self._told[number] >= TELL_AGAIN:
            self._told[number] = now
            log.error("a shard waits at records that cannot be read", detail=str(error), way_out=out)

    def look(self, running: Mapping[int, ShardTask]) -> None:
        """Whether they have gone on: to be called often."""
        for number in self._at.keys() & running.keys():
            stint, error = running[number].stint, self._at[number]
            kind = self._inputs.get(error.partition.topic)
            if stint is not None and (kind is None or stint.inputs.positions[kind] > error.first):
                self._ends(number)
                log.info("a shard goes on behind records that could not be read", partition=number)

    def assigned(self, partitions: frozenset[int]) -> None:
        """Others are somebody else's now."""
        for number in self._at.keys() - partitions:
            self._ends(number)

    def _ends(self, number: int) -> None:
        del self._at[number], self._told[number]
        self._health.waits(number, None)
