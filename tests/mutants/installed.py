"""mutmut and what it needs, in a folder that comes before the environment."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.mutants.changed import ROOT

TOOL: Final = ROOT / ".cache" / "mutmut"
PINS: Final = Path(__file__).with_name("requirements.txt")


def installed() -> None:
    """As `requirements.txt` says it; the copy of it is written last, so that what was interrupted is made again."""
    made_of = TOOL / PINS.name
    if made_of.exists() and made_of.read_text() == PINS.read_text():
        return
    shutil.rmtree(TOOL, ignore_errors=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--target",
        str(TOOL),
        "-r",
        str(PINS),
    ]
    if subprocess.run(pip, check=False).returncode:
        raise SystemExit("mutmut could not be installed")
    shutil.copy2(PINS, made_of)
