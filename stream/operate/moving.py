"""Moving records from the inputs of one set of topics to those of another, each exactly once.

They go in the order of their timestamps over all three inputs, so that nothing is late in the new set which was not late in
the old one, and to the partition where a producer would put them. Each piece is one transaction: the records, and how far
each old partition has got, as offsets of a group. So it may be ended at any time and begun again.

What a shard could not read either (a batch that makes no sense, headers beyond the bounds) becomes a dead letter of the new
set, as it would have in the old one.
"""

import asyncio
import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced
from aiokafka.partitioner import murmur2

from stream.config import Settings
from stream.core.deadletters import ORIGIN, LetterSize, Row, rows
from stream.core.headers import MOST, MOST_BYTES, Header, excess, size_of
from stream.errors import FailedError
from stream.kafka import client
from stream.kafka.patches import end_txn
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.recovery import group_offsets
from stream.model.names import DEAD_LETTERS, INPUTS, Kind, Reason
from stream.model.results import DeadLetter, Record, RefusedBatch

RECORDS: Final = 5000
BYTES: Final = 4 * 1024 * 1024
"""Of one transaction, at most; one record more than that goes alone."""
WAIT_MS: Final = 200
STILL_SECONDS: Final = 30.0
"""A read that brings nothing and does not move for so long has lost its broker."""
NOWHERE: Final = -1


Contents = dict[TopicPartition, list[tuple[Row, int]]]
"""What is to be written to each partition, with the timestamps, ms."""


@dataclass(slots=True)
class Source:
    """One old partition of an input."""

    kind: Kind
    tp: TopicPartition
    position: int
    """Up to here all is moved, or was counted in the old set."""
    read: int
    """Up to here it was read."""
    end: int = 0
    waiting: deque[Record] = field(default_factory=deque)

    @property
    def starves(self) -> bool:
        return not self.waiting and self.read < self.end

    def take(self) -> Record:
        record = self.waiting.popleft()
        self.position = record.offset + 1 if self.waiting else max(self.read, record.offset + 1)
        return record


@dataclass(frozen=True, slots=True)
class Target:
    """The new set. ``partitions``: of each topic."""

    settings: Settings
    partitions: int

    def place(self, key: bytes | None, otherwise: int) -> int:
        """By murmur2, as Java clients do; a record without a key belongs nowhere."""
        number: int = otherwise if key is None else murmur2(key) & 0x7FFFFFFF
        return number % self.partitions


