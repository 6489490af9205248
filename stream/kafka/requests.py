"""Questions that aiokafka has no classes for: topics, features, the quorum, transactions. All read only.

A question here looks to aiokafka's connection like one of its own: so it goes over the same, secured, connections. Field
names and their order are the protocol's; every one of these is of the flexible kind, with compact arrays and tags.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, TypeVar

import msgspec
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.api import RequestHeader_v2, ResponseHeader_v0, ResponseHeader_v1
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from stream import __version__
from stream.kafka.client import Admin, Reader
from stream.kafka.patches import access

T = TypeVar("T")
_TEXT: Final = CompactString("utf-8")
_TAGS: Final = ("tags", TaggedFields)
_QUORUM_TOPIC: Final = "__cluster_metadata"


class _Uuid:
    """16 bytes, as they are."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        return value

    @staticmethod
    def decode(data: BytesIO) -> bytes:
        return data.read(16)


def _list(*fields: tuple[str, Any]) -> Any:
    return CompactArray(*fields, _TAGS)


@dataclass(frozen=True, slots=True)
class _Api:
    """One request and its answer, in one version."""

    key: int
    version: int
    asked: Any
    answered: Any
    old_header: bool = False
    """ApiVersions is answered with the oldest header, so that every client can read that it is not understood."""


