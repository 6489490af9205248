"""The process that runs a target: it may crash or hang, and another one (hunt.py) watches.

What it does now lies in a shared file, so that it is known when it is gone: when it began, which input, and its bytes.
"""

import faulthandler
import json
import mmap
import os
import resource
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, NamedTuple, Self, TextIO

from tests.fuzz import targets
from tests.fuzz.target import Bound, Target

HEAD: Final = struct.Struct("<dQI")
"""When it began (monotonic), number of the input, its size; then its bytes."""
SHARED: Final = 64_000_000
WARM: Final = 50
"""Inputs after which memory is looked at: the first fill caches and import modules."""
ATTEMPTS: Final = 4
"""How often an input that took too long is tried before it is believed."""
ADDRESSES: Final = 6_000_000_000
"""Bytes of address space: a bomb ends this process, not the machine."""
SAY_EVERY: Final = 0.5
FOUND: Final = 3
"""Exit code."""


class Measured(NamedTuple):
    seconds: float
    memory: int


def measured(act: Callable[[], None]) -> Measured:
    """CPU of this thread, and the bytes that it held more than before at its highest (0 where the system cannot tell)."""
    before = _forget_peak()
    began = time.thread_time()
    act()
    seconds = time.thread_time() - began
    return Measured(seconds, max(0, _status(b"VmHWM:") - before) if before else 0)


def _forget_peak() -> int:
    """The peak begins anew from what is held now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_bytes(b"5")
    except OSError:
        return 0
    return _status(b"VmRSS:")


def _status(name: bytes) -> int:
    status = Path("/proc/self/status").read_bytes()
    begin = status.find(name)
    return int(status[begin + len(name) : status.index(b"kB", begin)]) * 1024 if begin >= 0 else 0


def judge(target: Target, data: bytes, scale: float = 1.0) -> str | None:
    """What is wrong with how it is read, or None. ``scale``: how much slower all is than usual."""
    try:
        found = measured(lambda: target.run(data))
        for _ in range(ATTEMPTS - 1):
            if found.seconds <= target.bound.time_for(len(data)) * scale:
                break
            found = min(found, measured(lambda: target.run(data)))
    except Exception:  # noqa: BLE001 - any is a finding
        return traceback.format_exc(limit=-12)
    return _beyond(target.bound, found, len(data), scale)


def _beyond(bound: Bound, found: Measured, size: int, scale: float) -> str | None:
    if found.seconds > bound.time_for(size) * scale:
        return f"{size:,} bytes took {found.seconds:.2f} s of CPU, more than {bound.time_for(size) * scale:.2f}"
    if found.memory > bound.memory_for(size) * scale:
        return f"{size:,} bytes took {found.memory:,} bytes of memory, more than {bound.memory_for(size) * scale:,.0f}"
    return None


def made(target: Target, seed: int, number: int) -> bytes:
    return target.make(Random(f"{seed}/{target.name}/{number}"))


@dataclass(frozen=True, slots=True)
class Job:
    """Inputs from number ``first`` on, for so many seconds, at most ``most``."""

    target: str
    seed: int
    first: int
    seconds: float
    most: int
    scale: float
    shared: str

    @classmethod
    def of(cls, words: Sequence[str]) -> Self:
        target, seed, first, seconds, most, scale, shared = words
        return cls(target, int(seed), int(first), float(seconds), int(most), float(scale), shared)


def main(job: Job) -> int:
    """Tells in lines of JSON, on what was the output: whatever the target writes goes to the errors."""
    faulthandler.enable()
    if job.scale == 1.0:  # what sanitizers need is far more
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    with os.fdopen(os.dup(1), "w") as out, Path(job.shared).open("r+b") as file:
        os.dup2(2, 1)
        with mmap.mmap(file.fileno(), SHARED) as memory:
            return _run(job, memory, out)


def _run(job: Job, memory: mmap.mmap, out: TextIO) -> int:
    target = targets.target(job.target)
    began = time.monotonic()
    said, number = 0.0, job.first
    for number in range(job.first, job.first + job.most):
        data = made(target, job.seed, number)
        now = time.monotonic()
        memory[: HEAD.size + len(data)] = HEAD.pack(now, number, len(data)) + data
        if now - said > SAY_EVERY:
            said = now
            _say(out, number=number)
        if number - job.first < WARM:
            with suppress(Exception):  # it is run again, and told then
                target.run(data)
        why = judge(target, data, job.scale)
        if why is not None:
            _say(out, number=number, why=why)
            return FOUND
        if now - began > job.seconds:
            break
    _say(out, number=number + 1)
    return 0


def _say(out: TextIO, **what: object) -> None:
    out.write(json.dumps(what) + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main(Job.of(sys.argv[1:])))
