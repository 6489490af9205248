"""Which promotions were applied, as live.promotion-outcomes says: a rebuild applies them again."""

from typing import Final

import msgspec
from aiokafka import TopicPartition

from stream.core.promotions import APPLIED
from stream.kafka.client import Reader
from stream.kafka.statereader import SkippedRecords, bounds, read


class _Outcome(msgspec.Struct):
    promotion: str
    outcome: str


_decode: Final = msgspec.json.Decoder(_Outcome).decode


async def applied(reader: Reader, partition: TopicPartition) -> set[str]:
    """Their ids. Records that are no outcomes are skipped."""
    found: set[str] = set()
    others = SkippedRecords(partition)
    begin, end = await bounds(reader, partition)
    async for record in read(reader, partition, begin, end, refused=True):
        outcome = _outcome_of(record.value)
        others.note(record.offset, is_right=outcome is not None)
        if outcome is not None and outcome.outcome == APPLIED:
            found.add(outcome.promotion)
    others.tell("outcomes of promotions")
    return found


def _outcome_of(value: bytes | None) -> _Outcome | None:
    try:
        return _decode(value or b"")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
