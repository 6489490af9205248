"""SIGTERM and SIGINT: the first one asks, the second one ends the process at once. SIGHUP: files are read again."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final, Self

CODES: Final = {signal.SIGTERM: 0, signal.SIGINT: 128 + signal.SIGINT}
"""Exit codes after the first signal and an orderly end."""


class Signals:
    """While entered, ``first`` is the first signal. To be entered in the main thread, within the event loop."""

    def __init__(self) -> None:
        self._hang_up: Callable[[], object] | None = None
        self._loop = asyncio.get_running_loop()
        self.first: asyncio.Future[signal.Signals] = self._loop.create_future()

    def __enter__(self) -> Self:
        for number in CODES:
            self._loop.add_signal_handler(number, self._came, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (*CODES, signal.SIGHUP):
            self._loop.remove_signal_handler(number)

    @property
    def code(self) -> int:
        """The exit code for the signal that came."""
        return CODES[self.first.result()]

    def at_hang_up(self, do: Callable[[], object]) -> None:
        """What is done at each SIGHUP; before this is called, nothing."""
        self._hang_up = do

    def _hung_up(self) -> None:
        if self._hang_up is not None:
            self._hang_up()

    def _came(self, number: signal.Signals) -> None:
        if self.first.done():
            leave_at_once(128 + number)
        self.first.set_result(number)


def leave_at_once(code: int) -> None:
    """Ends the process without closing anything, but with the last lines of its log."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    logging.shutdown()
    os._exit(code)
