"""A stretch of the recorded topics: found by time, its ends frozen, read once, partition by partition, beside the workers.

A record whose event time counts was appended at that time or later, but for ``max_future``: who looks for event times from
some moment on finds them all behind the first record that was appended ``max_future`` before it. How far to read is said
by the topics' own clocks (replay/feed.py), since a record may be appended long after its event.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from stream.config import Settings
from stream.kafka import topics
from stream.kafka.client import Reader, ms
from stream.kafka.inputs import Inputs
from stream.kafka.place import Place
from stream.model.names import INPUTS, KINDS, Kind
from stream.model.results import Record, Records
from stream.operate.shards import reading
from stream.replay.backtest import Backtest, Report
from stream.replay.feed import Feed

STILL_SECONDS: Final = 30.0
"""A read that brings nothing and does not move for so long has lost its broker."""
WAIT: Final = 0.05
"""Seconds to wait for records that are there. Short: the end of a transaction moves on without waking anybody."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One partition number. Offsets are ``[begins, ends)`` by topic."""

    place: Place
    begins: Mapping[Kind, int]
    ends: Mapping[Kind, int]
    lost: tuple[Kind, ...]
    """Topics of which retention has deleted records that may belong to it."""

    @property
    def records(self) -> int:
        """At most; markers of transactions are counted."""
        return sum(self.ends[kind] - self.begins[kind] for kind in KINDS)


async def stretches(settings: Settings, from_ms: int | None) -> list[Stretch]:
    """Of every partition number, what may hold event times from ``from_ms`` on, or all there is.

    Raises UsageError for input topics that are missing or differ in partitions.
    """
    partitions = await topics.check(settings, tuple(INPUTS.values()))
    places = [Place(settings, number, partitions) for number in range(partitions)]
    every = [tp for place in places for tp in place.inputs.values()]
    appended = None if from_ms is None else max(0, from_ms - ms(settings.max_future))
    async with reading(settings, every) as reader:
        first = await reader.beginning_offsets(every)
        ends = await reader.end_offsets(every)
        begins = first if appended is None else await _first_since(reader, ends, appended)
    return [_stretch(place, first, begins, ends, every_record=from_ms is None) for place in places]


async def _first_since(reader: Reader, ends: Mapping[TopicPartition, int], since_ms: int) -> dict[TopicPartition, int]:
    """The first offset appended then or later; the end where there is none."""
    found = await reader.offsets_for_times(dict.fromkeys(ends, since_ms))
    return {tp: end if found[tp] is None else min(end, found[tp].offset) for tp, end in ends.items()}


Offsets = Mapping[TopicPartition, int]


def _stretch(place: Place, first: Offsets, begins: Offsets, ends: Offsets, *, every_record: bool) -> Stretch:
    inputs = place.inputs
    return Stretch(
        place,
        begins={kind: begins[tp] for kind, tp in inputs.items()},
        ends={kind: max(ends[tp], begins[tp]) for kind, tp in inputs.items()},
        lost=() if every_record else tuple(kind for kind, tp in inputs.items() if 0 < first[tp] == begins[tp]),
    )


async def over_topics(
    settings: Settings, test: Backtest, from_ms: int | None, to_ms: int, tell: Callable[[int, int], None]
) -> Report:
    """A backtest over all partitions, one after the other. ``tell`` is called with the offsets done, and with all."""
    found = await stretches(settings, None if from_ms is None else from_ms - test.lead_ms)
    every, done = sum(each.records for each in found), 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        tell(done, every)

    for each in found:
        await read(each, Feed(test.policy, test.trial(each.place.partition), to_ms + test.policy.delay_ms), progress)
    report = test.report(to_ms)
    report.lost = [f"{settings.topic(INPUTS[kind])}/{each.place.partition}" for each in found for kind in each.lost]
    return report


async def read(stretch: Stretch, feed: Feed, progress: Callable[[int], None]) -> None:
    """All of it into the feed, until its topics are over. ``progress`` is told how many offsets are done each time.

    Raises TimeoutError when the broker stays silent.
    """
    inputs = Inputs(stretch.place)
    try:
        await inputs.start(stretch.begins)
        await _read(stretch, inputs, feed, progress)
    finally:
        await inputs.stop()


async def _read(stretch: Stretch, inputs: Inputs, feed: Feed, progress: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    moved = loop.time()
    while True:
        for kind in KINDS:
            if inputs.positions[kind] >= stretch.ends[kind]:
                feed.over(kind)
        wanted = feed.wanted()
        if not wanted:
            return
        before = dict(inputs.positions)
        for kind, records in (await inputs.fetch(wanted, WAIT, feed.at_once)).items():
            feed.put(kind, _before(records, stretch.ends[kind]))
        done = sum(inputs.positions[kind] - before[kind] for kind in KINDS)
        if done:
            progress(done)
            moved = loop.time()
        elif loop.time() - moved > STILL_SECONDS:
            raise TimeoutError(f"partition {stretch.place.partition} cannot be read beyond {before}")


def _before(records: Sequence[Record], end: int) -> Sequence[Record]:
    """Those before an offset: what was appended since is no part of it."""
    if not records or records[-1].offset < end:
        return records
    wanted = [record for record in records if record.offset < end]
    return Records(wanted, records.oldest_ms) if isinstance(records, Records) else wanted
