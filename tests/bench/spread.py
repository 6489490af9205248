"""CPU of ingest by the number of sessions: does an event cost more when there are many?"""

from dataclasses import dataclass
from typing import Final

from tests.bench import core
from tests.bench.report import Options, against, alone, say

SIZES: Final = (50, 500, 5_000, 50_000)
SHARDS: Final = 4
"""All sessions are spread over so many: one is measured."""
GOAL: Final = 1.5
EVENTS: Final = 300_000
"""Enough checkpoints that the state log writes old items again, as it does for ever after."""
REPEATS: Final = 2


@dataclass(frozen=True)
class Measured:
    """us of CPU an event."""

    count: float
    """To decode, judge and count."""
    checkpoint: float


def show(options: Options) -> bool:
    events, repeats = min(EVENTS, options.events or EVENTS), min(REPEATS, options.repeats)
    say(
        f"ingest by number of sessions, pure core, one of {SHARDS} shards at {core.RATE:,} events/s of event time, "
        f"{events:,} events, us of CPU an event (best of {repeats}):"
    )
    with alone():
        found = {sessions: measure(sessions, events, repeats) for sessions in SIZES}
    least = found[SIZES[0]]
    for sessions, each in found.items():
        ratio = (each.count + each.checkpoint) / (least.count + least.checkpoint)
        say(
            f"  {sessions:6,}: {each.count:.2f} to decode, judge and count, {each.checkpoint:.2f} for checkpoints; "
            f"{each.count / least.count:.2f}x and with checkpoints {against(ratio, GOAL, 'x')}"
        )
    return True


def measure(sessions: int, events: int, repeats: int) -> Measured:
    spent = core.measure(events, max(1, sessions // SHARDS), repeats)
    return Measured(spent.us("decode", "judge and count"), spent.us("checkpoint"))
