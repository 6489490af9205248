"""``liveshop simulate``: traffic like that of real live shopping, or a recorded file played."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from stream.cli.flags import takes_settings
from stream.cli.output import number_of, say, show_json, spinning
from stream.config import CONNECTION, Settings
from stream.durations import parse_duration
from stream.errors import FailedError, UsageError
from stream.kafka import client, security
from stream.model.messages import Message
from stream.replay import recording
from stream.sandbox import pace, sender
from stream.sandbox.outage import parse_outages
from stream.sandbox.pace import Sent, Sink
from stream.sandbox.traffic import Plan, Traffic

SOME_BAD: Final = 3
INTERRUPTED: Final = 130
COMPLAINTS: Final = 10
"""Bad lines that are named; the rest are only counted."""
BEHIND_MS: Final = 2000
LEAVE_SECONDS: Final = 8.0
"""From the signal until what was sent must be acknowledged: a container has ten."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to send, and where to."""

    plan: Plan
    settings: Settings
    start_ms: int
    length_ms: int | None
    source: Path | None
    speed: float
    shift: bool
    target: Path | None
    force: bool

    def check(self) -> None:
        """Raises UsageError for flags that do not go together."""
        if self.target is None and self.settings.brokers is None:
            raise UsageError("no Kafka to send to: set --brokers or LIVESHOP_BROKERS to host:port, or give --to FILE")
        if self.source is not None and self.target is not None:
            raise UsageError("--from and --to: a recording is played to Kafka, not to another file")
        if self.target is not None and self.length_ms is None:
            raise UsageError("--to needs --for: traffic is endless, a file is not")
        if self.target is not None and self.target.is_file() and self.target.stat().st_size and not self.force:
            raise UsageError(f"--to: {self.target} holds something already, and would lose it: --force writes over it")
        if self.shift and self.speed != 1:
            raise UsageError("--shift goes with --speed 1: at another pace the event times would leave the wall clock")


