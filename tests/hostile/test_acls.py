"""The ACLs that docs/security.md gives are enough, and keep everybody else from where they have no business."""

import argparse
import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from stream import cli
from stream.cli.flags import environment
from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import requests
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.client import Admin, end, make_admin, start
from stream.kafka.patches import access
from stream.kafka.recovery import recover
from stream.kafka.shard_context import ShardContext
from stream.model.names import ALERTS, DEAD_LETTERS, INPUTS, SESSION_WINDOWS, SESSIONS, STATE, Kind
from stream.operate import rebuild
from stream.operate.sandbox_topics import new_prefix
from stream.replay import audit
from stream.sandbox.broker import EmbeddedKafka
from stream.sandbox.listeners import Listener
from stream.sessions import role
from stream.sessions.machines import shard_of
from stream.sessions.worker import make_worker
from tests.dlq.tools import Rec, write
from tests.dlq.tools import refused as dead_letter
from tests.kafka.tools import Memory, everything, make_topics, newest, settings, until, view
from tests.live import eventually
from tests.observe.views import logging_restored
from tests.replay.test_plan import a_plan
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "security.md"
LISTENER: Final = "LOGIN"
WORKER, PRODUCER, READER, OPERATOR = "liveshop-worker", "shop-events", "dashboards", "liveshop-operator"
SETUP, LETTERS, REDRIVER, PURGER = "liveshop-setup", "liveshop-letters", "liveshop-redrive", "liveshop-purge"
REPLAYER: Final = "liveshop-replay"
USERS: Final = {
    user: f"pw-of-{user}"
    for user in (WORKER, PRODUCER, READER, OPERATOR, SETUP, LETTERS, REDRIVER, PURGER, REPLAYER, "nobody")
}
TYPES: Final = {"topic": 2, "group": 3, "cluster": 4, "transactional_id": 5}
PATTERNS: Final = {"literal": 3, "prefixed": 4}
OPERATIONS: Final = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
ALLOW: Final = 3
ANY: Final = 1


@pytest.fixture(scope="module")
def guarded(kafka: EmbeddedKafka) -> Iterator[EmbeddedKafka]:
    """A broker on which nobody may do anything without an ACL, but those on its open port. Depends on the shared one only
    for its reasons to skip."""
    assert kafka.running
    made = EmbeddedKafka(
        listeners=(Listener(LISTENER, users=USERS),),
        settings={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        },
    )
    with made:
        yield made
        made.kill()


# -- the document


def commands() -> list[argparse.Namespace]:
    """Those of the document."""
    parser = argparse.ArgumentParser()
    for flag in ("--bootstrap-server", "--command-config", "--allow-principal", "--group", "--transactional-id"):
        parser.add_argument(flag)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--topic", action="append", default=[])
    parser.add_argument("--operation", action="append", choices=OPERATIONS, required=True)
    parser.add_argument("--resource-pattern-type", choices=PATTERNS, default="literal")
    lines = re.findall(r"^kafka-acls\.sh (.*)$", DOCUMENT.read_text().replace("\\\n", " "), re.MULTILINE)
    return [parser.parse_args(shlex.split(line)) for line in lines]


