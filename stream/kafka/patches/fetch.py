"""Records come out of aiokafka's fetcher as we read them ourselves: bounded, a batch in one step.

aiokafka unpacks whatever a producer has packed, stops for ever at what it cannot read, and takes 1.3 of its 1.8 us a
record to build a dataclass. So the fetcher of every consumer (stream/kafka/client.py) is changed to hand out what
stream/kafka/fetched.py makes of the bytes. Records have ``offset``, ``timestamp``, ``key``, ``value`` and ``headers``,
which is all of ``Record``; a batch that is refused is one record, a `RefusedBatch`, handed out alone.

What lies before a damaged batch is handed out first; then the place is named.
"""

import asyncio
import sys
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import aiokafka
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest

from stream.kafka.batches import last_of
from stream.kafka.fetched import DamagedError, joined, runs, since
from stream.kafka.patches.fetchbyid import FetchById, Fetched
from stream.model.results import Record, RefusedBatch, create_time, nbytes, part

log: Final = structlog.get_logger()

TAKE_BYTES: Final = 4 * 1024 * 1024
"""Memory of the batches that are unpacked at a time, but for the last one."""
BESIDE_MS: Final = 20
"""Longest wait of the broker for records of silent topics while records of another wait here to be counted: aiokafka asks a
broker one thing at a time, and these could not be followed by the next until it has answered. (p: a backlog of views
stood still for half a second after each fetch, beside comments that were all read.)"""

GONE_SECONDS: Final = 0.5
"""Until a topic is asked for again that is not there under its id: aiokafka would ask as fast as it is answered."""


class UnreadableError(CorruptRecordException):  # type: ignore[misc]  # aiokafka is not typed for us
    """What lies at these offsets cannot be read: it is damaged. Another read may find it whole."""

    def __init__(self, partition: TopicPartition, first: int, last: int, why: str) -> None:
        super().__init__(partition, first, last, why)
        self.partition = partition
        self.first = first
        """The offset to read next."""
        self.last = last
        """Last offset of its batch, as the header says, or as `batches.damaged` has found out."""
        self.why = why

    def __str__(self) -> str:
        topic, number = self.partition
        return f"{topic}, partition {number}: offsets {self.first} to {self.last} cannot be read ({self.why})"


def hand_out_raw(consumer: aiokafka.AIOKafkaConsumer, max_batch: int) -> None:
    """To be called once, after ``consumer.start()``. ``max_batch``: bytes that a batch may unpack to."""
    fetcher = consumer._fetcher
    fetcher._records = records = _RawRecords(max_batch)
    fetcher._client = _Client(fetcher._client, records)
    # Unread records of a topic that is held back must not delay the next fetch of the others (by 0.1 s each time).
    fetcher._prefetch_backoff = 0.0


class Account(Protocol):
    """How much may be unpacked now (stream/kafka/memory.py)."""

    def may_unpack(self) -> bool:
        """Whether to unpack one more batch."""

    def takes(self, size: int) -> bool:
        """Whether there is room for a batch that was unpacked and takes so much memory."""


class Buffer:
    """The fetcher's buffer of one consumer, on which ``hand_out_raw`` was called: what is held and may be held there."""

    def __init__(self, consumer: aiokafka.AIOKafkaConsumer, account: Account) -> None:
        self._fetcher = consumer._fetcher
        self._records: _RawRecords = self._fetcher._records
        self._records.account = account

    def fetch_at_most(self, size: int) -> None:
        """Compressed bytes of each partition, from the next fetch on."""
        self._fetcher._max_partition_fetch_bytes = size

    def left(self, partition: TopicPartition) -> int:
        """Memory of a batch that was unpacked and handed out in part."""
        runs = getattr(self._records.get(partition), "_partition_records", None)
        return runs.left if runs is not None else 0

    def insist_on(self, ids: Mapping[str, bytes]) -> None:
        """From the next fetch on, only topics with these ids are read. ``ids``: of every topic that is assigned."""
        self._fetcher._client.ids = ids

    def forget(self, partition: TopicPartition) -> None:
        """What was fetched of a partition; it is fetched again."""
        if self._records.pop(partition, None) is not None:
            self._fetcher._notify(self._fetcher._wait_consume_future)


class _Unbounded:
    """Of a consumer whose records are used as they come."""

    def may_unpack(self) -> bool:
        return True

    def takes(self, _size: int) -> bool:
        return True


class _RawRecords(OrderedDict[Any, Any]):
    """The fetcher's buffer, by partition. Every result that is put in here hands out its records in runs."""

    def __init__(self, max_batch: int) -> None:
        super().__init__()
        self.max_batch = max_batch
        self.account: Account = _Unbounded()
        self.fetched: dict[TopicPartition, bytes] = {}
        """What the last answer held of each partition."""

    def __setitem__(self, partition: Any, result: Any) -> None:
        records = getattr(result, "_partition_records", None)  # a FetchError has none
        if records is not None:
            _hand_out_runs(result, _Runs(records, self.fetched.pop(partition, b""), self))
        super().__setitem__(partition, result)


