"""What alerts cost the core, with the rules that come with liveshop; and how quick a backtest over the same rules is.

With and without rules, two shards are given the same batches in turns, so that whatever else the machine does meets both;
they make a checkpoint each second of event time, with totals at the pace of a backlog.
A backtest is the command as people start it; its CPU is all of the process, start and end included.
"""

import asyncio
import gc
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from stream.core.alignment import PIECE
from stream.core.decode import decode_batch
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.model.messages import Message
from stream.model.names import KINDS, Kind
from stream.model.results import Records
from stream.replay import recording
from stream.rules.reading import SHIPPED, load_rules
from stream.sandbox.broker import EmbeddedKafka
from tests.bench import worker
from tests.bench.core import MAX_VALUE, RATE, SECOND, Record
from tests.bench.events import Maker
from tests.bench.report import EVENTS, Options, alone, say
from tests.bench.worker import PARTITIONS, SPAN_MS, preload
from tests.live import create_topics

SESSIONS: Final = 5_000
SHARDS: Final = 4
"""All sessions are spread over so many: one is measured, at a quarter of the events."""
MINUTES: Final = 12
"""Of event time: the baselines of the rules that come with liveshop are not all full then, but there."""
MOST: Final = 0.1
"""Share of CPU that the rules may cost."""
A_CORE: Final = 200_000
"""Events a second and core of a backtest, at least."""
START_MS: Final = 1_700_000_040_000


@dataclass
class Cost:
    """CPU seconds of two shards over the same events: decode, judge, count, close, checkpoint."""

    events: int = 0
    slides: int = 0
    decode: float = 0.0
    without: float = 0.0
    rules: float = 0.0
    alerts: int = 0

    @property
    def share(self) -> float:
        return (self.rules - self.without) / (self.decode + self.without)


@dataclass
class Backtested:
    events: int
    cpu: float
    counted: int
    incidents: int

    @property
    def a_core(self) -> float:
        return self.events / self.cpu


