"""Reading live.dead-letters beside the workers: committed records only, one after the other, touching nobody."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition

from stream.config import Settings
from stream.dlq.grouping import Groups
from stream.dlq.letters import Letter, Selection, letter_of
from stream.errors import UsageError
from stream.kafka import statereader
from stream.kafka.client import Reader
from stream.kafka.statereader import SkippedRecords
from stream.model.names import DEAD_LETTERS
from stream.operate.shards import reading
from stream.sessions import topics

Tell = Callable[[int, int], None]
"""Told how many offsets are done, and how many there are."""
TELL_EVERY: Final = 500


@dataclass(slots=True)
class Found:
    """What one reading has come by, besides the letters."""

    read: int = 0
    """Dead letters, whether selected or not."""
    others: dict[TopicPartition, SkippedRecords] = field(default_factory=dict)
    """Records that are no dead letters."""

    def passed(self) -> list[SkippedRecords]:
        return [each for each in self.others.values() if each.number]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of one partition, what may hold selected letters: ``[begin, end)``, frozen."""

    partition: TopicPartition
    begin: int
    end: int


async def partitions_of(settings: Settings) -> list[TopicPartition]:
    """Raises UsageError when the topic is missing."""
    name = settings.topic(DEAD_LETTERS)
    number = (await topics.counts(settings, (DEAD_LETTERS,)))[name]
    return [TopicPartition(name, each) for each in range(number)]


async def stretches(reader: Reader, partitions: list[TopicPartition], from_ms: int | None) -> list[Stretch]:
    """By the times at which letters were written, since none has a later time than that."""
    first = await reader.beginning_offsets(partitions)
    ends = await reader.end_offsets(partitions)
    begins = dict(first)
    if from_ms is not None:
        since = await reader.offsets_for_times(dict.fromkeys(partitions, max(0, from_ms)))
        begins = {tp: ends[tp] if since[tp] is None else since[tp].offset for tp in partitions}
    return [Stretch(tp, max(first[tp], min(begins[tp], ends[tp])), ends[tp]) for tp in partitions]


async def letters(reader: Reader, stretch: Stretch, found: Found, tell: Callable[[int], None]) -> AsyncIterator[Letter]:
    """Those of a stretch, in order. ``tell`` is told the offset that is reached, now and then."""
    tp = stretch.partition
    others = found.others.setdefault(tp, SkippedRecords(tp))
    async for record in statereader.read(reader, tp, stretch.begin, stretch.end, refused=True):
        letter = letter_of(record, tp.partition)
        others.note(record.offset, is_right=letter is not None)
        if letter is not None:
            found.read += 1
            if not found.read % TELL_EVERY:
                tell(record.offset)
            yield letter
    tell(stretch.end)


async def selected(
    reader: Reader, ranges: list[Stretch], selection: Selection, found: Found, tell: Tell
) -> AsyncIterator[Letter]:
    """The letters that are meant, partition by partition. ``tell`` knows of all partitions."""
    every, before = sum(each.end - each.begin for each in ranges), 0
    for each in ranges:

        def told(offset: int, base: int = before - each.begin) -> None:
            tell(base + offset, every)

        async for letter in letters(reader, each, found, told):
            if selection.has(letter):
                yield letter
        before += each.end - each.begin


async def grouped(settings: Settings, selection: Selection, tell: Tell) -> tuple[Groups, Found]:
    """All letters that are meant, in figures."""
    groups, found = Groups(), Found()
    partitions = await partitions_of(settings)
    async with reading(settings, partitions) as reader:
        ranges = await stretches(reader, partitions, selection.from_ms)
        async for letter in selected(reader, ranges, selection, found, tell):
            groups.add(letter)
    return groups, found


async def newest(settings: Settings, selection: Selection) -> Letter | None:
    """Of the letters that are meant the one that was written last; None without any. Looks from the ends backwards."""
    best: Letter | None = None
    partitions = await partitions_of(settings)
    async with reading(settings, partitions) as reader:
        for each in await stretches(reader, partitions, selection.from_ms):
            number = each.partition.partition

            def wanted(record: object, number: int = number) -> bool:
                letter = letter_of(record, number)
                return letter is not None and selection.has(letter)

            record = await statereader.newest_record(reader, each.partition, each.begin, each.end, wanted, refused=True)
            letter = None if record is None else letter_of(record, number)
            if letter is not None and (best is None or letter.written > best.written):
                best = letter
    return best


async def at(settings: Settings, partition: int, offset: int) -> Letter:
    """The letter that lies there. Raises UsageError where there is none."""
    partitions = await partitions_of(settings)
    if partition >= len(partitions):
        raise UsageError(f"there is no partition {partition}: {partitions[0].topic} has {len(partitions)}, from 0 on")
    tp = partitions[partition]
    async with reading(settings, [tp]) as reader:
        begin, end = await statereader.bounds(reader, tp)
        if begin <= offset < end:
            async for record in statereader.read(reader, tp, offset, offset + 1, refused=True):
                letter = letter_of(record, partition)
                if letter is not None:
                    return letter
    raise UsageError(
        f"{tp.topic}, partition {partition}: there is no dead letter at offset {offset}. "
        f"Committed records are from {begin} to {end - 1}; dlq list gives the places of samples"
    )
