"""How often one message of a library may be said: at once, then at most once a minute, with the number left out.

A broker that is away makes aiokafka log the same message for every connection and every retry. Nothing is silenced:
each kind of message is said, and how often it came.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

EVERY: Final = 60.0
"""Seconds."""
MOST: Final = 1000
"""Kinds of messages remembered; beyond that the oldest are forgotten, and may be said again."""


@dataclass(slots=True)
class _Said:
    at: float
    left_out: int = 0


class RateLimit(logging.Filter):
    """Of the loggers whose names begin with one of ``libraries``. A kind is a logger, a level and an unformatted message."""

    def __init__(self, libraries: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._libraries = libraries
        self._clock = clock
        self._said: dict[tuple[str, int, str], _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self._libraries:
            return True
        now, kind = self._clock(), (record.name, record.levelno, str(record.msg))
        said = self._said.get(kind)
        if said is not None and now - said.at < EVERY:
            said.left_out += 1
            return False
        if said is not None and said.left_out:
            record.msg, record.args = f"{record.getMessage()} (and {said.left_out} more like it)", None
        self._said.pop(kind, None)
        self._said[kind] = _Said(now)
        if len(self._said) > MOST:
            del self._said[next(iter(self._said))]
        return True
