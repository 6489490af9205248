"""A broker whose limits are below our settings: one message names setting, value and limit, and what to do, which works."""

import asyncio
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.config import Settings
from stream.doctor.finding import Check, Severity
from stream.errors import UsageError
from stream.kafka.shard_context import ShardContext
from stream.kafka.topics import broker_limits
from stream.model.names import OUTPUTS, SESSIONS, STATE
from stream.operate import rebuild
from stream.sandbox.broker import EmbeddedKafka
from stream.sandbox.listeners import Listener
from stream.sessions import role, topics
from stream.sessions.worker import make_worker
from tests.doctor.tools import checked
from tests.hostile.test_acls import LISTENER, USERS, WORKER, allow, as_user
from tests.kafka.tools import Memory, alter, make_topics, settings
from tests.live import Worker, create_topics, wait_for
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

LIMITS: Final = {
    "group.max.session.timeout.ms": "7000",
    "transaction.max.timeout.ms": "4000",
    "message.max.bytes": "200000",
}


@pytest.fixture(scope="module")
def narrow(kafka: EmbeddedKafka) -> Iterator[EmbeddedKafka]:
    """A broker with narrow limits, on which users besides may only do what ACLs allow. Depends on the shared one only for
    its reasons to skip."""
    assert kafka.running
    guard = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "false",
    }
    made = EmbeddedKafka(listeners=(Listener(LISTENER, users=USERS),), settings=LIMITS | guard)
    with made:
        yield made
        made.kill()


async def make_by_default(kafka: EmbeddedKafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


def test_all_are_told_at_once_before_joining_and_what_is_told_works(
    narrow: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    asyncio.run(make_by_default(narrow, prefix + SESSIONS))
    create_topics(narrow.bootstrap, prefix, 1)
    with Worker(narrow.bootstrap, prefix, tmp_path / "refused.log") as worker:
        wait_for("it ends", lambda: worker.child.code is not None)
        assert worker.child.code == 2
        told = worker.log.read_text()
        assert "joining the group" not in told
    size = f"{prefix}{SESSIONS} has max.message.bytes=200000 (message.max.bytes of the brokers): it must take 1000000 bytes"
    assert size in told
    assert "--session-timeout is 10s, and group.max.session.timeout.ms of broker 1 is 7000: it takes at most 7s" in told
    assert (
        "--transaction-timeout is 10s, and transaction.max.timeout.ms of broker 1 is 4000: it takes at most 4s" in told
    )
    flags = [word for words in re.findall(r"Start with (.*?), or", told) for word in shlex.split(words)]
    asyncio.run(_alter_as_told(narrow, told))
    with Worker(narrow.bootstrap, prefix, tmp_path / "ready.log", flags=flags) as worker:
        worker.await_ready()
        worker.stop()


async def _alter_as_told(kafka: EmbeddedKafka, told: str) -> None:
    """What the command of the message would do."""
    ((topic, name, value),) = re.findall(r"--entity-name (\S+) --add-config ([a-z.]+)=(\d+)", told)
    await alter(kafka.bootstrap, topic, {name: value})


def test_topics_that_we_make_take_what_we_write_whatever_the_brokers_default(
    narrow: EmbeddedKafka, prefix: str
) -> None:
    async def main() -> None:
        config = settings(narrow, prefix, transaction_timeout="4s")
        await make_topics(config)
        configs = await topics.configs(config)
        least = {name: int(each["max.message.bytes"]) for name, each in configs.items() if name in {*OUTPUTS, STATE}}
        assert len(least) == 5
        assert min(least.values()) >= 1_000_000

    asyncio.run(main())


async def ended(config: Settings) -> str:
    """What a worker ends with."""
    memory = Memory()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(UsageError) as raised:
            await make_worker(config, memory, memory, rebuild=False).run()
    return str(raised.value)


@pytest.mark.parametrize(
    ("setting", "bound"),
    [
        ("session_timeout", "between group.min.session.timeout.ms and group.max.session.timeout.ms"),
        ("transaction_timeout", "at most transaction.max.timeout.ms"),
    ],
)
def test_who_may_not_see_the_limits_is_told_when_a_broker_refuses(
    narrow: EmbeddedKafka, prefix: str, setting: str, bound: str
) -> None:
    async def main() -> None:
        config = settings(narrow, prefix, transaction_timeout="4s")
        await make_topics(config)
        await allow(config)
        user = as_user(narrow, prefix, WORKER, **{"transaction_timeout": "4s", "session_timeout": "6s", setting: "9s"})
        assert set(map(len, (await broker_limits(user)).values())) == {0}
        flag = f"--{setting.replace('_', '-')}"
        told = f"the broker refuses {flag} 9s: it must be {bound} of the brokers. Set {flag} so, or"
        assert (await ended(user)).startswith(told)

    asyncio.run(main())


def test_a_command_that_writes_is_told_as_well(narrow: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        await make_topics(settings(narrow, prefix))
        context = ShardContext(settings(narrow, prefix, transaction_timeout="9s"), 0, 1, role.WORKER)
        with pytest.raises(UsageError, match=r"refuses --transaction-timeout 9s: .* transaction\.max\.timeout\.ms"):
            await rebuild.execute(context, await rebuild.plan(context))

    asyncio.run(main())


def test_doctor_checks_them_all(narrow: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(narrow, prefix, session_timeout="9s")
        found = {each.subject: each for each in await checked(config, Check.BROKERS) if each.severity is Severity.ERROR}
        assert set(found) == {"group.max.session.timeout.ms", "transaction.max.timeout.ms"}
        assert "--transaction-timeout is 5s" in found["transaction.max.timeout.ms"].what
        await make_by_default(narrow, prefix + SESSIONS)
        small = [each for each in await checked(config, Check.SETTINGS) if each.severity is Severity.ERROR]
        assert [each.subject for each in small if "max.message.bytes is 200000" in each.what] == [prefix + SESSIONS]

    asyncio.run(main())
