"""CPU of a replay, start and end included: a range of topics counted again by one process (``liveshop replay run``)."""

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import Final

import uvloop

from stream.config import Settings
from stream.kafka import gc_tuning
from stream.replay import planning, running
from stream.sandbox.broker import EmbeddedKafka
from tests.bench.events import Maker
from tests.bench.report import EVENTS, Options, alone, say
from tests.bench.worker import PARTITIONS, SPAN_MS, preload
from tests.live import create_topics

GOAL: Final = 300_000
"""Events a second and core."""


@dataclass
class Measured:
    """Seconds of CPU of the process and of wall clock, from the plan to the last checkpoint."""

    records: int
    cpu: float
    wall: float
    windows: int
    sent: int

    @property
    def rate(self) -> float:
        return self.records / self.cpu


def show(options: Options) -> bool:
    with alone(), EmbeddedKafka(say) as kafka:
        runs = [measure(kafka, options.events or EVENTS, options.sessions) for _ in range(options.repeats)]
    runs.sort(key=lambda run: run.rate)
    found = runs[len(runs) // 2]
    say(
        f"a replay of {found.records:,} events of {options.sessions} sessions, start and end included: "
        f"{found.rate:,.0f} events/s a core (goal {GOAL:,}: {'met' if found.rate >= GOAL else 'MISSED'}; median of "
        f"{len(runs)}), {found.wall:.1f} s, "
        f"{found.windows:,} windows"
    )
    right = all(run.records == run.sent for run in runs)
    say("  every record was read once" if right else f"  WRONG: {[(run.records, run.sent) for run in runs]}")
    return right


def measure(kafka: EmbeddedKafka, events: int, sessions: int) -> Measured:
    prefix = f"bench-{uuid.uuid4().hex[:10]}."
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    start = (int(time.time() * 1000) - SPAN_MS) // 60_000 * 60_000
    maker = Maker(events, sessions, start, SPAN_MS)
    asyncio.run(preload(kafka.bootstrap, prefix, maker))
    settings = Settings(brokers=kafka.bootstrap, topic_prefix=prefix)
    gc_tuning.configure()  # as the command does
    found: Measured = uvloop.run(_measure(settings, start))
    return found


async def _measure(settings: Settings, start: int) -> Measured:
    now = int(time.time() * 1000)
    asked = planning.Asked(from_ms=start, to_ms=start + SPAN_MS // 60_000 * 60_000, now_ms=now, id="bench")
    plan = (await planning.make(settings, asked)).plan
    cpu, wall = time.process_time(), time.monotonic()
    await running.prepare(plan, settings)
    numbers = range(plan.partitions)
    counts = await running.run(plan, settings, numbers, stop=asyncio.Event(), tell=lambda _, __: None)
    sent = sum(sum(part.ends.values()) for part in plan.parts)
    return Measured(counts.records, time.process_time() - cpu, time.monotonic() - wall, counts.written["windows"], sent)
