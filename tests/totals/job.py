"""The totals in the simulation: what is sent, and what must be written in the end, by sums that know no machine."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from stream.config import Settings
from stream.kafka.role import Role
from tests.kafka.tools import Memory
from tests.simulation.cluster import Cluster
from tests.simulation.content import PARTITIONS
from tests.simulation.job import Feeding
from tests.totals.machine import BY_OWNER, PAID, REFUNDED, ROLE, TOTALS, owner_of

OWNERS: Final = 3
"""Partitions of the topic that is written by owner: a number of its own."""
RECORDS: Final = 60
"""Of each input partition."""
ACCOUNTS: Final = (b"a/1", b"a/2", b"b/1", b"c/1", b"c/2", b"d/1")
Sums = dict[int, Counter[bytes]]
"""By partition and account."""


class Quiet(Memory):
    """This machine has no numbers."""

    def committed(self, partition: int, tally: Any, seconds: float) -> None:  # noqa: ARG002 - see above
        self.checkpoints += 1


class Job:
    def __init__(self) -> None:
        self.sums: Sums = defaultdict(Counter)

    @property
    def role(self) -> Role:
        return ROLE

    @property
    def partitions(self) -> Mapping[str, int]:
        return {spec.name: OWNERS if spec.name == BY_OWNER else PARTITIONS for spec in ROLE.specs}

    def watch(self) -> Memory:
        return Quiet()

    def feed(self, cluster: Cluster, settings: Settings, rng: Random, *, seconds: float, backlog: float) -> Feeding:
        feed = _Feed(self.sums, cluster, settings, rng)
        feed.pause, feed.at_once = seconds / RECORDS, int(backlog * RECORDS)
        return feed

    def judge(self, cluster: Cluster, settings: Settings) -> list[str]:
        return [*_own(cluster, settings, self.sums), *_by_owner(cluster, settings, self.sums)]


class _Feed:
    def __init__(self, sums: Sums, cluster: Cluster, settings: Settings, rng: Random) -> None:
        self._sums, self._cluster, self._settings, self._rng = sums, cluster, settings, rng
        self.pause = 0.0
        """Seconds between two records, about."""
        self.at_once = 0

    async def run(self) -> None:
        places = [(topic, number) for topic in (PAID, REFUNDED) for number in range(PARTITIONS)]
        await asyncio.gather(*(self._send(*place, 50 + at) for at, place in enumerate(places)))

    async def _send(self, topic: str, number: int, producer: int) -> None:
        """Some in transactions, some of which are aborted."""
        log, sequence = self._cluster.log(TopicPartition(self._settings.topic(topic), number)), 0
        for sent in range(RECORDS):
            account, amount, luck = self._rng.choice(ACCOUNTS), self._rng.randrange(1, 10), self._rng.random()
            row: list[tuple[bytes | None, bytes | None, Any]] = [(account, b"%d" % amount, [])]
            if luck < 0.7:
                log.append(row, [self._cluster.now_ms])
            else:
                log.append(row, [self._cluster.now_ms], producer=producer, sequence=sequence)
                sequence += 1
                await asyncio.sleep(self._rng.choice((0.0, 0.05, 0.3)))
                log.mark(producer, 0, self._cluster.now_ms, commit=luck < 0.9)
            if luck < 0.9:
                self._sums[number][account] += amount if topic == PAID else -amount
            if sent >= self.at_once:
                await asyncio.sleep(self.pause * 2 * self._rng.random())


def _own(cluster: Cluster, settings: Settings, sums: Sums) -> Iterator[str]:
    """Each total is right, and each writing of it is there once."""
    for number in range(PARTITIONS):
        seen: dict[bytes, list[dict[str, int]]] = defaultdict(list)
        for entry in cluster.log(TopicPartition(settings.topic(TOTALS), number)).committed():
            seen[entry.key or b""].append(json.loads(entry.value or b""))
        yield from differences(f"partition {number}", seen, sums[number])


def _by_owner(cluster: Cluster, settings: Settings, sums: Sums) -> Iterator[str]:
    """The same there, where shards write among each other: an account has a total in each of them."""
    found: Counter[bytes] = Counter()
    for number in range(OWNERS):
        newest: dict[tuple[bytes, int], int] = {}
        revisions: Counter[tuple[bytes, int]] = Counter()
        for entry in cluster.log(TopicPartition(settings.topic(BY_OWNER), number)).committed():
            key, value = entry.key or b"", json.loads(entry.value or b"")
            if (murmur2(owner_of(key)) & 0x7FFFFFFF) % OWNERS != number:
                yield f"{key!r} lies in partition {number} of the owners"
            revisions[key, value["revision"]] += 1
            newest[key, value["revision"]] = value["total"]
            found[key] += 1
        yield from (
            f"{key!r}, revision {revision} is there {times} times by owner"
            for (key, revision), times in revisions.items()
            if times > PARTITIONS  # each shard has its own totals of the account
        )
    written = {key for counts in sums.values() for key in counts}
    if written - set(found):
        yield f"not written by owner: {written - set(found)}"


def differences(where: str, seen: Mapping[bytes, list[dict[str, int]]], sums: Mapping[bytes, int]) -> Iterator[str]:
    for account in {*seen, *sums}:
        values = seen.get(account, [])
        if [value["revision"] for value in values] != list(range(1, len(values) + 1)):
            yield f"{where}, {account!r}: revisions {[value['revision'] for value in values]}"
        if not values or values[-1]["total"] != sums.get(account, 0):
            yield f"{where}, {account!r}: {values[-1:]} instead of {sums.get(account, 0)}"
