"""``python -m tests.bench``: CPU per event of the pure core and of the whole worker, and liveshop beside its rivals."""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stream.errors import FailedError, UsageError
from stream.sandbox.broker import EmbeddedKafka
from tests.bench import compare, core, worker

EVENTS: Final = 1_000_000


def say(text: str = "") -> None:
    print(text, flush=True)  # noqa: T201 - a command


def machine() -> str:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}, Python {platform.python_version()}, load {load}"


def show_core(events: int, repeats: int) -> bool:
    say(f"the pure core, {events:,} events at {core.RATE:,}/s of event time, us of CPU an event (best of {repeats}):")
    for sessions in (200, 1250, 5000):
        spent = core.measure(events, sessions, repeats)
        ingest = spent.us("decode", "judge and count")
        steps = ", ".join(f"{name} {spent.us(name):.2f}" for name in spent.steps)
        say(f"  {sessions:5} sessions: {ingest:.2f} to ingest ({steps})")
    return True


def show_worker(events: int, sessions: int, places: bool) -> bool:
    with EmbeddedKafka(say) as kafka:
        found = worker.measure(kafka, events, sessions)
    closing = found.share(*worker.CLOSING)
    say(
        f"the whole worker, {found.records:,} events of {sessions} sessions and {worker.SPAN_MS // 1000} s of event time:"
        f" {found.us:.2f} us of CPU an event, {found.records / found.wall:,.0f} events/s"
    )
    say(f"  {found.us - closing:.2f} to ingest, {closing:.2f} for windows, totals and checkpoints. By step:")
    for name, _ in found.samples.most_common():
        say(f"    {found.share(name):5.2f}  {name}")
    say(f"  afterwards {found.cpu_after:.1f} s of CPU until the last windows were closed and all totals written")
    say("  seconds of the shards' tasks: " + ", ".join(f"{name} {value:.1f}" for name, value in found.activity.items()))
    for place, number in sorted(found.places.items(), key=lambda each: -each[1])[: 40 if places else 0]:
        say(f"    {found.us * number / max(1, found.samples.total()):5.3f}  {place}")
    for fault in found.faults:
        say(f"  WRONG: {fault}")
    say("  every sum is what was sent" if not found.faults else "")
    return not found.faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument(
        "--events", type=int, help="by default 1,000,000, of the comparison 3,000,000; the core gets 300,000 at most"
    )
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3, help="runs of the core, of which the best counts")
    parser.add_argument("--places", action="store_true", help="show the lines of code that cost most")
    parser.add_argument("--rivals", default="", help=f"of the comparison: {','.join(compare.names()[1:])} (all)")
    parser.add_argument("--markdown", action="store_true", help="the comparison as a table for the README")
    parser.add_argument("--only", choices=tuple(PARTS))
    arguments = parser.parse_args()
    parts = [PARTS[arguments.only]] if arguments.only else PARTS.values()
    try:
        arguments.taking_part = compare.chosen(filter(None, arguments.rivals.split(",")))
        say(machine())
        good = [part(arguments) for part in parts]
    except (UsageError, FailedError) as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, UsageError) else 1
    return 0 if all(good) else 1


PARTS: Final[dict[str, Callable[[argparse.Namespace], bool]]] = {
    "core": lambda given: show_core(min(300_000, given.events or EVENTS), given.repeats),
    "worker": lambda given: show_worker(given.events or EVENTS, given.sessions, given.places),
    "compare": lambda given: compare.show(
        say, given.taking_part, given.events or compare.EVENTS, given.sessions, markdown=given.markdown
    ),
}


if __name__ == "__main__":
    sys.exit(main())
