"""One schedule: two or three workers, a broker, producers upstream, and whatever goes wrong; all of it from one seed.

After a while the faults stop. Then everything must come to rest, and the outputs must be those of the recount.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Final

from aiokafka import TopicPartition
from pydantic import PrivateAttr

from stream.config import Settings
from stream.core.framing import first_needed
from stream.core.policy import Policy
from stream.core.statelog import Provenance, newest_provenance
from tests.core.worlds import T0
from tests.simulation.cluster import Cluster, Habits
from tests.simulation.content import PARTITIONS, content
from tests.simulation.faults import Faults
from tests.simulation.job import Job, Sessions
from tests.simulation.loop import Loop, StalledError
from tests.simulation.seam import Connections, installed
from tests.simulation.wire import Weather, Wire
from tests.simulation.workers import Slot

EPOCH: Final = T0 / 1000 + 3600
"""All event time is past, so that silence closes the last windows at once."""
SEEDS_A_CONTENT: Final = 40
PATIENCE: Final = 120.0
"""Seconds within which everything must have come to rest, once nothing goes wrong any more."""
NEIGHBOUR: Final = "h"
"""The group of another installation on the same topics."""
NEIGHBOUR_NUMBER: Final = 9
STILL: Final = 5.0
"""Seconds without an output after which there will be none: a fetch that waits a second for an input that has nothing more,
idle_after, a look at the clock each second, and a checkpoint that tells the brokers' time before another."""


class _Settings(Settings):
    """Its policy is not that of its own settings: no duration that a person may write is so short."""

    _policy: Policy = PrivateAttr(default_factory=Policy)

    def policy(self) -> Policy:
        return self._policy

    def under(self, policy: Policy) -> Settings:
        made = self.model_copy()
        made._policy = policy
        return made


SETTINGS: Final = _Settings(
    brokers="broker:9092",
    group="g",
    topic_prefix="t.",
    checkpoint_every=timedelta(milliseconds=300),
    idle_after=timedelta(milliseconds=800),
    connect_timeout=timedelta(seconds=5),
    session_timeout=timedelta(seconds=1),
    heartbeat_every=timedelta(milliseconds=300),
    revoke_deadline=timedelta(seconds=1),
    transaction_timeout=timedelta(milliseconds=1500),
    stuck_after=timedelta(seconds=20),
    top_sessions=0,
)


@dataclass
class Outcome:
    """What came of a schedule."""

    seed: int
    problems: list[str] = field(default_factory=list)
    digest: int = 0
    requests: int = 0
    seconds: float = 0.0
    """Of the world's time."""
    faults: list[str] = field(default_factory=list)


