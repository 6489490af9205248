"""Which dead letters were sent again: live.redrives, written in the transaction that sends them.

A position alone would not do. What is sent is a selection, and the next one may be another of the same letters: a consumer
group's offset says only "all before", and is forgotten after a week without a member. So each transaction names its letters
here, and no letter is sent twice, whatever is asked for, after whatever crash. The topic is compacted, each record has a
key of its own, and nothing is forgotten; there are as many as there were transactions.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from aiokafka import TopicPartition

from stream.config import Settings
from stream.errors import FailedError
from stream.kafka import statereader, topics
from stream.kafka.client import Reader
from stream.kafka.presence import is_there
from stream.kafka.role import Role, Spec
from stream.kafka.topics import TIMESTAMPS
from stream.model.names import REDRIVES
from stream.model.results import RefusedBatch
from stream.sessions.role import WORKER

ROLE: Final = Role(
    name="redrive",
    inputs=(),
    outputs=(),
    state=REDRIVES,
    specs=(Spec(REDRIVES, {"cleanup.policy": "compact", TIMESTAMPS: "LogAppendTime"}),),
    machines=WORKER.machines,
)
"""Only its topic is used. It is made by who first needs it: no worker reads or writes it."""


class Entry(msgspec.Struct, frozen=True):
    """One transaction. New fields need a default."""

    topic_id: str
    """Kafka's id of live.dead-letters, empty where brokers knew none: its offsets are of that topic alone."""
    partition: int
    offsets: list[tuple[int, int]]
    """Runs of letters, first and last."""
    letters: int
    by: str
    fixes: list[str] = []
    reasons: list[str] = []
    topics: list[str] = []
    from_ms: int | None = None
    to_ms: int | None = None
    session: str | None = None

    def key(self) -> bytes:
        return f"{self.topic_id}/{self.partition}/{self.offsets[0][0]}".encode()

    def value(self) -> bytes:
        return msgspec.json.encode(self)

    def is_of(self, topic_id: str) -> bool:
        """Whether it names letters of that topic. Without an id, here or there, it may: better left than sent twice."""
        return not self.topic_id or not topic_id or self.topic_id == topic_id


_decode: Final = msgspec.json.Decoder(Entry).decode


def runs(offsets: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending offsets as runs."""
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and found[-1][1] + 1 == offset:
            found[-1] = (found[-1][0], offset)
        else:
            found.append((offset, offset))
    return found


class Redriven:
    """Letters of live.dead-letters by partition and offset, as runs."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        spans: dict[int, list[tuple[int, int]]] = {}
        for entry in entries:
            spans.setdefault(entry.partition, []).extend(entry.offsets)
        self._spans: dict[int, Sequence[tuple[int, int]]] = {number: _merged(each) for number, each in spans.items()}

    def has(self, partition: int, offset: int) -> bool:
        spans = self._spans.get(partition, ())
        place = bisect_right(spans, offset, key=lambda span: span[0])
        return place > 0 and offset <= spans[place - 1][1]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


async def there(settings: Settings) -> bool:
    """Whether anything may ever have been sent again.

    Raises FailedError for a topic that cannot be read now: it might name letters.
    """
    unknown = "so it is not known which dead letters were sent again"
    return await is_there(settings, partition(settings).topic, unknown)


async def make(settings: Settings) -> None:
    """Raises UsageError where this user may not, and FailedError as `there` does."""
    if not await there(settings):
        await topics.create(ROLE, settings, 1, None)


def partition(settings: Settings) -> TopicPartition:
    return TopicPartition(settings.topic(REDRIVES), 0)


async def read(reader: Reader, settings: Settings, topic_id: str, patience: float | None = None) -> Redriven:
    """All that was committed. ``patience``: seconds to wait for the end of what a predecessor has left open.

    Raises HangingTransactionError, and FailedError for what cannot be read: it might name letters.
    """
    tp = partition(settings)
    begin, end = await statereader.bounds(reader, tp)
    if patience is not None:
        await statereader.await_stable(reader, tp, end, patience)
        begin, end = await statereader.bounds(reader, tp)
    entries = [_entry(record, tp) async for record in statereader.read(reader, tp, begin, end, refused=True)]
    return Redriven(entry for entry in entries if entry.is_of(topic_id))


def _entry(record: object, tp: TopicPartition) -> Entry:
    try:
        if not isinstance(record, RefusedBatch):
            return _decode(getattr(record, "value", None) or b"")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    raise FailedError(
        f"{tp.topic}: the record at offset {getattr(record, 'offset', '?')} is none of liveshop, so it is not known which "
        "dead letters were sent again. Who else writes there? When nobody has, delete the topic: repeats are not counted"
    )
