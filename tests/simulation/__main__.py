"""``make simulate-faults``: many schedules of the protocol in memory, each from a seed, each as its seed says."""

# ruff: noqa: T201 - it is a command

import argparse
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict
from random import SystemRandom

HASH_SEED = "0"
"""Sets of names are walked through in the order of their hashes, which would differ from process to process."""


def main() -> int:
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    if options.seed is None:
        options.seed = 0 if options.mutants else SystemRandom().randrange(10**9)
    if options.mutants:
        return _score(options.seed, options.number)
    if options.tests:
        return _test(options.mutant)
    return _trace(options.seed) if options.trace else _simulate(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate-faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="the first; one a schedule from there on (default: any)")
    parser.add_argument("--number", type=int, default=1000, help="schedules, at least")
    parser.add_argument("--cpu", type=float, default=0.0, help="go on for so many seconds of CPU")
    parser.add_argument("--most", type=int, help="but for no more schedules than so many")
    parser.add_argument("--trace", action="store_true", help="the first one alone: print all that happens in it")
    parser.add_argument("--mutant", help="with a known mistake put back (tests/simulation/mutants.py, slips.py)")
    parser.add_argument("--mutants", action="store_true", help="each of them in turn: how many are noticed")
    parser.add_argument("--tests", action="store_true", help="run the tests in memory, and no schedule")
    parser.add_argument("--until-found", action="store_true", help="stop at the first that fails")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def _trace(seed: int) -> int:
    from tests.simulation.world import simulate

    outcome = simulate(seed, print)
    print(f"seed {seed}: {'; '.join(outcome.faults) or 'no faults but those of the network'}")
    for problem in outcome.problems:
        print(f"  {problem}")
    return 1 if outcome.problems else 0


def _score(seed: int, number: int) -> int:
    from tests.simulation.score import score

    return score(seed, number, print)


def _test(mutant: str | None) -> int:
    import pytest

    from tests.simulation.mutants import mutated
    from tests.simulation.score import TESTS

    with mutated(mutant) if mutant else nullcontext():
        return int(pytest.main(["-q", "-x", "-m", "not kafka", "-p", "no:randomly", "-k", "not slip", *TESTS]))


def _simulate(options: argparse.Namespace) -> int:
    from tests.simulation.batch import run
    from tests.simulation.mutants import mutated
    from tests.simulation.world import Outcome

    done = 0

    def tell(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r{done} of {options.number}", end="", file=sys.stderr, flush=True)
        if outcome.problems and not options.json:
            _say_failed(outcome.seed, outcome.faults, outcome.problems)

    with mutated(options.mutant) if options.mutant else nullcontext():
        bounds = {"cpu": options.cpu, "most": options.most, "until_found": options.until_found}
        batch = run(options.seed, options.number, **bounds, tell=tell)
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(asdict(batch)))
    else:
        said = f"{batch.schedules} schedules from seed {options.seed} on, {batch.requests} requests"
        print(f"{said}, {batch.seconds:.0f} s of CPU: {len(batch.failed)} failed")
    return 1 if batch.failed else 0


def _say_failed(seed: int, faults: list[str], problems: list[str]) -> None:
    print(f"seed {seed} failed ({', '.join(faults) or 'nothing but the network'}); again: {command(seed)}")
    for problem in problems[:5]:
        print(f"  {problem}")
    if len(problems) > 5:
        print(f"  and {len(problems) - 5} more")


def command(seed: int) -> str:
    return f"make simulate-faults SEED={seed} N=1"


if __name__ == "__main__":
    sys.exit(main())
