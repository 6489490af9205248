"""CPU of what a shard does beside counting: windows closed and corrected, totals, checkpoints; and its longest calls.

One shard, pure, through its public calls, with the collector of garbage as the worker sets it. Times are of this thread
alone, so that a busy machine makes none of them longer.
"""

import gc
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import mean
from typing import Final, TypeVar

from stream.core.cooperative import Steps
from stream.core.decode import decode_batch
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.model.names import KINDS, Closed, Kind
from stream.model.results import Outputs
from tests.bench.core import BATCH, MAX_VALUE, Record
from tests.bench.flow import MINUTE, Flow, Made
from tests.bench.report import Options, against, alone, say

SIZES: Final = (500, 5_000, 50_000)
SHARDS: Final = 4
"""All sessions are spread over so many: one is measured."""
RATE: Final = 3_000
"""Events a second of one shard of four, when all get 12,000."""
SECONDS: Final = 330
"""Of event time: at the last boundary of a minute a 5m window has all of its panes."""
START_MS: Final = 1_700_000_040_000
CLOSE_AT_ONCE: Final = 4
"""Steps between two looks at the clock, as the worker has them."""
STALL_MS: Final = 50.0
LATE_EVENTS: Final = 500
LATE_MS: Final = 90_000
STEADY: Final = 60
"""Last checkpoints that are averaged."""

T = TypeVar("T")


@dataclass
class Measured:
    """CPU in us, by what was done once."""

    windows: dict[str, float] = field(default_factory=dict)
    """A closed window of each kind."""
    corrected: float = 0.0
    total: float = 0.0
    checkpoint: float = 0.0
    state_kb: float = 0.0
    """What a checkpoint adds to live.state."""
    longest: dict[str, float] = field(default_factory=dict)
    """Longest single call of each kind."""


