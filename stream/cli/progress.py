"""How far long work is: on stderr, and what moves only on a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from stream.cli.output import say, spinning

EVERY: Final = 0.2


@contextmanager
def reading(what: str) -> Iterator[Callable[[int, int], None]]:
    """To be told how many are done, and how many there are (0: nobody knows)."""
    if not sys.stderr.isatty():
        yield lambda _done, _every: None
        return
    began = shown = time.monotonic()
    with spinning("reading") as say:

        def tell(done: int, every: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= EVERY:
                shown = now
                of = f" of {every:,}" if every else ""
                say(f"read {done:,}{of} {what}, {done / (now - began):,.0f}/s")

        yield tell


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """To be told what begins now, one thing after the other; "" when all is done. A line each, and what lasts turns, with
    the seconds since it began, until the next one.
    """
    turning = _Turning() if sys.stderr.isatty() else None

    def step(what: str) -> None:
        if turning is not None:
            turning.end()
        if what:
            say(what, err=True)
            if turning is not None:
                turning.begin()

    try:
        yield step
    finally:
        if turning is not None:
            turning.end()


class _Turning:
    """Beneath the line that says what is done."""

    def __init__(self) -> None:
        self._over = Event()
        self._thread: Thread | None = None

    def begin(self) -> None:
        self._over = Event()
        self._thread = Thread(target=self._turn, args=(self._over,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None

    def _turn(self, over: Event) -> None:
        began = time.monotonic()
        with spinning("0 s") as now:
            while not over.wait(1):
                now(f"{time.monotonic() - began:.0f} s")