class Mover:
    """Use as ``async with``. Only one at a time moves from one set to another: a second fences the first."""

    def __init__(
        self, settings: Settings, target: Target, starts: Mapping[TopicPartition, int], letters: LetterSize
    ) -> None:
        """``starts``: where each old partition begins which is not counted; what was moved already is left out."""
        self._letter_bytes = letters.most
        self._settings = settings
        self._target = target
        self._kinds = {settings.topic(name): kind for kind, name in INPUTS.items()}
        self._sources = [Source(self._kinds[tp.topic], tp, start, start) for tp, start in sorted(starts.items())]
        self._group = progress_group(settings, target.settings)
        self._producer = client.make_producer(settings, self._group)
        self._reader = client.make_reader(settings, wait_ms=WAIT_MS)
        self.records = 0
        self.letters = 0

    async def __aenter__(self) -> Self:
        try:
            await client.start(self._producer, self._settings)  # fences an earlier one, and ends its transaction
            await client.start(self._reader, self._settings)
            self._reader.assign([source.tp for source in self._sources])
            await self._stand()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await client.end(self._producer)
        await client.end(self._reader)

    async def _stand(self) -> None:
        moved = await progress(self._settings, self._target, [source.tp for source in self._sources])
        begins = await self._reader.beginning_offsets([source.tp for source in self._sources])
        for source in self._sources:
            source.position = source.read = max(source.position, moved[source.tp], begins[source.tp])
            self._reader.seek(source.tp, source.read)

    @property
    def left(self) -> int:
        """Offsets yet to be moved, as far as it is known."""
        return sum(max(0, source.end - source.position) for source in self._sources)

    @property
    def is_open(self) -> bool:
        """A transaction of a producer is not finished: what is behind its beginning is not known yet."""
        return any(
            (high := self._reader.highwater(source.tp)) is not None
            and high > (self._reader.last_stable_offset(source.tp) or 0)
            for source in self._sources
        )

    async def move(self, say: Callable[[int, int], None]) -> int:
        """All there is now; how many records that were. ``say`` hears how many are moved, and of how many offsets."""
        ends = await self._reader.end_offsets([source.tp for source in self._sources])
        for source in self._sources:
            source.end = max(source.end, ends[source.tp])
        before, every = self.records, self.left
        while self.left:
            await self._fill()
            await self._write(list(self._piece()))
            say(every - self.left, every)
        return self.records - before

    async def _fill(self) -> None:
        """Until there is something of every partition that has something."""
        moved_at = asyncio.get_running_loop().time()
        while starving := [source for source in self._sources if source.starves]:
            batches = await self._read([source.tp for source in starving])
            for source in starving:
                source.waiting.extend(batches.get(source.tp, ()))
                now, source.read = source.read, await self._reader.position(source.tp)
                if source.read != now:
                    moved_at = asyncio.get_running_loop().time()
                if not source.waiting:
                    source.position = source.read  # markers, and what was aborted
            if asyncio.get_running_loop().time() - moved_at > STILL_SECONDS:
                raise FailedError(
                    f"{starving[0].tp.topic}, partition {starving[0].tp.partition}, cannot be read further"
                )

    async def _read(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, Iterable[Record]]:
        try:
            found: Mapping[TopicPartition, Iterable[Record]] = await self._reader.getmany(
                *partitions, timeout_ms=WAIT_MS, max_records=RECORDS
            )
        except UnreadableError as error:
            raise FailedError(
                f"{error}: mend the broker's log, then run this again. All that was moved is moved, nothing is lost"
            ) from error
        return found

    def _piece(self) -> Iterator[tuple[Source, Record]]:
        """The oldest records, as long as it is known which those are."""
        heads = [(source.waiting[0].timestamp, at) for at, source in enumerate(self._sources) if source.waiting]
        heapq.heapify(heads)
        number = size = 0
        while heads and number < RECORDS and size < BYTES:
            _, at = heapq.heappop(heads)
            source = self._sources[at]
            record = source.take()
            yield source, record
            number, size = number + 1, size + len(record.value or b"")
            if source.waiting:
                heapq.heappush(heads, (source.waiting[0].timestamp, at))
            elif source.starves:
                return

    async def _write(self, piece: list[tuple[Source, Record]]) -> None:
        """In one transaction with the positions."""
        contents: Contents = defaultdict(list)
        for source, record in piece:
            for tp, row in self._rows(source, record):
                contents[tp].append((row, record.timestamp))
        seconds = self._settings.transaction_timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                await self._producer.begin_transaction()
                await self._send(contents)
                offsets = {source.tp: source.position for source in self._sources}
                await self._producer.send_offsets_to_transaction(offsets, self._group)
            await end_txn.commit(self._producer, seconds)
        except ProducerFenced as error:
            raise FailedError("another run moves these records, and this one has stopped") from error
        except end_txn.SpentError as error:
            raise FailedError("a broker was away for a moment: run this again, it goes on where it was") from error
        except MessageSizeTooLargeError as error:
            raise FailedError(
                f"a record is too large for the new topics: give them the max.message.bytes of the old ones ({error})"
            ) from error
        except (KafkaError, TimeoutError) as error:
            raise FailedError(f"a broker did not take the records ({type(error).__name__}): run this again") from error

    async def _send(self, contents: "Contents") -> None:
        flying = []
        for tp, content in contents.items():
            batch = self._producer.create_batch()
            for (key, value, headers), timestamp in content:
                stamp = timestamp if timestamp >= 0 else None
                fields = {"key": key, "value": value, "headers": headers, "timestamp": stamp}
                if batch.append(**fields) is None:
                    flying.append(await self._producer.send_batch(batch, tp.topic, partition=tp.partition))
                    batch = self._producer.create_batch()
                    batch.append(**fields)
            flying.append(await self._producer.send_batch(batch, tp.topic, partition=tp.partition))
        for error in await asyncio.gather(*flying, return_exceptions=True):
            if isinstance(error, BaseException):
                raise error

    def _rows(self, source: Source, record: Record) -> Iterator[tuple[TopicPartition, Row]]:
        settings, place = self._target.settings, self._target.place
        letter = _refused(source.kind, record)
        if letter is None:
            self.records += 1
            topic = settings.topic(INPUTS[source.kind])
            to = TopicPartition(topic, place(record.key, source.tp.partition))
            yield to, (record.key, record.value, with_origin(source.tp, record))
        else:
            self.letters += record.records if isinstance(record, RefusedBatch) else 1
            to = TopicPartition(settings.topic(DEAD_LETTERS), source.tp.partition % self._target.partitions)
            origins = {str(source.kind): source.tp.topic}
            for row in rows([letter], origins, source.tp.partition, 0, self._letter_bytes):
                yield to, row