def acls(config: Settings, asked: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """As the protocol has them, with the names of this test in place of the defaults."""
    resources = [("topic", re.sub("^(live|replay)", rf"{config.topic_prefix}\1", name)) for name in asked.topic]
    if asked.group:
        resources.append(("group", asked.group.replace("liveshop", config.group)))
    if asked.transactional_id:
        name = re.sub(r"^liveshop\.(live|replay)\.", rf"liveshop.{config.topic_prefix}\1.", asked.transactional_id)
        resources.append(("transactional_id", name))
    if asked.cluster:
        resources.append(("cluster", "kafka-cluster"))
    assert resources
    for kind, name in resources:
        for operation in asked.operation:
            pattern = PATTERNS[asked.resource_pattern_type]
            yield TYPES[kind], name, pattern, asked.allow_principal, "*", OPERATIONS[operation], ALLOW


async def allow(config: Settings) -> None:
    """Returns when the broker acts by them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=config.brokers)
    await admin.start()
    wanted = {acl for asked in commands() for acl in acls(config, asked)}
    try:
        for acl in wanted:
            answer = await _ask(admin, CreateAclsRequest(*acl))
            assert answer.creation_responses[0][0] == 0, answer
        async with asyncio.timeout(PATIENCE):
            while wanted - await _allowed(admin):  # noqa: ASYNC110 - only the broker knows
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def _allowed(admin: AIOKafkaAdminClient) -> set[tuple[Any, ...]]:
    answer = await _ask(admin, DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY))
    return {(*resource[:3], *acl) for resource in answer.resources for acl in resource[3]}


async def _ask(admin: AIOKafkaAdminClient, request: Any) -> Any:
    return await admin._client.send(admin._client.get_random_node(), request)


# -- what users do


def opened(guarded: EmbeddedKafka, prefix: str, **more: Any) -> Settings:
    """As somebody who may do all."""
    return settings(guarded, prefix, idle_after="300ms", **more)


def login(guarded: EmbeddedKafka, user: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, Any]:
    return {
        "brokers": guarded.address(LISTENER),
        "security_protocol": "sasl_plaintext",
        "sasl_mechanism": mechanism,
        "sasl_username": user,
        "sasl_password": USERS[user],
    }


def as_user(guarded: EmbeddedKafka, prefix: str, user: str, **more: Any) -> Settings:
    return Settings.model_validate(opened(guarded, prefix).model_dump() | login(guarded, user) | more)


def client(guarded: EmbeddedKafka, user: str) -> dict[str, Any]:
    """The same for a client of aiokafka."""
    return {
        "bootstrap_servers": guarded.address(LISTENER),
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": user,
        "sasl_plain_password": USERS[user],
    }


async def prepared(guarded: EmbeddedKafka, prefix: str) -> Settings:
    config = opened(guarded, prefix)
    await make_topics(config)
    await allow(config)
    return config


@asynccontextmanager
async def working(config: Settings) -> AsyncIterator[Memory]:
    memory = Memory()
    running = asyncio.ensure_future(make_worker(config, memory, memory, rebuild=False).run())
    memory.running = running
    try:
        yield memory
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=PATIENCE)
        if not running.cancelled():
            running.result()


async def produce(guarded: EmbeddedKafka, user: str, topic: str, values: Sequence[bytes]) -> None:
    producer = AIOKafkaProducer(**client(guarded, user))
    try:
        await producer.start()
        for value in values:
            await producer.send_and_wait(topic, value, key=b"s1", partition=0)
    finally:
        await producer.stop()


async def consume(guarded: EmbeddedKafka, user: str, topic: str, group: str) -> int:
    """How many records a member of a group reads, until there are some."""
    consumer = AIOKafkaConsumer(topic, group_id=group, auto_offset_reset="earliest", **client(guarded, user))
    try:
        await consumer.start()
        async with asyncio.timeout(PATIENCE):
            return len(await anext(_batches(consumer)))
    finally:
        await consumer.stop()


async def _batches(consumer: AIOKafkaConsumer) -> AsyncIterator[list[Any]]:
    while True:
        found = await consumer.getmany(timeout_ms=200)
        for records in found.values():
            yield records


async def names(guarded: EmbeddedKafka) -> tuple[list[str], list[str]]:
    """Of all topics and groups, as somebody who may see all."""
    admin = AIOKafkaAdminClient(bootstrap_servers=guarded.bootstrap)
    try:
        await admin.start()
        return await admin.list_topics(), [name for name, *_ in await admin.list_consumer_groups()]
    finally:
        await admin.close()


async def sees(guarded: EmbeddedKafka, user: str, topic: str) -> bool:
    """Whether the broker tells this user that there is such a topic; who may read it is told."""
    admin = AIOKafkaAdminClient(**client(guarded, user))
    try:
        await admin.start()
        (found,) = await admin.describe_topics([topic])
        assert found["error_code"] in {0, TopicAuthorizationFailedError.errno}
        return bool(found["error_code"] == 0)
    finally:
        await admin.close()


def run(capsys: pytest.CaptureFixture[str], config: Settings, *words: str) -> tuple[int, str]:
    """Exit code and what it printed of a command."""
    with pytest.MonkeyPatch.context() as patch, logging_restored():
        for name, value in environment(config).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            cli.main([*words])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out + err


# -- the tests


def test_a_worker_producers_and_readers_need_no_more_than_that(guarded: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        open_config = await prepared(guarded, prefix)
        config = as_user(guarded, prefix, WORKER)
        views = config.topic(INPUTS[Kind.VIEWS])
        async with working(config) as memory:
            await produce(guarded, PRODUCER, views, [view(number) for number in range(60)])
            await produce(guarded, PRODUCER, views, [b"no JSON"])
            await until(lambda: memory.read == 61, "all are read")
            await until(lambda: memory.checkpoints > 1, "and committed")
            assert memory.failures == []
            letters = await everything(guarded, config.topic(DEAD_LETTERS))
            assert len(letters) == 1

            async def total() -> bool:
                records = newest(await everything(guarded, config.topic(SESSIONS)))
                return [value["counts"]["views"] for value in records.values()] == [60]

            await eventually("the total is written", total)
        async with working(config) as memory:  # from its state
            await produce(guarded, PRODUCER, views, [view(number) for number in range(60, 70)])
            await until(lambda: memory.counted == 10, "it goes on from its state")
        context = ShardContext(config, 0, 1, role.WORKER)
        done = await rebuild.execute(context, await rebuild.plan(context))  # as the worker's user
        assert done.generation == 1
        for topic in (SESSIONS, SESSION_WINDOWS):
            assert await consume(guarded, READER, config.topic(topic), f"dashboards-{prefix}") > 0
        assert open_config.group == config.group

    asyncio.run(main())


@pytest.mark.parametrize("name", [STATE, ALERTS, SESSIONS, SESSION_WINDOWS, DEAD_LETTERS])
def test_only_the_worker_writes_where_only_it_may(guarded: EmbeddedKafka, prefix: str, name: str) -> None:
    async def main() -> None:
        config = await prepared(guarded, prefix)
        for user in (PRODUCER, READER, OPERATOR, "nobody"):
            with pytest.raises(TopicAuthorizationFailedError):
                await produce(guarded, user, config.topic(name), [b"x"])
        for user in (PRODUCER, "nobody", *([READER] if name in {STATE, DEAD_LETTERS} else [])):
            assert not await sees(guarded, user, config.topic(name))
        assert await sees(guarded, OPERATOR, config.topic(name))
        assert await everything(guarded, config.topic(name)) == []

    asyncio.run(main())


def test_nobody_else_takes_part_in_the_work(guarded: EmbeddedKafka, prefix: str) -> None:
    """The group, the transactional ids and the inputs are the worker's and the producers'."""

    async def main() -> None:
        config = await prepared(guarded, prefix)
        views = config.topic(INPUTS[Kind.VIEWS])
        for user in (PRODUCER, READER, OPERATOR):
            with pytest.raises((GroupAuthorizationFailedError, TopicAuthorizationFailedError)):
                await consume(guarded, user, config.topic(SESSIONS), config.group)
            thief = AIOKafkaProducer(
                transactional_id=ShardContext(config, 0, 1, role.WORKER).transactional_id, **client(guarded, user)
            )
            try:
                with pytest.raises(TransactionalIdAuthorizationFailed):
                    await thief.start()
            finally:
                await thief.stop()
        with pytest.raises(TopicAuthorizationFailedError):
            await produce(guarded, WORKER, views, [b"x"])

    asyncio.run(main())


@pytest.mark.parametrize("user", [PRODUCER, READER, "nobody"])
def test_a_worker_without_them_ends_with_one_message(guarded: EmbeddedKafka, prefix: str, user: str) -> None:
    async def main() -> None:
        await prepared(guarded, prefix)
        memory = Memory()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(UsageError, match=r"the ACLs|the broker refuses|uthoriz"):
                await make_worker(as_user(guarded, prefix, user), memory, memory, rebuild=False).run()

    asyncio.run(main())


def test_an_upgrade_needs_the_ids_of_the_earlier_version(guarded: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await prepared(guarded, prefix)
        found = await recover(ShardContext(config, 0, 1, role.WORKER), discard=None, current=lambda: True)
        shard_of(found.machine).transactional_id = ""  # as an earlier version wrote it
        outputs = shard_of(found.machine).collect()
        assert outputs is not None
        await Checkpoints(ShardContext(config, 0, 1, role.WORKER), found.producer).write(outputs)
        await end(found.producer)
        memory = Memory()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(UsageError, match=rf"as {config.group}.worker.live.0, and .* see docs/security.md"):
                await make_worker(as_user(guarded, prefix, WORKER), memory, memory, rebuild=False).run()

    asyncio.run(main())


def test_an_operator_sees_what_there_is_and_changes_nothing(
    guarded: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def counted() -> None:
        await prepared(guarded, prefix)
        config = as_user(guarded, prefix, WORKER)
        async with working(config) as memory:
            values = [view(number) for number in range(60)]
            await produce(guarded, PRODUCER, config.topic(INPUTS[Kind.VIEWS]), values)
            await until(lambda: memory.counted == 60, "all are counted")

    asyncio.run(counted())
    operator = as_user(guarded, prefix, OPERATOR)
    for words in (("state", "show"), ("state", "verify"), ("offsets", "show"), ("alerts", "list"), ("topics", "show")):
        code, text = run(capsys, operator, *words)
        assert code == 0, text
    code, text = run(capsys, operator, "state", "rebuild", "--all", "--execute", "--yes")
    assert code in {1, 2}, text
    assert "Traceback" not in text
    before = asyncio.run(everything(guarded, operator.topic(STATE)))
    code, text = run(capsys, operator, "doctor", "--json")
    findings = [each for each in json.loads(text)["findings"] if each["severity"] == "error"]
    expected = {"replication", "brokers"}
    assert {each["check"] for each in findings} <= expected, findings
    assert asyncio.run(everything(guarded, operator.topic(STATE))) == before


def test_dead_letters_are_read_by_few(guarded: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def refused() -> None:
        config = await prepared(guarded, prefix)
        await write(guarded, config, [dead_letter(Rec())])

    asyncio.run(refused())
    for words in (("dlq", "list"), ("dlq", "show", "0:0")):
        code, text = run(capsys, as_user(guarded, prefix, LETTERS), *words)
        assert code == 0, text
        for user in (OPERATOR, READER, PRODUCER, "nobody"):
            code, text = run(capsys, as_user(guarded, prefix, user), *words)
            assert code in {1, 2}, text
            assert "viewer_id" not in text
            assert "Traceback" not in text


def test_dead_letters_are_sent_again_by_whoever_may(
    guarded: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused() -> None:
        config = await prepared(guarded, prefix)
        await write(guarded, config, [dead_letter(Rec())])

    asyncio.run(refused())
    words = ("dlq", "redrive", "--reason=bad_value", "--execute", "--json")
    for user in (OPERATOR, READER, PRODUCER, LETTERS, "nobody"):
        code, text = run(capsys, as_user(guarded, prefix, user), *words)
        assert code in {1, 2}, text
        assert "Traceback" not in text
    for committed in (1, 0):
        code, text = run(capsys, as_user(guarded, prefix, REDRIVER), *words)
        assert code == 0, text
        assert f'"committed": {committed}' in text
    views = opened(guarded, prefix).topic(INPUTS[Kind.VIEWS])
    assert len(asyncio.run(everything(guarded, views))) == 1


def test_dead_letters_are_deleted_by_whoever_may(
    guarded: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused() -> None:
        config = await prepared(guarded, prefix)
        await write(guarded, config, [dead_letter(Rec())])

    asyncio.run(refused())
    words = ("dlq", "purge", "--reason=bad_value", "--confirm=1")
    code, text = run(capsys, as_user(guarded, prefix, LETTERS), *words)
    assert (code, "docs/security.md has the ACL" in text) == (2, True), text
    code, text = run(capsys, as_user(guarded, prefix, PURGER), *words)
    assert code == 0, text
    assert "deleted 1 dead letter" in text


def test_replays_are_planned_run_noted_and_deleted_by_whoever_may(
    guarded: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asyncio.run(prepared(guarded, prefix))
    plan = ("replay", "plan", "--from=-2h", "--to=-1h", "--json")
    for user in (OPERATOR, REPLAYER):
        code, text = run(capsys, as_user(guarded, prefix, user), *plan)
        assert code == 0, text
        assert '"bytes": null' not in text
    views = opened(guarded, prefix).topic(INPUTS[Kind.VIEWS])
    assert asyncio.run(sizes(as_user(guarded, prefix, READER), views)) == {}, "it may not describe the cluster"
    file = str(tmp_path / "plan.json")
    for command in ([*plan, "--id=again", f"--out={file}"], ["replay", "run", file, "--workers=1"]):
        code, text = run(capsys, as_user(guarded, prefix, REPLAYER), *command)
        assert code == 0, text
    asyncio.run(note(as_user(guarded, prefix, REPLAYER)))
    for words in (("list",), ("show", "friday"), ("delete", "friday", "--confirm=friday", "--killed")):
        for user in (OPERATOR, "nobody"):
            code, text = run(capsys, as_user(guarded, prefix, user), "replay", *words)
            assert (code, "Traceback" in text) == (1, False), text
            assert "this user may not see" in text
        code, text = run(capsys, as_user(guarded, prefix, REPLAYER), "replay", *words)
        assert code == 0, text


@asynccontextmanager
async def administering(config: Settings) -> AsyncIterator[Admin]:
    admin = make_admin(config)
    await start(admin, config)
    try:
        yield admin
    finally:
        await end(admin)


async def sizes(config: Settings, topic: str) -> dict[tuple[str, int], int]:
    async with administering(config) as admin:
        return await requests.log_sizes(admin, access.nodes(admin), {topic: 1})


async def note(config: Settings) -> None:
    """That a replay was begun, with a topic of its own."""
    await audit.record(config, audit.begun(a_plan(), "me", "", None))
    async with administering(config) as admin:
        await admin.create_topics([NewTopic(config.topic(a_plan().topic(SESSIONS)), 1, 1)])


def test_topics_are_made_by_whoever_may(
    guarded: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--partitions", "1", "--replication", "1")
    asyncio.run(allow(opened(guarded, prefix)))
    code, text = run(capsys, as_user(guarded, prefix, OPERATOR), "topics", "create", *few)
    assert code == 2, text
    code, text = run(capsys, as_user(guarded, prefix, SETUP), "topics", "create", *few)
    assert code == 0, text


def test_topics_of_killed_runs_are_deleted_by_whoever_may(
    guarded: EmbeddedKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = new_prefix()

    async def left() -> None:
        config = await prepared(guarded, prefix)
        async with working(config) as memory:
            await produce(guarded, PRODUCER, config.topic(INPUTS[Kind.VIEWS]), [view(0)])
            await until(lambda: memory.counted == 1, "it is counted, so the group has offsets")

    asyncio.run(left())
    capsys.readouterr()
    clean = ("topics", "clean", "--quiet", "1ms", "--execute", "--json")
    for user, stands in (("nobody", None), (SETUP, "left"), (SETUP, None)):
        code, text = run(capsys, as_user(guarded, prefix, user), *clean)
        assert code == 0, text
        runs = {each["prefix"]: each for each in json.loads(text)}
        assert (runs[prefix]["stands"] if prefix in runs else None) == stands, user
        if stands:
            assert len(runs[prefix]["groups"]) == 1
    topics, groups = asyncio.run(names(guarded))
    assert not any(name.startswith(prefix) for name in (*topics, *groups))
