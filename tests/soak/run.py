"""Steady traffic, workers that are killed in turn, and at the end every number held against what was sent."""

import asyncio
import time
import uuid
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Final

from stream.sandbox.broker import EmbeddedKafka
from tests.bench import processes
from tests.bench.flow import Flow
from tests.bench.pipe import Pipe
from tests.bench.verdict import Verdict
from tests.bench.visible import Group, Visible, percentiles
from tests.chaos.faults import Slot
from tests.live import Worker, create_topics
from tests.soak.plan import MINUTE, Outcome, Plan, Sample

PARTITIONS: Final = 4
AGO_MS: Final = 400_000
"""Event time lies so far back that silence can close the last window as soon as the traffic ends."""
FAULTS: Final = ("kill", "term", "stop")
LOOK_EVERY: Final = 0.1
"""Seconds between two looks at what is committed: a latency is too long by as much, at most."""
FOLD_EVERY: Final = 5.0
SAMPLE_EVERY: Final = 2.0
PATIENCE: Final = 120.0


def soak(kafka: EmbeddedKafka, plan: Plan, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Logs of the workers are left in ``folder``."""
    prefix = f"soak-{uuid.uuid4().hex[:10]}."
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    slots = [Slot(number, kafka.bootstrap, prefix, plan.profile, folder) for number in range(plan.workers)]
    try:
        return asyncio.run(_soak(kafka.bootstrap, prefix, plan, slots, say))
    finally:
        for slot in slots:
            slot.kill()


async def _soak(brokers: str, prefix: str, plan: Plan, slots: list[Slot], say: Callable[[str], None]) -> Outcome:
    return await _Soak(brokers, prefix, plan, slots, say).run()


class _Soak:
    def __init__(self, brokers: str, prefix: str, plan: Plan, slots: list[Slot], say: Callable[[str], None]) -> None:
        self._plan, self._slots, self._say = plan, slots, say
        self._outcome = Outcome()
        self._visible = Visible()
        self._flow = Flow(plan.sessions, int(time.time() * 1000) - AGO_MS, seed=plan.seed)
        self._pipe = Pipe(brokers, prefix, PARTITIONS, self._flow, self._visible.appended)
        self._group = Group(brokers, prefix.rstrip("."))
        self._verdict = Verdict(brokers, prefix, PARTITIONS, self._flow)
        self._shadows: list[tuple[float, float]] = []
        """Wall clock in ms, from..to, in which a fault may show."""
        self._began = time.monotonic()

    async def run(self) -> Outcome:
        async with self._pipe, self._group, self._verdict:
            self._began = time.monotonic()
            stop = asyncio.Event()
            pacing = asyncio.ensure_future(self._pipe.pace(self._plan.rate, stop))
            folding = asyncio.ensure_future(self._fold())
            watching = [asyncio.ensure_future(each) for each in (self._look(), self._sample())]
            try:
                await self._trouble()
                await _end([folding])
                stop.set()
                await pacing
                await self._settle()
            finally:
                await _end([*watching, folding, pacing])
        self._tell()
        return self._outcome

    # -- while it runs

    async def _trouble(self) -> None:
        """A fault each so often, until the time is over."""
        faults, victims = cycle(FAULTS), cycle(self._slots[1:] or self._slots)
        end = self._began + self._plan.seconds
        due = self._began
        while (due := due + self._plan.every) + self._plan.asleep < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._report()
            began = time.time() * 1000
            slot = next(victims)
            await slot.ensure()
            await slot.hit(next(faults))
            self._shadows.append((began, (time.time() + self._plan.after) * 1000))
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        for slot in self._slots:
            await slot.ensure()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._visible.committed(await self._group.positions(), {}, time.time())

    async def _fold(self) -> None:
        while True:
            await asyncio.sleep(FOLD_EVERY)
            await self._verdict.look()

    async def _sample(self) -> None:
        while True:
            sizes = [processes.rss_mb(slot.worker.pid) for slot in self._slots]
            shards = _held(self._slots[0].worker)
            self._outcome.memory.append(Sample(time.monotonic() - self._began, sizes[0], sum(sizes), shards))
            await asyncio.sleep(SAMPLE_EVERY)

    def _report(self) -> None:
        recent = (time.time() - max(MINUTE, self._plan.every)) * 1000
        p50, p99 = percentiles((each for each in self._visible.found if each[0] > recent), 0.5, 0.99)
        last = self._outcome.memory[-1]
        gone = time.monotonic() - self._began
        self._say(
            f"  {gone / MINUTE:5.1f} min: {self._pipe.sent:,} sent, p50 {p50:.2f} s, p99 {p99:.2f} s lately, "
            f"memory {last.spared:.0f} MB with {last.shards} shards, of all workers {last.every:.0f} MB"
        )

    # -- the end

    async def _settle(self) -> None:
        """Until the outputs are what they must be; and they stay so when the workers have left."""
        began = time.monotonic()
        await self._group.reach(self._pipe.ends, PATIENCE)
        await self._verdict.settle(PATIENCE)
        self._outcome.settled = time.monotonic() - began
        await asyncio.gather(*(slot.end() for slot in self._slots))
        self._outcome.differences = await self._verdict.settle(0)

    def _tell(self) -> None:
        outcome, verdict = self._outcome, self._verdict
        outcome.sent, outcome.late_by = self._pipe.sent, self._pipe.behind
        for slot in self._slots:
            outcome.faults += slot.faults
            outcome.exits += slot.exits
        found = self._visible.found
        outcome.every = percentiles(found, 0.5, 0.99, 1.0)
        outcome.calm = percentiles((each for each in found if self._is_calm(each[0])), 0.5, 0.99)
        outcome.windows, outcome.sessions = len(verdict.windows), len(verdict.sessions)
        outcome.letters = verdict.letters.total()

    def _is_calm(self, at_ms: float) -> bool:
        """Appended neither before the workers ran well, nor near a fault."""
        first = self._visible.found[0][0] + self._plan.after * 1000
        return at_ms > first and not any(begin - 2000 <= at_ms <= end for begin, end in self._shadows)


async def _end(tasks: list[asyncio.Future[None]]) -> None:
    """Raises what one of them has failed with meanwhile."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def _held(worker: Worker) -> int:
    """Shards it has, as it says in its log."""
    assigned = [line["partitions"] for line in worker.lines() if line.get("event") == "assigned"]
    return len(assigned[-1]) if assigned else 0
