"""Tries mutants, each in a child of one process that has collected the tests: ``python -m tests.mutants.forked PATTERN...``.

mutmut makes the mutants. Its own runner would collect the tests anew for each of them, calls each function of the core
through a slow wrapper, and limits the wall time. Here a child changes the code of one function and runs the tests that
reach it until one fails. Its limits are of CPU time: a busy machine makes no mutant look noticed.

It runs in the copy that `copied.py` makes, with mutmut on the path.
"""

# ruff: noqa: T201 - it is a command

import gc
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from fnmatch import fnmatch
from functools import wraps
from itertools import accumulate, zip_longest
from pathlib import Path
from types import CodeType
from typing import Any, Final, TypeVar

import pytest
from _pytest.config import _prepareconfig

OUTCOMES: Final = Path("outcomes.jsonl")
"""In the copy: what became of each mutant."""
LEARNED: Final = Path("learned.json")
"""In the mutated copy: by test, its CPU seconds and the functions that it reaches."""
NOTICED, SURVIVED, UNREACHED, TIMED_OUT = "noticed", "survived", "no tests", "timed out"
SECONDS: Final = 3.0
"""Of CPU time that each test may use, besides so many times what it uses without a mistake:"""
TIMES: Final = 10.0
AT_FIRST: Final = 0.6
"""Seconds for the quickest tests of a mutant."""
WALL_SECONDS: Final = 600
"""For all tests of a mutant: one that waits for ever uses no CPU."""
MEMORY: Final = 2 << 30
"""Bytes. A loop without an end may fill the memory first."""
BUDGET: Final = float(os.environ.get("MUTANTS_BUDGET", "inf"))
"""CPU seconds for all tests of a mutant. A first look at many mutants needs no more than a few, and sees more survivors."""
SAMPLE: Final = int(os.environ.get("MUTANTS_SAMPLE", "0"))
"""So many of the mutants, drawn at random and the same each time; 0 for all."""
AT_IMPORT: Final = "--at-import"
_SURVIVED, _NOTICED = 0, 1
F = TypeVar("F", bound=Callable[..., Any])


class Functions:
    """All that have mutants. Stands in place of mutmut's wrapper, and leaves each function as it is."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Any, dict[str, Any]]] = {}

    def wrapper(self, mutants: dict[str, Any], is_classmethod: bool = False) -> Callable[[F], F]:
        """As ``wrap_in_trampoline``. The mutants are put into the dictionary later."""
        del is_classmethod

        def keep(function: F) -> F:
            self._of[mangled(function)] = function, mutants
            return function

        return keep

    def names(self) -> dict[CodeType, str]:
        """By the code that runs while nothing is mutated."""
        return {function.__code__: name for name, (function, _) in self._of.items()}

    def mutate(self, mutant: str) -> None:
        """For the rest of this process."""
        function, mutants = self._of[mutant.partition("__mutmut_")[0]]
        found = mutants[mutant.rpartition(".")[2]]
        mutated = getattr(found, "__func__", found)
        function.__defaults__, function.__kwdefaults__ = mutated.__defaults__, mutated.__kwdefaults__
        function.__code__ = mutated.__code__


def mangled(function: Callable[..., Any]) -> str:
    """As mutmut names it."""
    owner, _, name = function.__qualname__.rpartition(".")
    return f"{function.__module__}.{f'xǁ{owner}ǁ{name}' if owner else f'x_{name}'}"


def from_the_beginning(mutant: str) -> Callable[..., Callable[[F], F]]:
    """Instead of mutmut's wrapper: the mutant takes the place of its function, also while its module is imported."""

    def wrapper(mutants: dict[str, Any], is_classmethod: bool = False) -> Callable[[F], F]:
        del is_classmethod

        def keep(function: F) -> F:
            if mangled(function) != mutant.partition("__mutmut_")[0]:
                return function

            def instead(*arguments: Any, **named: Any) -> Any:
                return mutants[mutant.rpartition(".")[2]](*arguments, **named)

            return wraps(function)(instead)  # type: ignore[return-value]  # it is called as the function is

        return keep

    return wrapper


def generate(patterns: Sequence[str]) -> list[str]:
    """Writes the mutated modules to ``mutants/``, and puts that first on the path. The names of the mutants."""
    from mutmut import __main__ as mutmut

    os.environ["MUTANT_UNDER_TEST"] = "mutant_generation"
    Path("mutants").mkdir(exist_ok=True)
    with redirect_stdout(io.StringIO()):
        mutmut.copy_src_dir()
        mutmut.copy_also_copy_files()
        mutmut.setup_source_paths()
        mutmut.create_mutants(1)
    del os.environ["MUTANT_UNDER_TEST"]
    names = [name for _, name, _ in mutmut.collect_source_file_mutation_data(mutant_names=[])[0]]
    if not patterns:
        return names
    return list(dict.fromkeys(name for pattern in patterns for name in names if fnmatch(name, pattern)))


