"""``python -m tests.chaos --rounds 20 --seed 1``: exit code 1 when any round shows a difference."""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from stream.sandbox.broker import EmbeddedKafka
from tests.chaos import growing
from tests.chaos.faults import BrokerFaults
from tests.chaos.profile import OUTAGE, Profile
from tests.chaos.rounds import play

SHOWN: Final = 10
GROWING: Final = 3
"""Each so many-th round is followed by one in which partitions are added and a new set of topics takes over."""


@contextmanager
def broker_thread() -> Iterator[tuple[EmbeddedKafka, ThreadPoolExecutor]]:
    """A broker, and the thread that starts it: it is killed when that thread ends, so they end together."""
    kafka = EmbeddedKafka(say)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(kafka.start).result()
        try:
            yield kafka, thread
        finally:
            thread.submit(kafka.stop).result()


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="of the first round")
    parser.add_argument(
        "--outage", type=float, default=OUTAGE, help="seconds that brokers are away, in one round of five"
    )
    parser.add_argument("--short", action="store_true", help="short rounds with few faults")
    arguments = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it says a lot while there is no broker
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    folder = Path(tempfile.mkdtemp(prefix="liveshop-chaos-"))
    failed = 0
    with broker_thread() as (kafka, thread):
        for seed in range(arguments.seed, arguments.seed + arguments.rounds):
            profile = Profile.short(seed) if arguments.short else Profile.of(seed, arguments.outage)
            outcomes = [play(BrokerFaults(kafka, thread, profile), folder / str(seed))]
            if seed % GROWING == 0:
                outcomes.append(growing.play(kafka, seed, folder / f"{seed}-growing"))
            for outcome in outcomes:
                say(outcome.line())
                for each in outcome.differences[:SHOWN]:
                    say(f"  {each}")
            failed += not all(outcome.good for outcome in outcomes)
    say(
        f"{arguments.rounds - failed} of {arguments.rounds} rounds without a difference or a bad exit; logs in {folder}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
