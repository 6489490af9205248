"""Records of the inputs: the newest ones as a sample, and the first unread one of each partition that is behind."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from aiokafka import TopicPartition

from stream.core.decode import Rejected, decode_batch
from stream.doctor.ask.offsets import begins, stable_ends
from stream.doctor.ask.visit import Visit, now_ms
from stream.doctor.clock import Stamp
from stream.doctor.keys import Sample
from stream.doctor.lag import Lag
from stream.doctor.positions import Shard
from stream.kafka import statereader
from stream.kafka.place import Place
from stream.model.names import Kind, Reason

STAMPED: Final = "LogAppendTime"


@dataclass(frozen=True, slots=True)
class Looked:
    """At the newest records of one partition. ``newest`` is None where there are none."""

    topic: str
    sample: Sample
    newest: Stamp | None


async def looked(visit: Visit) -> list[Looked]:
    """Of each input partition the last ``visit.sample`` offsets; markers of transactions are among them."""
    readable = set(visit.partitions)
    inputs = {tp: kind for kind, tps in visit.inputs.items() for tp in tps if tp in readable}
    first, last = await begins(visit, inputs), await stable_ends(visit, inputs)
    return [
        await _look(visit, kind, tp, max(first[tp], last[tp] - visit.sample), last[tp]) for tp, kind in inputs.items()
    ]


async def _look(visit: Visit, kind: Kind, tp: TopicPartition, start: int, end: int) -> Looked:
    records = [record async for record in statereader.read(visit.reader, tp, start, end)]
    subject = f"{tp.topic}/{tp.partition}"
    stamp = Stamp(subject, records[-1].timestamp, now_ms()) if records else None
    place = Place(visit.settings, tp.partition, len(visit.inputs[kind]))  # of this topic, whatever the others have
    return Looked(tp.topic, _sample(place, kind, subject, records), stamp)


def _sample(place: Place, kind: Kind, subject: str, records: Sequence[Any]) -> Sample:
    placed = place.placed()
    misplaced = [record.offset for record in records if record.key and not placed(record.key)]
    keyed = [record for record in records if record.key]
    decoded = decode_batch(kind, keyed, place.settings.max_value)
    return Sample(
        subject,
        len(records),
        len(misplaced),
        min(misplaced, default=-1),
        sum(not record.key and record.value is not None for record in records),
        Counter[Reason](event.reason for event in decoded if isinstance(event, Rejected)),
    )


async def lags(visit: Visit, shards: Sequence[Shard]) -> list[Lag]:
    """Of each input partition that somebody has begun to read."""
    return [
        await _lag(visit, TopicPartition(bounds.topic, shard.partition), position, bounds.end)
        for shard in shards
        for kind, bounds in shard.inputs.items()
        if (position := max(shard.position(kind), bounds.begin)) >= 0 and shard.begun
    ]


async def _lag(visit: Visit, tp: TopicPartition, position: int, end: int) -> Lag:
    subject = f"{tp.topic}/{tp.partition}"
    async for record in statereader.read(visit.reader, tp, position, end):
        waiting = max(0, now_ms() - record.timestamp)
        return Lag(subject, end - position, timedelta(milliseconds=waiting))
    return Lag(subject, end - position)