def difference(mutant: str) -> tuple[str, str]:
    """The lines that were there, and those that are: what a reader would see as its diff, without the blanks."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    os.chdir("..")
    diff = get_diff_for_mutant(mutant)
    os.chdir("mutants")
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, now = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return was, now


def replace_wrapper(wrapper: Callable[..., Any]) -> None:
    from mutmut.mutation import trampoline

    trampoline.wrap_in_trampoline = wrapper


def collected(arguments: Sequence[str]) -> list[pytest.Item]:
    """All tests. Their modules are imported, and with them what they test."""
    config = _prepareconfig(["--rootdir=.", "--assert=plain", "--tb=no", "--capture=no", *arguments])
    config._do_configure()
    session = pytest.Session.from_config(config)
    with redirect_stdout(io.StringIO()):
        config.hook.pytest_sessionstart(session=session)
        config.hook.pytest_collection(session=session)
    if session.testsfailed or not session.items:
        raise SystemExit("the tests cannot be collected")
    return session.items


class Runner:
    """Of tests in children, so that what one of them leaves behind (what is cached, above all) reaches no other."""

    def __init__(self, tests: Sequence[pytest.Item], functions: Functions) -> None:
        self._tests = {test.nodeid: test for test in tests}
        self._functions = functions
        self._seconds: dict[str, float] = {}
        self._wide: dict[str, int] = {}
        """By test, how many functions it reaches."""
        self._reach: dict[str, list[str]] = {}
        self._failed = False
        tests[0].config.pluginmanager.register(self)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    def learn(self) -> None:
        """Each test once, without a mistake: which functions it reaches, and how long it takes."""
        child = os.fork()
        if not child:
            before = json.loads(LEARNED.read_text()) if LEARNED.exists() else {}
            new = [test for name, test in self._tests.items() if name not in before]
            LEARNED.write_text(json.dumps(before | self._reached_by_test(new)))
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit(1)
        learned: dict[str, tuple[float, list[str]]] = json.loads(LEARNED.read_text())
        found = {test: learned[test] for test in self._tests}
        self._seconds = {test: seconds for test, (seconds, _) in found.items()}
        self._wide = {test: len(functions) for test, (_, functions) in found.items()}
        for test, (_, functions) in found.items():
            for function in functions:
                self._reach.setdefault(function, []).append(test)

    def _in_order(self, function: str) -> list[str]:
        """The quickest of its own module and then of each, for most mistakes; last those that reach most, as the laws do."""
        tests = sorted(self._reach.get(function, ()), key=self._seconds.__getitem__)
        own = [test for test in tests if is_own(function, test)]
        widest = sorted(tests, key=lambda test: -self._wide[test])
        return list(dict.fromkeys([*self._quick(own), *self._quick(_in_turn(tests)), *own, *widest]))

    def _quick(self, tests: Sequence[str]) -> Sequence[str]:
        times = accumulate(self._seconds[test] for test in tests)
        return tests[: sum(1 for seconds in times if seconds < AT_FIRST)]

    def _reached_by_test(self, tests: Sequence[pytest.Item]) -> dict[str, tuple[float, list[str]]]:
        """By test, the CPU seconds and the functions."""
        _quiet()
        names, found, failed = self._functions.names(), {}, []
        for test, following in _with_next(tests):
            code: set[CodeType] = set()
            begin = _cpu_seconds()
            sys.settrace(lambda frame, *_, code=code: code.add(frame.f_code))
            self._run(test, following)
            sys.settrace(None)
            if self._failed:
                failed.append(test.nodeid)
            self._failed = False
            found[test.nodeid] = _cpu_seconds() - begin, [names[each] for each in code if each in names]
        if failed:
            raise SystemExit("\n".join(["tests that fail without a mistake:", *failed]))
        return found

    def outcome(self, mutant: str) -> str:
        tests = self._in_order(mutant.partition("__mutmut_")[0])
        if not tests:
            return self._outcome_at_import(mutant)
        child = os.fork()
        if not child:
            _quiet()
            _limited()
            self._functions.mutate(mutant)
            os._exit(_NOTICED if self._one_fails(tests) else _SURVIVED)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if -status in (signal.SIGPROF, signal.SIGALRM):
            return TIMED_OUT
        return SURVIVED if status == _SURVIVED else NOTICED

    def _outcome_at_import(self, mutant: str) -> str:
        """Of a function that no test calls: it may run while its module is imported. Its own tests, in a new process."""
        own = sorted({test.partition("::")[0] for test in self._tests if is_own(mutant, test)})
        if not own:
            return UNREACHED
        command = [sys.executable, "-P", str(Path(__file__).absolute()), AT_IMPORT, mutant, *own]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=WALL_SECONDS)
        except subprocess.TimeoutExpired:
            return TIMED_OUT
        return NOTICED if done.returncode else UNREACHED

    def _one_fails(self, tests: Sequence[str]) -> bool:
        begin = _cpu_seconds()
        for test, following in _with_next([self._tests[name] for name in tests]):
            if _cpu_seconds() - begin > BUDGET:
                return False
            signal.setitimer(signal.ITIMER_PROF, SECONDS + TIMES * self._seconds[test.nodeid])
            self._run(test, following)
            if self._failed:
                return True
        return False

    def _run(self, test: pytest.Item, following: pytest.Item | None) -> None:
        test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)


def is_own(function: str, test: str) -> bool:
    """Whether it is a test of the function's module, or of a package within the core."""
    *folder, module = function.partition(".x")[0].split(".")[1:]
    in_folder = test.startswith(f"tests/{'/'.join(folder)}/")
    return in_folder and (len(folder) > 1 or f"/test_{module}.py::" in test)


