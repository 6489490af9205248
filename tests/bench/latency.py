"""How long an event takes from the broker's append until a checkpoint shows it, under steady traffic."""

import asyncio
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.sandbox.broker import EmbeddedKafka
from tests.bench.flow import Flow
from tests.bench.pipe import Pipe
from tests.bench.report import Options, against, alone, say
from tests.bench.visible import LOOK_EVERY, Group, Visible, percentiles, stamps
from tests.live import Worker, create_topics

PARTITIONS: Final = 4
SESSIONS: Final = 5_000
WARM_UP: Final = 20.0
LASTS: Final = 60.0
GOALS: Final = (0.7, 1.5)
PATIENCE: Final = 60.0
FOLLOWS: Final = 10.0
"""Seconds for /metrics to follow the last checkpoint."""


@dataclass
class Measured:
    """Seconds, of the records that were appended after the warm-up."""

    records: int = 0
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    behind: float = 0.0
    faults: list[str] = field(default_factory=list)


def show(options: Options) -> bool:
    say(
        f"latency, {options.rate:,} events/s for {LASTS:.0f} s (after {WARM_UP:.0f} s), {SESSIONS:,} sessions, "
        f"{PARTITIONS} partitions, checkpoints each second; from the broker's append to the checkpoint that shows it:"
    )
    with alone(), EmbeddedKafka(say) as kafka:
        found = measure(kafka, SESSIONS, options.rate, WARM_UP, LASTS)
    say(f"  p50 {against(found.p50, GOALS[0], 's')}")
    say(f"  p99 {against(found.p99, GOALS[1], 's')}; worst {found.worst:.2f} s, of {found.records:,} records")
    if found.behind > 0.5:
        say(f"  NOTE: the sender was up to {found.behind:.1f} s late itself")
    for fault in found.faults:
        say(f"  WRONG: {fault}")
    return not found.faults


def measure(kafka: EmbeddedKafka, sessions: int, rate: int, warm_up: float, lasts: float) -> Measured:
    prefix = f"bench-{uuid.uuid4().hex[:10]}."
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    with (
        tempfile.TemporaryDirectory(prefix="liveshop-bench-") as folder,
        Worker(kafka.bootstrap, prefix, Path(folder) / "worker.log") as worker,
    ):
        worker.await_ready()
        found = asyncio.run(_measure(kafka.bootstrap, prefix, worker, (sessions, rate, warm_up, lasts)))
        worker.stop()
    return found


async def _measure(brokers: str, prefix: str, worker: Worker, how: tuple[int, int, float, float]) -> Measured:
    sessions, rate, warm_up, lasts = how
    visible, stop = Visible(), asyncio.Event()
    flow = Flow(sessions, int(time.time() * 1000))
    measured = Measured()
    async with (
        Pipe(brokers, prefix, PARTITIONS, flow, visible.appended) as pipe,
        Group(brokers, prefix.rstrip(".")) as group,
    ):
        pacing = asyncio.ensure_future(pipe.pace(rate, stop))
        await watch(visible, group, worker, warm_up)
        first, pipe.behind = time.time() * 1000, 0.0
        await watch(visible, group, worker, lasts)
        last = time.time() * 1000
        stop.set()
        await pacing
        await see_all(visible, group, worker, pipe)
        measured.behind = pipe.behind
    found = [each for each in visible.found if first <= each[0] < last]
    measured.records = sum(number for _, _, number in found)
    measured.p50, measured.p99, measured.worst = percentiles(found, 0.5, 0.99, 1.0)
    measured.faults = await outcomes_at_last(worker, flow)
    return measured


async def watch(visible: Visible, group: Group, worker: Worker, seconds: float) -> None:
    """Looks for so long at what is committed, and at least once."""
    end = time.monotonic() + seconds
    while True:
        positions = await group.positions()
        shown = stamps(await asyncio.to_thread(worker.metrics))
        visible.committed(positions, shown, time.time())
        await asyncio.sleep(LOOK_EVERY)
        if time.monotonic() > end:
            return


async def see_all(visible: Visible, group: Group, worker: Worker, pipe: Pipe) -> None:
    """Looks until all that was sent is committed."""
    deadline = time.monotonic() + PATIENCE
    while await group.left(pipe.ends):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for the last records to be counted"
        await watch(visible, group, worker, 0.0)
    await watch(visible, group, worker, 0.0)


async def outcomes_at_last(worker: Worker, flow: Flow) -> list[str]:
    """`wrong_outcomes` once /metrics, which is made once a second, has followed the last checkpoint."""
    deadline = time.monotonic() + FOLLOWS
    while True:
        faults = wrong_outcomes(await asyncio.to_thread(worker.metrics), flow)
        if not faults or time.monotonic() > deadline:
            return faults
        await asyncio.sleep(LOOK_EVERY)


def wrong_outcomes(metrics: dict[str, float], flow: Flow) -> list[str]:
    """What /metrics counted, against what was made. Of a worker that has read everything from the beginning."""
    found = {
        name: sum(
            value
            for series, value in metrics.items()
            if series.startswith("liveshop_events_total") and f'outcome="{name}"' in series
        )
        for name in ("counted", "duplicate", "late", "rejected", "not_an_order", "tombstone")
    }
    return [
        f"{number:,.0f} records are {name} in /metrics, {flow.outcomes[name]:,} should be"
        for name, number in found.items()
        if number != flow.outcomes[name]
    ]
