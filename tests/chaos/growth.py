"""A round in which somebody adds partitions to the topics, and a larger set takes over: two sets, and each is recounted.

Partitions are added amid all other faults, the command runs when it is quiet. In `growing` it is killed, and so are workers.
"""

import asyncio
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Final

from stream.children import Child
from stream.config import Settings
from stream.model.names import INPUTS, Kind
from stream.operate.show import show
from stream.sessions.role import WORKER
from tests.chaos.faults import all_begun
from tests.chaos.feed import Feed
from tests.chaos.profile import PARTITIONS, Profile
from tests.faults.grown import Reached, add_partitions
from tests.live import eventually, path
from tests.outputs import read_inputs
from tests.recount import LogRecord

GROWN: Final = 6
SECONDS: Final = 120.0
ShardContext = tuple[str, int, int]
"""Topic (views, comments, checkouts), partition and offset."""


class Growth:
    """``prefix``: of the new set. Nobody writes there but ``liveshop topics grow``."""

    def __init__(self, brokers: Reached, prefix: str, profile: Profile, folder: Path) -> None:
        self.faults: Counter[str] = Counter()
        self.prefix = f"{prefix}grown."
        self._brokers = brokers
        self._old = Settings(brokers=brokers.bootstrap, topic_prefix=prefix, group=prefix.rstrip("."))
        self._profile = profile
        self._folder = folder

    @property
    def brokers(self) -> str:
        return self._brokers.bootstrap

    async def run(self, feed: Feed) -> None:
        """Producers follow at once, to all partitions. (Uneven topics of which nothing was counted yet are a mistake.)"""
        await asyncio.sleep(self._profile.seconds * 0.6)
        begun = partial(all_begun, WORKER, self.brokers, self._old.topic_prefix)
        await eventually("every partition has a state", begun, SECONDS, every=0.5)
        self.faults["partitions added"] += 1
        await add_partitions(self._brokers, {self._old.topic(name): GROWN for name in INPUTS.values()})
        feed.partitions = GROWN

    async def execute(self) -> None:
        """As a person does, when it is quiet."""
        flags = self._old.as_flags(("brokers", "group", "topic_prefix"))
        words = ("--partitions", str(GROWN), "--to-prefix", self.prefix, "--quiet", "1s", "--execute")
        command = [sys.executable, "-P", "-m", "stream.cli", "topics", "grow", *flags, *words]
        settings = {f"LIVESHOP_{name.upper()}": value for name, value in self._profile.settings.items()}
        child = Child(command, log=self._folder / "grow.log", environ={**settings, "PYTHONPATH": path()})

        async def done() -> bool:
            return child.code is not None

        try:
            await eventually("topics grow has ended", done, SECONDS)
        finally:
            child.kill()
        assert child.code in {0, 3}, child.tail()  # 3: some records were none that could be moved

    async def counted(self) -> list[LogRecord]:
        """What the old set has counted, by its states."""
        positions = {each.partition: (each.figures or {})["positions"] for each in await show(WORKER, self._old, ())}
        records = await read_inputs(self._brokers.bootstrap, self._old.topic_prefix, PARTITIONS)
        return [each for each in records if each.offset < positions[each.partition][each.kind]]

    async def lost_or_doubled(self, counted: list[LogRecord]) -> list[str]:
        """Of the records of the old set, those that are not in just one of the two."""
        there = {each.place for each in await read_inputs(self._brokers.bootstrap, self._old.topic_prefix, GROWN)}
        moved = Counter(_origin(each) for each in await read_inputs(self._brokers.bootstrap, self.prefix, GROWN))
        found = moved + Counter(each.place for each in counted)
        wrong = [place for place in sorted(there | found.keys()) if found[place] != 1]
        return [f"{place} is in the two sets {found[place]} times" for place in wrong]


def _origin(record: LogRecord) -> ShardContext:
    """Where it lay in the old set. Its own header comes last, should it have come with one."""
    origin = [value for name, value in record.headers if name == "liveshop-origin"][-1].decode()
    topic, partition, offset, _ = origin.rsplit("/", 3)
    return Kind(topic.rsplit(".", 1)[1]), int(partition), int(offset)
