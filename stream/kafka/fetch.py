"""The fast path of reading: the fetcher hands out the Cython record itself instead of a dataclass built from it.

This module touches private parts of aiokafka, and is the only one that makes reading depend on them: building the
frozen ``ConsumerRecord`` costs 1.3 of the 1.8 us a record. The Cython record has ``offset``, ``timestamp``, ``key``,
``value`` and ``headers``, which is all of ``Record``. Only the given consumer is changed. For any other version than the
one tested the ordinary records are handed out, which are slower and say the same (tests/kafka/test_fetch.py).

It also reads on where aiokafka cannot (stream/kafka/forgiving.py).
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import aiokafka
import structlog
from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from stream.kafka.forgiving import ForgivingRecords

log: Final = structlog.get_logger()

TESTED: Final = "0.14.0"


def hand_out_raw(consumer: aiokafka.AIOKafkaConsumer) -> bool:
    """To be called once, after ``consumer.start()`` and before partitions are assigned. False: the ordinary path."""
    if aiokafka.__version__ != TESTED:
        log.warning("slow reading: this aiokafka was not tested", version=aiokafka.__version__, tested=TESTED)
        return False
    fetcher = consumer._fetcher  # noqa: SLF001 - see above
    fetcher._records = records = _RawRecords()  # noqa: SLF001 - see above
    fetcher._client = _Client(fetcher._client, records.fetched)  # noqa: SLF001 - see above
    # Unread records of a topic that is held back must not delay the next fetch of the others (by 0.1 s each time).
    fetcher._prefetch_backoff = 0.0  # noqa: SLF001 - see above
    return True


def _as_is(_partition: object, record: Any) -> Any:
    return record


class _RawRecords(OrderedDict[Any, Any]):
    """The fetcher's buffer, by partition. Every batch that is put in here gets its own ``_consumer_record``."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: dict[TopicPartition, bytes] = {}
        """What the last answer held of each partition."""

    def __setitem__(self, partition: Any, result: Any) -> None:
        records = getattr(result, "_partition_records", None)  # a FetchError has none
        if records is not None:
            records._consumer_record = _as_is  # noqa: SLF001 - see above
            records._records_iterator = _unpacked(records, self.fetched.pop(partition, b""))  # noqa: SLF001 - see above
        super().__setitem__(partition, result)


def _unpacked(records: Any, fetched: bytes) -> Iterator[Any]:
    """All records of a fetch; from a batch that aiokafka cannot decode on, read in another way."""
    try:
        yield from records._unpack_records()  # noqa: SLF001 - see above
    except UnicodeDecodeError:
        if not fetched:
            raise
        log.warning("a record's header has a name that is not UTF-8")
        records._records = ForgivingRecords(fetched, records.next_fetch_offset)  # noqa: SLF001 - see above
        yield from records._unpack_records()  # noqa: SLF001 - see above


class _Client:
    """The fetcher's client, which also keeps the bytes of the answers until their records are unpacked."""

    def __init__(self, client: Any, fetched: dict[TopicPartition, bytes]) -> None:
        self._client = client
        self._fetched = fetched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node: int, request: Any, **options: Any) -> Any:
        response = await self._client.send(node, request, **options)
        if isinstance(request, FetchRequest):
            for topic, partitions in response.topics:
                for partition, *_, fetched in partitions:
                    self._fetched[TopicPartition(topic, partition)] = fetched
        return response