def _cpu_seconds() -> float:
    """With those of programs that a test has run: they are slow, and have no mistake."""
    return time.process_time() + sum(os.times()[2:4])


def _in_turn(tests: Sequence[str]) -> list[str]:
    """The first of each module, then the second of each: of a hundred alike tests most miss the same mistake."""
    seen: Counter[str] = Counter()
    turns = []
    for test in tests:
        module = test.partition("::")[0]
        seen[module] += 1
        turns.append(seen[module])
    return [test for _, test in sorted(zip(turns, tests, strict=True), key=lambda each: each[0])]


def _with_next(tests: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """pytest takes down, after a test, what the next one does not use."""
    return zip_longest(tests, tests[1:])


def _quiet() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)


def _limited() -> None:
    """A test that waits for ever uses no CPU, and a loop without an end may fill the memory first."""
    signal.alarm(WALL_SECONDS)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def run_at_import(mutant: str, tests: Sequence[str]) -> int:
    """In the mutated copy. 0 when nothing is noticed."""
    sys.path.insert(0, str(Path.cwd()))
    replace_wrapper(from_the_beginning(mutant))
    _limited()
    return int(pytest.main(["--rootdir=.", "-qx", "--tb=no", *_settings()["pytest_add_cli_args"], *tests]))


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]
    return settings


def main(patterns: Sequence[str]) -> None:
    settings = _settings()
    mutants = generate(patterns)
    if SAMPLE:
        mutants = random.Random(SAMPLE).sample(mutants, min(SAMPLE, len(mutants)))
    functions = Functions()
    replace_wrapper(functions.wrapper)
    outcomes = OUTCOMES.absolute()
    os.chdir("mutants")
    runner = Runner(
        collected([*settings["pytest_add_cli_args"], *settings["pytest_add_cli_args_test_selection"]]), functions
    )
    print("looking which functions each test reaches", flush=True)
    runner.learn()
    gc.freeze()
    _try(mutants, runner, outcomes)


def _try(mutants: Sequence[str], runner: Runner, outcomes: Path) -> None:
    """All that are not in the file yet: there each gets its line at once, so that one can look, or stop and go on."""
    outcomes.touch()
    tried = {json.loads(line)["mutant"] for line in outcomes.read_text().splitlines()}
    with outcomes.open("a", buffering=1) as out:
        for number, mutant in enumerate(mutants):
            if number % 100 == 0:
                print(f"{number} of {len(mutants)} mutants", flush=True)
            if mutant not in tried:
                out.write(json.dumps(_row(mutant, runner.outcome(mutant))) + "\n")


def _row(mutant: str, outcome: str) -> dict[str, str]:
    was, now = ("", "") if outcome == NOTICED else difference(mutant)
    return {"mutant": mutant, "outcome": outcome, "was": was, "now": now}


if __name__ == "__main__":
    if sys.argv[1:2] == [AT_IMPORT]:
        sys.exit(run_at_import(sys.argv[2], sys.argv[3:]))
    main(sys.argv[1:])
