"""``python -m tests.fuzz``: every target in turn, for a while; what is found is kept, with the command that repeats it."""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from secrets import randbelow
from typing import Final

from stream.durations import parse_duration
from tests.fuzz.child import judge
from tests.fuzz.hunt import KEPT, Finding, Plan, hunt
from tests.fuzz.targets import NAMES, target

SAY_EVERY: Final = 10.0
FOUND: Final = 1


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    if options.input is not None:
        return repeat(options.target[0], options.input, options.scale)
    say(f"seed {options.seed}; every target for {options.length / len(options.target):.0f} s")
    found = [each for name in options.target if (each := one(name, options)) is not None]
    say(f"{len(found)} findings" if found else "nothing found")
    return FOUND if found else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--for", dest="length", metavar="TIME", type=_seconds, default=60.0, help="in all; default 1m")
    parser.add_argument(
        "--target", action="append", choices=[*NAMES, "broken"], metavar="NAME",
        help=f"only this one of {', '.join(NAMES)}; may be given again",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=randbelow(1_000_000), help="the same one makes the same inputs")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", default=KEPT, help="where inputs with findings are kept")
    parser.add_argument("--input", type=Path, metavar="FILE", help="run this input of a --target once")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="how much slower and larger all may be, as with sanitizers"
    )
    options = parser.parse_args(arguments)
    if options.input is not None and len(options.target or ()) != 1:
        parser.error("--input needs one --target")
    options.target = options.target or list(NAMES)
    return options


def _seconds(text: str) -> float:
    try:
        return parse_duration(text) / timedelta(seconds=1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def one(name: str, options: argparse.Namespace) -> Finding | None:
    """A target for its share of the time."""
    plan = Plan(name, options.seed, options.length / len(options.target), scale=options.scale)
    done = hunt(plan, progress(name))
    say(f"{name:14} {done.number:>11,} inputs, {done.number / max(done.seconds, 0.001):,.0f}/s")
    if done.finding is not None:
        tell(done.finding, options.keep)
    return done.finding


def progress(name: str) -> Callable[[int], None]:
    said = began = time.monotonic()

    def note(number: int) -> None:
        nonlocal said
        if (now := time.monotonic()) - said >= SAY_EVERY:
            said = now
            say(f"{name:14} {number:>11,} inputs, {number / (now - began):,.0f}/s …")

    return note


def tell(finding: Finding, folder: Path) -> None:
    file = finding.keep(folder)
    say(f"\nFOUND by {finding.target}, with {len(finding.data):,} bytes in {file}:\n{finding.why}")
    say(f"repeat it: {Path(sys.executable)} -m tests.fuzz --target {finding.target} --input {file}\n")


def repeat(name: str, file: Path, scale: float) -> int:
    """In this process, so that a debugger can be there."""
    why = judge(target(name), file.read_bytes(), scale)
    say(why or "nothing is wrong with how it is read")
    return FOUND if why else 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is a command line


if __name__ == "__main__":
    sys.exit(main())
