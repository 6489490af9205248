"""What live.alerts says: which alerts fire now, and what has become of a session's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.errors import FailedError
from stream.kafka import statereader
from stream.kafka.client import Reader
from stream.kafka.statereader import SkippedRecords, is_tombstone
from stream.model.alerts import Alert, Severity, Status
from stream.model.names import ALERTS
from stream.operate.shards import reading
from stream.sessions import topics
from stream.sessions.written_alerts import alert_of

_FIRST: Final = {severity: place for place, severity in enumerate(Severity)}
"""Pages before tickets."""
Found = tuple[list[Alert], list[SkippedRecords]]
"""What was asked for, and by partition how many records were no alerts of liveshop."""


async def firing(settings: Settings) -> Found:
    """Alerts whose newest record says so: the gravest first, and of those the oldest."""
    newest: dict[bytes, Alert] = {}
    others: dict[TopicPartition, SkippedRecords] = {}
    async for key, alert in _recorded(settings, others):
        newest.pop(key, None)
        if alert is not None and alert.status is Status.FIRING:
            newest[key] = alert
    found = sorted(newest.values(), key=lambda alert: (_FIRST[alert.severity], alert.since, alert.key()))
    return found, [passed for passed in others.values() if passed.number]


async def history(settings: Settings, session_id: str) -> Found:
    """Every record of a session's alerts that retention and compaction have left, in order of event time."""
    others: dict[TopicPartition, SkippedRecords] = {}
    found = [
        alert async for _, alert in _recorded(settings, others) if alert is not None and alert.session_id == session_id
    ]
    return sorted(found, key=lambda alert: (alert.at, alert.alert)), [each for each in others.values() if each.number]


async def _recorded(
    settings: Settings, others: dict[TopicPartition, SkippedRecords]
) -> AsyncIterator[tuple[bytes, Alert | None]]:
    """Everything committed so far, each partition in order, by key; None takes an alert back, as nothing of ours does.

    What is no alert is noted in ``others``. Raises UsageError when the topic is missing.
    """
    numbers = range(await topics.check(settings, (ALERTS,)))
    partitions = [TopicPartition(settings.topic(ALERTS), number) for number in numbers]
    async with reading(settings, partitions) as reader:
        for partition in partitions:
            passed = others[partition] = SkippedRecords(partition)
            begin, end = await statereader.bounds(reader, partition)
            async for record in statereader.read(reader, partition, begin, end, refused=True):
                alert = alert_of(record)
                is_right = alert is not None or is_tombstone(record)
                passed.note(record.offset, is_right=is_right)
                if is_right:
                    yield record.key or b"", alert


async def follow(settings: Settings, note: Callable[[Alert], None], stopped: Callable[[], bool], every: float) -> None:
    """Gives ``note`` every alert that is committed, each partition in order, until ``stopped``. Looks ``every`` seconds.

    A broker that refuses or falls silent is asked again. Raises UsageError when the topic is missing.
    """
    positions: dict[TopicPartition, int] = {}
    while not stopped():
        try:
            if not positions:
                numbers = range(await topics.check(settings, (ALERTS,)))
                positions = dict.fromkeys((TopicPartition(settings.topic(ALERTS), number) for number in numbers), 0)
            async with reading(settings, positions) as reader:
                while not stopped():
                    for partition in positions:
                        await _read_on(reader, partition, positions, note)
                    await asyncio.sleep(every)
        except (KafkaError, TimeoutError, FailedError):
            await asyncio.sleep(every)


async def _read_on(
    reader: Reader, partition: TopicPartition, positions: dict[TopicPartition, int], note: Callable[[Alert], None]
) -> None:
    begin, end = await statereader.bounds(reader, partition)
    async for record in statereader.read(reader, partition, max(begin, positions[partition]), end, refused=True):
        positions[partition] = record.offset + 1
        if (alert := alert_of(record)) is not None:
            note(alert)
    positions[partition] = max(positions[partition], end)
