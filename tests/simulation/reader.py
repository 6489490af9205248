"""What stream/kafka uses of an AIOKafkaConsumer without a group, on the wire of the simulation.

As aiokafka's fetcher: one request at a time for all partitions of which nothing is waiting, an answer for a place left
meanwhile is thrown away, positions move when records are handed out, and a slice without any wakes nobody.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    KafkaError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
)

from tests.simulation.connection import Client
from tests.simulation.log import Entry, Slice
from tests.simulation.wire import Wire

BACKOFF: Final = 0.1
REQUEST_SECONDS: Final = 15.0
POLL_RECORDS: Final = 500


@dataclass(slots=True)
class _Place:
    """One assigned partition."""

    position: int = -1
    high: int | None = None
    stable: int | None = None
    polled: int | None = None


@dataclass(slots=True)
class _Fetched:
    """What waits to be handed out."""

    at: int
    """The position it belongs to."""
    records: list[Entry]
    then: int
    error: KafkaError | None = None


class Reader:
    """``wait``: seconds that the broker may keep a fetch; ``most``: offsets in one answer."""

    def __init__(self, wire: Wire, wait: float, most: int, *, uncommitted: bool = False) -> None:
        self._client = Client(wire)
        self._wire = wire
        self.ids: Mapping[str, bytes] = {}
        """Of topics: no others of these names are fetched."""
        self._wait = wait
        self._most = most
        self._uncommitted = uncommitted
        self._places: dict[TopicPartition, _Place] = {}
        self._fetched: dict[TopicPartition, _Fetched] = {}
        self._fetching = False
        self._poking = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    async def start(self) -> None:
        await self._client.bootstrap()

    async def stop(self) -> None:
        self._closed = True
        self._wake()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._places = {partition: _Place() for partition in partitions}
        self._fetched.clear()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._places[partition].position = offset
        self._poke()

    async def position(self, partition: TopicPartition) -> int:
        return self._places[partition].position

    def highwater(self, partition: TopicPartition) -> int | None:
        return self._places[partition].high

    def last_stable_offset(self, partition: TopicPartition) -> int | None:
        return self._places[partition].stable

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        return self._places[partition].polled

    # -- bounds

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: begin for partition, (begin, _) in (await self._bounds(partitions)).items()}

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: end for partition, (_, end) in (await self._bounds(partitions)).items()}

    async def _bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        wanted = list(partitions)
        if not wanted:
            return {}
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                while True:
                    try:
                        return await self._wire.ask("bounds", lambda: self._wire.cluster.bounds(wanted))
                    except KafkaError as error:
                        if not error.retriable:
                            raise
                    await asyncio.sleep(BACKOFF)
        except TimeoutError:
            raise KafkaTimeoutError("no offsets in time") from None

    # -- records

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Entry]]:
        if self._closed:
            raise ConsumerStoppedError
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_ms / 1000
        most = max_records or POLL_RECORDS
        while True:
            drained = self._drain(partitions or tuple(self._places), most)
            left = until - loop.time()
            if drained or left <= 0:
                return drained
            self._waiter = loop.create_future()
            await asyncio.wait({self._waiter}, timeout=left)
            if not self._waiter.done() or self._closed:
                return {}

    def _drain(self, partitions: Iterable[TopicPartition], most: int) -> dict[TopicPartition, list[Entry]]:
        drained: dict[TopicPartition, list[Entry]] = {}
        wanted = set(partitions)
        for partition in [each for each in self._fetched if each in wanted]:
            fetched, place = self._fetched[partition], self._places[partition]
            if fetched.error is not None:
                if drained:
                    break
                self._forget(partition)
                raise fetched.error
            if fetched.at != place.position:
                self._forget(partition)
                continue
            records = fetched.records[:most]
            if len(records) < len(fetched.records):
                fetched.records = fetched.records[most:]
                fetched.at = place.position = records[-1].offset + 1
            else:
                place.position = fetched.then
                self._forget(partition)
            if records:
                drained[partition] = records
                most -= len(records)
                if most <= 0:
                    break
        return drained

    def _forget(self, partition: TopicPartition) -> None:
        del self._fetched[partition]
        self._poke()

    # -- the fetcher

    def _poke(self) -> None:
        """Looks soon whether there is something to ask for."""
        if not self._poking and not self._fetching and not self._closed:
            self._poking = True
            asyncio.get_running_loop().call_soon(self._fetch)

    def _fetch(self) -> None:
        self._poking = False
        places = {
            partition: place.position
            for partition, place in self._places.items()
            if place.position >= 0 and partition not in self._fetched
        }
        if places and not self._fetching and not self._closed:
            self._fetching = True
            cluster = self._wire.cluster
            self._wire.submit(
                "fetch",
                lambda: cluster.fetch(places, self._wait, self._most, self.ids, uncommitted=self._uncommitted),
                lambda answers, error: self._take(places, answers, error),
            )

    def _take(
        self,
        places: Mapping[TopicPartition, int],
        answers: Mapping[TopicPartition, Slice | KafkaError],
        error: KafkaError | None,
    ) -> None:
        if self._closed:
            return
        if error is not None:
            asyncio.get_running_loop().call_later(BACKOFF, self._go_on)
            return
        news = [self._keep(partition, at, answers[partition]) for partition, at in places.items()]
        if any(news):
            self._wake()
        self._go_on()

    def _go_on(self) -> None:
        self._fetching = False
        self._poke()

    def _keep(self, partition: TopicPartition, at: int, answer: Slice | KafkaError) -> bool:
        """True when whoever waits is to look."""
        place = self._places.get(partition)
        if place is None or place.position != at:
            return False
        if isinstance(answer, OffsetOutOfRangeError):
            self._fetched[partition] = _Fetched(at, [], at, OffsetOutOfRangeError({partition: at}))
            return True
        if isinstance(answer, KafkaError):
            return False
        place.high, place.stable = answer.high, answer.stable
        place.polled = self._wire.cluster.now_ms
        if answer.position == at:
            return False
        self._fetched[partition] = _Fetched(at, answer.records, answer.position)
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
