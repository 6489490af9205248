"""Logs: one line a fact, on stderr; JSON, or columns for people on a terminal. Times are ISO 8601, UTC.

Whatever comes from data is plain text here (stream/plaintext.py): it can neither colour a line nor look like another one.
Tracebacks never show local variables: an event may be among them, and its viewer id and text must not be logged.
"""

import logging
import sys
from collections.abc import Callable
from io import StringIO
from typing import Any, Final, Literal, TextIO, TypeAlias

import structlog
from structlog.typing import EventDict, Processor

from stream.observe.ratelimit import RateLimit
from stream.plaintext import json_text, plain, plain_lines

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
Format: TypeAlias = Literal["auto", "json", "console"]

LIBRARIES: Final = ("aiokafka", "asyncio")
"""They speak one level lower than we do: aiokafka tells every fetch at debug and every retry at info. Each kind of message
is said once a minute at most (stream/observe/ratelimit.py)."""

ORDINARY: Final = (
    "Heartbeat failed for group %s because it is rebalancing",
    "Got error produce response on topic-partition %s, retrying. Error: %s",
)
"""How a member learns that others come and go, and what a broker answers while it ends the transaction before (it calls
that too few replicas). What lasts, a worker says itself: its checkpoint fails."""

_QUIETER: Final = {"debug": "INFO", "info": "WARNING", "warning": "WARNING", "error": "ERROR"}


def configure(
    level: Level = "info", log_format: Format = "auto", stream: TextIO | None = None, *, process: int | None = None
) -> None:
    """Sends structlog and standard logging the same way, to stderr or ``stream``. May be called again.

    ``process``: which of several this one is; it stands in every line.
    """
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.addFilter(_ordinary(logging.getLevelNamesMapping()[level.upper()]))
    if level != "debug":
        handler.addFilter(RateLimit(LIBRARIES))
    handler.setFormatter(_formatter(is_json(log_format, out), process, colors=out.isatty()))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(_QUIETER[level])
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _ordinary(least: int) -> Callable[[logging.LogRecord], bool]:
    """A filter: what a library warns of in each rolling restart is ``info``, and not said where ``least`` is above that."""

    def say(record: logging.LogRecord) -> bool:
        if record.msg not in ORDINARY:
            return True
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        return least <= logging.INFO

    return say


def is_json(log_format: Format, stream: TextIO | None = None) -> bool:
    """Whether lines that go there (None: stderr) are JSON."""
    out = sys.stderr if stream is None else stream
    return log_format == "json" or (log_format == "auto" and not out.isatty())


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(as_json: bool, process: int | None, *, colors: bool) -> logging.Formatter:
    render: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dumps)]
        if as_json
        else [_plain, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_traceback)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _first(process), *render],
    )


def _first(process: int | None) -> Processor:
    """What stands at the beginning of every line."""
    which = {} if process is None else {"process": process}

    def order(_logger: object, _name: str, fields: EventDict) -> EventDict:
        first = {name: fields.pop(name) for name in ("time", "level", "event") if name in fields}
        return {**first, **which, **fields}

    return order


def _dumps(fields: EventDict, **_: Any) -> str:
    return json_text(fields)


def _plain(_logger: object, _name: str, fields: EventDict) -> EventDict:
    """For a terminal: texts of one line; what is no text the renderer writes as Python does, which escapes as much."""
    return {
        name: plain_lines(value) if name == "stack" else plain(value) if isinstance(value, str) else value
        for name, value in fields.items()
    }


def _traceback(out: TextIO, exception: Any) -> None:
    """An exception may quote what it was raised about."""
    text = StringIO()
    structlog.dev.plain_traceback(text, exception)
    out.write(plain_lines(text.getvalue()))
