"""How a mutant takes the place of a function, and what is printed of all of them."""

from typing import Any

import pytest

from tests.mutants.__main__ import interval, scores
from tests.mutants.forked import NOTICED, SURVIVED, TIMED_OUT, Functions, from_the_beginning, is_own


def test_a_mutant_takes_the_place_of_a_function_wherever_that_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    functions, mutants = Functions(), dict[str, Any]()

    def less(one: int, other: int = 0) -> int:
        return one - other

    def more(one: int, other: int = 9) -> int:
        return one + other

    for function in (less, more):
        monkeypatch.setattr(function, "__qualname__", "less")
    kept = functions.wrapper(mutants)(less)
    mutants["x_less__mutmut_1"] = more
    name = f"{__name__}.x_less"
    assert functions.names() == {less.__code__: name}
    assert kept(4) == 4
    functions.mutate(f"{name}__mutmut_1")
    assert kept(4) == 13


def test_a_mutant_may_take_the_place_of_a_function_from_the_beginning() -> None:
    """As where it is called while its module is imported."""
    mutants = dict[str, Any]()
    wrapper = from_the_beginning(f"{__name__}.x_scale__mutmut_2")

    def scale(number: int) -> int:
        return 2 * number

    def other(number: int) -> int:
        return number

    for function in (scale, other):
        function.__qualname__ = function.__name__
    kept, untouched = wrapper(mutants)(scale), wrapper(mutants)(other)
    mutants["x_scale__mutmut_2"] = lambda number: 3 * number
    assert (kept(5), untouched(5)) == (15, 5)


def test_a_method_is_known_by_its_class() -> None:
    functions, mutants = Functions(), dict[str, Any]()

    class Clock:
        @classmethod
        @functions.wrapper(mutants, is_classmethod=True)
        def zero(cls) -> int:
            return 0

        @classmethod
        def one(cls) -> int:
            return 1

    [name] = functions.names().values()
    assert name.startswith(f"{__name__}.xǁ")
    assert name.endswith("Clockǁzero")
    mutants[f"{name.rpartition('.')[2]}__mutmut_1"] = Clock.one
    functions.mutate(f"{name}__mutmut_1")
    assert Clock.zero() == 1


def test_scores_leave_out_what_is_argued() -> None:
    outcomes = [NOTICED, NOTICED, TIMED_OUT, SURVIVED, SURVIVED]
    rows = [
        {"mutant": f"stream.core.judge.x_weight__mutmut_{number}", "outcome": outcome}
        for number, outcome in enumerate(outcomes)
    ]
    *_, module, whole = scores(rows, open_=[rows[3]["mutant"]])
    assert module.split() == ["stream.core.judge", "5", "2", "1", "1", "1", "75.0", "%"]
    assert whole.split()[1:] == module.split()[1:]


def test_a_sample_says_between_which_bounds_the_score_of_all_is() -> None:
    rows = [{"mutant": f"stream.core.judge.x_weight__mutmut_{number}", "outcome": NOTICED} for number in range(8)]
    rows += [{"mutant": f"stream.core.judge.x_floor__mutmut_{number}", "outcome": SURVIVED} for number in range(12)]
    names = [row["mutant"] for row in rows]
    assert "21.9 to 61.3 %" in interval([*rows, {**rows[-1], "mutant": "argued"}], names[8:])


def test_own_tests_are_those_of_the_module_or_of_a_package_within_the_core() -> None:
    assert is_own("stream.core.shard.xǁShardǁread", "tests/core/test_shard.py::test_a[b]")
    assert not is_own("stream.core.shard.xǁShardǁread", "tests/core/test_laws.py::test_a")
    assert not is_own("stream.core.shard.xǁShardǁread", "tests/core/alerts/test_on_air.py::test_a")
    assert is_own("stream.core.alerts.emitter.x__fired", "tests/core/alerts/test_on_air.py::test_a")
