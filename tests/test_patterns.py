"""No regular expression of the project can take more than linear time: neither by its form nor on hostile text.

Two ways, since each misses what the other finds: no repetition inside of a repetition unless it is possessive (`*+`), and
a search for text on which the time grows faster than the size.
"""

import ast
import re
import time
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
USES = ("match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer")
SMALL, LARGE = 500, 4000
GROWTH = 3 * LARGE / SMALL
"""Times as long for so many times the size is still linear; quadratic would be 64 times."""
QUICK = 0.001
"""Seconds that are not looked at twice: what is quadratic takes ten times as long."""


def _constant(node: ast.expr) -> str | bytes | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):  # a number put in
        text = _constant(node.left)
        return text.replace(b"%d", b"64") if isinstance(text, bytes) else text
    return None


def _patterns() -> Iterator[tuple[str, tuple[str | bytes, frozenset[str]]]]:
    """Where each stands, what it is, and how it is used."""
    for file in sorted((ROOT / "stream").rglob("*.py")):
        source = file.read_text()
        if "re." not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            call = _call_of(node)
            if call is None:
                continue
            name, argument, method = call
            pattern = _constant(argument)
            if pattern is None and "_begins" in source:
                continue  # what _begins compiles is seen where it is called
            assert pattern is not None, f"{file}:{argument.lineno}: a pattern must stand there as a literal"
            used = {method} if method in USES else set(re.findall(rf"\b{name}\.({'|'.join(USES)})\(", source))
            yield f"{file.relative_to(ROOT)}:{argument.lineno}", (pattern, frozenset(used or {"match"}))


def _call_of(node: ast.AST) -> tuple[str, ast.expr, str] | None:
    """The name it gets, the pattern and the function."""
    name = "?"
    if isinstance(node, ast.AnnAssign | ast.Assign):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        name, node = getattr(target, "id", "?"), node.value or node
    if not (isinstance(node, ast.Call) and node.args):
        return None
    function = node.func
    if isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "re":
        known = function.attr in (*USES, "compile") and (name != "?" or function.attr in USES)
        return (name, node.args[0], function.attr) if known else None
    return (name, node.args[0], "match") if getattr(function, "id", "") == "_begins" else None


PATTERNS = dict(_patterns())
each_pattern = pytest.mark.parametrize(("pattern", "used"), PATTERNS.values(), ids=PATTERNS.keys())


def _parts(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every node below, with those within branches and groups."""
    if isinstance(tree, parser.SubPattern):
        for code, argument in tree:
            yield code, argument
            yield from _parts(argument)
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from _parts(part)


def nested(pattern: str | bytes) -> bool:
    """A repetition without a bound, inside of one that can be given back."""
    for code, argument in _parts(parser.parse(pattern)):
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT) and argument[1] > 1:
            inside = (each for each in _parts(argument[2]) if each[0] in (codes.MAX_REPEAT, codes.MIN_REPEAT))
            if any(most is codes.MAXREPEAT for _, (_, most, _) in inside):
                return True
    return False


def test_the_search_finds_patterns() -> None:
    assert len(PATTERNS) > 15


@pytest.mark.parametrize(
    ("pattern", "bad"), [("(a+)+", True), ("(?:a+b|c)*", True), ("(?:a++b)*+", False), ("a+b*", False)]
)
def test_nesting_is_recognized(pattern: str, bad: bool) -> None:
    assert nested(pattern) is bad


@each_pattern
def test_no_repetition_inside_of_a_repetition(pattern: str | bytes, used: frozenset[str]) -> None:  # noqa: ARG001
    assert not nested(pattern)


def _texts(pattern: str) -> list[tuple[str, str, str]]:
    """Beginning, what is repeated, end. Of the letters and words of the pattern."""
    literals = "".join(chr(each[1]) if each[0] is codes.LITERAL else "\n" for each in _parts(parser.parse(pattern)))
    words = {word for word in literals.split("\n") if word}
    letters = sorted({*"".join(words), " ", "a", "1", '"', "\\"})
    pumps = {*words, *letters, *("".join(pair) for pair in product(letters[:10], repeat=2))}
    return [
        (begin, pump, end) for begin in ("", *sorted(words)) for pump in sorted(pumps) for end in ("\0", " \0", "-\n ")
    ]


def _seconds(compiled: re.Pattern[Any], used: Iterable[str], text: str | bytes, times: int = 1) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.thread_time()
        for method in used:
            compiled.sub(text[:0], text) if method in ("sub", "subn") else getattr(compiled, method)(text)
        best = min(best, time.thread_time() - began)
    return best


def grows(pattern: str | bytes, used: Iterable[str] = ("search",)) -> str | None:
    """Text on which the pattern takes more than linear time, if one is found."""
    as_text = pattern.decode("latin1") if isinstance(pattern, bytes) else pattern
    compiled = re.compile(pattern, re.DOTALL)

    def seconds(parts: tuple[str, str, str], size: int, times: int = 1) -> float:
        begin, pump, end = parts
        text = begin + pump * (size // len(pump)) + end
        return _seconds(compiled, used, text.encode("latin1") if isinstance(pattern, bytes) else text, times)

    for parts in _texts(as_text):
        if seconds(parts, LARGE) < QUICK:
            continue
        # a second time, more often: the machine may have been busy
        if all(seconds(parts, LARGE, times) > GROWTH * max(seconds(parts, SMALL, times), 1e-5) for times in (3, 9)):
            return "".join(parts[:2])
    return None


def test_growth_is_recognized() -> None:
    assert grows(rb'"(?:[^"\\]|\\.)*"', ["sub"])
    assert grows(r"\S+?\s*-\s*\S+", ["fullmatch"])
    assert grows(r"[a-z]+,")
    assert grows(r"[a-z]+,", ["match"]) is None


@each_pattern
def test_no_text_takes_more_than_linear_time(pattern: str | bytes, used: frozenset[str]) -> None:
    assert grows(pattern, used) is None
