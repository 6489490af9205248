"""``make mutants``: small mistakes are put into the core, one at a time, and its fast tests must notice each of them.

Python alone is tested, in a copy where nothing native is built: what is native is held to it by tests of its own. Survivors
that change nothing anybody could see are argued in `argued.toml`; any other is an error.
"""

# ruff: noqa: T201 - it is a command

import argparse
import os
import subprocess
import sys
from collections import Counter

from tests.mutants.argued import ARGUED, Mutant, argued, stale
from tests.mutants.changed import functions_changed
from tests.mutants.copied import COPY, copied
from tests.mutants.installed import TOOL, installed
from tests.mutants.named import in_function, pattern_of

UNNOTICED = ("survived", "no tests", "suspicious")
NOT_RUN = ("not checked", "skipped")


def main() -> int:
    options = _options()
    patterns = [options.only] if options.only else []
    if options.since:
        patterns = sorted(map(pattern_of, functions_changed(options.since)))
        if not patterns:
            print(f"no function of the core has changed since {options.since}")
            return 0
    installed()
    copied(patterns)
    _mutmut("run", "--max-children", "1", *patterns, capture=False)
    return _judge(_results(), whole=not patterns)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--since", help="only functions with lines that differ from this commit")
    parser.add_argument("--only", help="only these, as mutmut names them: 'stream.core.judge*'")
    return parser.parse_args()


def _mutmut(*arguments: str, capture: bool = True) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVESHOP_")}
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=COPY,
        env=env | {"LAW_EXAMPLES": "15", "PYTHONHASHSEED": "0", "PYTHONPATH": str(TOOL)},
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"mutmut {arguments[0]} failed: {done.returncode}")
    return done.stdout or ""


def _results() -> dict[str, str]:
    """By mutant, what became of it."""
    lines = (line.rpartition(": ") for line in _mutmut("results", "--all", "true").splitlines())
    return {name.strip(): status for name, _, status in lines if name and status not in NOT_RUN}


def _judge(results: dict[str, str], *, whole: bool) -> int:
    statuses = Counter(results.values())
    survivors = [
        Mutant(in_function(name), *_difference(name)) for name, status in sorted(results.items()) if status in UNNOTICED
    ]
    open_ = [mutant for mutant in survivors if mutant not in argued()]
    for mutant in open_:
        print(f"\n{mutant.place}\n- {mutant.was}\n+ {mutant.now}")
    left_over = stale(survivors) if whole else []
    for mutant in left_over:
        print(f"\n{ARGUED.name} argues one that is noticed or gone: {mutant.place}\n+ {mutant.now}")
    tried = len(results)
    print(f"\n{tried} mutants ({', '.join(f'{number} {status}' for status, number in statuses.most_common())})")
    if tried:
        print(f"{100 * (tried - len(survivors)) / tried:.1f} % noticed; {len(survivors) - len(open_)} survivors argued")
    return 1 if open_ or left_over else 0


def _difference(name: str) -> tuple[str, str]:
    """The lines that were there, and those that are: what a reader would see as its diff, without the blanks."""
    lines = [line for line in _mutmut("show", name).splitlines() if not line.startswith(("---", "+++"))]
    was, now = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return was, now


if __name__ == "__main__":
    sys.exit(main())
