"""What `make mutants` runs and what it forgives, without running a mutant."""

import tomllib
from importlib import import_module

import pytest

from tests.mutants.argued import Mutant, argued, stale
from tests.mutants.changed import LEFT_OUT, ROOT, functions_at, functions_changed, lines_changed
from tests.mutants.copied import EVERYTHING
from tests.mutants.named import in_function, pattern_of

DIFF = """\
diff --git a/stream/core/judge.py b/stream/core/judge.py
--- a/stream/core/judge.py
+++ b/stream/core/judge.py
@@ -3 +3,2 @@ class Judge:
-    old
+    new
+    more
@@ -20,2 +21,0 @@ class Judge:
-    gone
-    gone
diff --git a/stream/core/cooperative.py b/stream/core/steps.py
--- a/stream/core/cooperative.py
+++ b/stream/core/cooperative.py
@@ -9 +9 @@
-a
+b
"""
SOURCE = """\
class Judge:
    def floor(self):
        return 1

    def clock(self):
        return 2


def weight():
    return 3
"""


def test_lines_of_a_diff_are_those_that_are_there_now() -> None:
    assert lines_changed(DIFF) == {"stream/core/judge.py": {3, 4, 21, 22}, "stream/core/cooperative.py": {9}}


@pytest.mark.parametrize(
    ("line", "expected"),
    [(3, [("stream.core.judge", "Judge", "floor")]), (4, []), (10, [("stream.core.judge", None, "weight")])],
)
def test_functions_are_found_by_their_lines(line: int, expected: list[object]) -> None:
    assert list(functions_at("stream/core/judge.py", SOURCE, {line})) == expected


def test_mutants_are_named_as_mutmut_names_them() -> None:
    assert pattern_of(("stream.core.judge", "Judge", "floor")) == "stream.core.judge.xǁJudgeǁfloor__mutmut_*"
    assert pattern_of(("stream.core.judge", None, "_weight")) == "stream.core.judge.x__weight__mutmut_*"
    assert in_function("stream.core.judge.xǁJudgeǁ__init____mutmut_12") == "stream.core.judge.Judge.__init__"
    assert in_function("stream.core.judge.x__weight__mutmut_1") == "stream.core.judge._weight"
    with pytest.raises(ValueError, match="no name"):
        in_function("stream.core.judge")


def test_what_is_narrowed_and_left_out_is_as_the_project_says() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    assert settings.count(EVERYTHING) == 1
    assert tomllib.loads(settings)["tool"]["mutmut"]["do_not_mutate"] == [
        each + "*" * each.endswith("/") for each in reversed(LEFT_OUT)
    ]


def test_nothing_has_changed_since_a_commit_that_is_not_there() -> None:
    with pytest.raises(SystemExit):
        functions_changed("no-such-commit")


def test_every_argued_mutant_has_a_reason_and_a_function_that_is_there() -> None:
    for mutant, why in argued().items():
        assert why.strip() == why != ""
        assert mutant.was != mutant.now
        *module, owner, name = mutant.place.split(".")
        if owner.islower():
            assert hasattr(import_module(".".join([*module, owner])), name)
        else:
            assert hasattr(getattr(import_module(".".join(module)), owner), name)


def test_an_argued_mutant_that_is_noticed_is_told() -> None:
    first, *others = argued()
    assert stale(others) == [first]
    assert stale([*argued(), Mutant("elsewhere", "a", "b")]) == []
