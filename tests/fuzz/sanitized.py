"""The native modules under AddressSanitizer and UndefinedBehaviorSanitizer: built into a copy of the project, then tried.

    python -m tests.fuzz.sanitized --for 2m [--tests]      make fuzz-sanitized

A read beyond the end, a use after free, an overflow or a wrong shift ends the process, and is a finding as any other.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final

from stream.durations import parse_duration
from tests.live import PROJECT

TARGETS: Final = ("batches", "values", "shard", "state", "panes")
"""Those that reach native code."""
NATIVE: Final = Path("stream/core/native")
COPIED: Final = ("stream", "tests", "schemas", "pyproject.toml")
SANITIZE: Final = "-fsanitize=address,undefined"
COMPILE: Final = ("-shared", "-fPIC", "-O0", "-g1", "-fno-omit-frame-pointer", "-fno-strict-aliasing", SANITIZE)
"""Not optimized: it is built in a third of the time, and nothing that is wrong is optimized away."""
LIBRARIES: Final = ("libasan.so", "libubsan.so", "libstdc++.so.6")
"""Loaded first. The last one, so that exceptions of C++ in other modules are seen."""
SLOWER: Final = 30
"""All takes so much longer, and more memory."""
OPTIONS: Final = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",  # Python frees not all at its end
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "PYTHONMALLOC": "malloc",  # else most objects are not looked at
    "LIVESHOP_NATIVE": "must",
}


class MissingError(Exception):
    """What it needs is not there."""


def preloaded() -> str:
    """The sanitizers' libraries. Raises MissingError without them or a compiler."""
    if shutil.which("gcc") is None:
        raise MissingError("gcc is missing (Debian: apt install gcc)")
    found = [_said(["gcc", f"-print-file-name={name}"]).strip() for name in LIBRARIES]
    missing = [name for name, path in zip(LIBRARIES, found, strict=True) if not Path(path).is_absolute()]
    if missing:
        raise MissingError(f"{', '.join(missing)} is missing (Debian: apt install gcc libstdc++6)")
    return " ".join(found)


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def build(folder: Path) -> None:
    """A copy of the project there, with native modules that look after themselves."""
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(source, folder / name)
    sources = _translated(folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(lambda source: _compiled(source, folder), sources):
            if done.returncode:
                raise MissingError(done.stderr[-4000:])


def _translated(folder: Path) -> list[Path]:
    """The modules in C."""
    subprocess.run([sys.executable, str(NATIVE / "generate.py")], cwd=folder, check=True)
    modules = sorted(str(each.relative_to(folder)) for each in (folder / NATIVE).glob("*.pyx"))
    subprocess.run([sys.executable, "-m", "cython", "-3", *modules], cwd=folder, check=True, capture_output=True)
    return [(folder / module).with_suffix(".c") for module in modules]


def _compiled(source: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    target = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    include = [f"-I{sysconfig.get_paths()['include']}", f"-I{folder / NATIVE}"]
    command = ["gcc", *COMPILE, *include, str(source), "-o", str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def tried(folder: Path, command: Iterable[str], preload: str) -> int:
    """The exit code of a Python program in that copy."""
    environ: Mapping[str, str] = {**os.environ, **OPTIONS, "LD_PRELOAD": preload, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environ, check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.sanitized", description=__doc__)
    parser.add_argument("--for", dest="length", metavar="TIME", default="2m", help="of fuzzing; default 2m")
    parser.add_argument("--seed", type=int, default=1, help="the same one makes the same inputs")
    parser.add_argument("--tests", action="store_true", help="the tests of the native modules too")
    options = parser.parse_args(arguments)
    if parse_duration(options.length) < timedelta(seconds=len(TARGETS)):
        parser.error(f"--for: at least a second for each of {len(TARGETS)} targets")
    try:
        with tempfile.TemporaryDirectory(prefix="liveshop-sanitized-") as name:
            return _all(Path(name), options, preloaded())
    except MissingError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is a command line
        return 2


def _all(folder: Path, options: argparse.Namespace, preload: str) -> int:
    build(folder)
    wanted = [word for name in TARGETS for word in ("--target", name)]
    fuzz = ["-m", "tests.fuzz", "--for", options.length, "--seed", str(options.seed), "--scale", str(SLOWER), *wanted]
    codes = [tried(folder, [*fuzz, "--keep", str(PROJECT / ".cache" / "fuzz")], preload)]
    if options.tests:
        pytest = [
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--timeout",
            "3000",
            str(folder / "tests/core/native"),
        ]
        codes.append(tried(folder, pytest, preload))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