def _refused(kind: Kind, record: Record) -> DeadLetter | None:
    """What cannot be written as it was."""
    if isinstance(record, RefusedBatch):
        return DeadLetter(kind, record, record.reason, record.detail)
    if record.headers and (too_much := excess(record.headers)) is not None:
        return DeadLetter(kind, record, Reason.TOO_MANY_HEADERS, too_much)
    return None


def with_origin(tp: TopicPartition, record: Record) -> list[Header]:
    """The headers, and where the record was; without that where it would be one too much."""
    headers = list(record.headers)
    origin = (ORIGIN, f"{tp.topic}/{tp.partition}/{record.offset}/{record.timestamp}".encode())
    fits = len(headers) < MOST and size_of([*headers, origin]) + 10 * (len(headers) + 1) <= MOST_BYTES
    return [*headers, origin] if fits else headers


def progress_group(settings: Settings, target: Settings) -> str:
    """Its offsets say how far the old inputs are moved; nobody is a member of it. Also the transactional id."""
    return f"{settings.group}.grow.{target.topic_prefix}".rstrip(".")


async def progress(settings: Settings, target: Target, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Up to where each old partition is moved; `NOWHERE` for nothing.

    A broker forgets offsets after a time. Then the records say it: each moved one has its origin in a header.
    """
    group = settings.model_copy(update={"group": progress_group(settings, target.settings)})
    offsets = await group_offsets(group, partitions)
    if all(offset < 0 for offset in offsets.values()):
        offsets |= await _origins(target, set(partitions))
    return offsets


async def _origins(target: Target, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
    found: dict[TopicPartition, int] = {}
    async for record in every_record(target):
        for name, value in record.headers:
            origin = _origin(value or b"") if name == ORIGIN else None
            if origin is not None and origin[0] in partitions:
                found[origin[0]] = max(found.get(origin[0], 0), origin[1] + 1)
    return found


def _origin(text: bytes) -> tuple[TopicPartition, int] | None:
    """Partition and offset that a header names; None for one that is not ours."""
    try:
        topic, number, offset, _ = text.decode().rsplit("/", 3)
        return TopicPartition(topic, int(number)), int(offset)
    except ValueError:
        return None


async def every_record(target: Target) -> Any:
    """All committed records of the new inputs."""
    settings = target.settings
    partitions = [
        TopicPartition(settings.topic(name), number) for name in INPUTS.values() for number in range(target.partitions)
    ]
    async for record in records(settings, partitions, {}):
        yield record


async def records(settings: Settings, partitions: list[TopicPartition], starts: Mapping[TopicPartition, int]) -> Any:
    """All committed records of these partitions, up to where they end now, in any order; not what cannot be read."""
    reader = client.make_reader(settings, wait_ms=WAIT_MS)
    await client.start(reader, settings)
    try:
        reader.assign(partitions)
        begins, ends = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
        for tp in partitions:
            reader.seek(tp, max(begins[tp], starts.get(tp, 0)))
        still = asyncio.get_running_loop().time()
        while left := [tp for tp in partitions if await reader.position(tp) < ends[tp]]:
            batches = await reader.getmany(*left, timeout_ms=WAIT_MS)
            for batch in batches.values():
                for record in batch:
                    if not isinstance(record, RefusedBatch):
                        yield record
            now = asyncio.get_running_loop().time()
            still = now if batches else still
            if now - still > STILL_SECONDS:
                raise FailedError(f"{left[0].topic}, partition {left[0].partition}, cannot be read further")
    finally:
        await client.end(reader)
