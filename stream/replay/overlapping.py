"""Which sessions were on air in a range, as live.sessions tells: what is read begins where they do. Reads only."""

from collections.abc import AsyncIterator, Callable, Collection
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


Tell = Callable[[int, int], None]
"""Is told how many offsets are done, and how many there are."""


def untold(_done: int, _every: int) -> None:
    """Nobody looks."""


async def on_air(settings: Settings, span: tuple[int, int], wanted: Wanted, tell: Tell = untold) -> list[OnAir] | None:
    """Those that are meant with events in the span or around it, by their newest records, sorted.

    None: there is no live.sessions. What is no result of ours in it is passed over.
    """
    if SESSIONS not in await topics.configs(settings):
        return None
    number = (await topics.counts(settings, (SESSIONS,)))[settings.topic(SESSIONS)]
    partitions = [TopicPartition(settings.topic(SESSIONS), each) for each in range(number)]
    async with reading(settings, partitions) as reader:
        ranges = await _ranges(reader, partitions, span[0] - ms(settings.max_future))
        every, done, found = sum(end - begin for begin, end in ranges.values()), 0, []
        for tp, (begin, end) in ranges.items():
            found += await _of_partition(
                statereader.read(reader, tp, begin, end, refused=True),
                tp.partition,
                (span, wanted),
                lambda offset, before=done - begin: tell(before + offset, every),  # type: ignore[misc]  # bound now
            )
            done += end - begin
    return sorted(found, key=lambda each: (each.first_event, each.session))


async def _ranges(
    reader: Reader, partitions: Collection[TopicPartition], since: int
) -> dict[TopicPartition, tuple[int, int]]:
    """Written since, ms: a session whose newest record is older has no event in the span, since none counts so far ahead."""
    first = await reader.beginning_offsets(partitions)
    ends = await reader.end_offsets(partitions)
    found = await reader.offsets_for_times(dict.fromkeys(partitions, max(0, since)))
    return {
        tp: (ends[tp] if found[tp] is None else min(ends[tp], max(first[tp], found[tp].offset)), ends[tp])
        for tp in partitions
    }


async def _of_partition(
    records: AsyncIterator[Any], partition: int, meant: tuple[tuple[int, int], Wanted], tell: Callable[[int], None]
) -> list[OnAir]:
    held: dict[str, OnAir] = {}
    span, wanted = meant
    async for record in records:
        tell(record.offset)
        session = (record.key or b"").decode(errors="replace")
        held.pop(session, None)
        found = None if is_tombstone(record) else _on_air(record.value, session, partition)
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
