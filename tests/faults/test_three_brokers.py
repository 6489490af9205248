"""Three brokers, killed and upgraded in turn while two workers work: outputs are those of the recount, nobody ends."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from stream.config import Settings
from stream.sandbox import jars
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from tests.chaos.profile import Profile
from tests.chaos.rounds import Outcome, play
from tests.faults.cluster import NEW, OLD, Cluster

LINES: Final = 400
"""Of one worker's log, measured: some 100. One that logs each retry of each connection writes thousands."""

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif("CHAOS" not in os.environ, reason="takes a minute of both cores: part of make chaos"),
]


class Upgrades:
    """One broker after another is killed or stopped, and comes back as the new version; at last the features follow."""

    def __init__(self, cluster: Cluster, thread: ThreadPoolExecutor, profile: Profile) -> None:
        self.faults: Counter[str] = Counter()
        self.profile = profile
        self.levels: dict[str, int] = {}
        self._cluster = cluster
        self._thread = thread

    @property
    def bootstrap(self) -> str:
        return self._cluster.bootstrap

    async def run(self, _prefix: str) -> None:
        await asyncio.sleep(2)  # some traffic before the first goes
        for number, node in enumerate(self._cluster.nodes):
            await self._cluster.whole()
            if number % 2 == 0:
                await self._do("broker crash", node.kill)
            await self._do("broker upgrade", node.restart, NEW)
        await self._cluster.whole()
        self.levels = await self._cluster.raise_features()

    async def _do(self, name: str, fault: Callable[..., None], *arguments: str) -> None:
        self.faults[name] += 1
        await asyncio.get_running_loop().run_in_executor(self._thread, fault, *arguments)


@pytest.mark.timeout(300)
def test_brokers_are_killed_and_upgraded_in_turn(kafka: EmbeddedKafka, tmp_path: Path, record_property: Any) -> None:
    assert kafka.running  # the shared one says whether there can be any
    jars.fetch(print, OLD)
    with ThreadPoolExecutor(1) as thread:
        cluster = Cluster(OLD)
        try:
            thread.submit(cluster.start).result()
            unasked = asyncio.run(topics.create(Settings(brokers=cluster.bootstrap, topic_prefix="unasked."), 1, None))
            assert {topic.replication for topic in unasked} == {3}, "copies suit the cluster"
            profile = replace(Profile.short(11), seconds=30.0, rate=250.0, pause=(1000.0, 1000.0))
            upgrades = Upgrades(cluster, thread, profile)
            outcome = play(upgrades, tmp_path, replication=3)
        finally:
            thread.submit(cluster.stop).result()
    assert_good(outcome)
    assert outcome.faults["broker upgrade"] == 3
    assert upgrades.levels["metadata.version"] > 0
    lines = {log.name: len(log.read_text().splitlines()) for log in tmp_path.glob("worker-*.log")}
    record_property("told", f"three brokers upgraded in turn: {outcome.line()}; lines of the logs: {json.dumps(lines)}")
    assert max(lines.values()) < LINES


def assert_good(outcome: Outcome) -> None:
    assert outcome.differences == [], outcome.line()
    assert outcome.exits == [], outcome.line()
    assert outcome.notes == [] or all("troubles" in note for note in outcome.notes), outcome.line()
