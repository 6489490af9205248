"""Alerts as they were written to their topic."""

from typing import Any

from aiokafka import TopicPartition

from stream.kafka.client import Reader
from stream.kafka.statereader import SkippedRecords, bounds, is_tombstone, read
from stream.model.alerts import Alert, Status, read_alert


async def firing(reader: Reader, partition: TopicPartition) -> list[Alert]:
    """The alerts of which the newest committed record says that they are firing.

    Records that are no alerts are skipped, and take back no alert.
    """
    found: dict[bytes, Alert] = {}
    others = SkippedRecords(partition)
    begin, end = await bounds(reader, partition)
    async for record in read(reader, partition, begin, end, refused=True):
        alert = alert_of(record)
        is_right = alert is not None or is_tombstone(record)
        others.note(record.offset, is_right=is_right)
        if is_right:
            found.pop(record.key or b"", None)
        if alert is not None and alert.status is Status.FIRING:
            found[alert.key()] = alert
    others.tell("alerts")
    return list(found.values())


def alert_of(record: Any) -> Alert | None:
    """None for a tombstone, and for a record that is no alert of ours under its own key."""
    try:
        alert = read_alert(record.value or b"")
    except ValueError:
        return None
    return alert if alert.key() == record.key else None
