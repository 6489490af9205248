"""Watches the process that runs a target (child.py): takes what it tells, and sees when it crashes, hangs or ends."""

import hashlib
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from tests.fuzz.child import FOUND, HEAD, SHARED
from tests.live import PROJECT

KEPT: Final = PROJECT / ".cache" / "fuzz"
"""Where inputs with findings are kept."""
HANGS: Final = 30.0
"""Seconds after which an input is given up, beside what its target allows."""
LOOK_EVERY: Final = 0.2
ENOUGH: Final = 10**12
MARK: Final = "LIVESHOP_FUZZ"


@dataclass(frozen=True, slots=True)
class Plan:
    """``scale``: how much slower and larger all may be (sanitizers). ``number``: of the first input."""

    target: str
    seed: int
    seconds: float
    most: int = ENOUGH
    number: int = 0
    scale: float = 1.0
    environ: Mapping[str, str] = field(default_factory=dict)
    hangs: float = HANGS


@dataclass(frozen=True, slots=True)
class Finding:
    target: str
    why: str
    data: bytes

    def keep(self, folder: Path) -> Path:
        """Its input as a file, named by what it holds."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:12]}"
        file.write_bytes(self.data)
        return file


@dataclass(frozen=True, slots=True)
class Hunted:
    """How many inputs were tried, in how many seconds, and what was found."""

    number: int
    seconds: float
    finding: Finding | None


Say = Callable[[int], None]
"""Told how many inputs were tried so far."""


def hunt(plan: Plan, say: Say = lambda _: None) -> Hunted:
    """Runs a target until its time is over, or something is found."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="liveshop-fuzz-") as shared, tempfile.TemporaryFile() as errors:
        shared.truncate(SHARED)
        with _started(plan, shared.name, errors) as process, mmap.mmap(shared.fileno(), SHARED) as memory:
            told = _Told(process, say)
            hung = _watch(process, memory, plan)
            told.join()
            code = process.wait()
        errors.seek(0)
        said = errors.read()[-20_000:].decode(errors="replace")
        why = _why(code, told.why, said, plan.hangs if hung else None)
        finding = None if why is None else Finding(plan.target, why, _input(memory_of(shared)))
        return Hunted(told.number - plan.number, time.monotonic() - began, finding)


def memory_of(shared: "tempfile._TemporaryFileWrapper[bytes]") -> bytes:
    shared.seek(0)
    return shared.read(SHARED)


def _started(plan: Plan, shared: str, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    numbers = (plan.seed, plan.number, plan.seconds, plan.most, plan.scale)  # as Job.of reads them
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.child", plan.target, *map(str, numbers), shared],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=PROJECT,
        env={**os.environ, **plan.environ},
    )


class _Told(threading.Thread):
    """What the process says, line by line."""

    def __init__(self, process: "subprocess.Popen[bytes]", say: Say) -> None:
        super().__init__(daemon=True)
        self.number = 0
        self.why: str | None = None
        self._lines = process.stdout
        self._say = say
        self.start()

    def run(self) -> None:
        for line in self._lines or ():
            told = json.loads(line)
            self.number = told["number"]
            self.why = told.get("why")
            self._say(self.number)


def _watch(process: "subprocess.Popen[bytes]", memory: mmap.mmap, plan: Plan) -> bool:
    """Until it ends. True when it had to be killed."""
    while process.poll() is None:
        time.sleep(LOOK_EVERY)
        began, _, size = HEAD.unpack_from(memory)
        if began and time.monotonic() - began > (plan.hangs + size * 1e-5) * plan.scale:
            process.send_signal(signal.SIGABRT)  # shows where it is
            return True
    return False


def _input(memory: bytes) -> bytes:
    _, _, size = HEAD.unpack_from(memory)
    return memory[HEAD.size : HEAD.size + size]


def _why(code: int, told: str | None, errors: str, hung: float | None) -> str | None:
    if hung is not None:
        return f"it was not read within {hung:g} s\n{errors}"
    if code == FOUND and told:
        return told
    if code == 0:
        return None
    return f"the process ended with {code if code >= 0 else signal.Signals(-code).name}\n{errors}"
