"""Batches as they lie in the log: their headers, which can be read where the records cannot, and where a log stands.

`look` is one fetch of one partition; it moves no consumer, and needs no partition assigned.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition
from aiokafka.errors import LeaderNotAvailableError, NoError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.util import calc_crc32c

if TYPE_CHECKING:
    from stream.kafka.client import Reader

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
LOOK_BYTES: Final = 64 * 1024
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
class Look:
    """One partition of the log: where it begins and ends, and the batches from the offset on that was asked for."""

    begin: int
    stable: int
    """Last stable offset: behind it lie open transactions."""
    end: int
    """High watermark."""
    batches: tuple[Batch, ...]


async def look(reader: "Reader", partition: TopicPartition, offset: int) -> Look:
    """What lies at an offset. Raises what the broker answers, a KafkaError, also for an offset that is not there."""
    connection = reader._client  # noqa: SLF001 - the consumer shows no batches
    leader = connection.cluster.leader_for_partition(partition)
    if leader is None or leader < 0:
        await connection.force_metadata_update()
        raise LeaderNotAvailableError(partition)
    wanted = [(partition.topic, [(partition.partition, offset, LOOK_BYTES)])]
    response = await connection.send(leader, FetchRequest(0, 0, LOOK_BYTES, READ_UNCOMMITTED, wanted))
    ((_, ((_, code, end, stable, begin, *_, fetched),)),) = response.topics
    error = for_code(code)
    if error is not NoError:
        raise error(f"{partition.topic}, partition {partition.partition}, offset {offset}")
    found = tuple(batch for batch in batches(fetched or b"") if batch.last >= offset)
    return Look(begin, stable, end, found)


def last_of(fetched: bytes, offset: int) -> int:
    """Last offset of the batch that holds this one. Its header may be damaged: it ends where the next one begins."""
    found = [batch for batch in batches(fetched) if batch.last >= offset]
    if not found:
        return offset
    last = found[0].last
    return max(offset, min(last, found[1].first - 1) if len(found) > 1 else last)


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
