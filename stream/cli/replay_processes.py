"""A replay in several processes: each has some of the partitions, and tells how far it is, a line of JSON at a time."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from stream.children import die_with, liveshop
from stream.cli.flags import environment
from stream.cli.operating import do
from stream.cli.output import say
from stream.config import Settings
from stream.errors import FailedError
from stream.kafka import gc_tuning
from stream.kafka.signals import Signals
from stream.observe.health import heartbeat
from stream.replay import plan as plans
from stream.replay.plan import Plan
from stream.replay.running import Counts, Tell

END_SECONDS: Final = 20.0
"""From the wish to end until what still runs is killed: its last checkpoint but one holds."""
TIDY_EVERY: Final = 1.0
LONGEST_LINE: Final = 1024 * 1024


class Line(msgspec.Struct, omit_defaults=True):
    """What a process says: how far a partition is, or at its end what it has done."""

    partition: int = -1
    offsets: int = 0
    outcomes: dict[str, int] = {}
    written: dict[str, int] = {}
    done: list[int] | None = None


_decode: Final = msgspec.json.Decoder(Line).decode


def number(partitions: int, asked: int | None) -> int:
    """Of processes: as many as there are cores, unless another number was asked for; never more than partitions."""
    return min(partitions, asked or os.cpu_count() or 1)


# -- one of them


def be_one(work: Callable[[asyncio.Event, Tell], Awaitable[Counts]]) -> None:
    """Does it until a signal comes. It is tuned as a worker is."""
    gc_tuning.configure()
    try:
        do(_be_one(work), run=uvloop.run)
    finally:
        gc_tuning.unfreeze()  # what stays frozen is not freed at the end


async def _be_one(work: Callable[[asyncio.Event, Tell], Awaitable[Counts]]) -> None:
    stop = asyncio.Event()
    with Signals() as signals:
        signals.first.add_done_callback(lambda _: stop.set())
        tidying = asyncio.create_task(heartbeat(gc_tuning.collect, TIDY_EVERY))
        try:
            counts = await work(stop, lambda partition, offsets: _say(Line(partition, offsets)))
        finally:
            tidying.cancel()
    _say(Line(outcomes=dict(counts.outcomes), written=dict(counts.written), done=sorted(counts.done)))


def _say(line: Line) -> None:
    say(msgspec.json.encode(line).decode())


# -- all of them


async def run(
    plan: Plan,
    settings: Settings,
    shares: Sequence[Sequence[int]],
    flags: Sequence[str],
    *,
    stop: asyncio.Event,
    tell: Tell,
) -> Counts:
    """Each share of the partitions in a process of its own. Raises FailedError when one fails: the others are ended, too."""
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="liveshop-replay-") as folder:
        file = Path(folder) / "plan.json"
        file.write_bytes(plans.written(plan))
        commands = [
            liveshop("replay", "run", str(file), f"--part={','.join(map(str, share))}", *flags) for share in shares
        ]
        children = [_Child(command, environment(settings), counts, tell) for command in commands]
        tending = [asyncio.create_task(child.run()) for child in children]
        stopping = asyncio.create_task(stop.wait())
        try:
            await _first_end(tending, stopping)
        finally:
            stopping.cancel()
            await _end(children, tending)
    codes = [task.result() for task in tending]
    if any(codes):
        worst = next(code for code in codes if code)
        why = f"killed by signal {-worst}" if worst < 0 else f"exit code {worst}"
        raise FailedError(f"a process of the replay {plan.id} has ended ({why}): --resume goes on with it")
    return counts


async def _first_end(tending: Sequence[asyncio.Task[int]], stopping: asyncio.Task[bool]) -> None:
    """Until all are done, or one has failed, or they are to stop."""
    waiting: set[asyncio.Task[int]] = set(tending)
    while waiting and not stopping.done():
        await asyncio.wait({*waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if any(task.done() and task.result() for task in tending):
            return
        waiting = {task for task in waiting if not task.done()}


async def _end(children: Sequence["_Child"], tending: Sequence[asyncio.Task[int]]) -> None:
    """All that still run, each with a last checkpoint."""
    for child in children:
        child.send(signal.SIGTERM)
    _, late = await asyncio.wait(tending, timeout=END_SECONDS)
    for child in children if late else ():
        child.send(signal.SIGKILL)
    await asyncio.wait(tending)


class _Child:
    def __init__(self, command: Sequence[str], environ: dict[str, str], counts: Counts, tell: Tell) -> None:
        self._command = command
        self._environ = environ
        self._counts = counts
        self._tell = tell
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        """Its exit code."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=self._environ,
            process_group=0,  # Ctrl-C on the terminal reaches only us
            preexec_fn=die_with(os.getpid()),
            limit=LONGEST_LINE,
        )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        async for line in process.stdout:
            self._hear(line)
        return await process.wait()

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def _hear(self, data: bytes) -> None:
        line = _decode(data)
        if line.done is None:
            self._tell(line.partition, line.offsets)
            return
        self._counts.outcomes.update(line.outcomes)
        self._counts.written.update(line.written)
        self._counts.done.update(line.done)
