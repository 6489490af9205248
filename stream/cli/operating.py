"""What the operators' commands share: work that a broker may refuse, yes or no, and tables."""

import asyncio
import logging
import sys
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import orjson
import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from stream.config import CONNECTION, Settings
from stream.errors import FailedError, UsageError
from stream.observe import logs

T = TypeVar("T")
UNCUT: Final = 250
"""Columns of a table that goes to a file or a pipe."""
NEEDED: Final = (*CONNECTION, "group", "topic_prefix", "transaction_timeout")
"""Settings that every command here takes."""


def ask(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that only looks. What the Kafka edge would log as a worker is not said."""
    with _silence():
        return do(work)


def do(work: Coroutine[Any, Any, T]) -> T:
    """The result. A broker that refuses or falls silent is FailedError."""
    try:
        return asyncio.run(work)
    except (KafkaError, TimeoutError) as error:
        raise FailedError(f"the broker could not do it: {type(error).__name__}: {error}") from error


@contextmanager
def _silence() -> Iterator[None]:
    before = logging.root.manager.disable
    logs.configure("error")
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def speak(settings: Settings) -> None:
    """Logs of a change go to stderr."""
    logs.configure("warning", settings.log_format)


def confirm(question: str, *, yes: bool) -> None:
    """Goes on when told yes, on the command line or on a terminal. Else UsageError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was done: this is no terminal to ask on, say --yes")
    if not typer.confirm(question, err=True):
        raise FailedError("nothing was done")


def print_json(values: Sequence[Any]) -> None:
    plain = [asdict(value) if is_dataclass(value) and not isinstance(value, type) else value for value in values]
    typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def print_table(headers: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(*headers, box=None)
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else UNCUT, highlight=False, markup=False).print(table)


def moment(ms: int | None) -> str | None:
    """A time as people read it, UTC."""
    if ms is None:
        return None
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
