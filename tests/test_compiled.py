"""The compiled core (`make compiled`) keeps the same laws and plays the same transcripts as the interpreted one."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECONDS = 600
"""Until either has been given up, on a machine that does much else."""
KEPT = (
    *("tests/core/test_laws.py", "tests/core/test_transcripts.py", "tests/core/test_ontime.py"),
    *("tests/core/alerts/test_alerting.py", "tests/core/alerts/test_on_air.py", "tests/core/alerts/test_history.py"),
)


def _run(folder: Path, *command: str) -> str:
    environ = os.environ | {"LIVESHOP_COMPILE": "0", "PYTHONPATH": str(folder)}
    done = subprocess.run(  # our own Python
        [sys.executable, *command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, (
        f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
    )
    return done.stdout


@pytest.mark.timeout(2 * SECONDS)
def test_a_compiled_core_keeps_the_laws(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here (Debian: apt install gcc libc6-dev)")
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        pytest.skip("Python's headers are not here (Debian: apt install python3-dev)")
    for name in ("stream", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    _run(tmp_path, "setup.py", "--quiet", "build_ext", "--inplace")
    assert "core compiled" in _run(tmp_path, "-m", "stream.cli", "version")
    _run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *KEPT)
