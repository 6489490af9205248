"""Which sessions were on air in a range, as live.sessions tells: what is read begins where they do. Reads only."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from stream.config import Settings
from stream.kafka import statereader
from stream.kafka.client import Reader, ms
from stream.kafka.statereader import is_tombstone
from stream.model.names import SESSIONS
from stream.operate.shards import reading
from stream.sessions import topics


@dataclass(frozen=True, slots=True)
class OnAir:
    """A session with events in the range. Times are ms."""

    session: str
    seller: str
    partition: int
    first_event: int
    last_event: int


class _Totals(msgspec.Struct):
    seller_id: str = ""
    first_event: int | None = None
    last_event: int | None = None


_decode: Final = msgspec.json.Decoder(_Totals).decode


@dataclass(frozen=True, slots=True)
class Wanted:
    """Sessions that are meant: those named, and all of the sellers named; every one, when nothing is named."""

    sessions: Collection[str] = ()
    sellers: Collection[str] = ()

    def has(self, session: str, seller: str) -> bool:
        return not (self.sessions or self.sellers) or session in self.sessions or seller in self.sellers


async def on_air(settings: Settings, span: tuple[int, int], wanted: Wanted) -> list[OnAir] | None:
    """Those that are meant with events in the span or around it, by their newest records, sorted.

    None: there is no live.sessions. What is no result of ours in it is passed over.
    """
    if SESSIONS not in await topics.configs(settings):
        return None
    number = (await topics.counts(settings, (SESSIONS,)))[settings.topic(SESSIONS)]
    partitions = [TopicPartition(settings.topic(SESSIONS), each) for each in range(number)]
    found: list[OnAir] = []
    async with reading(settings, partitions) as reader:
        for tp in partitions:
            found += await _of_partition(reader, tp, span[0] - ms(settings.max_future), span, wanted)
    return sorted(found, key=lambda each: (each.first_event, each.session))


async def _of_partition(
    reader: Reader, tp: TopicPartition, since: int, span: tuple[int, int], wanted: Wanted
) -> list[OnAir]:
    """``since``: a session whose newest record is older has no event in the span, since none counts so far ahead."""
    held: dict[str, OnAir] = {}
    async for record in _records(reader, tp, since):
        session = (record.key or b"").decode(errors="replace")
        held.pop(session, None)
        found = None if is_tombstone(record) else _on_air(record.value, session, tp.partition)
        if found is not None and wanted.has(session, found.seller) and _overlaps(found, span):
            held[session] = found
    return list(held.values())


def _overlaps(found: OnAir, span: tuple[int, int]) -> bool:
    return found.first_event < span[1] and found.last_event >= span[0]


def _on_air(value: bytes | None, session: str, partition: int) -> OnAir | None:
    try:
        totals = _decode(value or b"")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if totals.first_event is None or totals.last_event is None:
        return None
    return OnAir(session, totals.seller_id, partition, totals.first_event, totals.last_event)


async def _records(reader: Reader, tp: TopicPartition, since: int) -> AsyncIterator[Any]:
    begin, end = await statereader.bounds(reader, tp)
    [found] = (await reader.offsets_for_times({tp: max(0, since)})).values()
    if found is not None:
        async for record in statereader.read(reader, tp, max(begin, found.offset), end, refused=True):
            yield record
