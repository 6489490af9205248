"""Records of the inputs: the newest ones as a sample, and the first unread one of each partition that is behind."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aiokafka import TopicPartition

from stream.core.decode import Rejected, decode_batch
from stream.doctor.clock import Stamp
from stream.doctor.events import Sampled, sampled
from stream.doctor.keys import Sample
from stream.doctor.lag import Lag
from stream.doctor.positions import Shard
from stream.doctor.probes.facts import ClusterFacts, now_ms
from stream.doctor.probes.offsets import begins, stable_ends
from stream.doctor.unreadable import Unreadable
from stream.kafka import batches, statereader
from stream.kafka.blocked_shards import skip_command
from stream.kafka.patches.fetch import UnreadableError
from stream.kafka.shard_context import ShardContext
from stream.model.names import Kind, Reason
from stream.model.results import Record, RefusedBatch
from stream.sessions.role import WORKER

STAMPED: Final = "LogAppendTime"


@dataclass(frozen=True, slots=True)
class InputSample:
    """The newest records of one partition. ``newest`` is None where there are none."""

    topic: str
    partition: int
    sample: Sample
    newest: Stamp | None
    events: Sequence[Sampled]
    unreadable: Sequence[Unreadable]


async def input_samples(facts: ClusterFacts) -> list[InputSample]:
    """Of each input partition the last ``facts.sample`` offsets; markers of transactions are among them."""
    readable = set(facts.partitions)
    inputs = {tp: kind for kind, tps in facts.inputs.items() for tp in tps if tp in readable}
    first, last = await begins(facts, inputs), await stable_ends(facts, inputs)
    return [
        await _sample(facts, kind, tp, max(first[tp], last[tp] - facts.sample), last[tp]) for tp, kind in inputs.items()
    ]


async def _sample(facts: ClusterFacts, kind: Kind, tp: TopicPartition, start: int, end: int) -> InputSample:
    subject = f"{tp.topic}/{tp.partition}"
    context = ShardContext(
        facts.settings, tp.partition, len(facts.inputs[kind]), WORKER
    )  # of this topic, whatever the others have
    tally, newest = _Tally(context, kind), None
    unreadable: list[Unreadable] = []
    while start < end:
        try:
            async for record in statereader.read(facts.reader, tp, start, end, refused=True):
                tally.add(record)
                newest = record.timestamp
            break
        except UnreadableError as error:
            unreadable.append(await _unreadable(facts, tp, error))
            start = unreadable[-1].last + 1
    stamp = None if newest is None else Stamp(subject, newest, now_ms())
    return InputSample(tp.topic, tp.partition, tally.sample(subject), stamp, tally.events, unreadable)


async def _unreadable(
    facts: ClusterFacts, tp: TopicPartition, error: UnreadableError, *, waits: bool = False
) -> Unreadable:
    """``waits``: the shard stands at them."""
    _, last, _ = await batches.damaged(facts.reader, tp, error.first)
    skip = skip_command(facts.settings, tp, error.first, last) if waits else None
    return Unreadable(f"{tp.topic}/{tp.partition}", error.first, last, error.why, skip)


class _Tally:
    """A sample in the making. It keeps no values, which may be large."""

    def __init__(self, context: ShardContext, kind: Kind) -> None:
        self._kind = kind
        self._max_value = context.settings.max_value
        self._placed = context.placed()
        self._read = self._misplaced = self._keyless = 0
        self._first_misplaced = -1
        self._rejected: Counter[Reason] = Counter()
        self._details: Counter[str] = Counter()
        self.events: list[Sampled] = []

    def add(self, record: Record) -> None:
        if isinstance(record, RefusedBatch):
            self._read += record.records
            self._reject(record.reason, record.detail, record.records)
            return
        self._read += 1
        (event,) = decode_batch(self._kind, (record,), self._max_value)
        self.events.append(sampled(self._kind, record, event))
        if not record.key:
            self._keyless += record.value is not None
            return
        if not self._placed(record.key):
            self._first_misplaced = self._first_misplaced if self._misplaced else record.offset
            self._misplaced += 1
        if isinstance(event, Rejected):
            self._reject(event.reason, event.detail, 1)

    def _reject(self, reason: Reason, detail: str, records: int) -> None:
        self._rejected[reason] += records
        self._details[detail] += records

    def sample(self, subject: str) -> Sample:
        return Sample(
            subject,
            self._read,
            self._misplaced,
            self._first_misplaced,
            self._keyless,
            Counter(self._rejected),
            Counter(self._details),
        )


async def lags(facts: ClusterFacts, shards: Sequence[Shard]) -> list[Lag]:
    """Of each input partition that somebody has begun to read."""
    return [
        await _lag(facts, TopicPartition(bounds.topic, shard.partition), position, bounds.end)
        for shard in shards
        for kind, bounds in shard.inputs.items()
        if (position := max(shard.position(kind), bounds.begin)) >= 0 and shard.begun
    ]


async def _lag(facts: ClusterFacts, tp: TopicPartition, position: int, end: int) -> Lag:
    subject = f"{tp.topic}/{tp.partition}"
    try:
        async for record in statereader.read(facts.reader, tp, position, end, refused=True):
            waiting = max(0, now_ms() - record.timestamp)
            return Lag(subject, end - position, timedelta(milliseconds=waiting))
    except UnreadableError as error:
        return Lag(subject, end - position, unreadable=await _unreadable(facts, tp, error, waits=True))
    return Lag(subject, end - position)
