"""CPU of the whole worker process: a backlog on the embedded Kafka, everything on, from its first record to its last.

When the last is done, the group's offsets say: they move with the checkpoint that holds its results. (/metrics is made
once a second. What a worker does in that second, closing windows for one, was taken for a part of reading: up to a quarter
of the figure, now here and now there.) One run says little of a machine that others use: the median of several counts.
"""

import asyncio
import json
import signal
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.cli.version import core
from stream.model.names import INPUTS, KINDS
from stream.sandbox import sender
from stream.sandbox.broker import EmbeddedKafka
from tests.bench import processes
from tests.bench.events import Expected, Maker
from tests.bench.report import EVENTS, Options, alone, say
from tests.bench.visible import Group
from tests.live import Worker, create_topics, send, wait_for
from tests.outputs import Results, Written, newest

PARTITIONS: Final = 4
SPAN_MS: Final = 250_000
CHUNK: Final = 20_000
PATIENCE: Final = 300.0
LOOK_EVERY: Final = 0.03
"""Seconds between two looks at the group's offsets."""
CLOSING: Final = ("close", "checkpoint: collect", "checkpoint: write")
COMPARED: Final = ("views", "product_clicks", "likes", "watch_ms", "comments", "orders_paid", "checkouts_initiated")


@dataclass
class Measured:
    """Seconds of CPU (of the process) and of wall clock, from the first record to the last one's commit."""

    records: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    cpu_after: float = 0.0
    """CPU from then until every window was closed and every total written."""
    samples: Counter[str] = field(default_factory=Counter)
    places: dict[str, int] = field(default_factory=dict)
    activity: dict[str, float] = field(default_factory=dict)
    """liveshop_activity_seconds_total: wall clock of the shards' tasks, which wait for each other."""
    alerting: float = 0.0
    """liveshop_alert_evaluation_seconds_total: wall clock, too."""
    faults: list[str] = field(default_factory=list)

    @property
    def us(self) -> float:
        return self.cpu / self.records * 1e6

    def share(self, *names: str) -> float:
        """us per event of these steps, by samples."""
        return self.us * sum(self.samples[name] for name in names) / max(1, self.samples.total())