def show(_: Options) -> bool:
    say(
        f"one of {SHARDS} shards, {RATE:,} events/s of event time for {SECONDS} s, by sessions of all; CPU of the pure core:"
    )
    with alone():
        for sessions in SIZES:
            _show(sessions, measure(sessions // SHARDS))
    return True


def _show(sessions: int, found: Measured) -> None:
    windows = ", ".join(f"{name} {us:.0f} us" for name, us in found.windows.items())
    say(
        f"  {sessions:6,}: a closed window of {windows}; a corrected one {found.corrected:.0f} us and a total "
        f"{found.total:.0f} us (state included)"
    )
    say(
        f"          a checkpoint {found.checkpoint / 1000:.1f} ms ({found.state_kb:.0f} KB of state, "
        f"{found.checkpoint / RATE:.2f} us an event)"
    )
    worst = max(found.longest.values()) / 1000
    calls = ", ".join(f"{name} {us / 1000:.0f}" for name, us in found.longest.items())
    say(f"          longest call {against(worst, STALL_MS, 'ms', '.0f')}: {calls}")


def measure(sessions: int, rate: int = RATE, seconds: int = SECONDS) -> Measured:
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(1_000_000, 20, 50)
    try:
        return _Run(sessions, rate).measure(seconds)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class _Run:
    def __init__(self, sessions: int, rate: int) -> None:
        self._flow = Flow(sessions, START_MS, odd=False)
        self._rate = rate
        self._shard = Shard(Policy())
        self._offsets = dict.fromkeys(KINDS, 0)
        self._state = 0
        self._longest: defaultdict[str, float] = defaultdict(float)
        self._by_window: defaultdict[str, float] = defaultdict(float)
        self._closed: Counter[str] = Counter()

    def measure(self, seconds: int) -> Measured:
        checkpoints = [self._second(boundary=at > seconds - MINUTE // 1000 - 1) for at in range(seconds)]
        steady = checkpoints[-STEADY:]
        found = Measured(checkpoint=mean(us for us, _ in steady), state_kb=mean(size for _, size in steady) / 1000)
        found.longest = dict(self._longest)
        found.windows = {name: self._by_window[name] / number for name, number in sorted(self._closed.items())}
        found.corrected = self._correct()
        found.total = self._write_totals()
        return found

    def _second(self, *, boundary: bool) -> tuple[float, int]:
        """One second of event time and its checkpoint: us, and bytes of state."""
        made = self._flow.make(self._rate, 1000)
        for kind in KINDS:
            self._count(kind, [each for each in made if each.kind is kind])
        steps = self._close_one_by_one() if boundary else self._close()
        us, outputs = self._collect()
        assert outputs is not None
        for step, (key, _) in zip(steps, outputs.windows, strict=False):  # corrections follow, made by collect
            name = key.split(b"/")[1].decode()
            self._by_window[name] += step
            self._closed[name] += 1
        self._commit(outputs)
        return us, sum(len(value) for _, value in outputs.state)

    def _count(self, kind: Kind, made: list[Made]) -> None:
        keys, first = self._flow.keys, self._offsets[kind]
        self._offsets[kind] += len(made)
        records = [Record(first + at, self._flow.clock, keys[each.session], each.value) for at, each in enumerate(made)]
        for at in range(0, len(records), BATCH):
            batch = records[at : at + BATCH]
            decoded = decode_batch(kind, batch, MAX_VALUE)
            self._timed("count", lambda batch=batch, decoded=decoded: self._shard.count(kind, batch, decoded))  # type: ignore[misc]

    def _close(self) -> list[float]:
        while self._timed(f"work({CLOSE_AT_ONCE})", lambda: self._shard.work(CLOSE_AT_ONCE))[1]:
            pass
        return []

    def _close_one_by_one(self) -> list[float]:
        """CPU of each step that wrote a window, in their order."""
        steps: list[float] = []
        more = True
        while more:
            before = self._shard.waiting_bytes
            us, more = self._timed("work(1)", lambda: self._shard.work(1))
            if self._shard.waiting_bytes > before:
                steps.append(us)
        return steps

    def _correct(self) -> float:
        """Late events alone: a checkpoint of nothing but the windows that they correct."""
        late = Flow(len(self._flow.keys), self._flow.clock - LATE_MS, seed=1, odd=False).make(LATE_EVENTS, 1000)
        fresh = [each._replace(value=each.value.replace(b'"event_id":"', b'"event_id":"late')) for each in late]
        self._commit(self._collect()[1])
        for kind in KINDS:
            self._count(kind, [each for each in fresh if each.kind is kind])
        self._close()
        us, outputs = self._collect()
        assert outputs is not None
        self._commit(outputs)
        return us / max(1, sum(n for (_, why), n in outputs.tally.windows.items() if why is Closed.CORRECTION))

    def _write_totals(self) -> float:
        """A quiet shard writes all totals that have changed, however short they have waited."""
        self._shard.quiet(START_MS - MINUTE)  # before every window: none is closed by it
        self._close()
        spent, written = 0.0, 0
        while True:
            us, outputs = self._collect()
            if outputs is None or not outputs.sessions:
                return spent / max(1, written)
            spent, written = spent + us, written + len(outputs.sessions)
            self._commit(outputs)

    def _commit(self, outputs: Outputs | None) -> None:
        if outputs is not None:
            self._shard.committed(outputs.checkpoint, self._state)
            self._state += len(outputs.state) + 1

    def _collect(self) -> tuple[float, Outputs | None]:
        """us of CPU of a whole checkpoint, and what it writes. Noted is its longest step: others go on in between."""
        steps, total = self._shard.collecting(), 0.0
        while True:
            us, done = self._timed("a step of collecting", lambda: _step(steps))
            total += us
            if done is not None:
                return total, done[0]

    def _timed(self, name: str, do: Callable[[], T]) -> tuple[float, T]:
        """us of CPU, and the result."""
        began = time.thread_time()
        result = do()
        us = (time.thread_time() - began) * 1e6
        self._longest[name] = max(self._longest[name], us)
        return us, result


def _step(steps: Steps[Outputs | None]) -> tuple[Outputs | None] | None:
    try:
        next(steps)
    except StopIteration as end:
        return (end.value,)
    return None
