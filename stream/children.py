"""Child processes that do not outlive us: own process group, a log with a tail, ended by their id with a deadline."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_LOWEST_PORT: Final = 20_000
_TAIL: Final = 64_000
"""Bytes of a log that are looked at for its last lines."""


def die_with(parent: int) -> Callable[[], None] | None:
    """Runs in the child before its program: the kernel kills it when the thread that started it ends. Linux only."""
    libc = _libc
    if libc is None:
        return None

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return arm


def liveshop(*arguments: str) -> list[str]:
    """The command line of another liveshop.

    With ``-P`` it imports nothing from the current folder, where anybody may have put a ``stream.py`` or a ``json.py``.
    """
    return [sys.executable, "-P", "-m", "stream.cli", *arguments]


class Child:
    """A started program. Its output goes to ``log``; Ctrl-C on the terminal does not reach it (own process group).

    Start it from a thread that lives as long as it should: on Linux it is killed when that thread ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        stdout: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.command = list(command)
        self.log = log
        with log.open("ab") as err, (stdout or log).open("ab") as out:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=None if environ is None else dict(environ),
                process_group=0,
                preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - two system calls, no Python lock is taken
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs; -N when signal N ended it."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it; nothing happens when it has ended."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self.send(signal.SIGTERM)

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None when it still runs after ``seconds``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def stop(self, seconds: float = 15.0) -> int:
        """SIGTERM, after ``seconds`` SIGKILL. Returns the exit code; it has ended when this returns."""
        self.terminate()
        try:
            code = self.wait(seconds)
        except BaseException:  # a second Ctrl-C: at once
            self.kill()
            raise
        return self.kill() if code is None else code

    def kill(self) -> int:
        """SIGKILL. Returns the exit code; it has ended when this returns."""
        self._process.kill()
        return self._process.wait()

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for the message when it failed."""
        return tail(self.log, lines)


def tail(file: Path, lines: int = 30) -> str:
    """The last lines of a text file; empty when there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - _TAIL))
            content = log.read(_TAIL)
    except FileNotFoundError:
        return ""
    return "\n".join(content.decode(errors="replace").splitlines()[-lines:])


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now, below those the system hands to outgoing connections.

    From that range a client that reconnects could take it while its server restarts, or even connect to itself.
    """
    ports = random.SystemRandom().sample(range(_LOWEST_PORT, _first_ephemeral()), 200)
    for port in ports:
        if is_free(port, host):
            return port
    raise OSError(f"no free port on {host} between {_LOWEST_PORT} and {_first_ephemeral()}")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there right now."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
    return True


def _first_ephemeral() -> int:
    try:
        return max(_LOWEST_PORT + 1000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        return 32_768
