"""What a worker is like that holds many sessions: memory, stalls of its loop, and its restart after a kill.

A backlog of 11 minutes of event time fills it with every pane that it will ever hold at once (5 min of the longest window
+ 5 min of lateness + 10 s of delay); paced traffic follows on.
"""

import asyncio
import json
import signal
import tempfile
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from stream.sandbox.broker import EmbeddedKafka
from tests.bench import processes
from tests.bench.flow import Flow
from tests.bench.latency import outcomes_at_last, watch
from tests.bench.pipe import Pipe
from tests.bench.report import Options, against, alone, say
from tests.bench.visible import Group, Visible, percentiles, stamps
from tests.live import Worker, create_topics, eventually, wait_for

PARTITIONS: Final = 4
SIZES: Final = (5_000, 50_000)
BACKLOG: Final = 660.0
SETTLE: Final = 10.0
LASTS: Final = 65.0
"""One boundary of a minute is in it, where windows are closed."""
MEMORY_MB: Final = {5_000: 600.0, 50_000: 2000.0}
RESTART: Final = {5_000: 3.0, 50_000: 8.0}
STALL_MS: Final = 50.0
PATIENCE: Final = 900.0
"""Seconds after the backlog was written: with 50,000 sessions an event costs five times as much CPU."""
NAMED: Final = 4
TROUBLES: Final = ("liveshop_rebalances_total", "liveshop_transaction_failures_total")


@dataclass(frozen=True)
class Plan:
    """Seconds; events a second."""

    sessions: int
    rate: int = 12_000
    backlog: float = BACKLOG
    settle: float = SETTLE
    lasts: float = LASTS
    fault: signal.Signals = signal.SIGKILL


@dataclass
class Measured:
    """Memory in MB, times in seconds."""

    backlog: int = 0
    filled_in: float = 0.0
    """Seconds until the backlog was written, and counted."""
    peak_filling: float = 0.0
    steady: float = 0.0
    peak: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    stalls: dict[str, Any] = field(default_factory=dict)
    troubles: float = 0.0
    """Rebalances and failed transactions: a worker that gets too little CPU is given up by its group and the broker."""
    state_mb: float = 0.0
    first: float = 0.0
    """From the log line `assigned` of the new process to the first checkpoint of any shard."""
    all: float = 0.0
    """The same for the last shard's first."""
    faults: list[str] = field(default_factory=list)


def show(options: Options) -> bool:
    good = [_show(Plan(sessions, options.rate)) for sessions in SIZES]
    return all(good)


def _show(plan: Plan) -> bool:
    say(
        f"one process that holds {plan.sessions:,} sessions at {plan.rate:,} events/s: a backlog of {plan.backlog / 60:.0f} "
        f"min of event time, then {plan.settle + plan.lasts:.0f} s of paced traffic, then a kill:"
    )
    with alone(), EmbeddedKafka(say) as kafka:
        found = measure(kafka, plan)
    _show_memory(found, plan)
    _show_stalls(found.stalls)
    say(f"  latency meanwhile: p50 {found.p50:.2f} s, p99 {found.p99:.2f} s")
    if found.troubles:
        say(f"  NOTE: {found.troubles:.0f} rebalances and failed transactions meanwhile: it had too little CPU")
    say(f"  restart after SIGKILL, from the assignment to the first checkpoint: {_restart(found, plan)}")
    for fault in found.faults:
        say(f"  WRONG: {fault}")
    return not found.faults


def _show_memory(found: Measured, plan: Plan) -> None:
    steady = against(found.steady, MEMORY_MB[plan.sessions], "MB", ".0f")
    say(
        f"  memory (RSS) under paced traffic {steady}, at most {found.peak:.0f} MB; "
        f"{found.peak_filling:.0f} MB at most while the backlog was read; {found.state_mb:.0f} MB in live.state"
    )
    say(f"  the backlog of {found.backlog:,} events was written and read in {found.filled_in:.0f} s")


def _restart(found: Measured, plan: Plan) -> str:
    goal = RESTART[plan.sessions]
    return f"{against(found.all, goal, 's')} for the last shard, {found.first:.2f} s for the first"


def _show_stalls(stalls: dict[str, Any]) -> None:
    computed, late = (sorted(1000 * each for each in stalls[name]) for name in ("computed", "late"))
    say(
        f"  longest stall of the loop, CPU of its thread {against(computed[-1], STALL_MS, 'ms', '.0f')}; by wall clock "
        f"{late[-1]:.0f} ms, 99 of 100 timers are less than {late[len(late) * 99 // 100]:.0f} ms late"
    )
    for cpu, wall, doing in stalls["longest"][:NAMED]:
        say(f"    {1000 * cpu:4.0f} ms of CPU, {1000 * wall:4.0f} ms by the clock: {'; '.join(doing[:NAMED])}")


