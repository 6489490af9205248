"""How the parts of the bench speak: figures beside their goals, and the machine they were measured on."""

import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.cli.version import core
from tests.bench import processes

EVENTS: Final = 1_000_000
"""Of the whole worker, where nothing else is said."""
BUSY: Final = 0.3
"""Cores that others may use before a figure is marked."""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    events: int | None = None
    """None: what each part takes by itself."""
    sessions: int = 500
    repeats: int = 3
    places: bool = False
    rate: int = 12_000
    """Events a second of the traffic that is paced, and of event time of a backlog."""
    rivals: tuple[str, ...] = ()
    """Whom liveshop is compared with; none: all."""
    markdown: bool = False


def say(text: str = "") -> None:
    print(text, flush=True)  # noqa: T201 - a command


def machine() -> str:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    name = names[0] if names else platform.machine()
    return f"{os.cpu_count()} x {name}, Python {platform.python_version()}, core {core()}, load {load}"


def against(value: float, goal: float, unit: str, form: str = ".2f") -> str:
    """``0.62 s (goal 0.7 s: met)``. Every goal is an upper bound."""
    verdict = "met" if value <= goal else "MISSED"
    return f"{value:{form}} {unit} (goal {goal:g} {unit}: {verdict})"


@contextmanager
def alone() -> Iterator[None]:
    """Says so at the end when others were using the machine meanwhile: then the figures are too high."""
    began, busy, own = time.monotonic(), _busy(), _own()
    yield
    cores = ((_busy() - busy) - (_own() - own)) / max(0.1, time.monotonic() - began)
    if cores > BUSY:
        say(f"  NOTE: others were using the machine: {cores:.1f} of {os.cpu_count()} cores meanwhile")


def _busy() -> float:
    """Seconds of CPU of the whole machine; what a hypervisor takes away counts as busy."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / processes.TICK


def _own() -> float:
    """Seconds of CPU of this process and all that it has started, the ended ones included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(map(processes.cpu, processes.descendants()))