def show(options: Options) -> bool:
    with alone():
        cost = measure(SESSIONS // SHARDS, RATE * 60, MINUTES)
    us = 1e6 / cost.events
    a_slide = (cost.rules - cost.without) * 1e6 / (SESSIONS // SHARDS * cost.slides)
    verdict = "met" if cost.share <= MOST else "MISSED"
    say(
        f"the core with the default rules, one of {SHARDS} shards of {SESSIONS:,} sessions, {cost.events:,} events, "
        f"{cost.slides} slides:"
    )
    say(
        f"  {(cost.decode + cost.without) * us:.2f} us an event without, {(cost.decode + cost.rules) * us:.2f} with: "
        f"{cost.share:+.1%} (goal +{MOST:.0%}: {verdict}); {a_slide:.0f} us a session and slide; {cost.alerts} alerts"
    )
    with alone(), EmbeddedKafka(say) as kafka:
        right = _show_worker(kafka, options.events or EVENTS)
        return _show_backtests(kafka, options.events or EVENTS, options.sessions) and right


def _show_worker(kafka: EmbeddedKafka, events: int) -> bool:
    """Its own word on what it spends: two runs differ by more than the rules cost."""
    found = worker.measure(kafka, events, SESSIONS)
    say(
        f"  the whole worker, {events:,} events of {SESSIONS:,} sessions: {found.us:.2f} us of CPU an event, of which "
        f"{found.alerting / found.cpu:.1%} to ask the rules"
    )
    for fault in found.faults:
        say(f"  WRONG: {fault}")
    return not found.faults


def _show_backtests(kafka: EmbeddedKafka, events: int, sessions: int) -> bool:
    right = True
    for name, found in backtests(kafka, events, sessions).items():
        verdict = "met" if found.a_core >= A_CORE else "MISSED"
        say(
            f"  backtest over {name}, {found.events:,} events of {sessions} sessions: {found.a_core:,.0f} events/s a "
            f"core (goal {A_CORE:,}: {verdict}), {found.cpu / found.events * 1e6:.2f} us an event"
        )
        right = right and found.counted == found.events
    return right


# -- the core


def measure(sessions: int, a_minute: int, minutes: int) -> Cost:
    """Both shards over so many minutes of event time."""
    maker = Maker(a_minute * minutes, sessions, START_MS, minutes * 60 * SECOND)
    rules = load_rules(SHIPPED, Policy().pane_ms)
    plain, ruled = _Timed(Shard(Policy())), _Timed(Shard(Policy(), rules=rules))
    cost = Cost(events=a_minute * minutes, slides=minutes)
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 50)
    for number, second in enumerate(_seconds(maker, a_minute // 60)):
        for kind, records in second:
            began = time.thread_time()
            events = decode_batch(kind, records, MAX_VALUE)
            cost.decode += time.thread_time() - began
            for each in (plain, ruled) if number % 2 else (ruled, plain):
                each.count(kind, records, events)
        for each in (ruled, plain) if number % 2 else (plain, ruled):
            each.close()
    gc.unfreeze()
    cost.without, cost.rules, cost.alerts = plain.seconds, ruled.seconds, ruled.alerts
    if plain.counted != ruled.counted or plain.counted != cost.events - maker.expected.repeats:
        raise AssertionError(f"{plain.counted} and {ruled.counted} events were counted of {cost.events}")
    return cost


class _Timed:
    """A shard, and the CPU it has taken."""

    def __init__(self, shard: Shard) -> None:
        self.seconds = 0.0
        self.counted = self.alerts = 0
        self._shard = shard
        self._offset = 0

    def count(self, kind: Kind, records: Records, events: Any) -> None:
        began = time.thread_time()
        self._shard.count(kind, records, events)
        self.seconds += time.thread_time() - began

    def close(self) -> None:
        began = time.thread_time()
        while self._shard.work(16):
            pass
        outputs = self._shard.collect(in_backlog=True)
        self.seconds += time.thread_time() - began
        if outputs is not None:
            self._shard.committed(outputs.checkpoint, self._offset)
            self._offset += len(outputs.state) + 1
            self.alerts += len(outputs.alerts)
            self.counted += sum(n for (_, outcome), n in outputs.tally.outcomes.items() if outcome == "counted")


def _seconds(maker: Maker, rate: int) -> Iterator[list[tuple[Kind, Records]]]:
    """The batches of each second of event time, topic by topic."""
    made = iter(maker)
    offsets = dict.fromkeys(KINDS, 0)
    number = 0
    while chunk := list(islice(made, rate)):
        records: dict[Kind, list[Record]] = {kind: [] for kind in KINDS}
        for name, key, value, _ in chunk:
            kind = Kind(name)
            records[kind].append(Record(offsets[kind], START_MS + number * SECOND, key or b"", value or b""))
            offsets[kind] += 1
        yield [
            (kind, Records(batch[at : at + PIECE], batch[at].timestamp))
            for kind, batch in records.items()
            for at in range(0, len(batch), PIECE)
        ]
        number += 1


# -- backtests


def backtests(kafka: EmbeddedKafka, events: int, sessions: int) -> dict[str, Backtested]:
    """The command over topics, and over a recording."""
    prefix = f"bench-{uuid.uuid4().hex[:10]}."
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    maker = Maker(events, sessions, int(time.time() * 1000) - SPAN_MS - 330_000, SPAN_MS)
    asyncio.run(preload(kafka.bootstrap, prefix, maker))
    with tempfile.TemporaryDirectory(prefix="liveshop-bench-") as folder:
        file = _recorded(Path(folder) / "traffic.ndjson", events, sessions)
        return {
            "topics": _backtest(events, f"--brokers={kafka.bootstrap}", f"--topic-prefix={prefix}"),
            "a recording": _backtest(events, f"--input={file}"),
        }


def _recorded(file: Path, events: int, sessions: int) -> Path:
    maker = Maker(events, sessions, START_MS, SPAN_MS)
    with recording.create(file) as out:
        recording.write(
            (
                Message(START_MS + number * SPAN_MS // events, Kind(name), key, value, 0)
                for number, (name, key, value, _) in enumerate(maker)
            ),
            out,
        )
    return file


def _backtest(events: int, *flags: str) -> Backtested:
    command = [sys.executable, "-m", "stream.cli", "backtest", "--json", *flags]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = orjson.loads(done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Backtested(events, cpu, report["records"], len(report["incidents"]))
