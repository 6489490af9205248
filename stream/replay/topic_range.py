"""A range of the recorded topics: found by time, its ends frozen, read once, partition by partition, beside the workers.

A record whose event time counts was appended at that time or later, but for ``max_future``: who looks for event times from
some moment on finds them all behind the first record that was appended ``max_future`` before it. How far to read is said
by the topics' own clocks (replay/feed.py), since a record may be appended long after its event. Checkouts are read from a
day earlier, so that one that a shop sends again is known.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from stream.config import Settings
from stream.kafka.client import Reader, ms
from stream.kafka.inputs import Inputs
from stream.kafka.memory import ENOUGH, Memory
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, KINDS, Kind
from stream.model.results import Record, part
from stream.operate.shards import reading
from stream.replay.backtest import Backtest, Report
from stream.replay.feed import Feed
from stream.sessions import topics
from stream.sessions.role import WORKER

STILL_SECONDS: Final = 30.0
"""A read that brings nothing and does not move for so long has lost its broker."""
WAIT: Final = 0.05
"""Seconds to wait for records that are there. Short: the end of a transaction moves on without waking anybody."""


@dataclass(frozen=True, slots=True)
class TopicRange:
    """One partition number. Offsets are ``[begins, ends)`` by topic."""

    context: ShardContext
    begins: Mapping[Kind, int]
    ends: Mapping[Kind, int]
    remembered: int
    """Checkouts from this offset on are read to know repeats; it is their beginning or lies before it."""
    lost: tuple[Kind, ...]
    """Topics of which retention has deleted records that may belong to it."""

    @property
    def records(self) -> int:
        """At most; markers of transactions are counted."""
        return (
            sum(self.ends[kind] - self.begins[kind] for kind in KINDS) + self.begins[Kind.CHECKOUTS] - self.remembered
        )


async def topic_ranges(settings: Settings, from_ms: int | None) -> list[TopicRange]:
    """Of every partition number, what may hold event times from ``from_ms`` on, or all there is.

    Raises UsageError for input topics that are missing or differ in partitions.
    """
    partitions = await topics.check(settings, tuple(INPUTS.values()))
    contexts = [ShardContext(settings, number, partitions, WORKER) for number in range(partitions)]
    every = [tp for context in contexts for tp in context.inputs.values()]
    async with reading(settings, every) as reader:
        first = await reader.beginning_offsets(every)
        ends = await reader.end_offsets(every)
        if from_ms is None:
            return [_topic_range(context, first, ends, first, first) for context in contexts]
        appended = from_ms - ms(settings.max_future)
        begins = await _first_since(reader, ends, appended)
        remembered = await _first_since(reader, ends, appended - settings.policy().checkout_key_ms)
    return [_topic_range(context, first, ends, begins, remembered) for context in contexts]


Offsets = Mapping[TopicPartition, int]


async def _first_since(reader: Reader, ends: Offsets, since_ms: int) -> Offsets:
    """The first offset appended then or later; the end where there is none."""
    found = await reader.offsets_for_times(dict.fromkeys(ends, max(0, since_ms)))
    return {tp: end if found[tp] is None else min(end, found[tp].offset) for tp, end in ends.items()}


def _topic_range(
    context: ShardContext, first: Offsets, ends: Offsets, begins: Offsets, remembered: Offsets
) -> TopicRange:
    inputs = context.inputs
    return TopicRange(
        context,
        begins={kind: begins[tp] for kind, tp in inputs.items()},
        ends={kind: max(ends[tp], begins[tp]) for kind, tp in inputs.items()},
        remembered=remembered[inputs[Kind.CHECKOUTS]],
        lost=tuple(kind for kind, tp in inputs.items() if begins is not first and 0 < first[tp] == begins[tp]),
    )


async def over_topics(
    settings: Settings, test: Backtest, from_ms: int | None, to_ms: int, tell: Callable[[int, int], None]
) -> Report:
    """A backtest over all partitions, one after the other. ``tell`` is called with the offsets done, and with all."""
    found = await topic_ranges(settings, None if from_ms is None else from_ms - test.lead_ms)
    every, done = sum(each.records for each in found), 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        tell(done, every)

    for each in found:
        await read(
            each, Feed(test.policy, test.machine(each.context.partition), to_ms + test.policy.delay_ms), progress
        )
    report = test.report(to_ms)
    report.lost = [f"{settings.topic(INPUTS[kind])}/{each.context.partition}" for each in found for kind in each.lost]
    return report


async def read(topic_range: TopicRange, feed: Feed, progress: Callable[[int], None]) -> None:
    """All of it into the feed, until its topics are over. ``progress`` is told how many offsets are done each time.

    Raises TimeoutError when the broker stays silent.
    """
    inputs = Inputs(topic_range.context, Memory(ENOUGH))
    try:
        await inputs.start({**topic_range.begins, Kind.CHECKOUTS: topic_range.remembered})
        await _Reading(topic_range, inputs, feed, progress).run()
    finally:
        await inputs.stop()


class _Reading:
    """Reads one range into a feed."""

    def __init__(self, topic_range: TopicRange, inputs: Inputs, feed: Feed, progress: Callable[[int], None]) -> None:
        self._topic_range = topic_range
        self._inputs = inputs
        self._feed = feed
        self._progress = progress
        self._moved = time.monotonic()

    async def run(self) -> None:
        positions, begins, ends = self._inputs.positions, self._topic_range.begins, self._topic_range.ends
        while positions[Kind.CHECKOUTS] < begins[Kind.CHECKOUTS]:
            await self._fetch({Kind.CHECKOUTS})
        while True:
            for kind in KINDS:
                if positions[kind] >= ends[kind]:
                    self._feed.over(kind)
            wanted = self._feed.wanted()
            if not wanted:
                return
            await self._fetch(wanted)

    async def _fetch(self, kinds: set[Kind]) -> None:
        before = dict(self._inputs.positions)
        for kind, records in (await self._inputs.fetch(kinds, WAIT, self._feed.at_once)).items():
            wanted = _before(records, self._topic_range.ends[kind])
            if wanted and wanted[0].offset < self._topic_range.begins[kind]:
                old = _before(wanted, self._topic_range.begins[kind])
                self._feed.remember(kind, old)
                wanted = part(wanted, len(old), len(wanted))
            self._feed.put(kind, wanted)
        done = sum(self._inputs.positions[kind] - before[kind] for kind in KINDS)
        if done:
            self._progress(done)
            self._moved = time.monotonic()
        elif time.monotonic() - self._moved > STILL_SECONDS:
            raise TimeoutError(f"partition {self._topic_range.context.partition} cannot be read beyond {before}")


def _before(records: Sequence[Record], end: int) -> Sequence[Record]:
    """Those before an offset: what was appended since is no part of it."""
    return part(records, 0, bisect_left(records, end, key=lambda record: record.offset))