def _hand_out_runs(result: Any, runs: "_Runs") -> None:
    """The result must not hold itself: the collector that finds such cycles leaves most of the process alone.

    (p: of every minute that was read, 50 MB of fetched bytes and records stayed for ever.)
    """
    result._partition_records = runs
    result.getall = partial(_take_all, weakref.ref(result))


def _take_all(of: "weakref.ref[Any]", max_records: int | None = None) -> Sequence[Record]:
    """What ``FetchResult.getall`` does, with one step a run instead of several a record."""
    result = of()
    if result is None or not result.check_assignment(result._topic_partition) or not result.has_more():
        return ()
    runs = result._partition_records
    taken: Sequence[Record] = runs.take(sys.maxsize if max_records is None else max_records)
    result._update_position()
    if runs.finished:
        result._partition_records = None
    return taken


class _Runs:
    """What was fetched of a partition. Stands in for ``PartitionRecords``, whose handling of transactions it uses."""

    def __init__(self, records: Any, fetched: bytes, buffer: _RawRecords) -> None:
        self.next_fetch_offset: int = records.next_fetch_offset
        self.finished = False
        records._records_iterator = None
        self._iterator = _readable(records, fetched, buffer.max_batch)
        self._records = records
        self._account = buffer.account
        self._unpacked = 0
        """Memory of what was unpacked for the records that are taken now."""
        self._dropped = False
        """A batch was unpacked for which there is no room: it is fetched again."""
        self._run: Sequence[Record] = ()
        self._at = 0
        self._oldest_ms = 0
        self._alone = False

    @property
    def left(self) -> int:
        return nbytes(self._run)

    def take(self, most: int) -> Sequence[Record]:
        """At most so many records, all stamped by the broker or all by producers; or a refused batch alone.

        None when there are no more, or no room to unpack them.
        """
        parts: list[Sequence[Record]] = []
        number, oldest_ms, self._unpacked = 0, sys.maxsize, 0
        while number < most and self._more() and not (parts and self._alone):
            run, at = self._run, self._at
            if parts and create_time(run) != create_time(parts[0]):
                break
            end = min(len(run), at + most - number)
            parts.append(part(run, at, end))
            number += end - at
            oldest_ms = min(oldest_ms, self._oldest_ms)
            self._at = end
            self.next_fetch_offset = run[end - 1].offset + 1
            if self._alone:
                break
        if self._at == len(self._run):
            self._run, self._at = (), 0
            if not self._dropped:  # beyond what was left out: markers, aborted and compacted records
                self.next_fetch_offset = max(self.next_fetch_offset, self._records.next_fetch_offset)
        return joined(parts, oldest_ms)

    def _more(self) -> bool:
        while self._at == len(self._run):
            if self._unpacked >= TAKE_BYTES or not self._account.may_unpack():
                return False
            run = next(self._iterator, None)
            self._dropped = run is not None and not self._account.takes(nbytes(run))
            if run is None or self._dropped:
                self.finished = True
                return False
            self._unpacked += nbytes(run)
            self._run, self._at, self._alone = since(run, self.next_fetch_offset), 0, isinstance(run, RefusedBatch)
            self._oldest_ms = getattr(run, "oldest_ms", sys.maxsize)
        return True


def _readable(records: Any, fetched: bytes, max_batch: int) -> Iterator[Any]:
    """All batches of a fetch, up to one that is damaged: that is raised by the next fetch, which begins with it.

    (p: raised at once, it took those before it along, and the position stayed before them for ever.) Anything else that is
    raised says nothing about the batch: it is left to end the process.
    """
    began = records.next_fetch_offset
    try:
        yield from runs(records, fetched, max_batch)
    except DamagedError as error:
        first = records.next_fetch_offset
        if first == began:
            raise UnreadableError(records._tp, first, last_of(fetched, first), str(error)) from error
        log.warning("records cannot be read", topic=records._tp.topic, partition=records._tp.partition, offset=first)


class _Client:
    """The fetcher's client, which also keeps the bytes of the answers until their records are unpacked.

    With ``ids``, by topic, it fetches no other topics than these.
    """

    def __init__(self, client: Any, records: _RawRecords) -> None:
        self._client = client
        self._records = records
        self.ids: Mapping[str, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node: int, request: Any, **options: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await self._client.send(node, request, **options)
        if self._records:
            request._max_wait_ms = min(request._max_wait_ms, BESIDE_MS)
        response = await self._client.send(node, FetchById(request, self.ids) if self.ids else request, **options)
        if isinstance(response, Fetched):
            response.check()
            if response.unknown:
                await asyncio.sleep(GONE_SECONDS)
        for topic, partitions in response.topics:
            for partition, *_, fetched in partitions:
                self._records.fetched[TopicPartition(topic, partition)] = fetched
        return response
