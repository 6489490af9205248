"""A fetch that names its topics by Kafka's ids: a topic that was made anew under the same name does not answer it.

aiokafka fetches by name (version 11 of the request), and a topic that was deleted and made anew meanwhile would hand out
its records at the positions of the one before. Version 13 names ids, and a broker that has another topic of that name
refuses it. A broker before Kafka 3.1 does not know this version: it is asked by name.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import RequestHeader_v2, ResponseHeader_v1
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import CompactArray, CompactBytes, Int32, Int64, TaggedFields, UnsignedVarInt32

VERSION: Final = 13
LAYOUT: Final = 11
"""The version of the answer that aiokafka is shown: that has the same fields of a partition."""
UNKNOWN_TOPIC: Final = frozenset({100, 103})
"""UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID."""

_HEAD: Final = struct.Struct(">iiiibii")
_PARTITION: Final = struct.Struct(">iiqiqi")
_ANSWER: Final = struct.Struct(">ihi")
_ANSWERED: Final = struct.Struct(">ihqqq")
_ABORTED: Final = CompactArray(("producer_id", Int64), ("first_offset", Int64), ("tags", TaggedFields))
_NO_TAGS: Final = b"\x00"
_CONSUMER: Final = -1
_NO_SESSION: Final = (0, -1)
_UNKNOWN: Final = -1

Answered = list[tuple[str, list[tuple[Any, ...]]]]


class Fetched:
    """An answer as aiokafka reads it. ``unknown``: some topic of it is not there under its id; ``error``: of all of it."""

    API_VERSION = LAYOUT

    def __init__(self, topics: Answered, error: int, *, unknown: bool) -> None:
        self.topics = topics
        self.error = error
        self.unknown = unknown

    def check(self) -> None:
        """Raises KafkaError for an answer that is none."""
        if self.error:
            raise for_code(self.error)


class FetchById:
    """Stands in for a request of aiokafka. ``ids``: of all its topics."""

    API_KEY = FetchRequest.API_KEY
    API_VERSION = VERSION

    def __init__(self, request: Any, ids: Mapping[str, bytes]) -> None:
        self._request = request
        self._ids = ids

    @property
    def RESPONSE_TYPE(self) -> "FetchById":  # noqa: N802 - aiokafka's name
        """Itself. Not kept: no collection looks at a cycle that has waited at the broker for half a second (`gc_tuning`)."""
        return self

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        least, most = versions.get(self.API_KEY, (0, -1))
        return self if least <= VERSION <= most else self._request.prepare(versions)

    def build_request_header(self, correlation_id: int, client_id: str) -> Any:
        return RequestHeader_v2(self, correlation_id=correlation_id, client_id=client_id)

    def encode(self) -> bytes:
        asked = self._request
        head = (asked._max_wait_ms, asked._min_bytes, asked._max_bytes, asked._isolation_level)
        rack = asked._rack_id.encode()
        parts = [_HEAD.pack(_CONSUMER, *head, *_NO_SESSION), _length(len(asked.topics))]
        for topic, partitions in asked.topics:
            parts += [self._ids[topic], _length(len(partitions))]
            for partition, offset, size in partitions:
                parts += [_PARTITION.pack(partition, _UNKNOWN, offset, _UNKNOWN, _UNKNOWN, size), _NO_TAGS]
            parts.append(_NO_TAGS)
        return b"".join([*parts, _length(0), _length(len(rack)), rack, _NO_TAGS])

    def parse_response_header(self, data: BytesIO) -> Any:
        return ResponseHeader_v1.decode(data)

    def decode(self, data: BytesIO) -> Fetched:
        _throttle, error, _session = _ANSWER.unpack(data.read(_ANSWER.size))
        names = {topic_id: name for name, topic_id in self._ids.items()}
        topics: Answered = []
        unknown = False
        for _ in range(UnsignedVarInt32.decode(data) - 1):
            name = names[data.read(16)]
            partitions = [_partition(data) for _ in range(UnsignedVarInt32.decode(data) - 1)]
            TaggedFields.decode(data)
            unknown = unknown or any(code in UNKNOWN_TOPIC for _, code, *_ in partitions)
            topics.append((name, [_as_aiokafka_knows(each) for each in partitions]))
        return Fetched(topics, error, unknown=unknown)


def _length(number: int) -> bytes:
    """Of a compact array or string."""
    encoded: bytes = UnsignedVarInt32.encode(number + 1)
    return encoded


def _partition(data: BytesIO) -> tuple[Any, ...]:
    """Partition, error code, high watermark, last stable offset, first offset, aborted transactions, replica, records."""
    head = _ANSWERED.unpack(data.read(_ANSWERED.size))
    aborted = _ABORTED.decode(data)
    if aborted is not None:
        aborted = [each[:2] for each in aborted]
    replica = Int32.decode(data)
    records = CompactBytes.decode(data)
    TaggedFields.decode(data)
    return (*head, aborted, replica, records)


def _as_aiokafka_knows(answered: tuple[Any, ...]) -> tuple[Any, ...]:
    """It looks for the topic's leader again, as for a topic that is not there."""
    number, code, *rest = answered
    return (number, UnknownTopicOrPartitionError.errno if code in UNKNOWN_TOPIC else code, *rest)
