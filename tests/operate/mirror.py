"""Two ways in which topics come to another cluster: byte for byte, and record by record.

Byte for byte is what a mirror does that keeps offsets, and a restored disk. Record by record is what a consumer and a
producer do, as MirrorMaker does: offsets are others, and the ends of transactions are gone.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer

from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import everything

OF_THE_TOPIC: Final = "partition.metadata"
"""Holds the id of the topic, which is not copied."""
OF_THE_BROKER: Final = (
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
)
"""What it knows of its logs. Without, it looks at all of them when it starts."""


def copy_logs(source: EmbeddedKafka, target: EmbeddedKafka, topics: Iterable[str], partitions: int) -> None:
    """Puts the logs of these topics in place of what ``target`` has of them. Offsets, batches and markers stay.

    The topics must be there, with as many partitions. ``target`` is killed and started again. Nobody may write meanwhile.
    """
    target.kill()
    theirs = data(target)
    for topic in topics:
        for number in range(partitions):
            _copy(data(source) / f"{topic}-{number}", theirs / f"{topic}-{number}")
    for name in OF_THE_BROKER:
        (theirs / name).unlink(missing_ok=True)
    target.restart()


def data(kafka: EmbeddedKafka) -> Path:
    """Where its logs are."""
    return Path(kafka.log).parent / "data"


def _copy(source: Path, target: Path) -> None:
    """Indexes are made anew by the broker."""
    for file in target.iterdir():
        if file.name != OF_THE_TOPIC:
            file.unlink()
    for segment in source.glob("*.log"):
        shutil.copy(segment, target)


async def copy_records(source: EmbeddedKafka, target: EmbeddedKafka, topic: str, partition: int) -> int:
    """Committed records only, to the partition of the same number. Returns how many."""
    records = await everything(source, topic, partition)
    sender = AIOKafkaProducer(bootstrap_servers=target.bootstrap, max_request_size=8_000_000)
    await sender.start()
    try:
        for record in records:
            await sender.send(topic, record.value, key=record.key, partition=partition, headers=list(record.headers))
        await sender.flush()
    finally:
        await sender.stop()
    return len(records)
