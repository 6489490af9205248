"""One contender on one backlog, measured the same way for all.

The group's committed offsets say how far it is, since all of them commit: liveshop, Kafka Streams and Flink with their
checkpoints, the others each second. CPU is that of its process and children (user and system), the broker's is left out.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson
from confluent_kafka import Consumer, Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stream.children import Child
from stream.errors import FailedError
from tests.bench.backlog import PARTITIONS, Backlog, partitions
from tests.bench.contenders import Contender, Stage, read_dump
from tests.bench.tally import Rows, differences

TICK: Final = os.sysconf("SC_CLK_TCK")
EVERY: Final = 0.05
WARM: Final = 1 / 3
"""Of the records: what comes before, with start-up and JIT, is left out of the running figures."""
PATIENCE: Final = 900.0
QUIET: Final = 4.0
"""Seconds without a new result, after which there are no more to come."""
STOP_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Sample:
    wall: float
    cpu: float
    records: int


@dataclass(frozen=True)
class Outcome:
    """``us`` and ``rate``: from a third of the records on to the last; None when it was there with a single commit.

    ``us_all``: from its start to its last result, over all records.
    """

    us: float | None
    us_all: float
    rate: float | None
    rss_mb: float
    fault: str


def run(contender: Contender, backlog: Backlog, stage: Stage) -> Outcome:
    """Start it, wait for its last commit and result, end it. FailedError when it ends by itself or takes too long."""
    outputs = contender.outputs(stage)
    _create(backlog.brokers, [name for name in outputs if name == stage.output])
    child = contender.start(stage)
    try:
        samples = _follow(child, stage.group, backlog)
        cpu, values = _results(child, backlog.brokers, outputs) if outputs else (samples[-1].cpu, [])
        rss = peak_mb(child.pid)
        child.stop(STOP_SECONDS)
    finally:
        child.kill()
    rows = contender.rows(values if outputs else read_dump(stage))
    return _outcome(samples, cpu, rss, differences(rows, expected(contender, backlog)))


def expected(contender: Contender, backlog: Backlog) -> Rows:
    return backlog.repeated if contender.repeats else backlog.once


def _outcome(samples: Sequence[Sample], cpu: float, rss: float, fault: str) -> Outcome:
    last = samples[-1]
    warm = next(sample for sample in samples if sample.records >= WARM * last.records)
    records, us_all = last.records - warm.records, cpu / last.records * 1e6
    if not records:
        return Outcome(None, us_all, None, rss, fault)
    return Outcome((last.cpu - warm.cpu) / records * 1e6, us_all, records / (last.wall - warm.wall), rss, fault)


def _follow(child: Child, group: str, backlog: Backlog) -> list[Sample]:
    """From its first commit to the last."""
    places = partitions(backlog.inputs)
    samples: list[Sample] = []
    with _Reader(backlog.brokers, group) as reader:

        def look() -> bool:
            records = sum(max(0, place.offset) for place in reader.consumer.committed(places, 30))
            samples.append(Sample(time.monotonic(), cpu_seconds(child.pid), records))
            return records >= backlog.records

        _wait(child, lambda: f"{samples[-1].records:,} of {backlog.records:,} records are committed", look)
    return samples


def _results(child: Child, brokers: str, outputs: Sequence[str]) -> tuple[float, list[dict[str, Any]]]:
    """CPU until the last result came, and all results, when no more have come for a while."""
    values: list[dict[str, Any]] = []
    cpu, came = cpu_seconds(child.pid), time.monotonic()
    with _Reader(brokers, "bench-results") as reader:
        reader.consumer.assign(partitions(outputs))

        def look() -> bool:
            nonlocal cpu, came
            messages = reader.consumer.consume(10_000, 0.2)
            values.extend(map(_value, messages))
            if messages:
                cpu, came = cpu_seconds(child.pid), time.monotonic()
            return time.monotonic() - came > QUIET

        _wait(child, lambda: f"{len(values):,} results have come", look)
    return cpu, values


def _value(message: Message) -> dict[str, Any]:
    error = message.error()
    if error:
        raise FailedError(f"the results could not be read: {error}")
    value: dict[str, Any] = orjson.loads(message.value() or b"{}")
    return value


def _wait(child: Child, state: Callable[[], str], look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        if child.code is not None:
            raise FailedError(f"it ended with code {child.code} when {state()}:\n{child.tail()}")
        if time.monotonic() > deadline:
            raise FailedError(f"after {PATIENCE:.0f} s {state()}:\n{child.tail()}")
        time.sleep(EVERY)


class _Reader:
    """A consumer that joins no group: it looks at offsets, or reads what it assigns itself, committed records only."""

    def __init__(self, brokers: str, group: str) -> None:
        self.consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "log_level": 3,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.consumer.close()


def _create(brokers: str, topics: Sequence[str]) -> None:
    if topics:
        admin = AdminClient({"bootstrap.servers": brokers, "log_level": 3})  # held until its answers are there
        for made in admin.create_topics([NewTopic(name, PARTITIONS) for name in topics]).values():
            made.result(30)


def cpu_seconds(pid: int) -> float:
    """So far, user and system, of all threads and of children that have ended; it counts in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICK


def peak_mb(pid: int) -> float:
    """The largest resident size so far, in MB of 10^6 bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6
