"""``python -m tests.soak.logins --for 3m``: a worker over TLS whose logins end after two seconds; exit code 1 if anything
piles up.

Each of its connections is renewed every second and a half, as often in minutes as otherwise in weeks. What a connection
leaves behind in cycles is left alone by the collector (`stream.kafka.gc_tuning`), so all objects of connections are
counted, those that are left alone included.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import uvloop

from stream.config import Settings
from stream.durations import parse_duration
from stream.kafka.patches.connection import Connection
from tests.bench.report import say
from tests.kafka.secured import FAST, SecuredKafka
from tests.kafka.tools import make_topics, send_views, settings, until, worker

WARM_UP: Final = 5.0
"""Seconds until the first count."""
EVERY: Final = 15.0
"""Seconds between two counts; there are at least two."""
WATCHED: Final = ("aiokafka.", "asyncio.", "_asyncio.", "ssl.", "_ssl.", "uvloop.", "stream.kafka.")
"""Modules whose objects are counted by type."""
SHARE: Final = 0.2
"""Of the connections that were renewed, so many may have left an object of one type each."""
SPARE: Final = 15
"""What comes and goes of one type, renewals aside."""
SPARE_MB: Final = 10.0
_CONNECTION: Final = f"{Connection.__module__}.{Connection.__name__}"
_PAGE_MB: Final = 4096 / 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """``made``: connections until then. ``objects``: those that are held, by type. ``resident``: MB."""

    made: int
    objects: Counter[str]
    resident: float

    @property
    def connections(self) -> int:
        return self.objects[_CONNECTION]


@dataclass(slots=True)
class Outcome:
    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    sent: int = 0
    counted: int = 0

    @property
    def renewed(self) -> int:
        return self.samples[-1].made - self.samples[0].made

    @property
    def grown(self) -> dict[str, int]:
        """Types of which there are more at the end, and how many more: beyond what comes and goes."""
        grown = self.samples[-1].objects - self.samples[0].objects
        return {name: number for name, number in grown.items() if number > SHARE * self.renewed + SPARE}

    @property
    def good(self) -> bool:
        """Memory is looked at in the second half only: the first fills what is then used again."""
        middle = self.samples[len(self.samples) // 2]
        flat = self.samples[-1].resident - middle.resident < SPARE_MB
        return not self.grown and flat and not self.failures and self.sent == self.counted and self.renewed > 0


@contextmanager
def _connections_made() -> Iterator[Callable[[], int]]:
    """How many connections were made since."""
    made = 0
    make = Connection.__init__

    def noted(self: Connection, *args: Any, **options: Any) -> None:
        nonlocal made
        made += 1
        make(self, *args, **options)

    Connection.__init__ = noted  # type: ignore[method-assign]
    try:
        yield lambda: made
    finally:
        Connection.__init__ = make  # type: ignore[method-assign]


def _sample(made: int) -> Sample:
    gc.collect(0)
    gc.unfreeze()
    kinds = (type(each) for each in gc.get_objects())
    names = (f"{kind.__module__}.{kind.__name__}" for kind in kinds)
    objects = Counter(name for name in names if name.startswith(WATCHED))
    gc.freeze()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(made, objects, pages * _PAGE_MB)


async def soak(secured: SecuredKafka, config: Settings, seconds: float, tell: Callable[[Sample], None]) -> Outcome:
    """To be run by uvloop, as a worker is."""
    outcome = Outcome()
    await make_topics(config, 2)
    with _connections_made() as made:
        async with worker(config) as memory:
            await until(lambda: len(memory.recoveries) >= 2, "both shards have begun")
            async with _fed(secured, config, outcome):
                await asyncio.sleep(WARM_UP)
                await _sampled(outcome, made, max(1, round(seconds / EVERY)), tell)
            await until(lambda: memory.counted >= outcome.sent, "all are counted")
            outcome.counted, outcome.failures = memory.counted, list(memory.failures)
    return outcome


async def _sampled(outcome: Outcome, made: Callable[[], int], number: int, tell: Callable[[Sample], None]) -> None:
    """Now, and so many times more."""
    for turn in range(number + 1):
        await asyncio.sleep(EVERY if turn else 0)
        outcome.samples.append(_sample(made()))
        tell(outcome.samples[-1])


@asynccontextmanager
async def _fed(secured: SecuredKafka, config: Settings, outcome: Outcome) -> AsyncIterator[None]:
    """While entered, some ten views a second. A producer that is cancelled may never end, so the last is awaited."""
    over = asyncio.Event()

    async def feed() -> None:
        while not over.is_set():
            await send_views(secured.kafka, config, range(outcome.sent, outcome.sent + 5))
            outcome.sent += 5
            await asyncio.sleep(0.5)

    feeding = asyncio.create_task(feed())
    try:
        yield
    finally:
        over.set()
        await asyncio.wait({feeding})


def config_for(secured: SecuredKafka, prefix: str) -> Settings:
    quick = settings(secured.kafka, prefix, idle_after="300ms").model_dump()
    patient = {"session_timeout": "30s", "transaction_timeout": "30s"}
    return Settings.model_validate({**quick, **patient, **secured.login(FAST, "SCRAM-SHA-512")})


def _told(sample: Sample) -> None:
    say(f"  {sample.made:6,} connections made, {sample.connections} held; {sample.resident:.0f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.soak.logins", description=__doc__)
    parser.add_argument("--for", dest="lasts", type=parse_duration, default=timedelta(minutes=3), help="such as 3m")
    seconds = parser.parse_args().lasts.total_seconds()
    secured = SecuredKafka(Path(tempfile.mkdtemp(prefix="liveshop-soak-")))
    with secured.kafka:
        outcome = uvloop.run(soak(secured, config_for(secured, "logins."), seconds, _told))
    say(f"{outcome.renewed:,} connections renewed, {outcome.counted:,} of {outcome.sent:,} records counted")
    for name, number in outcome.grown.items():
        say(f"  PILES UP: {number:+,} {name}")
    for failure in outcome.failures:
        say(f"  a checkpoint failed: {failure}")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
