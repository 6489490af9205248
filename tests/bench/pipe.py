"""The flow into Kafka: as fast as it goes for a backlog, or paced by the wall clock. Knows where each batch lies."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self

from aiokafka.partitioner import DefaultPartitioner

from stream.model.names import INPUTS, Kind
from stream.sandbox import sender
from tests.bench.flow import Flow, Made

CHUNK: Final = 20_000
TICK: Final = 0.05
"""Seconds between two sends of paced traffic."""
FLYING: Final = 4
"""Chunks of a backlog that may be on their way at once."""
SECOND_MS: Final = 1000

Place = tuple[str, int]
"""Topic and partition."""


class Appended(NamedTuple):
    """A batch as it lies in the log. ``at_ms`` is when the broker appended it."""

    place: Place
    offset: int
    number: int
    at_ms: int


Hear = Callable[[Appended], None]


class Pipe:
    """Sends what a flow makes. ``ends`` are the ends of the logs, in so far as this pipe has filled them."""

    def __init__(self, brokers: str, prefix: str, partitions: int, flow: Flow, hear: Hear = lambda _: None) -> None:
        self.flow = flow
        self.ends: dict[Place, int] = {}
        self.sent = 0
        self.behind = 0.0
        """Seconds by which paced traffic was late at worst."""
        self._hear = hear
        self._topics = {kind: prefix + name for kind, name in INPUTS.items()}
        place, numbers = DefaultPartitioner(), list(range(partitions))
        self._partitions: list[int] = [place(key, numbers, numbers) for key in flow.keys]
        self._producer = sender.producer(brokers)
        self._flying: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def fill(self, seconds: float, rate: int) -> None:
        """So many seconds of event time, as fast as it goes."""
        left = int(seconds * rate)
        while left > 0:
            number = min(left, CHUNK)
            await self._send(number, number * SECOND_MS // rate)
            left -= number
            while len(self._flying) >= FLYING:
                await asyncio.wait(self._flying, return_when=asyncio.FIRST_COMPLETED)
        await self.flush()

    async def pace(self, rate: int, stop: asyncio.Event) -> None:
        """So many events each second, until told to stop. Event time passes as wall clock does."""
        began, made = time.monotonic(), 0.0
        while not stop.is_set():
            due = time.monotonic() - began
            self.behind = max(self.behind, due - made - TICK)
            step = min(due - made, 1.0)
            await self._send(round((made + step) * rate) - round(made * rate), round(step * SECOND_MS))
            made += step
            await asyncio.sleep(max(0.0, began + made + TICK - time.monotonic()))
        await self.flush()

    async def flush(self) -> None:
        """Returns when all is acknowledged."""
        await asyncio.gather(*self._flying)

    async def _send(self, number: int, span_ms: int) -> None:
        batches = self._batches(self.flow.make(number, span_ms))
        self.sent += number
        sends = [
            (place, batch.record_count(), await self._producer.send_batch(batch, place[0], partition=place[1]))
            for place, built in batches.items()
            for batch in built
        ]
        flying = asyncio.ensure_future(self._arrive(sends))
        self._flying.add(flying)
        flying.add_done_callback(self._arrived)

    def _batches(self, made: list[Made]) -> dict[Place, list[Any]]:
        built: dict[tuple[Kind, int], list[Any]] = {}
        keys, partitions, create = self.flow.keys, self._partitions, self._producer.create_batch
        for kind, session, value in made:
            batches = built.setdefault((kind, partitions[session]), [])
            if not batches or batches[-1].append(timestamp=None, key=keys[session], value=value) is None:
                batches.append(create())
                batches[-1].append(timestamp=None, key=keys[session], value=value)
        return {(self._topics[kind], partition): batches for (kind, partition), batches in built.items()}

    async def _arrive(self, sends: list[tuple[Place, int, asyncio.Future[Any]]]) -> None:
        for place, number, sent in sends:
            metadata = await sent
            self.ends[place] = max(self.ends.get(place, 0), metadata.offset + number)
            self._hear(Appended(place, metadata.offset, number, metadata.timestamp))

    def _arrived(self, flying: asyncio.Future[None]) -> None:
        """A failure stays where `flush` finds it."""
        if flying.cancelled() or flying.exception() is None:
            self._flying.discard(flying)