class World:
    def __init__(self, seed: int, tell: Callable[[str], None] | None = None, job: Job | None = None) -> None:
        """Without a ``job``, that of the session worker, with content that follows from the seed."""
        self.seed = seed
        sessions = content(seed // SEEDS_A_CONTENT)
        self.job = job or Sessions(sessions)
        self.loop = Loop()
        self.rng = Random(f"world {seed}")
        rng = self.rng
        self.weather = Weather(f"weather {seed}", rough=rng.choice((0.0, 0.01, 0.03, 0.06)), slow=rng.choice((1, 1, 6)))
        markers = Random(f"markers {seed}")
        slow_markers = rng.random() < 0.3
        habits = Habits(lambda: markers.random() * (0.4 if slow_markers and markers.random() < 0.3 else 0.004))
        self.cluster = Cluster(self.loop, EPOCH, habits)
        for name, number in self.job.partitions.items():
            self.cluster.create([SETTINGS.topic(name)], number)
        self.wire = Wire(self.cluster, self.weather, tell=tell)
        policy = self.job.content.policy if isinstance(self.job, Sessions) else sessions.policy
        self._settings = SETTINGS.under(policy)
        self.connections = Connections(
            self.wire,
            EPOCH,
            batch_records=rng.choice((3, 40, 1000)),
            fetch_offsets=rng.choice((5, 30, 500)),
            tell=tell,
            dice=Random(f"dice {seed}"),
        )
        role = self.job.role
        self._read = frozenset(SETTINGS.topic(each.topic) for each in role.inputs)
        self._written = frozenset(SETTINGS.topic(name) for name in (*(each.topic for each in role.outputs), role.state))
        self.outcome = Outcome(seed)
        self.slots = [Slot(self, number) for number in range(2)]
        self.neighbour: Slot | None = None
        """A worker of another installation on the same topics."""
        self.retired: list[Slot] = []
        """Those that are to end, and not to start again."""
        self.feed = self.job.feed(
            self.cluster,
            SETTINGS,
            Random(f"feed {seed}"),
            seconds=rng.choice((3.0, 5.0)),
            backlog=rng.choice((0.0, 0.0, 0.5, 1.0)),
        )

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def workers(self) -> list[Slot]:
        """All that are to work."""
        return [*self.slots, self.neighbour] if self.neighbour is not None else self.slots

    def move_in(self) -> None:
        """The neighbour begins, in a group of its own."""
        theirs = self._settings.model_copy(update={"group": NEIGHBOUR})
        self.neighbour = Slot(self, NEIGHBOUR_NUMBER, theirs)
        self.neighbour.start()

    def run(self) -> Outcome:
        asyncio.set_event_loop(self.loop)
        try:
            with installed(self.connections):
                self.loop.run_until_complete(self.loop.create_task(self._live()))
        except StalledError as error:
            self.problem(str(error))
        finally:
            asyncio.set_event_loop(None)
            self.outcome.problems += [f"asyncio complains: {each}" for each in self.loop.complaints]
            self.outcome.digest, self.outcome.requests = self.wire.digest, self.wire.requests
            self.outcome.seconds = self.loop.now
            self.loop.end()
        return self.outcome

    def problem(self, text: str) -> None:
        self.wire.note(f"PROBLEM {text}")
        self.outcome.problems.append(text)

    async def _live(self) -> None:
        for slot in self.slots:
            self.cluster.later(self.rng.random(), slot.start)
        feeding = asyncio.ensure_future(self.feed.run())
        faults = Faults(self)
        await faults.run()
        await feeding
        await faults.heal()
        self.wire.note("no more faults")
        at_rest = await self._rest()
        if not at_rest and not self._is_split():
            self.problem(f"not at rest within {PATIENCE:.0f} s: {self._unrest()}")
        await self._stop()
        if at_rest and not self.outcome.problems:
            self.outcome.problems += self.job.judge(self.cluster, SETTINGS)

    async def _rest(self) -> bool:
        until = self.loop.now + PATIENCE
        seen, since = self._standing(), self.loop.now
        while self.loop.now < until and not self.outcome.problems:
            await asyncio.sleep(0.4)
            now = self._standing()
            if now != seen:
                seen, since = now, self.loop.now
            elif self.loop.now - since > STILL and not self._unrest():
                return True
        return False

    def _is_split(self) -> bool:
        """Of what nobody had begun the neighbour has won a part: neither can run whole, and a worker that is refused at its
        start ends again and again.
        """
        owners = set()
        for number in range(PARTITIONS):
            entries = self.cluster.log(TopicPartition(SETTINGS.topic(self.job.role.state), number)).committed()
            if entries:
                start = first_needed(entries[-1].value or b"", entries[-1].offset)
                records = [(entry.offset, entry.value or b"") for entry in entries if entry.offset >= start]
                owners.add(newest_provenance(records, Provenance).owner["group"])
        return len(owners) > 1

    def _standing(self) -> tuple[object, ...]:
        """What changes until all is at rest: how much is written, and who reads what."""
        written = (log.high for partition, log in self.cluster.logs.items() if partition.topic in self._written)
        return *written, *(slot.shards for slot in self.workers)

    def _unrest(self) -> str:
        """Partitions that nobody reads, and inputs that have records which no checkpoint holds."""
        committed: dict[TopicPartition, int] = {}
        for group in (SETTINGS.group, NEIGHBOUR):
            for place, offset in self.cluster.group(group).offsets.items():
                committed[place] = max(offset, committed.get(place, 0))
        behind = [
            f"{place.topic}/{place.partition} at {committed.get(place, 0)} of {log.stable}"
            for place, log in self.cluster.logs.items()
            if place.topic in self._read and log.committed(committed.get(place, 0))
        ]
        read = sorted(number for slot in self.workers for number in slot.shards)
        if read != list(range(PARTITIONS)):
            behind.append(f"shards that run: {read}")
        return ", ".join(behind)

    async def _stop(self) -> None:
        """In order, as a signal does: nothing of that may change what has been written."""
        for slot in self.workers:
            slot.terminate(for_good=True)
        until = self.loop.now + 30
        while any(slot.running for slot in (*self.workers, *self.retired)):
            if self.loop.now > until:
                self.problem("a worker does not end")
                return
            await asyncio.sleep(0.1)


def simulate(seed: int, tell: Callable[[str], None] | None = None, job: Job | None = None) -> Outcome:
    """The schedule of a seed, from beginning to end."""
    return World(seed, tell, job).run()
