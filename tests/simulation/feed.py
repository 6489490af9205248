"""The producers upstream: they send the content in order, in batches and transactions, of which some are aborted or hang."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final

from aiokafka import TopicPartition

from stream.config import Settings
from stream.model.names import INPUTS
from tests.core.worlds import T0
from tests.recount import LogRecord
from tests.simulation.cluster import Cluster
from tests.simulation.content import SPAN, Content, ShardContext

NOISE: Final = 0.12
"""Share of batches that are sent in a transaction first, which is aborted."""
FIRST_PRODUCER: Final = 10


class Feed:
    """``seconds``: how long it takes, in the world's time; ``backlog``: share of it that is there from the start."""

    def __init__(
        self, cluster: Cluster, settings: Settings, content: Content, rng: Random, *, seconds: float, backlog: float
    ) -> None:
        self.offsets: dict[tuple[str, int, int], int] = {}
        """Kind, partition and number of a record -> its offset."""
        self._cluster = cluster
        self._settings = settings
        self._content = content
        self._rng = rng
        self._seconds = seconds
        self._backlog = backlog

    async def run(self) -> None:
        senders = [
            self._send(place, log, FIRST_PRODUCER + number)
            for number, (place, log) in enumerate(self._content.logs.items())
        ]
        await asyncio.gather(*senders)

    async def _send(self, place: ShardContext, records: Sequence[LogRecord], producer: int) -> None:
        rng, sent, began = self._rng, 0, self._cluster.loop.now
        sequence = 0
        while sent < len(records):
            share = self._backlog + (self._cluster.loop.now - began) / self._seconds
            until = T0 + share * SPAN * 1.2
            rest = records[sent:]
            batch = [record for record in rest if record.timestamp <= until] if share < 1 else list(rest)
            if batch:
                sequence = await self._hand_over(place, batch, producer, sequence)
                sent += len(batch)
            await asyncio.sleep(0.05 + rng.random() * self._seconds / 5)

    async def _hand_over(self, place: ShardContext, batch: Sequence[LogRecord], producer: int, sequence: int) -> int:
        """Returns the producer's next sequence number."""
        kind, partition = place
        log = self._cluster.log(TopicPartition(self._settings.topic(INPUTS[kind]), partition))
        rows = [(record.key, record.value, record.headers) for record in batch]
        times = [record.timestamp for record in batch]
        luck = self._rng.random()
        if luck < NOISE:
            log.append(rows, times, producer=producer, sequence=sequence)
            sequence += len(rows)
            await asyncio.sleep(self._patience())
            log.mark(producer, 0, self._cluster.now_ms, commit=False)
        if luck < 0.6:
            base = log.append(rows, times)
        else:
            base = log.append(rows, times, producer=producer, sequence=sequence)
            sequence += len(rows)
            await asyncio.sleep(self._patience())
            log.mark(producer, 0, self._cluster.now_ms, commit=True)
        for number, record in enumerate(batch):
            self.offsets[record.place] = base + number
        return sequence

    def _patience(self) -> float:
        """How long a transaction is open; some hang for a while."""
        return self._rng.choice((0.0, 0.01, 0.01, 0.05, 0.3, 1.5))
