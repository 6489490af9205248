"""``liveshop worker --processes N``: a small parent that starts the workers, starts again one that dies, ends all
together, and shows the metrics and the health of all on one page. It counts nothing itself and holds nothing that
would be missed.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from stream import __version__
from stream.children import die_with, free_port, liveshop
from stream.cli.flags import environment
from stream.config import Settings
from stream.errors import UsageError
from stream.kafka.rebuild_cutoff import RebuildCutoffs, states_now
from stream.kafka.retries import Backoff, BackoffPolicy
from stream.kafka.signals import Signals
from stream.observe.fleet import Fleet
from stream.observe.health import heartbeat
from stream.observe.http import HttpServer
from stream.sessions import topics
from stream.sessions.role import WORKER

MOST: Final = 64
"""Processes of one parent."""
WRONG: Final = 2
"""Exit code of a process that would fail again however often it was started."""
END_SECONDS: Final = 9.3
"""From the first signal until what still runs is killed; ten are promised, and a worker takes at most nine."""
AGAIN: Final = BackoffPolicy(first=0.5, most=30.0, calm=60.0)
"""Before a process that has died is started again."""
BEAT: Final = 1.0
LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the counters when nobody asks for /metrics: what a killed process had counted since
is missing in them."""
_HIGHEST_PORT: Final = 65_535
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not to listen on, to be replaced
"""Who listens everywhere is asked here."""

log: Final = structlog.get_logger("liveshop")


def supervise(settings: Settings, processes: int, *, rebuild: bool) -> int:
    """Runs several workers to their end, and returns the exit code.

    Raises UsageError and FailedError, each with one clear message.
    """
    ports = child_ports(settings.http_port, processes)
    # looked up once for all, so that a process that is started again does not rebuild again
    discards = asyncio.run(_states_now(settings)) if rebuild else {}
    commands = [_command(number, port, discards) for number, port in enumerate(ports)]
    fleet = Fleet([page_url(settings.http_host, port) for port in ports], settings.top_sessions)
    registry = CollectorRegistry()
    registry.register(fleet)
    with HttpServer(settings.http_host, settings.http_port, registry, fleet) as http:
        log.info(
            "listening", version=__version__, processes=processes, metrics=f"{http.url}/metrics",
            health=f"{http.url}/healthz", ready=f"{http.url}/readyz",
        )  # fmt: skip
        return asyncio.run(_Supervisor(commands, environment(settings), fleet).run())


def child_ports(port: int, processes: int) -> list[int]:
    """The ports after ours, or free ones where ours is any. UsageError when there are not so many."""
    if port == 0:
        free: set[int] = set()
        while len(free) < processes:
            free.add(free_port())
        return sorted(free)
    if port + processes > _HIGHEST_PORT:
        raise UsageError(
            f"--processes {processes} needs the ports {port} to {port + processes}, one for all and one for each, and "
            f"{_HIGHEST_PORT} is the highest; choose a lower --http-port (0: any free ones)"
        )
    return list(range(port + 1, port + 1 + processes))


def page_url(host: str, port: int) -> str:
    """Where a process that listens on ``host`` is asked, without a path."""
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _states_now(settings: Settings) -> RebuildCutoffs:
    return await states_now(WORKER, settings, await topics.shards(settings))


def _command(number: int, port: int, discards: RebuildCutoffs) -> list[str]:
    rebuild = (
        [f"--rebuild-before={','.join(f'{each}:{state}' for each, state in discards.items())}"] if discards else []
    )
    return liveshop("worker", f"--http-port={port}", f"--process={number}", *rebuild)


class _Supervisor:
    """To be run in the main thread: on Linux the kernel ends the children when the thread that started them ends."""

    def __init__(self, commands: Sequence[Sequence[str]], environ: Mapping[str, str], fleet: Fleet) -> None:
        self._commands = commands
        self._environ = environ
        self._fleet = fleet
        self._ending = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}

    async def run(self) -> int:
        """Until a signal comes, or a process ends that would fail again."""
        with Signals() as signals:
            signals.at_hang_up(self._hang_up)
            tending = [asyncio.create_task(self._tend(number)) for number in range(len(self._commands))]
            watching = [asyncio.create_task(heartbeat(self._fleet.beat, BEAT)), asyncio.create_task(self._look())]
            either: list[asyncio.Future[Any]] = [signals.first, *tending]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if signals.first.done():
                log.info("stopping all processes", signal=signals.first.result().name)
            await self._end(tending)
            for task in watching:
                task.cancel()
            codes = [task.result() for task in tending]
            return signals.code if signals.first.done() else max(codes)

    async def _tend(self, number: int) -> int:
        """Keeps one process running. Returns the exit code of the last one when all are to end."""
        backoff = Backoff(AGAIN)
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            code = await self._once(number)
            if self._ending.is_set():
                return code
            if code == WRONG:
                log.error("a process has an error that a restart does not mend: all processes stop", process=number)
                return code
            pause = backoff.pause(clock() - began)
            log.warning(
                "a process has ended and is started again",
                process=number,
                why=_why(code),
                pause_seconds=round(pause, 2),
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()
                    return 0

    async def _once(self, number: int) -> int:
        """One life of a process, and its exit code."""
        process = await asyncio.create_subprocess_exec(
            *self._commands[number],
            stdin=subprocess.DEVNULL,
            env=self._environ,
            process_group=0,  # Ctrl-C on the terminal reaches only us: a worker would take ours for the second
            preexec_fn=die_with(os.getpid()),
        )
        self._running[number] = process
        self._fleet.began(number)
        if self._ending.is_set():
            process.terminate()
        code = await process.wait()
        del self._running[number]
        self._fleet.ended(number, f"has ended ({_why(code)}) and is started again")
        return code

    def _hang_up(self) -> None:
        """Every process reads its rules again."""
        for process in self._running.values():
            process.send_signal(signal.SIGHUP)

    async def _end(self, tending: Sequence[asyncio.Task[int]]) -> None:
        """Ends all processes at once, each with a last checkpoint."""
        self._ending.set()
        for process in self._running.values():
            process.terminate()
        await asyncio.wait(tending, timeout=END_SECONDS)
        for number, process in self._running.items():
            log.warning("a process did not end in time and is killed: its last checkpoint holds", process=number)
            process.kill()
        await asyncio.wait(tending)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await asyncio.to_thread(self._fleet.look, LOOK_EVERY)
            except Exception:  # what is shown must not end what is counted
                log.exception("the metrics of the processes could not be merged")


def _why(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
