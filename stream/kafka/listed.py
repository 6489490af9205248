"""The batches of a fetch, the records of each as a list of aiokafka's Cython objects; stream/kafka/fetch.py says why.

It touches private parts of aiokafka, as that does. stream/kafka/spanned.py does the same without objects.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

import structlog
from aiokafka.errors import CorruptRecordException

from stream.kafka.forgiving import ForgivingRecords
from stream.model.results import Record, Records, create_time

log: Final = structlog.get_logger()

LOG_APPEND_TIME: Final = 1
"""Type of the timestamps of a batch: the broker's, the same for all of its records."""


class Run:
    """The records of one batch; to aiokafka they are one record with the last offset."""

    __slots__ = ("_records", "create_time", "offset", "oldest_ms")

    def __init__(self, records: list[Any], oldest_ms: int, *, create_time: bool) -> None:
        self._records = records
        self.oldest_ms = oldest_ms
        self.create_time = create_time
        self.offset: int = records[-1].offset

    def since(self, offset: int) -> Records:
        """Its records from this offset on: a batch is fetched whole, whatever was asked for."""
        wanted = self._records
        if wanted[0].offset < offset:
            wanted = [record for record in wanted if record.offset >= offset]
        return Records(wanted, self.oldest_ms, create_time=self.create_time)


def unpacked(records: Any, fetched: bytes) -> Iterator[Any]:
    """A run for each batch in which anything is wanted. From a batch that aiokafka cannot decode on, read in another way."""
    try:
        yield from runs(records, Whole(records._records))  # noqa: SLF001 - see above
    except UnicodeDecodeError:
        if not fetched:
            raise
        tell_of_name()
        yield from runs(records, Whole(ForgivingRecords(fetched, records.next_fetch_offset)))


def joined(parts: Sequence[Sequence[Record]], oldest_ms: int) -> Sequence[Record]:
    """The records of these parts, none of which was appended before ``oldest_ms``."""
    return Records(chain.from_iterable(parts), oldest_ms, create_time=any(map(create_time, parts)))


def runs(records: Any, batches: Any) -> Iterator[Any]:
    """``PartitionRecords`` decides what is left out: aborted records, markers, what lies before the offset asked for."""
    records._consumer_record = _as_is  # noqa: SLF001 - see above
    records._records = batches  # noqa: SLF001 - see above
    return iter(records._unpack_records())  # noqa: SLF001 - see above


def tell_of_name() -> None:
    log.warning("a record's header has a name that is not UTF-8")


def _as_is(_partition: object, run: Any) -> Any:
    return run


class Whole:
    """``MemoryRecords`` whose batches are iterated in one step."""

    __slots__ = ("_records", "has_next")

    def __init__(self, records: Any) -> None:
        self._records = records
        self.has_next = records.has_next

    def next_batch(self) -> "Batch":
        return Batch(self._records.next_batch())


class Batch:
    """A batch of aiokafka's whose only record is a `Run`."""

    __slots__ = ("_batch",)

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)  # the marker of a control batch

    def __iter__(self) -> Iterator[Run]:
        records = list(self._batch)
        if records:
            stamped = (
                records[0].timestamp_type == LOG_APPEND_TIME
            )  # all records of a batch, and of a set of magic 1, alike
            yield Run(records, _oldest_ms(self._batch, records), create_time=not stamped)


def _oldest_ms(batch: Any, records: list[Any]) -> int:
    if getattr(batch, "timestamp_type", None) == LOG_APPEND_TIME:  # batches older than magic 2 have it in each record
        return int(batch.max_timestamp)
    if records[0].timestamp is None:
        raise CorruptRecordException("records of magic 0 have no time")
    oldest: int = min(record.timestamp for record in records)
    return oldest
