"""The checkers of Prometheus: where they are missing tests are skipped, in CI they must be there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def needed(program: str, package: str = "prometheus") -> str:
    """Its path. Skips the test without it, and fails in CI. ``package`` is Debian's."""
    found = shutil.which(program)
    if found is None:
        assert not os.environ.get("CI"), f"{program} is missing: apt-get install {package}"
        pytest.skip(f"{program} is missing (Debian package {package})")
    return found


def run(program: str, *arguments: str | Path, folder: Path | None = None) -> tuple[int, str]:
    """Exit code and what it says."""
    done = subprocess.run(
        [needed(program), *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr
