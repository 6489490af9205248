"""CPU of the pure core: decode, judge and count, close, checkpoint; no Kafka, one thread, times of this thread alone."""

import gc
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeVar

from stream.core.alignment import PIECE
from stream.core.decode import decode_batch
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.model.names import KINDS, Kind
from stream.model.results import Records
from tests.bench.events import Maker
from tests.bench.report import Options, alone, say

BATCH: Final = PIECE
"""As the worker decodes and counts."""
MAX_VALUE: Final = 2**20
START_MS: Final = 1_700_000_000_000
SECOND: Final = 1_000
EVENTS: Final = 300_000
SIZES: Final = (200, 1250, 5000)
RATE: Final = 3_000
"""Events a second of event time, of this one shard: a checkpoint is made after each second of it."""


class Record:
    """As slim as the record of the fetcher."""

    __slots__ = ("headers", "key", "offset", "timestamp", "value")

    def __init__(self, offset: int, timestamp: int, key: bytes, value: bytes) -> None:
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers: tuple[tuple[str, bytes], ...] = ()


Batch = tuple[Kind, Records]
T = TypeVar("T")


@dataclass
class Seconds:
    """CPU seconds by step."""

    events: int = 0
    steps: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def us(self, *names: str) -> float:
        return sum(self.steps[name] for name in names) / self.events * 1e6


def show(options: Options) -> bool:
    events = min(EVENTS, options.events or EVENTS)
    say(
        f"the pure core, {events:,} events at {RATE:,}/s of event time, us of CPU an event (best of {options.repeats}):"
    )
    with alone():
        for sessions in SIZES:
            spent = measure(events, sessions, options.repeats)
            ingest = spent.us("decode", "judge and count")
            steps = ", ".join(f"{name} {spent.us(name):.2f}" for name in spent.steps)
            say(f"  {sessions:5} sessions: {ingest:.2f} to ingest ({steps})")
    return True


def measure(events: int, sessions: int, repeats: int) -> Seconds:
    """The best of so many runs over the same events."""
    maker = Maker(events, sessions, START_MS, events * SECOND // RATE)
    seconds = _second_by_second(maker)
    runs = [_run(seconds, maker) for _ in range(repeats)]
    return min(runs, key=lambda run: run.us(*run.steps))


def _second_by_second(maker: Maker) -> list[list[Batch]]:
    """The batches of each second of event time, topic by topic."""
    made = iter(maker)
    offsets = dict.fromkeys(KINDS, 0)
    found: list[list[Batch]] = []
    while chunk := list(islice(made, RATE)):
        records: dict[Kind, list[Record]] = {kind: [] for kind in KINDS}
        for name, key, value, _ in chunk:
            kind = Kind(name)
            records[kind].append(Record(offsets[kind], START_MS + len(found) * SECOND, key or b"", value or b""))
            offsets[kind] += 1
        found.append(
            [
                (kind, Records(batch[at : at + BATCH], batch[at].timestamp))
                for kind, batch in records.items()
                for at in range(0, len(batch), BATCH)
            ]
        )
    return found


def _run(seconds: list[list[Batch]], maker: Maker) -> Seconds:
    shard = Shard(Policy())
    spent = Seconds(sum(maker.expected.records.values()))
    offset = counted = 0
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 50)
    for second in seconds:
        for kind, records in second:
            decoded = _timed(spent, "decode", decode_batch, kind, records, MAX_VALUE)
            _timed(spent, "judge and count", shard.count, kind, records, decoded)
        _timed(spent, "close", _close, shard)
        outputs = _timed(spent, "checkpoint", shard.collect)
        if outputs is not None:
            shard.committed(outputs.checkpoint, offset)
            offset += len(outputs.state) + 1
            counted += sum(number for (_, outcome), number in outputs.tally.outcomes.items() if outcome == "counted")
    gc.unfreeze()
    expected = spent.events - maker.expected.repeats
    if counted != expected:
        raise AssertionError(f"{counted} events were counted instead of {expected}")
    return spent


def _close(shard: Shard) -> None:
    while shard.work(16):
        pass


def _timed(spent: Seconds, name: str, do: Callable[..., T], *arguments: object) -> T:
    began = time.thread_time()
    result = do(*arguments)
    spent.steps[name] += time.thread_time() - began
    return result
