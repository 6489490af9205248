"""When a full collection would hold up nothing: the watchdog tells by what the shards read."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from stream.config import Settings
from stream.core.brokertime import BrokerTime
from stream.kafka import watchdog
from stream.kafka.blocked_shards import BlockedShards
from stream.kafka.gc_tuning import LoopLoad, Reclaimer
from stream.kafka.memory import Memory
from stream.kafka.partitions import Partitions
from stream.kafka.watchdog import QUIET_AFTER, Watchdog
from stream.observe.health import Health
from stream.observe.shares import SharePolicy
from stream.sessions.role import WORKER
from tests.kafka.tools import Memory as Remembers


class Room:
    """A watchdog with one shard, a clock and a buffer that are set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.positions = {"views": 0}
        self.memory = SimpleNamespace(unpacked=0)
        monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now))
        settings = Settings(brokers="kafka-1:9092")
        health = Health(SharePolicy())
        shard: Any = SimpleNamespace(shard_loop=SimpleNamespace(inputs=self))
        self.watchdog = Watchdog(
            settings, Remembers(), health, lambda: {0: shard}, Reclaimer(),
            clock=BrokerTime(), memory=Memory(settings.buffer_memory), waiting=BlockedShards(WORKER, settings, health),
            partitions=Partitions(WORKER, settings, 1),
        )  # fmt: skip
        self.watchdog._memory = cast("Memory", self.memory)

    def load(self, seconds: float = 0.5) -> LoopLoad:
        self.now += seconds
        return self.watchdog._load()


def test_a_stall_holds_up_records_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(monkeypatch)
    room.memory.unpacked = 1
    assert room.load() is LoopLoad.BUSY
    assert room.load(60) is LoopLoad.BUSY, "they wait, though none is counted"


def test_between_two_fetches_it_is_idle_and_quiet_when_none_brought_anything_for_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(monkeypatch)
    for offset in range(1, 30):
        room.positions["views"] = offset
        assert room.load() is LoopLoad.IDLE
    assert room.load(QUIET_AFTER / 2) is LoopLoad.IDLE
    assert room.load(QUIET_AFTER) is LoopLoad.QUIET
    room.positions["views"] += 1
    assert room.load(QUIET_AFTER) is LoopLoad.IDLE
