"""Where nothing could be compiled, Python alone keeps the same laws and plays the same transcripts."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SECONDS: Final = 900
"""Until it is given up, on a machine that does much else."""
KEPT: Final = (
    *("tests/core/test_laws.py", "tests/core/test_transcripts.py", "tests/core/test_ontime.py"),
    *(
        "tests/core/test_extremes.py",
        "tests/core/test_shard.py",
        "tests/core/test_render.py",
        "tests/core/alerts/test_alerting.py",
    ),
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


COLLECT: Final = """
import sys
sys.modules["stream.core.native"] = None
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--collect-only", "tests"]))
"""


@pytest.mark.parametrize(("wish", "code"), [("", 0), ("must", 2)])
def test_what_was_not_built_is_skipped_with_a_reason_unless_it_must_be_there(wish: str, code: int) -> None:
    env = os.environ | {"LIVESHOP_NATIVE": wish}
    done = subprocess.run(
        [sys.executable, "-c", COLLECT], cwd=ROOT, env=env, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == code, f"{done.stdout[-4000:]}{done.stderr[-2000:]}"
    if not wish:
        assert "test_plain.py:20: built without a C compiler" in done.stdout


ONE_MISSING: Final = """
import importlib, importlib.util, pkgutil, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name.endswith(".totals") else find_spec(name)
import stream
for module in pkgutil.walk_packages(stream.__path__, "stream.", onerror=lambda name: None):
    if not module.name.startswith("stream.core.native") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert not [name for name in sys.modules if name.startswith("stream.core.native.")], "some are native"
from stream.cli.version import core
assert core() == "interpreted", core()
"""


def test_some_native_modules_are_as_none() -> None:
    """They know each other's structs. All of liveshop can be had without."""
    done = subprocess.run([sys.executable, "-c", ONE_MISSING], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_list_of_native_modules_is_whole() -> None:
    native = pytest.importorskip("stream.core.native", reason="built without a C compiler")
    assert set(native.MODULES) == {path.stem for path in (ROOT / "stream" / "core" / "native").glob("*.pyx")}
