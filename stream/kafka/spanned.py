"""The batches of a fetch, the records of each left where they lie in its bytes (stream/core/native/records.pyx).

It does what stream/kafka/listed.py does, and says the same: a record costs a tenth of the time, and nothing to free. Only
batches older than magic 2 are left to aiokafka's objects.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import cramjam
from aiokafka.codec import gzip_decode, snappy_decode
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from typing_extensions import Buffer

from stream.core.native import records as native
from stream.kafka import listed
from stream.kafka.batches import PREFIX
from stream.model.results import Record

LENGTH_AT: Final = 8
MAGIC_AT: Final = 16
SHORTEST: Final = 14
"""Bytes that follow the length at least, whatever the magic."""
OLD: Final = (0, 1)
"""Magics of before 2017."""

# aiokafka's own for lz4 and zstd copy what they have unpacked, which takes longer than the unpacking.
_unpack: Final[dict[int, Callable[[Buffer], Buffer]]] = {
    0: bytes,
    1: gzip_decode,
    2: snappy_decode,
    3: cramjam.lz4.decompress,
    4: cramjam.zstd.decompress,
}
_checksum: Final[Callable[[Buffer], int]] = native.checksum if native.CHECKS_FAST else calc_crc32c


def unpacked(records: Any, fetched: bytes) -> Iterator[Any]:
    """A run for each batch in which anything is wanted."""
    return listed.runs(records, _Fetched(fetched)) if fetched else listed.unpacked(records, fetched)


def joined(parts: Sequence[Sequence[Record]], oldest_ms: int) -> Sequence[Record]:
    """The records of these parts, none of which was appended before ``oldest_ms``."""
    runs = [part for part in parts if isinstance(part, native.Run)]
    return native.join(runs) if runs and len(runs) == len(parts) else listed.joined(parts, oldest_ms)


class _Fetched:
    """Stands in for ``MemoryRecords``. The last batch may be cut off; it is fetched again then."""

    __slots__ = ("_at", "_bytes", "_end")

    def __init__(self, fetched: bytes) -> None:
        self._bytes = fetched
        self._at = self._end = 0
        self._look()

    def _look(self) -> None:
        """At where the batch ends that begins where the last one ended."""
        self._at = self._end
        length = int.from_bytes(self._bytes[self._at + LENGTH_AT : self._at + PREFIX], "big", signed=True)
        self._end = self._at + PREFIX + length

    def has_next(self) -> bool:
        return self._at + PREFIX <= len(self._bytes) and self._end <= len(self._bytes)

    def next_batch(self) -> Any:
        begin, end = self._at, self._end
        if end - begin < PREFIX + SHORTEST:
            raise CorruptRecordException(f"a batch of {end - begin} bytes")
        self._look()
        if self._bytes[begin + MAGIC_AT] in OLD:
            return listed.Batch(MemoryRecords(self._bytes[begin:end]).next_batch())
        try:
            return _Batch(self._bytes, begin, end)
        except ValueError as error:
            raise CorruptRecordException(str(error)) from None


class _Batch(native.Batch):
    """What ``DefaultRecordBatch`` does, but its only record is the run of all its records."""

    __slots__ = ()

    def validate_crc(self) -> bool:
        return _checksum(self.checked()) == self.crc

    def __next__(self) -> Record:
        return next(iter(self._read()))  # the marker of a control batch

    def __iter__(self) -> Iterator[native.Run]:
        run = self._read()
        if run:
            yield run

    def _read(self) -> native.Run:
        unpack = _unpack.get(self.codec)
        if unpack is None:
            raise UnsupportedCodecError(f"codec {self.codec}")
        data = unpack(self.packed())
        try:
            run = self.read(data)
        except ValueError as error:
            raise CorruptRecordException(str(error)) from None
        if self.odd_names:
            listed.tell_of_name()
        return run
