"""The totals in a round of chaos: amounts sent as fast as a broker takes them, and each total held against their sums."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from stream.config import Settings
from stream.kafka import topics
from tests.chaos.job import Look
from tests.chaos.profile import PARTITIONS, Profile
from tests.chaos.rounds import Outcome
from tests.outputs import Follower
from tests.totals.job import OWNERS, differences
from tests.totals.machine import BY_OWNER, PAID, REFUNDED, ROLE, TOTALS, owner_of

ACCOUNTS: Final = [b"%c/%d" % (owner, number) for owner in b"abcdef" for number in range(4)]
AT_ONCE: Final = 20
"""Records of one transaction; each fifth is aborted."""
Values = dict[bytes, list[dict[str, Any]]]


class Feed:
    def __init__(self, brokers: str, prefix: str, profile: Profile) -> None:
        self.troubles = 0
        self._settings = Settings(brokers=brokers, topic_prefix=prefix)
        self._profile = profile
        self._rng = Random(f"totals {profile.seed}")

    async def run(self) -> None:
        until = time.monotonic() + self._profile.seconds
        while time.monotonic() < until:
            try:
                await self._send(until)
            except KafkaError:
                self.troubles += 1
                await asyncio.sleep(0.2)
        async with asyncio.timeout(60), self._producing():
            """A producer that starts ends what an earlier one of its id has left open."""

    @asynccontextmanager
    async def _producing(self) -> AsyncIterator[AIOKafkaProducer]:
        config = self._settings
        producer = AIOKafkaProducer(bootstrap_servers=config.brokers, transactional_id=f"{config.topic_prefix}payer")
        try:
            await producer.start()
            yield producer
        finally:
            closing = asyncio.ensure_future(producer.stop())
            await asyncio.wait({closing}, timeout=5.0)
            closing.cancel()

    async def _send(self, until: float) -> None:
        rng = self._rng
        async with self._producing() as producer:
            while time.monotonic() < until:
                await producer.begin_transaction()
                for _ in range(AT_ONCE):
                    topic = self._settings.topic(rng.choice((PAID, PAID, REFUNDED)))
                    await producer.send(topic, b"%d" % rng.randrange(1, 100), key=rng.choice(ACCOUNTS))
                await (producer.abort_transaction() if rng.random() < 0.2 else producer.commit_transaction())
                await asyncio.sleep(0.03)


@dataclass
class Sums:
    """By partition and account, as they must be in the end."""

    prefix: str
    records: int
    expected: dict[int, Counter[bytes]]
    written: dict[int, Values] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    by_owner: Values = field(default_factory=lambda: defaultdict(list))
    strays: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def reading(self, brokers: str) -> AsyncIterator[Look]:
        own, shared = f"{self.prefix}{TOTALS}", f"{self.prefix}{BY_OWNER}"
        async with Follower(brokers, [own], PARTITIONS) as results, Follower(brokers, [shared], OWNERS) as owners:

            async def look() -> list[str]:
                for record in await results.more():
                    self.written[record.partition][record.key].append(json.loads(record.value))
                for record in await owners.more():
                    self.by_owner[record.key].append(json.loads(record.value))
                    if (murmur2(owner_of(record.key)) & 0x7FFFFFFF) % OWNERS != record.partition:
                        self.strays.append(f"{record.key!r} lies in partition {record.partition} of the owners")
                return self._found()

            yield look

    def _found(self) -> list[str]:
        found = list(self.strays)
        for number in range(PARTITIONS):
            found += differences(f"partition {number}", self.written[number], self.expected[number])
        together = {account: values for accounts in self.written.values() for account, values in accounts.items()}
        return found + [
            f"{account!r} is not the same by owner: {len(self.by_owner[account])} revisions"
            for account, values in together.items()
            if self.by_owner[account] != values
        ]

    def tell(self, outcome: Outcome) -> None:
        outcome.events += self.records
        outcome.outcomes["revisions"] += sum(map(len, self.by_owner.values()))

    def save(self, folder: Path, found: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "differences.txt").write_text("\n".join(found))


class Job:
    role = ROLE
    program = ("tests.totals.worker",)

    def make_topics(self, brokers: str, prefix: str, replication: int) -> None:
        asyncio.run(self._make(Settings(brokers=brokers, topic_prefix=prefix), replication))

    async def _make(self, settings: Settings, replication: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.brokers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(settings.topic(BY_OWNER), OWNERS, replication)])
        finally:
            await admin.close()
        await topics.create(ROLE, settings, PARTITIONS, replication)

    def delete_topics(self, brokers: str, prefix: str) -> None:
        asyncio.run(topics.delete(ROLE, Settings(brokers=brokers, topic_prefix=prefix)))

    def feed(self, brokers: str, prefix: str, profile: Profile) -> Feed:
        return Feed(brokers, prefix, profile)

    async def compared(self, brokers: str, prefix: str, profile: Profile) -> Sums:  # noqa: ARG002 - no setting decides
        sums: dict[int, Counter[bytes]] = defaultdict(Counter)
        names = {f"{prefix}{PAID}": 1, f"{prefix}{REFUNDED}": -1}
        async with Follower(brokers, names, PARTITIONS) as follower:
            records = await follower.more()
        for record in records:
            sums[record.partition][record.key] += names[record.topic] * int(record.value)
        return Sums(prefix, len(records), sums)
