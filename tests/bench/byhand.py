"""What is written in C by hand and only makes bytes: what would all the work of a shard cost without it?

Packing and JSON have a Python version that does the same. Each is taken out in turn while the same events are
decoded, counted, closed and collected, windows and totals included. Instructions are counted, by valgrind: seconds say
nothing on a machine that others use. What Kafka costs comes on top and is the same for all, so the shares are upper bounds.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from stream.core import render
from stream.core.decode import decode_batch
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.errors import UsageError
from stream.model.names import KINDS, Kind
from stream.model.results import Records
from tests.bench.core import BATCH, MAX_VALUE, SECOND, START_MS, Record
from tests.bench.events import Maker
from tests.bench.report import Options, say

ROOT: Final = Path(__file__).parents[2]
GOAL: Final = 0.05
"""Share of all instructions that a part must save to be worth its lines."""
VALGRIND: Final = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
NOTHING: Final = "nothing"
ALL: Final = "all"


class Shape(NamedTuple):
    """Events a second of event time, and seconds of it between two checkpoints."""

    sessions: int
    rate: int
    seconds: int
    every: int


SHAPES: Final = {
    "paced, 2.4 events/s a session, a checkpoint a second": Shape(150, 360, 240, 1),
    "a backlog, 8 events/s a session, a checkpoint each 25 s of event time": Shape(60, 480, 240, 25),
}


def parts() -> dict[str, Mapping[Any, Any]]:
    """By name: what stands for what, native and Python."""
    from stream.core.native import packing
    from stream.core.pure import packing as pure

    return {"packing": {packing.pack: pure.pack, packing.pack_item: pure.pack_item}, "JSON": {render.natively: None}}


@contextmanager
def without(swaps: Mapping[Any, Any]) -> Iterator[None]:
    """Every module of the core that knows the native one by name knows the Python one meanwhile."""
    places = [
        (module, name, value)
        for module in list(sys.modules.values())
        if module.__name__.startswith("stream.core") and ".native" not in module.__name__
        for name, value in vars(module).items()
        if callable(value) and any(value is each for each in swaps)
    ]
    for module, name, value in places:
        setattr(module, name, next(python for native, python in swaps.items() if native is value))
    try:
        yield
    finally:
        for module, name, value in places:
            setattr(module, name, value)


# -- what is measured


def made(shape: Shape) -> list[list[tuple[Kind, Records]]]:
    """The batches of each second of event time."""
    events = iter(Maker(shape.rate * shape.seconds, shape.sessions, START_MS, shape.seconds * SECOND))
    offsets = dict.fromkeys(KINDS, 0)
    found: list[list[tuple[Kind, Records]]] = []
    while chunk := list(islice(events, shape.rate)):
        records: dict[Kind, list[Any]] = {kind: [] for kind in KINDS}
        for name, key, value, _ in chunk:
            kind = Kind(name)
            records[kind].append(Record(offsets[kind], START_MS + len(found) * SECOND, key or b"", value or b""))
            offsets[kind] += 1
        found.append(
            [
                (kind, Records(batch[at : at + BATCH], batch[at].timestamp))
                for kind, batch in records.items()
                for at in range(0, len(batch), BATCH)
            ]
        )
    return found


def work(seconds: list[list[tuple[Kind, Records]]], every: int) -> int:
    """All that a shard does with them. Returns the bytes it would write."""
    shard, offset, size = Shard(Policy()), 0, 0
    for number, second in enumerate(seconds, 1):
        for kind, records in second:
            shard.count(kind, records, decode_batch(kind, records, MAX_VALUE))
        while shard.work(16):
            pass
        if number % every and number < len(seconds):
            continue
        outputs = shard.collect()
        if outputs is not None:
            shard.committed(outputs.checkpoint, offset)
            offset += len(outputs.state) + 1
            size += sum(len(value) for _, value in outputs.state)
    return size


def instructions(name: str, shape: Shape) -> int:
    """Of a process that makes the events and, unless ``name`` is nothing, works on them without that part."""
    command = [*VALGRIND, sys.executable, "-m", __name__, name, *map(str, shape)]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise UsageError("this part of the bench counts instructions with valgrind, which is not installed") from None
    found = re.search(r"I +refs: +([\d,]+)", done.stderr)
    if found is None:
        raise AssertionError(done.stderr)
    return int(found[1].replace(",", ""))


def show(_options: Options) -> bool:
    say(f"what is written in C by hand and only makes bytes, each to save {GOAL:.0%} of the instructions of all work:")
    for text, shape in SHAPES.items():
        begin = instructions(NOTHING, shape)
        total = instructions(ALL, shape) - begin
        say(f"  {text}: {total / shape.rate / shape.seconds:,.0f} instructions an event")
        for name in parts():
            saved = instructions(name, shape) - begin - total
            verdict = "met" if saved >= GOAL * total else "MISSED"
            say(f"    {name:10} saves {saved / total:6.1%} ({verdict})")
    return True


if __name__ == "__main__":
    chosen, shape = sys.argv[1], Shape(*map(int, sys.argv[2:]))
    events = made(shape)
    if chosen != NOTHING:
        with without({} if chosen == ALL else parts()[chosen]):
            work(events, shape.every)
