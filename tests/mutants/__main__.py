"""``make mutants``: small mistakes are put into the core, one at a time, and its fast tests must notice each of them.

Python alone is tested, in a copy where nothing native is built: what is native is held to it by tests of its own. Survivors
that change nothing anybody could see are argued in `argued.toml`; any other is an error.
"""

# ruff: noqa: T201 - it is a command

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

from stream.core.alerts.figures import wilson
from tests.mutants.argued import ARGUED, Mutant, is_argued, stale
from tests.mutants.changed import functions_changed
from tests.mutants.copied import COPY, copied
from tests.mutants.forked import NOTICED, OUTCOMES, SAMPLE, TIMED_OUT
from tests.mutants.installed import TOOL, installed
from tests.mutants.named import in_function, module_of, pattern_of

Row = dict[str, str]
"""What became of a mutant, and the lines as they were and are."""


def main() -> int:
    options = _options()
    patterns = options.only.split() if options.only else []
    if options.since:
        patterns = sorted(map(pattern_of, functions_changed(options.since)))
        if not patterns:
            print(f"no function of the core has changed since {options.since}")
            return 0
    installed()
    copied(patterns)
    _try(patterns)
    return _judge(
        [json.loads(line) for line in (COPY / OUTCOMES).read_text().splitlines()], whole=not (patterns or SAMPLE)
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--since", help="only functions with lines that differ from this commit")
    parser.add_argument("--only", help="only these, as mutmut names them: 'stream.core.judge* stream.core.windows*'")
    return parser.parse_args()


def _try(patterns: Iterable[str]) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVESHOP_")}
    done = subprocess.run(
        [sys.executable, "-P", "tests/mutants/forked.py", *patterns],
        cwd=COPY,
        env=env | {"LAW_EXAMPLES": "15", "PYTHONHASHSEED": "0", "PYTHONPATH": str(TOOL)},
        check=False,
    )
    if done.returncode:
        raise SystemExit("the mutants could not be tried")


def _judge(rows: list[Row], *, whole: bool) -> int:
    """Prints the score of each module and every survivor that is not argued."""
    survivors = [
        (row["mutant"], Mutant(in_function(row["mutant"]), row["was"], row["now"]))
        for row in rows
        if row["outcome"] not in (NOTICED, TIMED_OUT)
    ]
    open_ = {name: mutant for name, mutant in survivors if not is_argued(mutant)}
    for name, mutant in open_.items():
        print(f"\n{name}\n- {mutant.was}\n+ {mutant.now}")
    left_over = stale(mutant for _, mutant in survivors) if whole else []
    for mutant in left_over:
        print(f"\n{ARGUED.name} argues one that is noticed or gone: {mutant.place}\n+ {mutant.now}")
    print(*scores(rows, open_), sep="\n")
    if SAMPLE:
        print(interval(rows, open_))
    return 1 if open_ or left_over else 0


def scores(rows: Iterable[Row], open_: Iterable[str]) -> list[str]:
    """A line for each module, and one for all."""
    unargued = set(open_)
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        outcome = row["outcome"]
        if outcome not in (NOTICED, TIMED_OUT):
            outcome = "open" if row["mutant"] in unargued else "argued"
        for module in (module_of(row["mutant"]), "all"):
            counts.setdefault(module, Counter())[outcome] += 1
    head = f"{'':36}{'tried':>7}{'noticed':>9}{'timed out':>11}{'argued':>8}{'open':>6}{'score':>9}"
    return [
        "",
        head,
        *(_line(module, count) for module, count in sorted(counts.items(), key=lambda each: each[0] == "all")),
    ]


def interval(rows: Iterable[Row], open_: Iterable[str]) -> str:
    """What a sample says of all mutants."""
    noticed = sum(row["outcome"] in (NOTICED, TIMED_OUT) for row in rows)
    low, high = wilson(noticed, noticed + len(set(open_)))
    return f"of all mutants that could be noticed {100 * low:.1f} to {100 * high:.1f} % are (Wilson, 95 %)"


def _line(module: str, count: Counter[str]) -> str:
    """The score is of those that could be noticed: what is argued could not."""
    noticed, possible = count[NOTICED] + count[TIMED_OUT], count.total() - count["argued"]
    score = f"{100 * noticed / possible:.1f} %" if possible else ""
    numbers = f"{count.total():7}{count[NOTICED]:9}{count[TIMED_OUT]:11}{count['argued']:8}{count['open']:6}"
    return f"{module:36}{numbers}{score:>9}"


if __name__ == "__main__":
    sys.exit(main())
