"""A copy of what is tested and of its tests, where nothing native is built."""

import json
import shutil
from collections.abc import Iterable
from typing import Final

from tests.mutants.changed import ROOT

COPY: Final = ROOT / ".cache" / "mutants"
WHAT: Final = (
    "stream",
    "tests",
    "deploy",
    "docs",
    "schemas",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "CHANGELOG.md",
    "constraints.txt",
)


EVERYTHING: Final = 'only_mutate = ["stream/core/*.py"]'
"""As pyproject.toml says it."""


def copied(patterns: Iterable[str]) -> None:
    """Anew, so that no result of an earlier run is taken for one of this. Only modules of these mutants will be mutated."""
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    leave = shutil.ignore_patterns("*.so", "__pycache__", ".cache")
    for name in WHAT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, COPY / name, ignore=leave)
        elif source.exists():
            shutil.copy2(source, COPY / name)
    modules = [_file_of(pattern) for pattern in patterns]
    if modules:
        settings = COPY / "pyproject.toml"
        settings.write_text(
            settings.read_text().replace(EVERYTHING, f"only_mutate = {json.dumps(sorted(set(modules)))}")
        )


def _file_of(pattern: str) -> str:
    """``stream.core.judge.xǁJudgeǁfloor__mutmut_*`` and ``stream.core.judge*`` are both in stream/core/judge.py."""
    return pattern.partition(".x")[0].rstrip("*").replace(".", "/") + "*"