@takes_settings((*CONNECTION, "topic_prefix"))
def command(
    settings: Settings,
    *,
    rate: Annotated[
        float, typer.Option(min=0.1, help="events a second: 95 % views, 4 % comments, 1 % checkouts")
    ] = 400,
    sessions: Annotated[int, typer.Option(min=1, help="live sessions on air at any time")] = 40,
    seed: Annotated[int, typer.Option(help="the same seed gives the same traffic")] = 1,
    length: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="end after this long, such as 30s")
    ] = None,
    outage: Annotated[
        str,
        typer.Option(metavar="WHEN", help="payments fail then: 'at 30s for 20s', or 30s-50s; commas between several"),
    ] = "",
    bad: Annotated[
        float, typer.Option(min=0, max=1, help="share of bad input: broken JSON, wrong keys and so on")
    ] = 0.002,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="play this recording (.ndjson or .ndjson.gz) instead")
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0, help="with --from: factor of the recorded pace; 0 is as fast as possible")
    ] = 1,
    shift: Annotated[
        bool, typer.Option("--shift", help="with --from: move event times so that the recording begins now")
    ] = False,
    target: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="write the traffic to this file and send nothing")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="with --to: overwrite an existing file")] = False,
    start_ms: Annotated[
        int | None, typer.Option(min=0, help="with --to: when the traffic begins, ms since 1970; default now")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Send traffic like that of real live shopping to live.views, live.comments and live.checkouts.

    The traffic has hosts of different talent, viewers who come, comment, buy and go, surges, repeats, late and bad events.
    Runs until Ctrl-C, SIGTERM or --for. The topics must exist: see `liveshop topics create`. Never use it on topics with
    real traffic.

    A recording has one JSON object a line: {"topic": "live.views", "key": "7301", "at": ms, "value": {...}}, where `at` is
    the time of arrival; bytes that are not JSON are in "raw" as base64. Other lines are counted, and the exit code is 3.
    """
    plan = Plan(seed, rate, sessions, bad, outages=_outages(outage))
    began = int(time.time() * 1000)
    start = began if start_ms is None or target is None else start_ms
    job = Job(plan, settings, start, _length_ms(length), source, speed, shift, target, force)
    job.check()
    sent, code = asyncio.run(_work(job))
    _report(sent, as_json=as_json)
    raise typer.Exit(code or (SOME_BAD if sent.bad_lines else 0))


def _outages(text: str) -> tuple[tuple[int, int], ...]:
    try:
        return parse_outages(text)
    except ValueError as error:
        raise UsageError(f"--outage: {error}") from None


def _length_ms(text: str | None) -> int | None:
    try:
        return None if text is None else parse_duration(text) // timedelta(milliseconds=1)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None


async def _work(job: Job) -> tuple[Sent, int]:
    """What was sent, and 130 when Ctrl-C ended it. FailedError when Kafka does not take the rest after a signal."""
    stop, sent = asyncio.Event(), Sent()
    codes: list[int] = []
    connecting = asyncio.ensure_future(_connected(job))
    loop = asyncio.get_running_loop()

    def end(code: int) -> None:
        codes.append(code)
        stop.set()
        connecting.cancel()  # nothing happens when it is connected
        if leaving.when() is None:
            leaving.reschedule(loop.time() + LEAVE_SECONDS)

    try:
        async with asyncio.timeout(None) as leaving:
            loop.add_signal_handler(signal.SIGTERM, end, 0)
            loop.add_signal_handler(signal.SIGINT, end, INTERRUPTED)
            try:
                stack, sink = await connecting
            except asyncio.CancelledError:
                return sent, codes[0]
            async with stack:
                sent = Sent()
                await stack.enter_async_context(_shown(sent))
                await _send(job, sink, sent, stop)
    except TimeoutError:
        if not codes:
            raise
        raise FailedError(
            f"Kafka has not acknowledged the last messages in {LEAVE_SECONDS:.0f} s: some of {sent.messages:,} may be lost"
        ) from None
    return sent, codes[0] if codes else 0


async def _connected(job: Job) -> tuple[AsyncExitStack, Sink]:
    """Where messages go, and the stack that ends it."""
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(_file(job.target) if job.target else _kafka(job.settings))
        return stack.pop_all(), sink


async def _send(job: Job, sink: Sink, sent: Sent, stop: asyncio.Event) -> None:
    if job.source is not None:
        recorded = recording.read(job.source)
        if job.shift:
            recorded = _shifted(recorded, job.start_ms)
        await pace.play(recorded, sink, sent, stop, speed=job.speed, complain=lambda text: _complain(text, sent))
        return
    traffic = Traffic(job.plan, job.start_ms)
    if job.target is not None:
        await pace.write(traffic, sink, sent, stop, job.length_ms or 0)
    else:
        await pace.simulate(traffic, sink, sent, stop, job.length_ms)


def _shifted(recorded: Iterator[Message | str], start_ms: int) -> Iterator[Message | str]:
    by_ms: int | None = None
    for each in recorded:
        if isinstance(each, Message):
            by_ms = start_ms - each.at if by_ms is None else by_ms
            yield recording.moved(each, by_ms)
        else:
            yield each


def _complain(text: str, sent: Sent) -> None:
    if sent.bad_lines <= COMPLAINTS:
        say(text, err=True)
    if sent.bad_lines == COMPLAINTS:
        say("further bad lines are only counted", err=True)


class _File:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    async def send(self, messages: list[Message]) -> None:
        recording.write(messages, self._file)


@asynccontextmanager
async def _file(target: Path) -> AsyncIterator[Sink]:
    with recording.create(target) as file:
        yield _File(file)


@asynccontextmanager
async def _kafka(settings: Settings) -> AsyncIterator[Sink]:
    """Everything handed over is acknowledged when the context ends in order."""
    producer = sender.producer(settings.brokers or "", **security.options(settings))
    await client.start(producer, settings)
    try:
        sink = sender.Sender(producer, settings.topic_prefix)
        await sink.check(settings)
        yield sink
        await sink.flush()
    finally:
        await client.end(producer)


@asynccontextmanager
async def _shown(sent: Sent) -> AsyncIterator[None]:
    """Shows on stderr how far it is, on a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    with spinning("sending") as status:
        task = asyncio.create_task(_update(status, sent))
        try:
            yield
        finally:
            task.cancel()


async def _update(status: Callable[[str], None], sent: Sent) -> None:
    while True:
        behind = f", {sent.behind_ms / 1000:.1f} s behind" if sent.behind_ms > BEHIND_MS else ""
        status(f"sent {number_of(sent.messages, 'message')}, {sent.messages / max(sent.seconds, 0.001):,.0f}/s{behind}")
        await asyncio.sleep(0.5)


def _report(sent: Sent, *, as_json: bool) -> None:
    seconds = sent.seconds
    summary = {
        "sent": sent.messages,
        "topics": dict(sorted(sent.topics.items())),
        "bad": dict(sorted(sent.faults.items())),
        "bad_lines": sent.bad_lines,
        "seconds": round(seconds, 1),
        "behind_seconds": round(sent.behind_ms / 1000, 1),
    }
    if as_json:
        show_json(summary)
        return
    topics = ", ".join(f"{number:,} {topic}" for topic, number in sorted(sent.topics.items()))
    rate = sent.messages / max(seconds, 0.001)
    say(f"sent {number_of(sent.messages, 'message')} in {seconds:.1f} s ({rate:,.0f}/s): {topics}")
    if sent.faults:
        say("bad on purpose: " + ", ".join(f"{number} {fault}" for fault, number in sorted(sent.faults.items())))
    if sent.bad_lines:
        say(f"left out of the recording: {number_of(sent.bad_lines, 'line')} without a message", err=True)
    if sent.behind_ms > BEHIND_MS:
        say(f"it could not keep up: {sent.behind_ms / 1000:.1f} s behind at the end", err=True)
