"""One round of chaos: input, faults, quiet; then the outputs are held against the recount of the inputs."""

import asyncio
import time
import uuid
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from tests.chaos.faults import Clock, Neighbour, Slot
from tests.chaos.feed import Feed
from tests.chaos.growth import GROWN, Growth
from tests.chaos.job import Compared, Job, Sessions, Set
from tests.chaos.profile import PARTITIONS, Profile
from tests.outputs import read_inputs

PATIENCE: Final = 90.0
"""Seconds from the end of faults until everything must be written: with a rebalance, a recovery and the silence."""
STILL: Final = 2.0
"""Seconds that nothing more may be written."""


@dataclass
class Outcome:
    """What a round was and found."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    events: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    revisions: int = 0
    sessions: int = 0
    letters: int = 0
    seconds: float = 0.0
    settled_after: float = 0.0
    exits: list[str] = field(default_factory=list)
    """Workers that ended by themselves, or not as they should: as bad as a difference."""
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.differences and not self.exits

    def line(self) -> str:
        def counts(counter: Counter[str]) -> str:
            return " ".join(f"{name}={number}" for name, number in sorted(counter.items()))

        text = (
            f"seed {self.seed}: {counts(self.faults)}; {self.events:,} records ({counts(self.outcomes)}); "
            f"{self.windows:,} windows in {self.revisions:,} revisions, {self.sessions} sessions, "
            f"{self.letters} dead letters; {self.seconds:.0f} s, settled {self.settled_after:.1f} s after the last fault"
        )
        verdict = f"; {len(self.differences)} DIFFERENCES" if self.differences else "; no difference"
        exits = "".join(f"\n  BAD EXIT: {each}" for each in self.exits)
        return text + verdict + exits + "".join(f"\n  note: {each}" for each in self.notes)


class Brokers(Protocol):
    """What happens to the brokers of a round, while ``run`` runs."""

    faults: Counter[str]
    profile: Profile

    @property
    def bootstrap(self) -> str: ...

    async def run(self, prefix: str) -> None: ...


SESSIONS: Final = Sessions()


def play(brokers: Brokers, folder: Path, *, replication: int = 1, job: Job = SESSIONS) -> Outcome:
    """A round on topics of its own. Logs, and in case of differences everything compared, are left in ``folder``."""
    profile = brokers.profile
    prefix = f"chaos-{uuid.uuid4().hex[:10]}."
    folder.mkdir(parents=True, exist_ok=True)
    job.make_topics(brokers.bootstrap, prefix, replication)
    outcome = Outcome(profile.seed)
    began = time.monotonic()
    where = (brokers.bootstrap, prefix, profile, folder)
    slots = [Slot(number, *where, program=job.program) for number in range(profile.workers)]
    try:
        asyncio.run(_play(job, prefix, brokers, slots, outcome=outcome, folder=folder))
    finally:
        for slot in slots:
            slot.kill()
    job.delete_topics(brokers.bootstrap, prefix)
    outcome.seconds = time.monotonic() - began
    return outcome


async def _play(job: Job, prefix: str, broker: Brokers, slots: list[Slot], *, outcome: Outcome, folder: Path) -> None:
    profile, brokers = broker.profile, broker.bootstrap
    feed, clock = job.feed(brokers, prefix, profile), Clock(profile, folder)
    neighbour, growth = Neighbour(brokers, prefix, profile, folder, job), Growth(broker, prefix, profile, folder)
    until = time.monotonic() + profile.seconds
    around = [broker.run(prefix), clock.run()]
    if isinstance(feed, Feed) and profile.grows:
        around.append(growth.run(feed))
    if profile.neighbour:
        around.append(neighbour.run())
    await asyncio.gather(feed.run(), *around, *(slot.suffer(until) for slot in slots))
    calm = time.monotonic()
    if profile.grows:
        grown = await _grown(growth, profile, slots, folder)
        records = await growth.counted()
        sets: list[Compared] = [await Set.of(prefix, PARTITIONS, records, profile), grown]
        found = await _settle(brokers, sets, slots)
        found += await growth.lost_or_doubled(records)
    else:
        sets = [await job.compared(brokers, prefix, profile)]
        found = await _settle(brokers, sets, slots)
    outcome.settled_after = time.monotonic() - calm
    for each in sets:
        each.tell(outcome)
    if feed.troubles:
        outcome.notes.append(f"the feed had {feed.troubles} troubles with the broker")
    outcome.faults = sum(
        (slot.faults for slot in slots), broker.faults + neighbour.faults + clock.faults + growth.faults
    )
    outcome.exits = [each for slot in slots for each in slot.exits] + neighbour.exits
    outcome.notes += _said(folder)
    outcome.differences = found
    if found:
        for each in sets:
            each.save(folder / each.prefix, found)


async def _grown(growth: Growth, profile: Profile, slots: list[Slot], folder: Path) -> Set:
    """The larger set, with workers of its own, once all that the old one has not counted is there."""
    await growth.execute()
    brokers = growth.brokers
    (folder / "grown").mkdir()
    slots += [Slot(number, brokers, growth.prefix, profile, folder / "grown") for number in range(profile.workers)]
    records = await read_inputs(brokers, growth.prefix, GROWN)
    return await Set.of(growth.prefix, GROWN, records, profile)


async def _settle(brokers: str, sets: list[Compared], slots: list[Slot]) -> list[str]:
    """Until the outputs are what they must be, and stay so: while the workers run on, and when they have left."""
    deadline = time.monotonic() + PATIENCE
    async with AsyncExitStack() as stack:
        looks = [await stack.enter_async_context(each.reading(brokers)) for each in sets]

        async def look() -> list[str]:
            return [found for each in looks for found in await each()]

        found = ["nothing was compared"]
        while found and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            for slot in slots:
                await slot.ensure()
            found = await look()
        await asyncio.sleep(STILL)
        await asyncio.gather(*(slot.end() for slot in slots))
        return await look()


def _said(folder: Path) -> list[str]:
    """What workers logged that nobody has thought of: exceptions that reached the event loop, or the interpreter."""
    return [
        f"{log.name} has {text!r} {number} times"
        for log in sorted(folder.glob("worker-*.log"))
        for text in ("Traceback", "never retrieved", "never awaited")
        if (number := log.read_text(errors="replace").count(text))
    ]
