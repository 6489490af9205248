"""Reading a batch in which a header has a name that is not UTF-8, as producers in C can write it.

aiokafka raises on such a record, each time anew: one of them would stop its partition, and with it every worker that is
given that partition. Here it is read in Python, slowly, and the name's wrong bytes are replaced, as the Java client does.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final, Self

from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint_py

_LENGTH: Final = struct.Struct(">qi")
"""What every batch begins with: its first offset, and how many bytes follow."""


class ForgivingRecords:
    """The batches of a fetch, from the one on that holds ``offset``. Does what ``MemoryRecords`` does."""

    def __init__(self, fetched: bytes, offset: int) -> None:
        self._batches = [batch for batch in _batches(fetched) if batch.next_offset > offset]

    def has_next(self) -> bool:
        return bool(self._batches)

    def next_batch(self) -> Any:
        return self._batches.pop(0)


def _batches(fetched: bytes) -> Iterator[Any]:
    """The last one may be cut off; it is fetched again then."""
    start = 0
    while start + _LENGTH.size <= len(fetched):
        _, length = _LENGTH.unpack_from(fetched, start)
        end = start + _LENGTH.size + length
        if end > len(fetched):
            return
        yield _Batch(fetched[start:end])
        start = end


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka is not typed for us
    _buffer: bytearray

    def _read_msg(self) -> Any:
        """With the numbers read in Python as well: aiokafka's C reads them wherever a wrong length has led, and crashes."""
        return super()._read_msg(decode_varint_py)

    def __iter__(self) -> Self:
        super().__iter__()  # decompresses
        self._buffer = _Forgiving(self._buffer)
        return self


class _Forgiving(bytearray):
    """Bytes whose parts can always be decoded."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _Forgiving(part) if isinstance(key, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:  # noqa: ARG002 - forgiving, whatever is asked
        return super().decode(encoding, "replace")
