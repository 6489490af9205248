"""What is worked on in a round: a role, what is sent, and what must come of it. The faults are the same for any."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stream.kafka.role import Role
from stream.sessions.role import WORKER
from tests.chaos.feed import Feed
from tests.chaos.judge import differences, save
from tests.chaos.profile import PARTITIONS, Profile
from tests.live import create_topics, delete_topics
from tests.outputs import Results, Written, read_inputs
from tests.recount import LogRecord, Recounted, recount

if TYPE_CHECKING:
    from tests.chaos.rounds import Outcome

Look = Callable[[], Awaitable[list[str]]]
"""Everything that is not as it must be by now, one line each."""


class Feeding(Protocol):
    troubles: int
    """With the broker: what it did not take is gone, what lies in the log counts."""

    async def run(self) -> None:
        """Sends for as long as the profile says."""


class Compared(Protocol):
    """The topics of one prefix: what must have come of the inputs as they lie there."""

    @property
    def prefix(self) -> str: ...

    def reading(self, brokers: str) -> AbstractAsyncContextManager[Look]: ...

    def tell(self, outcome: "Outcome") -> None: ...

    def save(self, folder: Path, found: Sequence[str]) -> None:
        """Everything there is to look at."""


class Job(Protocol):
    @property
    def role(self) -> Role: ...

    @property
    def program(self) -> tuple[str, ...]:
        """The module that runs its workers, as `liveshop` does."""

    def make_topics(self, brokers: str, prefix: str, replication: int) -> None: ...
    def delete_topics(self, brokers: str, prefix: str) -> None: ...
    def feed(self, brokers: str, prefix: str, profile: Profile) -> Feeding: ...
    async def compared(self, brokers: str, prefix: str, profile: Profile) -> Compared: ...


@dataclass
class Set:
    """What sessions were counted, and what must come of them."""

    prefix: str
    partitions: int
    records: list[LogRecord]
    expected: Recounted
    written: Written = field(default_factory=Written)

    @classmethod
    async def of(cls, prefix: str, partitions: int, records: list[LogRecord], profile: Profile) -> "Set":
        return cls(prefix, partitions, records, await asyncio.to_thread(recount, records, profile.rules))

    @asynccontextmanager
    async def reading(self, brokers: str) -> AsyncIterator[Look]:
        async with Results(brokers, self.prefix, self.partitions) as results:

            async def look() -> list[str]:
                self.written = await results.look()
                return differences(self.records, self.expected, self.written, self.prefix)

            yield look

    def tell(self, outcome: "Outcome") -> None:
        outcome.events += len(self.records)
        for (_, name), number in self.expected.outcomes.items():
            outcome.outcomes[name] += number
        outcome.windows += len(self.written.windows)
        outcome.sessions += len(self.written.sessions)
        outcome.revisions += sum(map(len, self.written.windows.values()))
        outcome.letters += len(self.written.letters)

    def save(self, folder: Path, found: Sequence[str]) -> None:
        save(folder, found, self.expected, self.written)


class Sessions:
    """That of the session worker."""

    role = WORKER
    program = ("stream.cli",)

    def make_topics(self, brokers: str, prefix: str, replication: int) -> None:
        create_topics(brokers, prefix, PARTITIONS, replication)

    def delete_topics(self, brokers: str, prefix: str) -> None:
        delete_topics(brokers, prefix)

    def feed(self, brokers: str, prefix: str, profile: Profile) -> Feed:
        return Feed(brokers, prefix, profile)

    async def compared(self, brokers: str, prefix: str, profile: Profile) -> Set:
        return await Set.of(prefix, PARTITIONS, await read_inputs(brokers, prefix, PARTITIONS), profile)
