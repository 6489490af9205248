"""``python -m tests.bench``: what liveshop costs and how quick it is, each figure beside its goal; and beside its rivals.

A missed goal fails nothing; a wrong result does: exit code 1.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Final

from stream.errors import FailedError, UsageError
from tests.bench import (
    alerting,
    byhand,
    catchup,
    closing,
    compare,
    core,
    holding,
    latency,
    replaying,
    sizes,
    spread,
    strangers,
    worker,
)
from tests.bench.report import EVENTS, Options, machine, say


def show_comparison(options: Options) -> bool:
    taking_part = compare.chosen(options.rivals)
    events = options.events or compare.EVENTS
    return compare.show(say, taking_part, events, options.sessions, markdown=options.markdown)


PARTS: Final[dict[str, Callable[[Options], bool]]] = {
    "core": core.show,
    "spread": spread.show,
    "closing": closing.show,
    "alerts": alerting.show,
    "strangers": strangers.show,
    "worker": worker.show,
    "latency": latency.show,
    "catchup": catchup.show,
    "replay": replaying.show,
    "holding": holding.show,
    "sizes": sizes.show,
    "compare": show_comparison,
    "byhand": byhand.show,
}
"""Each prints its figures and says whether its results were right."""


def main() -> int:
    arguments = _parser().parse_args()
    options = Options(
        events=arguments.events,
        sessions=arguments.sessions,
        repeats=arguments.repeats,
        places=arguments.places,
        rate=arguments.rate,
        rivals=tuple(filter(None, arguments.rivals.split(","))),
        markdown=arguments.markdown,
    )
    try:
        compare.chosen(options.rivals)  # a wrong name is said at once
        say(machine())
        wrong = [name for name in arguments.only or PARTS if not _right(name, options)]
    except (UsageError, FailedError) as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, UsageError) else 1
    if wrong:
        say(f"WRONG results: {', '.join(wrong)}")
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    default = Options()
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}; repeatable"
    )
    parser.add_argument(
        "--events",
        type=int,
        help=f"by default {EVENTS:,}, of the comparison {compare.EVENTS:,}; the core gets {core.EVENTS:,} at most",
    )
    parser.add_argument("--sessions", type=int, default=default.sessions, help="of the worker and the comparison")
    parser.add_argument(
        "--repeats",
        type=int,
        default=default.repeats,
        help="runs of the core, of which the best counts, and of the worker, of which the median does",
    )
    parser.add_argument("--rate", type=int, default=default.rate, help="events a second of steady traffic")
    parser.add_argument("--places", action="store_true", help="show the lines of code that cost most")
    parser.add_argument("--rivals", default="", help=f"of the comparison: {','.join(compare.names()[1:])} (all)")
    parser.add_argument("--markdown", action="store_true", help="the comparison as the table of docs/benchmarks.md")
    return parser


def _right(name: str, options: Options) -> bool:
    """A part whose measurement comes to nothing does not keep the others from theirs."""
    began = time.monotonic()
    try:
        return PARTS[name](options)
    except AssertionError as error:
        say(f"  FAILED: {error}")
        return False
    finally:
        say(f"  ({name}: {time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    sys.exit(main())
