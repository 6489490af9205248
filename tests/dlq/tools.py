"""Dead letters as a worker writes them, without a worker."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stream.config import Settings
from stream.core.deadletters import rows
from stream.dlq.letters import Letter, letter_of
from stream.model.names import DEAD_LETTERS, INPUTS, Kind, Reason
from stream.model.results import DeadLetter, Record
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import BASE, producer, view

TOPICS: Final = {str(kind): name for kind, name in INPUTS.items()}
STAMP: Final = BASE + 60_000
"""The broker's timestamp of the originals."""


@dataclass
class Rec:
    """A record as the log hands it out."""

    value: bytes | None = view(1)
    key: bytes | None = b"s1"
    offset: int = 7
    timestamp: int = STAMP
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=list)


def refused(
    record: Record, reason: Reason = Reason.BAD_VALUE, detail: str = "x: y", kind: Kind = Kind.VIEWS
) -> DeadLetter:
    return DeadLetter(kind, record, reason, detail)


def row(dead: DeadLetter, partition: int = 0, prefix: str = "") -> tuple[bytes | None, bytes | None, list[Any]]:
    topics = {kind: f"{prefix}{name}" for kind, name in TOPICS.items()}
    [found] = rows([dead], topics, partition, generation=0)
    return found


def letter(dead: DeadLetter, offset: int = 0, partition: int = 0, written: int = STAMP + 1000) -> Letter:
    key, value, headers = row(dead, partition)
    found = letter_of(Rec(value, key, offset, written, headers), partition)
    assert found is not None
    return found


async def write(kafka: EmbeddedKafka, config: Settings, letters: Sequence[DeadLetter], partition: int = 0) -> None:
    """In order, to one partition."""
    async with producer(kafka, max_request_size=8_000_000) as sender:
        for each in letters:
            key, value, headers = row(each, partition, config.topic_prefix)
            await sender.send(config.topic(DEAD_LETTERS), value, key=key, partition=partition, headers=headers)
        await sender.flush()
