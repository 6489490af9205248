"""``liveshop replay run`` with a plan: counts its part of the topics, and says what became of the records."""

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from stream.cli import replay_processes
from stream.cli.operating import do
from stream.cli.output import bar, print_table, say, show_json
from stream.config import Settings
from stream.errors import FailedError, UsageError
from stream.kafka.signals import Signals
from stream.replay import audit, running
from stream.replay import plan as plans
from stream.replay.audit import Entry, RunOutcome
from stream.replay.pacing import Pace
from stream.replay.plan import Plan
from stream.replay.running import Counts, Tell

_SPEED: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)x?", re.ASCII)
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a plan's file."""


@dataclass(frozen=True, slots=True)
class Asked:
    """On the command line."""

    rate: int | None
    bytes_rate: int | None
    speed: float | None
    reason: str
    by: str
    resume: bool
    workers: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """What a run has come to."""

    entry: Entry
    counts: Counts
    seconds: float
    came: signal.Signals | None = None
    """What has ended it early."""
    was_done: bool = False


def run(source: str, settings: Settings, asked: Asked, *, as_json: bool) -> None:
    """``source``: the file of a plan; or the id of a replay that is to be gone on with."""
    done = do(_all(source, settings, asked))
    _tell(done, as_json=as_json)
    if done.came is not None:
        raise typer.Exit(128 + done.came)


def run_part(source: str, settings: Settings, asked: Asked, part: str) -> None:
    """In a process that another has started: these partitions."""
    plan, numbers = _read(Path(source)), [int(number) for number in part.split(",")]
    replay_processes.be_one(lambda stop, tell: _run(plan, settings, asked, numbers, stop=stop, tell=tell))


def factor(text: str) -> float:
    """Raises UsageError for what is none."""
    found = _SPEED.fullmatch(text)
    if found is None or not float(found[1]):
        raise UsageError(f"--speed: {text!r:.40} is no factor: write 1x, 10x or 0.5x")
    return float(found[1])


def _read(file: Path) -> Plan:
    try:
        with file.open("rb") as content:
            data = content.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"the plan {file} cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise UsageError(f"the plan {file} is larger than any plan: at most {LARGEST} bytes")
    return plans.read(data, str(file))


async def _plan(source: str, settings: Settings, *, resume: bool) -> Plan:
    """Of a file; or of a replay that was begun, by its id."""
    file = Path(source)
    if resume and not await asyncio.to_thread(file.exists):
        return (await audit.require(settings, source)).plan
    return await asyncio.to_thread(_read, file)


async def _run(
    plan: Plan, settings: Settings, asked: Asked, numbers: Sequence[int], *, stop: asyncio.Event, tell: Tell
) -> Counts:
    pace = Pace(asked.rate, asked.bytes_rate)
    return await running.run(plan, settings, numbers, stop=stop, tell=tell, pace=pace, speed=asked.speed)


async def _all(source: str, settings: Settings, asked: Asked) -> Done:
    plan = await _plan(source, settings, resume=asked.resume)
    before = await audit.find(settings, plan.id)
    if before is not None and before.plan_hash == plan.hash and before.outcome is RunOutcome.DONE:
        return Done(before, Counts(), 0.0, was_done=True)
    audit.begun(plan, asked.by, asked.reason, before)  # refuses what cannot be
    if before is not None and not asked.resume:
        raise UsageError(
            f"the replay {plan.id} was begun by {before.by} and is {before.outcome.value}: --resume goes on with it"
        )
    await running.prepare(plan, settings)
    entry = await audit.change(settings, plan.id, lambda found: audit.begun(plan, asked.by, asked.reason, found))
    return await _recorded(plan, settings, entry, _work(plan, settings, asked))


Work = Callable[[asyncio.Event, Tell], Awaitable[Counts]]


