"""Bytes: what one minute of steady traffic takes in each topic, and what of it is state. For `liveshop capacity`.

Traffic is paced, as a checkpoint each second writes more than a few large ones: two minutes of it, of which the second is
measured, so that a minute is closed for every session in it.
"""

import asyncio
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.model.names import DEAD_LETTERS, INPUTS, SESSION_WINDOWS, SESSIONS, STATE
from stream.operate.capacity import EVENT_CPU
from stream.sandbox.broker import EmbeddedKafka
from tests.bench import processes
from tests.bench.flow import Flow
from tests.bench.pipe import Pipe
from tests.bench.report import Options, alone, say
from tests.live import Worker, create_topics

PARTITIONS: Final = 4
ON_AIR: Final = 1250
RATE: Final = 3000
"""So each session has 2.4 events a second, as 5,000 have at 12,000: bytes an event depend on it."""
INGEST: Final = EVENT_CPU.value
WARM: Final = 70.0
LASTS: Final = 60.0


@dataclass
class Measured:
    """Of ``seconds`` of traffic; sizes on the disk of one copy, compressed as liveshop and its simulator do."""

    seconds: float = 0.0
    events: int = 0
    grown: dict[str, int] = field(default_factory=dict)
    """Bytes by topic (without prefix)."""
    state_held: float = 0.0
    """Bytes of the state that a restart reads, before compression."""
    memory: float = 0.0
    """MB of the worker process, at its end."""
    cpu: float = 0.0
    """Seconds of the worker process."""
    letters: int = 0

    def an_event(self, *topics: str) -> float:
        return sum(self.grown[topic] for topic in topics) / max(1, self.events)

    def session_cpu(self, sessions: int) -> float:
        """us a session and second: a checkpoint writes nearly all sessions each second, however many events they had."""
        return 1e6 * (self.cpu - self.events * INGEST / 1e6) / self.seconds / sessions

    def a_session(self, *topics: str, sessions: int) -> float:
        """Bytes a session and minute."""
        return sum(self.grown[topic] for topic in topics) / sessions / (self.seconds / 60)


@dataclass(frozen=True)
class Pace:
    """Events a second; seconds before and while it is measured."""

    rate: int = RATE
    warm: float = WARM
    lasts: float = LASTS


@dataclass(frozen=True)
class _Now:
    sizes: dict[str, int]
    sent: int
    letters: int
    cpu: float


def show(_: Options) -> bool:
    say(f"bytes of {LASTS:.0f} s of paced traffic, {RATE:,} events/s of {ON_AIR:,} sessions, one copy on the disk:")
    with alone(), EmbeddedKafka(say) as kafka:
        found = measure(kafka, ON_AIR, Pace())
    _show(found, ON_AIR)
    return found.events > 0


def _show(found: Measured, sessions: int) -> None:
    inputs = [*INPUTS.values()]
    say(f"  inputs: {found.an_event(*inputs):.0f} B an event (lz4)")
    for name in (SESSION_WINDOWS, SESSIONS):
        say(f"  {name}: {found.a_session(name, sessions=sessions):,.0f} B a session and minute")
    say(f"  {STATE}: {found.an_event(STATE):.0f} B an event written; {found.state_held / found.events:.0f} B held")
    say(f"  {DEAD_LETTERS}: {found.grown[DEAD_LETTERS] / max(1, found.letters):,.0f} B a dead letter")
    say(
        f"  CPU of the worker: {found.cpu / found.seconds:.3f} cores, {1e6 * found.cpu / found.events:.1f} us an event; "
        f"without {INGEST:g} us for each (`PART=worker`) {found.session_cpu(sessions):.0f} us a session and second"
    )
    say(f"  memory of the worker by then: {found.memory:.0f} MB")


def measure(kafka: EmbeddedKafka, sessions: int, pace: Pace) -> Measured:
    prefix = f"bench-{uuid.uuid4().hex[:10]}."
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    with tempfile.TemporaryDirectory(prefix="liveshop-bench-") as folder:
        flow = Flow(sessions, int(time.time() * 1000))
        with Worker(kafka.bootstrap, prefix, Path(folder) / "worker.log") as worker:
            return asyncio.run(_measure(kafka, prefix, worker, flow, pace))


async def _measure(kafka: EmbeddedKafka, prefix: str, worker: Worker, flow: Flow, pace: Pace) -> Measured:
    found, stop = Measured(), asyncio.Event()
    async with Pipe(kafka.bootstrap, prefix, PARTITIONS, flow) as pipe:
        pacing = asyncio.ensure_future(pipe.pace(pace.rate, stop))
        await asyncio.sleep(pace.warm)
        before, began = _now(kafka, prefix, pipe, worker), time.monotonic()
        await asyncio.sleep(pace.lasts)
        after = _now(kafka, prefix, pipe, worker)
        found.seconds = time.monotonic() - began
        found.grown = {name: after.sizes[name] - before.sizes.get(name, 0) for name in after.sizes}
        found.events, found.letters = after.sent - before.sent, after.letters - before.letters
        found.cpu, found.memory = after.cpu - before.cpu, processes.rss_mb(worker.pid)
        shown = await asyncio.to_thread(worker.metrics)
        found.state_held = sum(value for name, value in shown.items() if "_state_bytes" in name)
        stop.set()
        await pacing
    await asyncio.to_thread(worker.stop)
    return found


def _now(kafka: EmbeddedKafka, prefix: str, pipe: Pipe, worker: Worker) -> _Now:
    outcomes = pipe.flow.outcomes
    letters = outcomes["late"] + outcomes["rejected"]
    return _Now(sizes(kafka, prefix), pipe.sent, letters, processes.cpu(worker.pid))


def sizes(kafka: EmbeddedKafka, prefix: str) -> dict[str, int]:
    """Bytes of the log by topic, without the prefix."""
    found: dict[str, int] = {}
    for log in (kafka.log.parent / "data").glob(f"{prefix}*/*.log"):
        topic = log.parent.name.removeprefix(prefix).rpartition("-")[0]
        found[topic] = found.get(topic, 0) + log.stat().st_size
    return found
