"""Bounds of a replay as offsets: which records of the inputs are read, how many, and what retention has done. Reads only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.core.policy import Policy
from stream.kafka import client, requests
from stream.kafka.client import Reader
from stream.kafka.patches import access
from stream.model.names import INPUTS, Kind
from stream.operate.shards import reading
from stream.replay.overlapping import OnAir
from stream.sessions import topics

_RETENTION: Final = "retention.ms"
_CLEANUP: Final = "cleanup.policy"


@dataclass(frozen=True, slots=True)
class Stretch:
    """One partition of one input. Offsets; times are ms."""

    input: str
    partition: int
    begin: int
    expected: int
    """About where reading will end."""
    end: int
    """Nothing at or beyond it is read."""
    bytes: int | None
    """About what lies between beginning and expected end. None: no broker tells."""
    lost: int
    """Offsets that retention has deleted, at most."""
    oldest: int | None
    """When the first of its records was appended."""
    expires: int | None
    """Retention may delete that one from then on."""
    undecided: int = 0
    """Offsets behind the end, of which the first belongs to an open transaction."""

    @property
    def records(self) -> int:
        return self.expected - self.begin


class Bounds:
    """Of what is read for a span of event times, in ms of appending, by partition and input."""

    def __init__(self, span: tuple[int, int], policy: Policy, lead_ms: int, sessions: Collection[OnAir]) -> None:
        self._from, self._to = span
        self._policy = policy
        self._lead = lead_ms
        self.earliest = self._from - policy.session_keep_ms
        """Sessions that began before are read from here on."""
        self._starts: dict[int, int] = {}
        for each in sessions:
            start = max(self.earliest, each.first_event)
            self._starts[each.partition] = min(start, self._starts.get(each.partition, self._from))

    def begin(self, kind: Kind, partition: int) -> int:
        begin = self._starts.get(partition, self._from) - self._lead
        if kind is Kind.CHECKOUTS:
            begin = min(begin, self._from - self._policy.checkout_key_ms)
        return max(0, begin - self._policy.max_future_ms)

    def expected(self, kind: Kind) -> int:
        policy = self._policy
        beyond = policy.delay_ms + policy.lateness_ms
        return self._to + (max(beyond, policy.session_keep_ms) if kind is Kind.CHECKOUTS else beyond)


Offsets = Mapping[TopicPartition, int]


async def resolved(settings: Settings, bounds: Bounds, numbers: Collection[int]) -> list[Stretch]:
    """Asks the brokers for the offsets of these partition numbers."""
    places = {
        TopicPartition(settings.topic(topic), number): (kind, number)
        for number in numbers
        for kind, topic in INPUTS.items()
    }
    sizes = await _sizes(settings, places)
    kept = {name: _kept_ms(each) for name, each in (await topics.configs(settings)).items()}
    async with reading(settings, places) as reader:
        first = await reader.beginning_offsets(list(places))
        ends = await reader.end_offsets(list(places))
        begins = {tp: bounds.begin(kind, number) for tp, (kind, number) in places.items()}
        expected = {tp: bounds.expected(kind) for tp, (kind, _) in places.items()}
        found = await reader.offsets_for_times(begins)
        until = await _offsets(reader, expected, ends)
    written = await _written(settings, list(places))
    logs = {
        tp: _Log(
            *(first[tp], max(first[tp], ends[tp]), written[tp]),
            sizes.get((tp.topic, tp.partition)),
            kept.get(INPUTS[kind]),
        )
        for tp, (kind, _) in places.items()
    }
    return [_stretch(*place, logs[tp], found[tp], until[tp]) for tp, place in places.items()]


async def _written(settings: Settings, places: list[TopicPartition]) -> Offsets:
    """How far they are written, be it committed or not."""
    reader = client.make_reader(settings, uncommitted=True)
    await client.start(reader, settings)
    try:
        reader.assign(places)
        ends: Offsets = await reader.end_offsets(places)
        return ends
    finally:
        await client.end(reader)


async def _offsets(reader: Reader, times: Mapping[TopicPartition, int], ends: Offsets) -> Offsets:
    """The first appended then or later; the end where there is none."""
    found = await reader.offsets_for_times(dict(times))
    return {tp: ends[tp] if found[tp] is None else min(ends[tp], found[tp].offset) for tp in times}


@dataclass(frozen=True, slots=True)
class _Log:
    """A partition as it is. Offsets; None where nobody tells."""

    first: int
    end: int
    written: int
    """The end, be what is there committed or not."""
    bytes: int | None
    kept_ms: int | None


def _stretch(kind: Kind, number: int, log: _Log, found: Any, until: int) -> Stretch:
    """``found``: offset and timestamp of the first record that is wanted, or None."""
    begin = log.end if found is None else min(log.end, max(log.first, found.offset))
    expected = max(begin, min(until, log.end))
    size = None if log.bytes is None else log.bytes * (expected - begin) // max(1, log.end - log.first)
    oldest = None if found is None else int(found.timestamp)
    return Stretch(
        *(kind.value, number, begin, expected, log.end, size),
        lost=log.first if begin == log.first else 0,
        oldest=oldest,
        expires=None if log.kept_ms is None or oldest is None else oldest + log.kept_ms,
        undecided=max(0, log.written - log.end),
    )


def _kept_ms(configs: Mapping[str, str]) -> int | None:
    """How long a topic keeps a record. None: for ever, or nobody knows."""
    text = configs.get(_RETENTION, "-1")
    deletes = "delete" in configs.get(_CLEANUP, "delete")
    return int(text) if deletes and text.isdigit() else None


async def _sizes(settings: Settings, places: Collection[TopicPartition]) -> Mapping[tuple[str, int], int]:
    """Bytes; empty where a broker does not tell."""
    most = max((tp.partition for tp in places), default=-1) + 1
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        return await requests.log_sizes(admin, access.nodes(admin), {tp.topic: most for tp in places})
    except (KafkaError, OSError):
        return {}
    finally:
        await client.end(admin)