def show(options: Options) -> bool:
    with alone(), EmbeddedKafka(say) as kafka:
        runs = [measure(kafka, options.events or EVENTS, options.sessions) for _ in range(options.repeats)]
    runs.sort(key=lambda run: run.us)
    found = runs[len(runs) // 2]
    closing = found.share(*CLOSING)
    say(
        f"the whole worker, {found.records:,} events of {options.sessions} sessions and {SPAN_MS // 1000} s of event time:"
        f" {found.us:.2f} us of CPU an event (median of {len(runs)}, {runs[0].us:.2f} to {runs[-1].us:.2f}),"
        f" {found.records / found.wall:,.0f} events/s"
    )
    say(f"  {found.us - closing:.2f} to ingest, {closing:.2f} for windows, totals and checkpoints. By step:")
    for name, _ in found.samples.most_common():
        say(f"    {found.share(name):5.2f}  {name}")
    if core() == "native":
        say("  (what is native is not seen in samples of its own, but in the line that calls it)")
    say(f"  afterwards {found.cpu_after:.1f} s of CPU until the last windows were closed and all totals written")
    say("  seconds of the shards' tasks: " + ", ".join(f"{name} {value:.1f}" for name, value in found.activity.items()))
    for place, number in sorted(found.places.items(), key=lambda each: -each[1])[: 40 if options.places else 0]:
        say(f"    {found.us * number / max(1, found.samples.total()):5.3f}  {place}")
    faults = [fault for run in runs for fault in run.faults]
    for fault in faults:
        say(f"  WRONG: {fault}")
    say("  every sum is what was sent" if not faults else "")
    return not faults


def measure(kafka: EmbeddedKafka, events: int, sessions: int) -> Measured:
    prefix = f"bench-{uuid.uuid4().hex[:10]}."
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    # the last window can be closed at once: the whole of it lies in the past
    maker = Maker(events, sessions, int(time.time() * 1000) - SPAN_MS - 330_000, SPAN_MS)
    asyncio.run(preload(kafka.bootstrap, prefix, maker))
    with tempfile.TemporaryDirectory(prefix="liveshop-bench-") as folder:
        return _watch(kafka.bootstrap, prefix, maker.expected, Path(folder))


async def preload(brokers: str, prefix: str, maker: Maker) -> None:
    producer = sender.producer(brokers)
    await producer.start()
    try:
        made = iter(maker)
        while chunk := list(islice(made, CHUNK)):
            await send(producer, prefix, PARTITIONS, chunk)
    finally:
        await producer.stop()


def _watch(brokers: str, prefix: str, expected: Expected, folder: Path) -> Measured:
    out = folder / "samples.json"
    program = ("tests.bench.sampler", str(out))
    measured = Measured(sum(expected.records.values()))
    with Worker(brokers, prefix, folder / "worker.log", program=program, idle_after="2s") as worker:
        wait_for("the worker begins to read", lambda: b"the shard starts" in worker.log.read_bytes(), every=0.005)
        worker.child.send(signal.SIGUSR1)
        cpu, wall = processes.cpu(worker.pid), time.monotonic()
        asyncio.run(_reach_ends(brokers, prefix))
        worker.child.send(signal.SIGUSR2)
        measured.cpu, measured.wall = processes.cpu(worker.pid) - cpu, time.monotonic() - wall
        wait_for("/metrics has followed", lambda: _counted(worker) >= measured.records, 10)
        measured.activity = {
            name.split('"')[1]: value for name, value in worker.metrics().items() if "_activity_seconds" in name
        }
        measured.alerting = worker.metrics()["liveshop_alert_evaluation_seconds_total"]
        sampled = json.loads(wait_for("the samples are written", lambda: out.read_text() if out.exists() else None, 10))
        measured.samples, measured.places = Counter(sampled["samples"]), sampled["places"]
        asyncio.run(_await_results(brokers, prefix, expected, measured))
        measured.cpu_after = processes.cpu(worker.pid) - cpu - measured.cpu
        measured.faults += _wrong_outcomes(worker.metrics(), expected)
        worker.stop()
    return measured


def _counted(worker: Worker) -> float:
    return sum(value for name, value in worker.metrics().items() if name.startswith("liveshop_events_total"))


async def _reach_ends(brokers: str, prefix: str) -> None:
    """Returns when everything that lies in the inputs is committed, with its results."""
    places = [TopicPartition(prefix + topic, number) for topic in INPUTS.values() for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers)
    await consumer.start()
    try:
        found = await consumer.end_offsets(places)
    finally:
        await consumer.stop()
    ends = {(place.topic, place.partition): end for place, end in found.items()}
    async with Group(brokers, prefix.rstrip(".")) as group:
        await group.reach(ends, PATIENCE, LOOK_EVERY)


async def _await_results(brokers: str, prefix: str, expected: Expected, measured: Measured) -> None:
    """The sums of all 1m windows, and all totals, are what was sent; in the end, since a quiet shard closes everything."""
    deadline = time.monotonic() + 60
    async with Results(brokers, prefix, PARTITIONS) as results:
        while True:
            faults = _wrong_sums(await results.look(), expected)
            if not faults or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.3)
    measured.faults += faults[:5]


def _wrong_sums(written: Written, expected: Expected) -> list[str]:
    windows: Counter[tuple[str, str]] = Counter()
    totals: Counter[tuple[str, str]] = Counter()
    for value in map(newest, written.windows.values()):
        if value["window"] == "1m":
            _add(windows, value)
    for value in map(newest, written.sessions.values()):
        _add(totals, value)
    return [
        f"{what}: {name} of session {session} is {sums[session, name]} instead of {number}"
        for what, sums in (("1m windows", windows), ("totals", totals))
        for (session, name), number in expected.counts.items()
        if sums[session, name] != number
    ]


def _add(sums: Counter[tuple[str, str]], value: dict[str, Any]) -> None:
    session = value["session_id"]
    for name in COMPARED:
        sums[session, name] += value["counts"][name]
    sums[session, "gmv"] += value["gmv_minor"].get("IDR", 0)


def _wrong_outcomes(metrics: dict[str, float], expected: Expected) -> list[str]:
    counted = sum(metrics[f'liveshop_events_total{{outcome="counted",type="{kind}"}}'] for kind in KINDS)
    repeats = sum(metrics[f'liveshop_events_total{{outcome="duplicate",type="{kind}"}}'] for kind in KINDS)
    if (counted, repeats) == (sum(expected.records.values()) - expected.repeats, expected.repeats):
        return []
    return [f"{counted:.0f} counted and {repeats:.0f} duplicates, there should be {expected.repeats} duplicates"]
