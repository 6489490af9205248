"""Batches of before Kafka 0.11 (magic 0 and 1), as old logs may still hold them.

A message by itself, or one whose value is a compressed set of messages. No broker of today takes them any more. They are
read here and not by aiokafka, which unpacks whatever there is.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Final
from zlib import crc32

from typing_extensions import Buffer

from stream.core.pure.records import OBJECTS, PureRecord, Run
from stream.kafka.codecs import TooLargeError
from stream.model.results import Record, UnreadableBatchError

HEAD: Final = struct.Struct(">qiIbb")
"""Offset, length of what follows it, checksum, magic, attributes."""
TIME: Final = struct.Struct(">q")
SIZE: Final = struct.Struct(">i")
CHECKED_FROM: Final = 16
LENGTH_TO: Final = 12
"""The length counts from this byte on."""
CODEC_BITS: Final = 0x07
APPEND_TIME: Final = 0x08
WITH_TIME: Final = 1
"""The magic of messages that have one."""


class OldBatch:
    """Looks like a batch of magic 2. Its header says neither how many records it has nor where they begin."""

    is_control_batch: Final = False
    is_transactional: Final = False
    producer_id: Final = -1
    base_offset: Final = 0

    def __init__(self, data: bytes) -> None:
        """ValueError: it is none."""
        if len(data) < HEAD.size:
            raise UnreadableBatchError("too short for a batch")
        self._data = data
        self._offset, _, self.crc, self._magic, self.attributes = HEAD.unpack_from(data)
        self.next_offset: int = self._offset + 1
        self.max_timestamp = -1
        if self._magic == WITH_TIME and len(data) >= HEAD.size + TIME.size:
            (self.max_timestamp,) = TIME.unpack_from(data, HEAD.size)

    number: Final = 2**31 - 1
    """At most: as many as there are offsets."""

    @property
    def codec(self) -> int:
        return int(self.attributes) & CODEC_BITS

    def is_whole(self) -> bool:
        return bool(crc32(self._data[CHECKED_FROM:]) == self.crc)

    def packed(self) -> bytes:
        """The compressed set; a message that is not compressed, as it is."""
        if not self.codec:
            return self._data
        _, value = _content(self._data, self._magic)
        if value is None:
            raise UnreadableBatchError("a compressed set of messages is null")
        return value

    def read(self, data: Buffer, most: int) -> Run:
        """Its records, which lie in these bytes. ValueError: they do not add up. TooLargeError: more than ``most``."""
        data = bytes(data)  # parts of which are bytes
        if self._magic != WITH_TIME:
            raise UnreadableBatchError("records of magic 0 have no time")
        messages = []
        for message in _messages(data):
            messages.append(message)
            if len(messages) > most:
                raise TooLargeError(f"more than {most} records")
        if not messages:
            raise UnreadableBatchError("a compressed set of messages is empty")
        shift = self._offset - HEAD.unpack_from(messages[-1])[0] if self.codec else 0
        records = [self._record(message, shift) for message in messages]
        if records[0].offset < 0 or any(later.offset <= record.offset for record, later in pairwise(records)):
            raise UnreadableBatchError("has an offset that is out of order")
        oldest_ms = min(record.timestamp for record in records)
        size = len(data) + OBJECTS * len(records)
        return Run(records, oldest_ms, create_time=not self.attributes & APPEND_TIME, nbytes=size)

    def _record(self, message: bytes, shift: int) -> Record:
        offset, _, _, magic, _ = HEAD.unpack_from(message)
        if magic != WITH_TIME:
            raise UnreadableBatchError("a message is of another magic than its set")
        try:
            (timestamp,) = TIME.unpack_from(message, HEAD.size)
        except struct.error:
            raise UnreadableBatchError("goes beyond the end") from None
        key, value = _content(message, magic)
        stamped = self.codec and self.attributes & APPEND_TIME
        return PureRecord(offset + shift, self.max_timestamp if stamped else timestamp, key, value, ())


def _messages(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if len(data) - at < HEAD.size:
            raise UnreadableBatchError("goes beyond the end")
        _, length, *_ = HEAD.unpack_from(data, at)
        end = at + LENGTH_TO + length
        if not at + HEAD.size <= end <= len(data):
            raise UnreadableBatchError("goes beyond the end")
        yield data[at:end]
        at = end


def _content(message: bytes, magic: int) -> tuple[bytes | None, bytes | None]:
    key, at = _span(message, HEAD.size + (TIME.size if magic == WITH_TIME else 0))
    value, _ = _span(message, at)
    return key, value


def _span(message: bytes, at: int) -> tuple[bytes | None, int]:
    """A length and so many bytes; a negative one stands for null."""
    begin = at + SIZE.size
    if begin > len(message):
        raise UnreadableBatchError("goes beyond the end")
    (size,) = SIZE.unpack_from(message, at)
    if size > len(message) - begin:
        raise UnreadableBatchError("goes beyond the end")
    end = begin + max(size, 0)
    return (None if size < 0 else message[begin:end]), end
