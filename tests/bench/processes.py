"""What the kernel says of processes: CPU and memory. Linux."""

import os
from pathlib import Path
from typing import Final

TICK: Final = os.sysconf("SC_CLK_TCK")
MB: Final = 1e6


def cpu(pid: int) -> float:
    """Seconds of CPU so far, user and system, all threads, in ticks of 10 ms. 0 when it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def descendants() -> list[int]:
    """All processes that this one has started, directly or not, and that still run."""
    parents = {int(path.name): _stat(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    found: list[int] = []
    new = [os.getpid()]
    while new:
        new = [pid for pid, fields in parents.items() if fields and int(fields[1]) in new]
        found += new
    return found


def rss_mb(pid: int) -> float:
    """Memory it holds now, in MB of 10^6 bytes. 0 when it is gone."""
    return _status(pid, "VmRSS:")


def peak_mb(pid: int) -> float:
    """The most it has ever held."""
    return _status(pid, "VmHWM:")


def _stat(pid: int) -> list[str]:
    """The fields after the program's name: the state is the first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return []


def _status(pid: int, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith(name))