def measure(kafka: EmbeddedKafka, plan: Plan) -> Measured:
    prefix = f"bench-{uuid.uuid4().hex[:10]}."
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    with tempfile.TemporaryDirectory(prefix="liveshop-bench-") as folder:
        return asyncio.run(_Holding(kafka.bootstrap, prefix, Path(folder), plan).measure())


class _Holding:
    def __init__(self, brokers: str, prefix: str, folder: Path, plan: Plan) -> None:
        self._brokers, self._prefix, self._folder, self._plan = brokers, prefix, folder, plan
        self._flow = Flow(plan.sessions, int((time.time() - plan.backlog) * 1000))
        self._visible = Visible()
        self._found = Measured()

    async def measure(self) -> Measured:
        visible, group = self._visible, Group(self._brokers, self._prefix.rstrip("."))
        pipe = Pipe(self._brokers, self._prefix, PARTITIONS, self._flow, visible.appended)
        async with pipe, group:
            out = self._folder / "stalls.json"
            with self._worker("first", ("tests.bench.stalls", str(out))) as worker:
                await self._fill(worker, pipe, group)
                stop = asyncio.Event()
                pacing = asyncio.ensure_future(pipe.pace(self._plan.rate, stop))
                await self._hold(worker, group, out)
                worker.child.send(self._plan.fault)
                await asyncio.to_thread(worker.child.wait, 20)
            await self._restart()
            stop.set()
            await pacing
        return self._found

    def _worker(self, name: str, program: tuple[str, ...] = ("stream.cli",)) -> Worker:
        return Worker(self._brokers, self._prefix, self._folder / f"{name}.log", program=program)

    async def _fill(self, worker: Worker, pipe: Pipe, group: Group) -> None:
        """The worker reads while the backlog is written: that is quicker than one after the other."""
        found = self._found
        began = time.monotonic()
        await pipe.fill(self._plan.backlog, self._plan.rate)
        await group.reach(pipe.ends, PATIENCE)
        found.filled_in, found.backlog = time.monotonic() - began, pipe.sent
        found.peak_filling = processes.peak_mb(worker.pid)

        found.faults = await outcomes_at_last(worker, self._flow)

    async def _hold(self, worker: Worker, group: Group, out: Path) -> None:
        plan, found = self._plan, self._found
        await watch(self._visible, group, worker, plan.settle)
        worker.child.send(signal.SIGUSR1)
        began = time.time() * 1000
        sampling = asyncio.ensure_future(_sample(worker.pid, plan.lasts))
        await watch(self._visible, group, worker, plan.lasts)
        worker.child.send(signal.SIGUSR2)
        sizes = await sampling
        found.steady, found.peak = median(sizes), max(sizes)
        found.p50, found.p99 = percentiles((each for each in self._visible.found if each[0] >= began), 0.5, 0.99)
        shown = await asyncio.to_thread(worker.metrics)
        found.troubles = sum(value for name, value in shown.items() if name.startswith(TROUBLES))
        found.state_mb = sum(value for name, value in shown.items() if "_state_bytes" in name) / processes.MB

        found.stalls = await asyncio.to_thread(_written, out)

    async def _restart(self) -> None:
        with self._worker("second") as worker:
            first: dict[int, float] = {}

            async def look() -> bool:
                shown = stamps(await asyncio.to_thread(worker.metrics))
                for partition, at in shown.items():
                    first.setdefault(partition, at)
                return len(first) == PARTITIONS

            await eventually("every shard has made a checkpoint", look, every=0.1)
            assigned = _assigned(worker.lines())
            self._found.first, self._found.all = min(first.values()) - assigned, max(first.values()) - assigned
            worker.stop()


def _written(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        wait_for("the stalls are written", lambda: out.read_text() if out.exists() else None)
    )
    return found


async def _sample(pid: int, seconds: float) -> list[float]:
    end = time.monotonic() + seconds
    sizes = [processes.rss_mb(pid)]
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        sizes.append(processes.rss_mb(pid))
    return sizes


def _assigned(lines: Iterable[dict[str, Any]]) -> float:
    """When all partitions were: seconds since 1970."""
    (time_text,) = [
        line["time"] for line in lines if line["event"] == "assigned" and len(line["partitions"]) == PARTITIONS
    ]
    return datetime.fromisoformat(time_text).timestamp()
