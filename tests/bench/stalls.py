"""``python -m tests.bench.stalls OUT liveshop-arguments…``: liveshop with a timer in its event loop that measures stalls.

A timer of 2 ms in the loop notes, each time it is run, how late it is by the wall clock and how long the loop's thread
has computed since it was run last. The first includes what other processes and threads took, the second is ours alone:
the CPU of whatever the loop ran without looking at its timers, and at most 2 ms more. A second thread looks at what the
loop does when the timer is overdue, so that long stalls have a name. All of it costs about 1 % of a core.

SIGUSR1 begins anew, SIGUSR2 writes what was found since.
"""

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, Final

TICK: Final = 0.002
OVERDUE: Final = 0.025
"""Seconds after which the second thread looks at what the loop does."""
LOOK_EVERY: Final = 0.01
KEPT: Final = 20
"""Longest stalls that are kept with their names."""


class Watch:
    """Fields are written by the loop's thread, but for ``_doing``."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._loop_thread = threading.get_ident()
        self._doing: dict[str, None] = {}
        self.reset()

    def reset(self, *_: object) -> None:
        self._late: list[float] = []
        self._computed: list[float] = []
        self._longest: list[tuple[float, float, list[str]]] = []
        self._due = time.monotonic() + TICK
        self._cpu = time.thread_time()

    def write(self, *_: object) -> None:
        found = {"late": self._late, "computed": self._computed, "longest": self._longest}
        partial = self._out.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.rename(self._out)

    async def tick(self) -> None:
        while True:
            self._due, self._cpu = time.monotonic() + TICK, time.thread_time()
            await asyncio.sleep(TICK)
            late, computed = time.monotonic() - self._due, time.thread_time() - self._cpu
            self._late.append(round(late, 5))
            self._computed.append(round(computed, 5))
            if late > OVERDUE:
                self._keep(late, computed)

    def _keep(self, late: float, computed: float) -> None:
        doing, self._doing = list(self._doing), {}
        self._longest.append((round(computed, 4), round(late, 4), doing))
        self._longest = sorted(self._longest, reverse=True)[:KEPT]

    def look(self) -> None:
        """In a thread of its own: notes where the loop's thread is while the timer is overdue."""
        while True:
            time.sleep(LOOK_EVERY)
            if time.monotonic() - self._due > OVERDUE:
                self._doing[_place(sys._current_frames().get(self._loop_thread))] = None


def _place(frame: FrameType | None) -> str:
    """The innermost of our own functions, and who called it."""
    names: list[str] = []
    while frame is not None and len(names) < 3:
        if "/stream/" in frame.f_code.co_filename:
            names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(names) or "else"


def main() -> None:
    import uvloop

    watch = Watch(Path(sys.argv[1]))
    run = uvloop.run

    async def watched(work: Coroutine[Any, Any, Any]) -> Any:
        ticking = asyncio.create_task(watch.tick())
        try:
            return await work
        finally:
            ticking.cancel()

    uvloop.run = lambda work: run(watched(work))
    signal.signal(signal.SIGUSR1, watch.reset)
    signal.signal(signal.SIGUSR2, watch.write)
    threading.Thread(target=watch.look, daemon=True).start()

    from stream.cli import main as liveshop

    liveshop(sys.argv[2:])


if __name__ == "__main__":
    main()
