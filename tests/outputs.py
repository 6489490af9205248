"""Reading whole topics as somebody who trusts nobody: inputs as they lie in the log, every revision of every result."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.recount import KINDS, LogRecord

Value = dict[str, Any]


class Follower:
    """Reads whole topics from their beginning, committed records only, as far as they go at each call."""

    def __init__(self, brokers: str, names: Iterable[str], partitions: int) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        )
        self._partitions = [TopicPartition(name, number) for name in names for number in range(partitions)]

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def more(self, seconds: float = 60.0) -> list[Any]:
        """Every record since the last call, up to the last stable offsets of now; in order within a partition."""
        ends = await self._consumer.end_offsets(self._partitions)
        found: list[Any] = []
        async with asyncio.timeout(seconds):
            while [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]:
                for records in (await self._consumer.getmany(timeout_ms=500)).values():
                    found += records
        return found


async def read_inputs(brokers: str, prefix: str, partitions: int) -> list[LogRecord]:
    """All three inputs as they lie in the log."""
    kinds = {f"{prefix}live.{kind}": kind for kind in KINDS}
    async with Follower(brokers, kinds, partitions) as follower:
        return [
            LogRecord(
                kinds[r.topic],
                r.partition,
                r.offset,
                r.timestamp,
                r.key,
                r.value,
                tuple(r.headers),
                not r.timestamp_type,
            )
            for r in await follower.more()
        ]


@dataclass(frozen=True)
class Letter:
    """One record of live.dead-letters."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> str:
        """The text of a header that is there exactly once."""
        (value,) = [value for each, value in self.headers if each == name]
        return value.decode()

    @property
    def reason(self) -> str:
        return self.header("liveshop-reason")

    def origin(self, prefix: str) -> tuple[str, int, int]:
        """Kind, partition and offset of the record that was refused; of a batch its first."""
        topic, partition, offsets, _ = self.header("liveshop-origin").rsplit("/", 3)
        return topic.removeprefix(f"{prefix}live."), int(partition), int(offsets.partition("-")[0])


@dataclass
class Written:
    """What readers of the outputs see: every revision of every key in log order, every dead letter."""

    windows: dict[str, list[Value]] = field(default_factory=dict)
    sessions: dict[str, list[Value]] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    alerts: dict[str, list[Value]] = field(default_factory=dict)
    partitions: dict[str, set[int]] = field(default_factory=dict)
    """Session id -> partitions of its results."""

    def take(self, records: Iterable[Any], prefix: str) -> None:
        for record in records:
            name = record.topic.removeprefix(prefix)
            if name == "live.dead-letters":
                self.letters.append(Letter(record.partition, record.key, record.value, tuple(record.headers)))
                continue
            value = orjson.loads(record.value)
            into = {"live.session-windows": self.windows, "live.sessions": self.sessions}.get(name, self.alerts)
            into.setdefault(record.key.decode(), []).append(value)
            self.partitions.setdefault(value["session_id"], set()).add(record.partition)


OUTPUTS: Final = ("live.session-windows", "live.sessions", "live.alerts", "live.dead-letters")


class Results:
    """Follows the outputs of one prefix."""

    def __init__(self, brokers: str, prefix: str, partitions: int) -> None:
        self.written = Written()
        self._prefix = prefix
        self._follower = Follower(brokers, [prefix + name for name in OUTPUTS], partitions)

    async def __aenter__(self) -> Self:
        await self._follower.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._follower.__aexit__()

    async def look(self) -> Written:
        """With everything that is committed by now."""
        self.written.take(await self._follower.more(), self._prefix)
        return self.written


def newest(revisions: Iterable[Value]) -> Value:
    """The truth of a key: "the highest (`generation`, `revision`)"."""
    return max(revisions, key=lambda value: (value["generation"], value["revision"]))


def without(value: Mapping[str, Any], *names: str) -> Value:
    return {name: each for name, each in value.items() if name not in names}
