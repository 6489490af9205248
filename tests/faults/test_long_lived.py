"""What changes while a worker runs for months: settings of topics, and the addresses behind a name. Certificates and logins:
tests/kafka/test_security.py. Brokers: test_three_brokers.py.
"""

import asyncio
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.config import Settings
from stream.kafka import client
from stream.kafka.health import BROKERS_AWAY
from stream.kafka.recovery import group_offsets
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, SESSION_WINDOWS, SESSIONS, STATE
from stream.sandbox.broker import HOST, EmbeddedKafka
from stream.sandbox.listeners import Listener
from stream.sessions.role import SPECS, WORKER
from tests.chaos.profile import PARTITIONS, Profile
from tests.chaos.rounds import play
from tests.kafka.tools import make_topics, send_views, until, worker
from tests.kafka.tools import settings as quick
from tests.live import eventually

pytestmark = pytest.mark.kafka

NAME: Final = "kafka.test"
ELSEWHERE: Final = "127.0.0.99"
"""Nobody listens there."""
_INPUT: Final = tuple(INPUTS.values())
CHANGES: Final[tuple[tuple[tuple[str, ...], dict[str, str]], ...]] = (
    ((*_INPUT, SESSIONS), {"max.message.bytes": "2000000", "compression.type": "gzip"}),
    (_INPUT, {"message.timestamp.type": "CreateTime"}),
    ((STATE,), {"segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01", "compression.type": "lz4"}),
    (_INPUT, {}),
    ((STATE,), {"message.timestamp.type": "CreateTime"}),
    ((SESSION_WINDOWS, SESSIONS), {"cleanup.policy": "delete", "retention.ms": "86400000"}),
    ((STATE, SESSION_WINDOWS, SESSIONS), {}),
)
"""Topics, and what they have besides what they were made with, one after another."""


class Operator:
    """Alters topics while workers run, and puts all of it back at last."""

    def __init__(self, kafka: EmbeddedKafka, profile: Profile) -> None:
        self.faults: Counter[str] = Counter()
        self.profile = profile
        self.bootstrap = kafka.bootstrap

    async def run(self, prefix: str) -> None:
        settings = Settings(brokers=self.bootstrap, topic_prefix=prefix, group=prefix.rstrip("."))
        admin = client.make_admin(settings)
        await client.start(admin, settings)
        made = {spec.name: spec.configs for spec in SPECS}
        try:
            await eventually("all shards run", partial(_all_run, settings), every=0.3)
            for names, changes in CHANGES:
                await asyncio.sleep(1.5)
                resources = [
                    ConfigResource(ConfigResourceType.TOPIC, settings.topic(name), {**made[name], **changes})
                    for name in names
                ]
                await admin.alter_configs(resources)
                self.faults["settings of topics"] += 1
        finally:
            await client.end(admin)


async def _all_run(settings: Settings) -> bool:
    """Whether each shard has made a checkpoint: a worker that starts on an input with CreateTime refuses."""
    contexts = [ShardContext(settings, number, PARTITIONS, WORKER) for number in range(PARTITIONS)]
    offsets = await group_offsets(settings, [tp for context in contexts for tp in context.inputs.values()])
    return all(offset >= 0 for offset in offsets.values())


class Named(EmbeddedKafka):
    """Its clients know it by a name. (Itself by its address: it cannot look up a name that only this test knows.)"""

    def __init__(self) -> None:
        super().__init__(listeners=[Listener("NAMED")])

    @property
    def name(self) -> str:
        return f"{NAME}:{self._secured['NAMED']}"

    def _write_settings(self) -> None:
        super()._write_settings()
        with (self._folder / "server.properties").open("a") as file:
            file.write(f"\nadvertised.listeners=PLAINTEXT://{self.bootstrap},NAMED://{self.name}\n")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Addresses by name, to be changed; those that are not in it are looked up as ever."""
    found, look_up = {NAME: HOST}, socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        if host == NAME and not found.get(NAME):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(found.get(host, host), *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return found


def test_a_name_is_looked_up_for_each_connection(kafka: EmbeddedKafka, prefix: str, names: dict[str, str]) -> None:
    """It leads elsewhere, then nowhere, then to the broker again: which is found without a restart of the worker."""
    assert kafka.running  # the shared one says whether there can be any

    async def main(named: Named, thread: ThreadPoolExecutor) -> None:
        config = quick(named, prefix, brokers=named.name)
        await make_topics(config)
        async with worker(config) as memory:
            await until(lambda: memory.recoveries, "the shard has begun")
            await send_views(named, config, range(20))
            await until(lambda: memory.counted == 20, "20 are counted")
            names[NAME] = ELSEWHERE
            await asyncio.get_running_loop().run_in_executor(thread, named.restart)
            await until(lambda: "refused" in memory.reasons.get(BROKERS_AWAY, ""), "nobody answers at the new address")
            names[NAME] = ""
            await until(lambda: "unknown host" in memory.reasons.get(BROKERS_AWAY, ""), "nobody knows the name")
            names[NAME] = HOST
            await send_views(named, config, range(20, 40))
            await until(lambda: memory.counted == 40, "40 are counted")
            await until(lambda: BROKERS_AWAY not in memory.reasons, "it is said, by who looks once a second")

    with ThreadPoolExecutor(1) as thread:
        named = Named()
        thread.submit(named.start).result()
        try:
            asyncio.run(main(named, thread))
        finally:
            thread.submit(named.kill).result()
            thread.submit(named.stop).result()


def test_settings_of_topics_change_while_workers_run(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    profile = replace(
        Profile.short(13), pause=(1000.0, 1000.0), neighbour=False
    )  # it would be told of CreateTime first
    outcome = play(Operator(kafka, profile), tmp_path)
    assert outcome.differences == [], outcome.line()
    assert outcome.exits == [], outcome.line()
    assert outcome.notes == [], outcome.line()
    assert outcome.faults["settings of topics"] == len(CHANGES)
    assert outcome.outcomes["rejected"] > 10, "records that a producer stamped meanwhile are not counted"
