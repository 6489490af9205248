"""Batches as they lie in the log: their headers, which can be read where the records cannot, and where a log stands.

`read_batches` is one fetch of one partition; it moves no consumer, and needs no partition assigned.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition
from aiokafka.errors import LeaderNotAvailableError, NoError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.util import calc_crc32c

from stream.kafka.patches.access import client_of

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""First offset, length, leader epoch, magic, checksum, attributes, last offset - first, first and newest time, producer's
id, epoch and sequence, number of records."""
CHECKED: Final = 21
"""From this byte on the checksum counts."""
PREFIX: Final = 12
"""Bytes that the length does not count: the first offset and the length itself."""
CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
CONTROL: Final = 0x20
TRANSACTIONAL: Final = 0x10
FETCH_BYTES: Final = 64 * 1024
"""Asked for in one look; a larger batch still comes whole."""
READ_UNCOMMITTED: Final = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch, as its header says; of a damaged one the header may be wrong as well."""

    first: int
    last: int
    records: int
    codec: str
    size: int
    """Bytes as it lies in the log."""
    timestamp: int
    """Of its newest record, ms."""
    transactional: bool
    control: bool
    """The end of a transaction, no records."""
    damaged: bool | None
    """Whether its checksum is wrong; None when not all of it was fetched."""


@dataclass(frozen=True, slots=True)
class PartitionLog:
    """The log of one partition: where it begins and ends, and the batches from the wanted offset on."""

    begin: int
    stable: int
    """Last stable offset: behind it lie open transactions."""
    end: int
    """High watermark."""
    batches: tuple[Batch, ...]


async def read_batches(reader: "AIOKafkaConsumer", partition: TopicPartition, offset: int) -> PartitionLog:
    """The batches at an offset. Raises the KafkaError that the broker answers, also for an offset that is not there."""
    found, _ = await _fetch(reader, partition, offset, FETCH_BYTES)
    return replace(found, batches=tuple(batch for batch in found.batches if batch.last >= offset))


async def damaged(reader: "AIOKafkaConsumer", partition: TopicPartition, offset: int) -> tuple[bytes, int, int]:
    """The damaged batch that holds an offset: its bytes, its last offset and the time in its header, -1 without any.

    Its header may be damaged as well: where it ends is told by what follows it, the next batch or the end of the log.
    """
    found, fetched = await _fetch(reader, partition, offset, FETCH_BYTES)
    if len(found.batches) == 1:
        found, fetched = await _fetch(reader, partition, offset, FETCH_BYTES + found.batches[0].size)
    following = min((batch.first for batch in found.batches if batch.first > offset), default=found.end)
    start, data, timestamp = 0, b"", -1
    for batch in found.batches:
        if batch.first <= offset:
            data, timestamp = fetched[start : start + batch.size], batch.timestamp
        start += batch.size
    return data, max(offset, following - 1), timestamp


async def _fetch(
    reader: "AIOKafkaConsumer", partition: TopicPartition, offset: int, size: int
) -> tuple[PartitionLog, bytes]:
    """One fetch of one partition, and its bytes. At least one batch comes, if it is there, however large."""
    connection = client_of(reader)
    leader = connection.cluster.leader_for_partition(partition)
    if leader is None or leader < 0:
        await connection.force_metadata_update()
        raise LeaderNotAvailableError(partition)
    wanted = [(partition.topic, [(partition.partition, offset, size)])]
    response = await connection.send(leader, FetchRequest(0, 0, size, READ_UNCOMMITTED, wanted))
    ((_, ((_, code, end, stable, begin, *_, fetched),)),) = response.topics
    error = for_code(code)
    if error is not NoError:
        raise error(f"{partition.topic}, partition {partition.partition}, offset {offset}")
    fetched = fetched or b""
    return PartitionLog(begin, stable, end, tuple(batches(fetched))), fetched


def last_of(fetched: bytes, offset: int) -> int:
    """Last offset of the batch that holds this one, as its header says, which may be damaged."""
    return max(offset, *(batch.last for batch in batches(fetched) if batch.first <= offset), offset)


def batches(fetched: bytes) -> Iterator[Batch]:
    """Those whose header was fetched, in order."""
    start = 0
    while start + HEADER.size <= len(fetched):
        first, length, _, _, checksum, attributes, delta, _, newest, *_, records = HEADER.unpack_from(fetched, start)
        end = start + PREFIX + length
        if length < HEADER.size - PREFIX:
            return  # no batch at all
        codec = attributes & 0x07
        yield Batch(
            first=first,
            last=first + max(delta, 0),
            records=records,
            codec=CODECS[codec] if codec < len(CODECS) else "unknown",
            size=PREFIX + length,
            timestamp=newest,
            transactional=bool(attributes & TRANSACTIONAL),
            control=bool(attributes & CONTROL),
            damaged=None if end > len(fetched) else calc_crc32c(fetched[start + CHECKED : end]) != checksum,
        )
        start = end
