"""Where nothing could be compiled, Python alone keeps the same laws and plays the same transcripts."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from stream.core.switch import MODULES

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


IMPORT_ALL: Final = """
import importlib, pkgutil, sys
import stream
for module in pkgutil.walk_packages(stream.__path__, "stream.", onerror=lambda name: None):
    if not module.name.startswith("stream.core.native") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
NONE_THERE: Final = f"""
import sys
sys.modules["stream.core.native"] = None
{IMPORT_ALL}
assert not [name for name in sys.modules if name.startswith("stream.core.native.")], "some are native"
from stream.cli.version import core
assert core() == "interpreted", core()
"""
ONE_MISSING: Final = f"""
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name.endswith(".totals") else find_spec(name)
{IMPORT_ALL}
"""
ONE_BROKEN: Final = f"""
import sys
sys.modules["stream.core.native.%s"] = None  # it is there, and cannot be imported
{IMPORT_ALL}
"""


def program(text: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False)


def test_all_of_liveshop_can_be_had_without() -> None:
    done = program(NONE_THERE)
    assert done.returncode == 0, done.stderr


def test_a_build_of_which_a_part_is_missing_is_an_error() -> None:
    """They know each other's structs; and half of the speed would be noticed by nobody."""
    pytest.importorskip("stream.core.native.totals", reason="built without a C compiler")
    done = program(ONE_MISSING)
    assert done.returncode == 1
    assert "ImportError: the native hot path is built in part: totals missing" in done.stderr


@pytest.mark.parametrize("name", ["records", "judging"])
def test_a_native_module_that_cannot_be_imported_ends_the_program_with_its_error(name: str) -> None:
    pytest.importorskip("stream.core.native.totals", reason="built without a C compiler")
    done = program(
        "import importlib.util as util; find_spec = util.find_spec\n"
        "util.find_spec = lambda name: True if name.startswith('stream.core.native.') else find_spec(name)\n"
        + ONE_BROKEN
        % name
    )
    assert done.returncode == 1
    assert f"stream.core.native.{name}" in done.stderr


def test_nobody_else_decides_whether_it_is_native() -> None:
    """An import of what is native that catches its error would hide any other one, too."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "stream").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Try) and "core.native" in ast.unparse(node)
    ]
    assert wrong == []


def test_the_list_of_native_modules_is_whole() -> None:
    """The table is generated when they are built."""
    written = {path.stem for path in (ROOT / "stream" / "core" / "native").glob("*.pyx")}
    assert set(MODULES) == written | {"table"}


def test_bounds_are_checked_in_every_native_module() -> None:
    """An index may come from what strangers write. Where it points into C, the code that uses it says why it is right."""
    native = ROOT / "stream" / "core" / "native"
    sources = [*native.glob("*.pyx"), *native.glob("*.pxd"), ROOT / "setup.py"]
    assert [path.name for path in sources if re.search(r"boundscheck\W*(False|0)", path.read_text())] == []
