"""What a fetch of one partition has brought: its batches as runs of records, and what stands for those that are refused.

Producers are not trusted, and brokers look at a batch less closely than its readers: so each batch is unpacked into
bounded room (stream/kafka/codecs.py) and read by our own code, within bounds. Where the native hot path is built the
records of a run stay where they lie in its bytes (stream/core/native/records.pyx), else they are objects
(stream/core/pure/records.py); both read and refuse the same.

=====================================================  =======================================================
a batch                                                becomes
=====================================================  =======================================================
of a transaction that was aborted                      nothing, and nothing but its checksum is looked at
whose checksum is wrong                                `DamagedError`: another read may find it whole
of more unpacked bytes or records than there may be    a `RefusedBatch`, ``too_large``
that cannot be unpacked or parsed                      a `RefusedBatch`, ``unreadable``: nobody will ever read it
in a codec that nobody knew when this was written      FailedError: a newer version may read it
=====================================================  =======================================================
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import xxhash
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.util import calc_crc32c
from typing_extensions import Buffer

from stream.core.switch import NATIVE
from stream.errors import FailedError
from stream.kafka.codecs import TooLargeError, UnknownCodecError, unpack
from stream.kafka.legacy import OldBatch
from stream.kafka.patches.aborted import is_left_out, partition_of
from stream.model.names import Reason
from stream.model.results import Record, Records, RefusedBatch, UnreadableBatchError, create_time, nbytes

if TYPE_CHECKING or NATIVE:
    from stream.core.native import records as made
else:
    from stream.core.pure import records as made

LENGTH_AT: Final = 8
LENGTH_TO: Final = 12
"""The length of a batch counts from this byte on."""
MAGIC_AT: Final = 16
SHORTEST: Final = 14
"""Bytes that follow the length at least, whatever the magic."""
OLD: Final = (0, 1)
"""Magics of before 2017."""
CURRENT: Final = 2

BYTES_OF_A_RECORD: Final = 128
"""A batch has at most one record for so many bytes of the limit. Each costs memory however small it is, and the smallest
event has 115 bytes: a batch of real ones meets the limit of bytes first."""
KEPT: Final = 64 * 1024
"""Bytes kept of a refused batch."""

_fast: Final = getattr(made, "CHECKS_FAST", False)
_checksum: Final[Callable[[Buffer], int]] = made.checksum if _fast else calc_crc32c

Run: TypeAlias = Any
"""Records in order: `Run` of core/native/records.pyx or of core/pure/records.py."""


class DamagedError(Exception):
    """A batch is not what its broker once wrote: a failing disk, or a wrong network."""


class Batch(made.Batch):
    """One of magic 2, whose bytes are what their checksum says."""

    __slots__ = ()

    def is_whole(self) -> bool:
        return _checksum(self.checked()) == self.crc


def runs(records: Any, fetched: bytes, max_batch: int) -> Iterator[Run | RefusedBatch]:
    """One for each batch in which anything is wanted, in order, read when it is asked for.

    ``records``: aiokafka's ``PartitionRecords``, which knows the aborted transactions and where to go on. Its
    ``next_fetch_offset`` is that behind the batch that was handed out last. ``max_batch``: bytes that a batch may unpack to.
    """
    for begin, end in _spans(fetched):
        batch = _opened(fetched, begin, end)
        if not batch.is_whole():
            raise DamagedError("wrong checksum")
        if batch.next_offset <= batch.base_offset:
            raise DamagedError("a batch that ends before it begins")  # no broker takes one
        begin_at = records.next_fetch_offset
        wanted = batch.next_offset > begin_at
        if is_left_out(records, batch, _is_abort) or not wanted:
            records.next_fetch_offset = max(begin_at, batch.next_offset)
            continue
        try:
            run = _read(batch, max_batch)
        except UnknownCodecError as error:
            raise FailedError(f"{_place(records, batch)}: {error} is not known to this version") from None
        except TooLargeError as error:
            run = _refused(batch, fetched[begin:end], begin_at, Reason.TOO_LARGE, error)
        except UnreadableBatchError as error:
            run = _refused(batch, fetched[begin:end], begin_at, Reason.UNREADABLE, error)
        records.next_fetch_offset = batch.next_offset
        if isinstance(run, RefusedBatch) or run:
            yield run


def since(run: Run | RefusedBatch, offset: int) -> Sequence[Record]:
    """Its records from this offset on: a batch is fetched whole, whatever was asked for."""
    if isinstance(run, RefusedBatch):
        return (run,)
    records: Sequence[Record] = run.since(offset)
    return records


def joined(parts: Sequence[Sequence[Record]], oldest_ms: int) -> Sequence[Record]:
    """The records of these parts, none of which was appended before ``oldest_ms``."""
    alike = [part for part in parts if isinstance(part, made.Run)]
    if alike and len(alike) == len(parts):
        return made.join(alike)
    stamped, size = any(map(create_time, parts)), sum(map(nbytes, parts))
    return Records(chain.from_iterable(parts), oldest_ms, create_time=stamped, nbytes=size)


def _spans(fetched: bytes) -> Iterator[tuple[int, int]]:
    """Where the batches begin and end. The last one may be cut off; it is fetched again then."""
    begin = 0
    while begin + LENGTH_TO <= len(fetched):
        length = int.from_bytes(fetched[begin + LENGTH_AT : begin + LENGTH_TO], "big", signed=True)
        end = begin + LENGTH_TO + length
        if end > len(fetched):
            return
        if length < SHORTEST:
            raise DamagedError(f"a batch of {length} bytes")
        yield begin, end
        begin = end


def _opened(fetched: bytes, begin: int, end: int) -> Any:
    magic = fetched[begin + MAGIC_AT]
    try:
        if magic in OLD:
            return OldBatch(fetched[begin:end])
        if magic == CURRENT:
            return Batch(fetched, begin, end)
    except UnreadableBatchError as error:
        raise DamagedError(str(error)) from None
    raise DamagedError(f"a batch of magic {magic}")


def _is_abort(batch: Batch) -> bool:
    """Only brokers write such batches. One that makes no sense is a damaged one: what it ends is not known."""
    try:
        markers = batch.read(bytes(batch.packed()))  # none when compaction has left the batch empty
        return any(ControlRecord.parse(marker.key or b"") == ABORT_MARKER for marker in markers)
    except (UnreadableBatchError, struct.error) as error:
        raise DamagedError("the end of a transaction cannot be read") from error


def _read(batch: Any, max_batch: int) -> Run:
    most = max_batch // BYTES_OF_A_RECORD
    if isinstance(batch, OldBatch):
        return batch.read(unpack(batch.codec, batch.packed(), max_batch), most)
    if batch.number > most:
        raise TooLargeError(f"{batch.number} records, at most {most}")
    return batch.read(unpack(batch.codec, batch.packed(), max_batch))


def _refused(batch: Any, data: bytes, begin_at: int, reason: Reason, error: Exception) -> RefusedBatch:
    first, last = max(batch.base_offset, begin_at), batch.next_offset - 1
    number = max(1, min(batch.number, last - first + 1))
    return RefusedBatch(first, last, number, batch.max_timestamp, reason, f"batch: {error}", *raw(data))


def raw(data: bytes) -> tuple[bytes, int, str]:
    """What is kept of a batch as it lies in the log: its beginning, its size and its hash."""
    return data[:KEPT], len(data), xxhash.xxh3_64_hexdigest(data)


def _place(records: Any, batch: Any) -> str:
    topic, partition = partition_of(records)
    return f"{topic}, partition {partition}, offsets {batch.base_offset} to {batch.next_offset - 1}"
