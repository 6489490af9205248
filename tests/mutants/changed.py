"""Which functions of the core have lines that differ from a commit."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

Function = tuple[str, str | None, str]
"""Its module, its class, its name."""

ROOT: Final = Path(__file__).parents[2]
CORE: Final = "stream/core"
LEFT_OUT: Final = (f"{CORE}/native/", f"{CORE}/alerts/summary.py")
"""As in pyproject.toml."""
_HUNK: Final = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


def functions_changed(since: str) -> set[Function]:
    """Of those that are there now. Of lines that were taken away the two around them count."""
    git = ["git", "diff", "--unified=0", "--no-color", "--dst-prefix=b/", since, "--", f"{CORE}/*.py"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return {
        function
        for path, lines in lines_changed(done.stdout).items()
        if (ROOT / path).exists() and not path.startswith(LEFT_OUT)
        for function in functions_at(path, (ROOT / path).read_text(), lines)
    }


def lines_changed(diff: str) -> dict[str, set[int]]:
    """By file, numbers of lines as they are now."""
    found: dict[str, set[int]] = {}
    for part in diff.split("\n+++ b/")[1:]:
        lines = found.setdefault(part.partition("\n")[0], set())
        for begin, number in _HUNK.findall(part):
            first, size = int(begin), int(number or 1)
            lines |= set(range(first, first + size)) if size else {first, first + 1}
    return found


def functions_at(path: str, source: str, lines: set[int]) -> Iterator[Function]:
    """Those at the top of a module or of a class, which are all that are mutated."""
    module = path.removesuffix(".py").replace("/", ".")
    for node in ast.parse(source).body:
        for owner, each in (
            [(None, node)] if not isinstance(node, ast.ClassDef) else [(node.name, n) for n in node.body]
        ):
            if isinstance(each, ast.FunctionDef) and lines & set(range(each.lineno, (each.end_lineno or 0) + 1)):
                yield module, owner, each.name
