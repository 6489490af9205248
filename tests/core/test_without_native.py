"""Where nothing could be compiled, Python alone keeps the same laws and plays the same transcripts."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SECONDS: Final = 280
"""Until it is given up, on a machine that does much else."""
KEPT: Final = (
    *("tests/core/test_laws.py", "tests/core/test_transcripts.py", "tests/core/test_ontime.py"),
    *("tests/core/test_shard.py", "tests/core/test_render.py", "tests/core/alerts/test_alerting.py"),
)
PROGRAM: Final = """
import sys
sys.modules["stream.core.native"] = None  # as if it were not there
import pytest
code = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
assert not [name for name in sys.modules if name.startswith("stream.core.native.")]
sys.exit(code)
"""


@pytest.mark.timeout(SECONDS + 20)
def test_python_alone_keeps_the_laws() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *KEPT],
        cwd=ROOT,
        env=os.environ | {"LAW_EXAMPLES": "60"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-2000:]}"
