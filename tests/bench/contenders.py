"""Who takes part in the comparison: liveshop and its rivals, how each is started and where its results are."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from stream.children import Child
from stream.model.names import SESSION_WINDOWS, SESSIONS
from stream.sandbox import jars
from tests.bench.backlog import CLOSER, PARTITIONS, Backlog
from tests.bench.rivals import jvm
from tests.bench.tally import Counts, Place, Rows
from tests.live import PROJECT, Worker

CORES: Final = str(min(PARTITIONS, os.cpu_count() or 1))

Values = Iterable[dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """What a contender starts with: the backlog, a group and a folder of its own."""

    backlog: Backlog
    group: str
    folder: Path
    say: jars.Say

    @property
    def log(self) -> Path:
        return self.folder / f"{self.group}.log"

    @property
    def dump(self) -> Path:
        """Where who writes no topic leaves its windows when it is told to stop."""
        return self.folder / f"{self.group}.json"

    @property
    def output(self) -> str:
        """The topic of who writes one and has none of its own."""
        return f"{self.group}-windows"


@dataclass(frozen=True)
class Contender:
    """``repeats``: whether it counts exact repeats twice. ``few``: reads the first events only."""

    name: str
    does: str
    start: Callable[[Stage], Child]
    outputs: Callable[[Stage], Sequence[str]]
    """Topics; none when it dumps."""
    rows: Callable[[Values], Rows]
    repeats: bool = True
    few: bool = False


def _no_topic(_stage: Stage) -> Sequence[str]:
    return ()


def _own_topic(stage: Stage) -> Sequence[str]:
    return [stage.output]


def _liveshop_topics(stage: Stage) -> Sequence[str]:
    return [stage.backlog.prefix + SESSION_WINDOWS, stage.backlog.prefix + SESSIONS]


def _rows(values: Values) -> Rows:
    """A window that was written twice has twice the counts here, so that it shows."""
    rows: Rows = {}
    for value in values:
        place = Place(value["session_id"], value["start"])
        rows[place] = rows.get(place, Counts()).plus(Counts(*(value[name] for name in Counts._fields)))
    return _without_closers(rows)


def _newest(values: Values) -> Rows:
    """liveshop's 1m windows: the last revision is the truth."""
    rows: Rows = {}
    for value in values:
        if value.get("window") == "1m":
            named = value["counts"] | {"gmv": value["gmv_minor"].get("IDR", 0)}
            rows[Place(value["session_id"], value["start"])] = Counts(*(named[name] for name in Counts._fields))
    return _without_closers(rows)


def _without_closers(rows: Rows) -> Rows:
    return {place: counts for place, counts in rows.items() if not place.session.startswith(CLOSER)}


def _start_liveshop(stage: Stage) -> Child:
    backlog = stage.backlog
    return Worker(backlog.brokers, backlog.prefix, stage.log, group=stage.group, idle_after="2s").child


def _python(module: str, *more: str) -> Callable[[Stage], Child]:
    def start(stage: Stage) -> Child:
        arguments = (stage.backlog.brokers, stage.group, str(stage.dump), *more, *stage.backlog.inputs)
        command = [sys.executable, "-m", f"tests.bench.rivals.{module}", *arguments]
        return Child(command, log=stage.log, environ=os.environ | {"PYTHONPATH": str(PROJECT)})

    return start


def _java(job: jvm.Job, *more: str) -> Callable[[Stage], Child]:
    def start(stage: Stage) -> Child:
        arguments = (stage.backlog.brokers, stage.group, stage.output, str(stage.folder / stage.group), CORES)
        return Child([*jvm.command(job, stage.say), *arguments, *more, *stage.backlog.inputs], log=stage.log)

    return start


CONTENDERS: Final = (
    Contender(
        "liveshop",
        "18 counts, unique viewers, breakdowns, 1m and 5m windows, totals; exactly once",
        _start_liveshop,
        _liveshop_topics,
        _newest,
        repeats=False,
    ),
    Contender("flink", "5 counts, 1m windows; exactly once", _java(jvm.FLINK, "false"), _own_topic, _rows),
    Contender("flink-dedupe", "the same without repeats", _java(jvm.FLINK, "true"), _own_topic, _rows, repeats=False),
    Contender("streams", "5 counts, 1m windows; exactly once", _java(jvm.STREAMS), _own_topic, _rows),
    Contender("loop", "5 counts, 1m windows; in memory, lost or doubled by a crash", _python("loop"), _no_topic, _rows),
    Contender(
        "loop-full",
        "18 counts, unique viewers, breakdowns, no repeats, 1m windows; in memory, lost or doubled by a crash",
        _python("loop_full"),
        _no_topic,
        _rows,
        repeats=False,
    ),
    Contender(
        "faust",
        "5 counts, 1m windows; changelog, at least once",
        _python("faust_agent", str(PARTITIONS)),
        _no_topic,
        _rows,
        few=True,
    ),
)


def read_dump(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads(stage.dump.read_bytes())
    return found
