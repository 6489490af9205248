"""``python -m tests.soak --for 30m --rate 12000``: exit code 1 for a difference, a bad exit, or memory that grows."""

import argparse
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from stream.durations import parse_duration
from stream.sandbox.broker import EmbeddedKafka
from tests.bench.report import alone, machine, say
from tests.soak.plan import Plan
from tests.soak.run import soak


def main() -> int:
    default = Plan()
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    lasts = timedelta(seconds=default.seconds)
    parser.add_argument("--for", dest="lasts", type=parse_duration, default=lasts, help="such as 30m")
    parser.add_argument("--rate", type=int, default=default.rate, help="events a second")
    parser.add_argument("--sessions", type=int, default=default.sessions)
    parser.add_argument("--workers", type=int, default=default.workers, help="the first is never killed")
    parser.add_argument("--every", type=parse_duration, default=timedelta(seconds=default.every), help="between faults")
    arguments = parser.parse_args()
    plan = Plan(
        arguments.lasts.total_seconds(),
        arguments.rate,
        arguments.sessions,
        arguments.workers,
        arguments.every.total_seconds(),
    )
    say(machine())
    say(f"a soak of {plan.seconds / 60:g} min at {plan.rate:,} events/s, {plan.workers} workers:")
    folder = Path(tempfile.mkdtemp(prefix="liveshop-soak-"))
    with alone(), EmbeddedKafka(say) as kafka:
        outcome = soak(kafka, plan, folder, say)
    for line in outcome.lines():
        say(line)
    say(f"the workers' logs are in {folder}")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
