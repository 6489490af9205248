"""What live.alerts says: which alerts fire now, and what has become of a session's."""

from collections.abc import AsyncIterator
from typing import Final

from aiokafka import TopicPartition

from stream.config import Settings
from stream.errors import FailedError
from stream.kafka import statereader, topics
from stream.model.alerts import Alert, Severity, Status, read_alert
from stream.model.names import ALERTS
from stream.operate.shards import reading

_FIRST: Final = {severity: place for place, severity in enumerate(Severity)}
"""Pages before tickets."""


async def firing(settings: Settings) -> list[Alert]:
    """Alerts whose newest record says so: the gravest first, and of those the oldest."""
    newest = {alert.key(): alert async for alert in _recorded(settings)}
    found = [alert for alert in newest.values() if alert.status is Status.FIRING]
    return sorted(found, key=lambda alert: (_FIRST[alert.severity], alert.since, alert.key()))


async def history(settings: Settings, session_id: str) -> list[Alert]:
    """Every record of a session's alerts that retention and compaction have left, in order of event time."""
    found = [alert async for alert in _recorded(settings) if alert.session_id == session_id]
    return sorted(found, key=lambda alert: (alert.at, alert.alert))


async def _recorded(settings: Settings) -> AsyncIterator[Alert]:
    """Everything committed so far, each partition in order. Raises UsageError when the topic is missing."""
    numbers = range(await topics.check(settings, (ALERTS,)))
    partitions = [TopicPartition(settings.topic(ALERTS), number) for number in numbers]
    async with reading(settings, partitions) as reader:
        for partition in partitions:
            begin, end = await statereader.bounds(reader, partition)
            async for record in statereader.read(reader, partition, begin, end):
                if record.value is not None:
                    yield _alert(record.value, partition, record.offset)


def _alert(value: bytes, partition: TopicPartition, offset: int) -> Alert:
    try:
        return read_alert(value)
    except ValueError as error:  # its text may quote the record
        where = f"{partition.topic}, partition {partition.partition}, offset {offset}"
        raise FailedError(f"{where} is no alert of liveshop: {type(error).__name__}") from None
