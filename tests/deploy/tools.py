"""The linters of containers and charts, in an environment of their own: `.cache/lint`, made once from pinned packages.

They are not in the environment of the tests, since the two would have to agree on common packages.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.live import PROJECT

FOLDER: Final = PROJECT / ".cache" / "lint"
PINS: Final = PROJECT / "deploy" / "lint" / "requirements.txt"
SECONDS: Final = 600


class MissingError(Exception):
    """The linters cannot be had here; the text says why."""


def binaries() -> Path:
    """Where the linters are. They are installed when they are not, or not those of the pins. Raises MissingError.

    A process tries that once: without a network each try takes seconds.
    """
    if why := _made():
        raise MissingError(why)
    return FOLDER / "bin"


@cache
def _made() -> str:
    """Makes the environment where it is not there. Why it cannot be had; empty when it is there."""
    wanted = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()
    mark = FOLDER / "made-of"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not mark.exists() or mark.read_text() != wanted:
            if why := _install():
                return why
            mark.write_text(wanted)
    return ""


def _install() -> str:
    """Why it failed; empty when it did not."""
    sys.stderr.write(f"making the environment of the linters in {FOLDER.relative_to(PROJECT)} (once)\n")
    python = FOLDER / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(FOLDER)],
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--require-hashes",
            "-r",
            str(PINS),
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode:
            return f"the linters cannot be installed: {done.stderr.strip()[-500:]}"
    return ""


def need() -> Path:
    """`binaries` for a test. Without them it is skipped, and in CI it fails."""
    try:
        return binaries()
    except MissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
