"""How far a long reading is: on stderr, and only on a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from stream.cli.output import spinning

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
