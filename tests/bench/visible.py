"""From the broker's append to the checkpoint that makes it visible, record by record.

A checkpoint moves the group's offsets, the counters of /metrics and `liveshop_checkpoint_timestamp_seconds` together: the
offsets say which records became visible, that time says when. /metrics is made once a second: where it does not say the
time yet, the record became visible when its offset was looked at, a quarter of a second later at most.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Final, Self

import numpy as np
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.bench.pipe import Appended, Place

LOOK_EVERY: Final = 0.25
STAMP: Final = 'liveshop_checkpoint_timestamp_seconds{partition="'


class Group:
    """The committed offsets of a group, as any lag tool reads them."""

    def __init__(self, brokers: str, group: str) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
        self._group = group

    async def __aenter__(self) -> Self:
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def positions(self) -> dict[Place, int]:
        """Empty while the coordinator does not answer."""
        try:
            found = await self._admin.list_consumer_group_offsets(self._group)
        except KafkaError:
            return {}
        return {(each.topic, each.partition): offset.offset for each, offset in found.items()}

    async def left(self, ends: dict[Place, int]) -> int:
        """Records up to these ends that are not committed."""
        positions = await self.positions()
        return sum(end - min(end, positions.get(place, 0)) for place, end in ends.items())

    async def reach(self, ends: dict[Place, int], seconds: float, every: float = 0.1) -> None:
        """Returns when all is committed. AssertionError when it is not after ``seconds``."""
        deadline = time.monotonic() + seconds
        while left := await self.left(ends):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s in vain for {left:,} records to be counted")
            await asyncio.sleep(every)


class Visible:
    """Told what was appended and what is committed, it knows how long each record took."""

    def __init__(self) -> None:
        self.found: list[tuple[int, float, int]] = []
        """When it was appended (ms), seconds until it was visible, and number of records."""
        self._waiting: dict[Place, deque[Appended]] = {}
        self._looked = time.time()

    def appended(self, batch: Appended) -> None:
        self._waiting.setdefault(batch.place, deque()).append(batch)

    def committed(self, positions: dict[Place, int], stamps: dict[int, float], now: float) -> None:
        """``stamps``: time of the newest checkpoint by partition; without a new one it was ``now``, at the latest."""
        for place, position in positions.items():
            waiting = self._waiting.get(place)
            stamp = stamps.get(place[1], 0.0)
            seen = stamp if self._looked < stamp <= now else now
            while waiting and waiting[0].offset < position:
                self._see(waiting, position, seen)
        self._looked = now

    def _see(self, waiting: deque[Appended], position: int, seen: float) -> None:
        batch = waiting.popleft()
        number = min(batch.number, position - batch.offset)
        self.found.append((batch.at_ms, max(0.0, seen - batch.at_ms / 1000), number))
        if number < batch.number:
            waiting.appendleft(batch._replace(offset=position, number=batch.number - number))


def stamps(metrics: dict[str, float]) -> dict[int, float]:
    """Time of the last checkpoint by partition."""
    return {int(name.split('"')[1]): value for name, value in metrics.items() if name.startswith(STAMP)}


def percentiles(found: Iterable[tuple[int, float, int]], *shares: float) -> list[float]:
    """Seconds within which such a share of the records was visible. nan without any."""
    rows = sorted((seconds, number) for _, seconds, number in found)
    if not rows:
        return [float("nan") for _ in shares]
    seconds, numbers = np.array([row[0] for row in rows]), np.cumsum([row[1] for row in rows])
    places = [int(np.searchsorted(numbers, share * numbers[-1])) for share in shares]
    return [float(seconds[min(place, len(rows) - 1)]) for place in places]
