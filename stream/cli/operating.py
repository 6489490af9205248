"""What the operators' commands share: work that a broker may refuse, and yes or no."""

import asyncio
import getpass
import logging
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import typer
from aiokafka.errors import KafkaError

from stream.config import CONNECTION
from stream.errors import FailedError, UsageError
from stream.sessions.role import WORKER

T = TypeVar("T")
NEEDED: Final = (*CONNECTION, "group", "topic_prefix", "transaction_timeout")
"""Settings that every command here takes."""


ROLE: Final = WORKER
"""Whose states and offsets they are about. What is done with them (stream/operate/) takes any role."""


def ask(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that only looks. What the Kafka edge would log as a worker is not said."""
    with _silence():
        return do(work)


def do(work: Coroutine[Any, Any, T], *, run: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run) -> T:
    """The result. A broker that refuses or falls silent is FailedError."""
    try:
        return run(work)
    except (KafkaError, TimeoutError) as error:
        raise FailedError(f"the broker could not do it: {type(error).__name__}: {error}") from error


@contextmanager
def _silence() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def confirm(question: str, *, yes: bool) -> None:
    """Goes on when told yes, on the command line or on a terminal. Else UsageError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was done: this is no terminal to ask on, say --yes")
    if not typer.confirm(question, err=True):
        raise FailedError("nothing was done")


def operator() -> str:
    """Who types this, unless told otherwise."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
