"""A backlog after an outage: how long an hour of traffic takes to be counted."""

import asyncio
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.sandbox.broker import EmbeddedKafka
from tests.bench.flow import Flow
from tests.bench.pipe import Pipe, Place
from tests.bench.report import Options, against, alone, say
from tests.bench.verdict import Verdict
from tests.bench.visible import Group
from tests.live import PROJECT, Worker, create_topics, wait_for

PARTITIONS: Final = 4
SESSIONS: Final = 500
MINUTES: Final = 6
GOAL: Final = 120.0
"""Seconds for an hour's worth."""
PATIENCE: Final = 300.0
SETTLE_MS: Final = 400_000
"""So far the backlog lies in the past, that the last window of it may be closed at once."""


@dataclass
class Measured:
    """Seconds from the assignment, and from the start of the process, until everything was counted and committed."""

    records: int = 0
    read: float = 0.0
    started: float = 0.0
    faults: list[str] = field(default_factory=list)


def show(options: Options) -> bool:
    say(
        f"catching up: {MINUTES} min of traffic at {options.rate:,}/s, {SESSIONS} sessions, {PARTITIONS} partitions; "
        "seconds until all is counted and committed:"
    )
    with alone(), EmbeddedKafka(say) as kafka:
        found = measure(kafka, SESSIONS, options.rate, MINUTES * 60.0, _ways())
    for processes, each in found.items():
        hour = 60 / MINUTES * each.read
        say(
            f"  {processes} process{'es' if processes > 1 else ''}: {each.read:.1f} s for {each.records:,} records "
            f"({each.records / each.read:,.0f}/s; {each.started:.1f} s with the start): "
            f"{against(hour, GOAL, 's', '.0f')} for an hour's worth"
        )
        for fault in each.faults:
            say(f"  WRONG: {fault}")
    return not any(each.faults for each in found.values())


def _ways() -> list[int]:
    """Numbers of processes that the command line can start."""
    shown = subprocess.run(
        [sys.executable, "-m", "stream.cli", "worker", "--help"],
        capture_output=True,
        check=True,
        cwd=PROJECT,
        env={"COLUMNS": "200"},
    )
    return [1, 2] if b"--processes" in shown.stdout else [1]


def measure(kafka: EmbeddedKafka, sessions: int, rate: int, seconds: float, ways: list[int]) -> dict[int, Measured]:
    """By number of processes: each a backlog of its own, since outputs belong to one group."""
    found = {}
    for processes in ways:
        prefix = f"bench-{uuid.uuid4().hex[:10]}."
        create_topics(kafka.bootstrap, prefix, PARTITIONS)
        flow = Flow(sessions, int((time.time() - seconds) * 1000) - SETTLE_MS)
        with tempfile.TemporaryDirectory(prefix="liveshop-bench-") as folder:
            found[processes] = asyncio.run(
                _measure(kafka.bootstrap, prefix, flow, (seconds, rate, processes), Path(folder) / "worker.log")
            )
    return found


async def _measure(brokers: str, prefix: str, flow: Flow, how: tuple[float, int, int], log: Path) -> Measured:
    seconds, rate, processes = how
    async with Pipe(brokers, prefix, PARTITIONS, flow) as pipe:
        await pipe.fill(seconds, rate)
    flags = {"processes": str(processes)} if processes > 1 else {}
    began = time.monotonic()
    with Worker(brokers, prefix, log, idle_after="2s", **flags) as worker:
        found = Measured(pipe.sent)
        async with Group(brokers, prefix.rstrip(".")) as group:
            found.read = await _read(group, worker, pipe.ends)
        found.started = time.monotonic() - began
        async with Verdict(brokers, prefix, PARTITIONS, flow) as verdict:
            found.faults = await verdict.settle(90)
        await asyncio.to_thread(worker.stop)
    return found


async def _read(group: Group, worker: Worker, ends: dict[Place, int]) -> float:
    """Seconds from the assignment until all is committed."""

    def assigned() -> bool:
        assert worker.child.code is None, f"the worker ended with {worker.child.code}:\n{worker.child.tail()}"
        return b"assigned" in worker.log.read_bytes()

    await asyncio.to_thread(wait_for, "the worker is assigned its shards", assigned, 60, 0.01)
    began = time.monotonic()
    await group.reach(ends, PATIENCE)
    return time.monotonic() - began