def _work(plan: Plan, settings: Settings, asked: Asked) -> Work:
    """In this process, or in several."""
    numbers = [part.partition for part in plan.parts]
    processes = replay_processes.number(len(numbers), asked.workers)
    if processes <= 1:
        return lambda stop, tell: _run(plan, settings, asked, numbers, stop=stop, tell=tell)
    shares = [numbers[at::processes] for at in range(processes)]
    flags = [
        *([f"--rate={max(1, asked.rate // processes)}"] if asked.rate else []),
        *([f"--bytes-rate={max(1, asked.bytes_rate // processes)}"] if asked.bytes_rate else []),
        *([f"--speed={asked.speed:g}x"] if asked.speed else []),
    ]
    return lambda stop, tell: replay_processes.run(plan, settings, shares, flags, stop=stop, tell=tell)


async def _recorded(plan: Plan, settings: Settings, entry: Entry, work: Work) -> Done:
    """Does it, and writes down what became of it, whatever that is."""
    began, stop = time.monotonic(), asyncio.Event()
    counts, came = Counts(), None
    outcome, detail = RunOutcome.FAILED, ""
    try:
        with Signals() as signals, bar(f"replay {plan.id}", plan.records) as tell:
            watching = asyncio.create_task(_stop_at(signals, stop))
            try:
                counts = await work(stop, _summed(tell))
            finally:
                watching.cancel()
            came = signals.first.result() if signals.first.done() else None
        whole = counts.done >= {part.partition for part in plan.parts}
        outcome = RunOutcome.DONE if whole else RunOutcome.INTERRUPTED
        came = None if whole else came
    except Exception as error:
        detail = str(error) or type(error).__name__
        raise
    finally:
        with contextlib.suppress(FailedError):  # what came of it is told in any case
            entry = await audit.change(settings, plan.id, lambda found: _ended(found or entry, counts, outcome, detail))
    return Done(entry, counts, time.monotonic() - began, came)


async def _stop_at(signals: Signals, stop: asyncio.Event) -> None:
    await asyncio.shield(signals.first)
    stop.set()


def _summed(tell: Callable[[int], None]) -> Tell:
    done: dict[int, int] = {}

    def note(partition: int, offsets: int) -> None:
        done[partition] = offsets
        tell(sum(done.values()))

    return note


def _ended(entry: Entry, counts: Counts, outcome: RunOutcome, detail: str) -> Entry:
    every = dict(entry.counts)
    for name, number in counts.outcomes.items():
        every[name] = every.get(name, 0) + number
    return audit.changed(
        entry,
        outcome=outcome,
        detail=detail[:1000],
        ended_ms=audit.now_ms(),
        records=entry.records + counts.records,
        counts=every,
    )


# -- what is told


def _tell(done: Done, *, as_json: bool) -> None:
    if as_json:
        show_json(_figures(done), indent=True)
        return
    entry, counts = done.entry, done.counts
    if done.was_done:
        say(f"the replay {entry.id} is done already: nothing was read")
    elif counts.records:
        rows = [*sorted(counts.outcomes.items()), ("records read", counts.records)]
        rows += [(f"{name} written", number) for name, number in counts.written.items()]
        print_table(("", ""), [(name, f"{number:,}") for name, number in rows])
        say(f"{done.seconds:.1f} s, {counts.records / max(done.seconds, 0.001):,.0f} records/s")
    say(f"replay {entry.id}: {entry.outcome.value}" + ("" if done.was_done or not entry.resumed else ", gone on with"))
    if entry.outcome is RunOutcome.INTERRUPTED:
        say(f"a last checkpoint was made: --resume goes on with {entry.id} exactly there", err=True)


def _figures(done: Done) -> dict[str, Any]:
    counts, entry = done.counts, done.entry
    return {
        "id": entry.id,
        "outcome": entry.outcome.value,
        "was_done": done.was_done,
        "resumed": entry.resumed,
        "seconds": round(done.seconds, 3),
        "records": counts.records,
        "outcomes": dict(sorted(counts.outcomes.items())),
        "written": dict(counts.written),
        "partitions_done": sorted(counts.done),
        "entry": msgspec.to_builtins(entry, order="sorted") | {"plan": None},
    }