_VERSIONS: Final = _Api(
    18,
    3,
    Schema(("client", _TEXT), ("client_version", _TEXT), _TAGS),
    Schema(
        ("error_code", Int16),
        ("apis", _list(("key", Int16), ("least", Int16), ("most", Int16))),
        ("throttle_time_ms", Int32),
        _TAGS,
    ),
    old_header=True,
)
_METADATA: Final = _Api(
    3,
    12,
    Schema(
        ("topics", _list(("topic_id", _Uuid), ("name", _TEXT))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    ),
    Schema(
        ("throttle_time_ms", Int32),
        ("brokers", _list(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            _list(
                ("error_code", Int16),
                ("name", _TEXT),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    _list(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        _TAGS,
    ),
)
_NO_ID: Final = bytes(16)
_REPLICAS: Final = _list(
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
)
_QUORUM: Final = _Api(
    55,
    1,
    Schema(("topics", _list(("name", _TEXT), ("partitions", _list(("partition", Int32))))), _TAGS),
    Schema(
        ("error_code", Int16),
        (
            "topics",
            _list(
                ("name", _TEXT),
                (
                    "partitions",
                    _list(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("voters", _REPLICAS),
                        ("observers", _REPLICAS),
                    ),
                ),
            ),
        ),
        _TAGS,
    ),
)
_PRODUCERS: Final = _Api(
    61,
    0,
    Schema(("topics", _list(("name", _TEXT), ("partitions", CompactArray(Int32)))), _TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            _list(
                ("name", _TEXT),
                (
                    "partitions",
                    _list(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", _TEXT),
                        (
                            "producers",
                            _list(
                                ("producer_id", Int64),
                                ("epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("start_offset", Int64),
                            ),
                        ),
                    ),
                ),
            ),
        ),
        _TAGS,
    ),
)
_DESCRIBE: Final = _Api(
    65,
    0,
    Schema(("ids", CompactArray(_TEXT)), _TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            _list(
                ("error_code", Int16),
                ("transactional_id", _TEXT),
                ("state", _TEXT),
                ("timeout_ms", Int32),
                ("start_ms", Int64),
                ("producer_id", Int64),
                ("epoch", Int16),
                ("topics", _list(("name", _TEXT), ("partitions", CompactArray(Int32)))),
            ),
        ),
        _TAGS,
    ),
)
_LIST: Final = _Api(
    66,
    0,
    Schema(("states", CompactArray(_TEXT)), ("producer_ids", CompactArray(Int64)), _TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_states", CompactArray(_TEXT)),
        ("transactions", _list(("transactional_id", _TEXT), ("producer_id", Int64), ("state", _TEXT))),
        _TAGS,
    ),
)
_LOG_DIRS: Final = _Api(
    35,
    2,
    Schema(("topics", _list(("name", _TEXT), ("partitions", CompactArray(Int32)))), _TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        (
            "log_dirs",
            _list(
                ("error_code", Int16),
                ("log_dir", _TEXT),
                (
                    "topics",
                    _list(
                        ("name", _TEXT),
                        (
                            "partitions",
                            _list(("partition", Int32), ("size", Int64), ("offset_lag", Int64), ("is_future", Boolean)),
                        ),
                    ),
                ),
            ),
        ),
        _TAGS,
    ),
)
_RANGES: Final = _list(("name", _TEXT), ("first", Int16), ("second", Int16))
_SUPPORTED: Final = 0
_FINALIZED: Final = 2
"""Tags of the answer to ApiVersions."""


class _Question:
    """What a connection of aiokafka needs of a request."""

    def __init__(self, api: _Api, *values: object) -> None:
        self._api = api
        self._body = api.asked.encode([*values, {}])
        self.API_KEY, self.API_VERSION = api.key, api.version
        self.RESPONSE_TYPE = self

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> "_Question":
        least, most = versions.get(self.API_KEY, (0, -1))
        if not least <= self.API_VERSION <= most:
            raise IncompatibleBrokerVersion(f"this broker does not know request {self.API_KEY} v{self.API_VERSION}")
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> Any:
        return RequestHeader_v2(self, correlation_id=correlation_id, client_id=client_id)

    def encode(self) -> bytes:
        body: bytes = self._body
        return body

    def parse_response_header(self, data: BytesIO) -> Any:
        return (ResponseHeader_v0 if self._api.old_header else ResponseHeader_v1).decode(data)

    def decode(self, data: BytesIO) -> dict[str, Any]:
        return _named(self._api.answered, self._api.answered.decode(data))


def _named(schema: Any, values: Sequence[Any]) -> dict[str, Any]:
    return {
        name: [_named(kind.array_of, each) for each in value or ()]
        if isinstance(kind, CompactArray) and isinstance(kind.array_of, Schema)
        else value
        for name, kind, value in zip(schema.names, schema.fields, values, strict=True)
    }


async def _ask(asker: Admin | Reader, question: _Question, node: int | None = None) -> dict[str, Any]:
    """As its own requests go; a reader asks the broker it is told."""
    answer: dict[str, Any] = await access.send(asker, question, node)
    _raise_for(answer.get("error_code", 0))
    return answer


def _raise_for(code: int, what: str = "") -> None:
    if code:
        raise for_code(code)(what)


class TopicMetadata(msgspec.Struct, frozen=True):
    """A topic as one broker knows it now."""

    topic_id: bytes
    """Kafka's own, 16 bytes: a topic that was made anew under its name has another."""
    partitions: int


async def topic_metadata(
    asker: Admin | Reader, names: Iterable[str], node: int | None = None
) -> dict[str, TopicMetadata]:
    """Those of these topics that are there, and that we may see. None is created by asking.

    One broker is asked, any one unless it is named: what was changed a moment ago it may not know yet.
    """
    return {
        each["name"]: TopicMetadata(each["topic_id"], len(each["partitions"]))
        for each in await _metadata(asker, names, node)
        if not each["error_code"]
    }


async def is_hidden(asker: Admin | Reader, name: str) -> bool:
    """Whether we may not see this topic, be it there or not. Brokers before Kafka 3.1 do not say: False."""
    try:
        [topic] = await _metadata(asker, [name])
    except IncompatibleBrokerVersion:
        return False
    return bool(topic["error_code"] == TopicAuthorizationFailedError.errno)


async def _metadata(asker: Admin | Reader, names: Iterable[str], node: int | None = None) -> list[dict[str, Any]]:
    asked: list[tuple[bytes, str, dict[int, bytes]]] = [(_NO_ID, name, {}) for name in names]
    answer = await _ask(asker, _Question(_METADATA, asked, False, False), node)
    found: list[dict[str, Any]] = answer["topics"]
    return found


async def log_sizes(admin: Admin, nodes: Iterable[int], sizes: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """Bytes of each partition as its brokers keep it, by topic and number. ``sizes``: partitions by topic.

    Of its largest copy. A partition is missing where no broker tells: this user may not describe the cluster.
    """
    asked: list[tuple[str, list[int], dict[int, bytes]]] = [
        (name, list(range(number)), {}) for name, number in sizes.items()
    ]
    found: dict[tuple[str, int], int] = {}
    for node in nodes:
        answer = await _ask(admin, _Question(_LOG_DIRS, asked), node)
        for topic in (topic for log_dir in answer["log_dirs"] for topic in log_dir["topics"]):
            for each in topic["partitions"]:
                place = topic["name"], each["partition"]
                found[place] = max(found.get(place, 0), each["size"])
    return found


class Features(msgspec.Struct, frozen=True):
    """Levels by feature: the most a broker's software knows, and what the cluster has agreed on."""

    supported: dict[str, int]
    finalized: dict[str, int]


async def features(admin: Admin, node: int) -> Features:
    """What one broker says of its features. Raises KafkaError or OSError when it does not answer."""
    answer = await _ask(admin, _Question(_VERSIONS, "liveshop", __version__), node)
    # a range is written least, most where it is supported, and most, least where it is finalized
    return Features(
        {each["name"]: each["second"] for each in _ranges(answer, _SUPPORTED)},
        {each["name"]: each["first"] for each in _ranges(answer, _FINALIZED)},
    )


def _ranges(answer: Mapping[str, Any], tag: int) -> list[dict[str, Any]]:
    data = answer["tags"].get(tag)
    return [_named(_RANGES.array_of, each) for each in _RANGES.decode(BytesIO(data))] if data else []


async def controller_time(admin: Admin) -> int:
    """Milliseconds of the active controller's clock: of itself it says that it is caught up now."""
    answer = await _ask(admin, _Question(_QUORUM, [(_QUORUM_TOPIC, [(0, {})], {})]))
    (partition,) = answer["topics"][0]["partitions"]
    _raise_for(partition["error_code"])
    (leader,) = (each for each in partition["voters"] if each["replica_id"] == partition["leader_id"])
    return int(leader["last_caught_up_timestamp"])


class OpenProducer(msgspec.Struct, frozen=True):
    """A producer with an open transaction on one partition. ``start_offset`` is where that begins."""

    producer_id: int
    epoch: int
    last_timestamp: int
    coordinator_epoch: int
    start_offset: int


async def open_producers(admin: Admin, node: int, topic: str, partition: int) -> list[OpenProducer]:
    """Asks the partition's leader."""
    answer = await _ask(admin, _Question(_PRODUCERS, [(topic, [partition], {})]), node)
    for found in (each for topics in answer["topics"] for each in topics["partitions"]):
        _raise_for(found["error_code"], f"{topic}/{partition}")
        return [
            msgspec.convert(producer, OpenProducer) for producer in found["producers"] if producer["start_offset"] >= 0
        ]
    raise UnknownTopicOrPartitionError(f"{topic}/{partition}")


class Transaction(msgspec.Struct, frozen=True):
    """What the coordinator knows of a transactional id."""

    transactional_id: str
    state: str
    timeout_ms: int
    start_ms: int
    producer_id: int
    epoch: int
    partitions: frozenset[tuple[str, int]]


async def transactions(admin: Admin, nodes: Iterable[int], producer_ids: Sequence[int]) -> list[Transaction]:
    """The transactional ids of these producers, wherever their coordinator is."""
    found = []
    for node in nodes:
        listed = await _ask(admin, _Question(_LIST, [], list(producer_ids)), node)
        ids = [each["transactional_id"] for each in listed["transactions"]]
        if ids:
            answer = await _ask(admin, _Question(_DESCRIBE, ids), node)
            found += [_transaction(each) for each in answer["transactions"]]
    return found


def _transaction(found: Mapping[str, Any]) -> Transaction:
    _raise_for(found["error_code"], found["transactional_id"])
    partitions = frozenset((topic["name"], number) for topic in found["topics"] for number in topic["partitions"])
    return msgspec.convert({**found, "partitions": partitions}, Transaction)
