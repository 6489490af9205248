"""The doctor on a real broker: a healthy installation has no error, and a broken example of each check has its own."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ClusterAuthorizationFailedError, IncompatibleBrokerVersion, InvalidTxnState
from aiokafka.producer.transaction_manager import TransactionManager

from stream.children import free_port
from stream.config import Settings
from stream.doctor.brokers import Address
from stream.doctor.checks import run_checks
from stream.doctor.finding import Check, Severity, worst
from stream.doctor.probes import brokers as ask_brokers
from stream.doctor.probes import offsets, transactions
from stream.doctor.probes.facts import now_ms
from stream.kafka.shard_context import ShardContext
from stream.kafka.topics import create as create_all
from stream.model.names import INPUTS, SESSIONS, STATE, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from stream.sessions.role import SPECS, WORKER
from tests import live
from tests.bad_records import NOW, T, text
from tests.bad_records import view as view_at
from tests.doctor.tools import SAMPLE, checked, checkpointed, checks_of, one, severities
from tests.kafka.tools import make_topics, producer, send, send_views, settings, until, view

pytestmark = pytest.mark.kafka
QUICK = timedelta(seconds=3)
"""Enough for a broker that is there, on a busy machine."""


@pytest.fixture
def _look_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "AGAIN", 0.2)


async def made(kafka: EmbeddedKafka, prefix: str, partitions: int = 1, **changes: Any) -> Settings:
    config = settings(kafka, prefix, **changes)
    await make_topics(config, partitions)
    return config


async def create(kafka: EmbeddedKafka, name: str, partitions: int = 1, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    given = {name.replace("_", "."): value for name, value in configs.items()}
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=given)])

    async def known() -> bool:
        (found,) = await admin.describe_topics([name])
        return any(each["leader"] >= 0 for each in found["partitions"])

    await live.eventually("the broker knows it, which is a moment after it has said so", known)
    await admin.close()


async def delete_records(kafka: EmbeddedKafka, topic: str, before: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before)})
    await admin.close()


async def commit(kafka: EmbeddedKafka, config: Settings, offset: int) -> None:
    """As somebody who meddles with the group of the workers."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=config.group, enable_auto_commit=False)
    await consumer.start()
    partition = TopicPartition(config.topic(INPUTS[Kind.VIEWS]), 0)
    consumer.assign([partition])
    await consumer.commit({partition: offset})
    await consumer.stop()


# --- healthy


def test_with_a_worker_at_work_nothing_is_wrong_and_nothing_is_written(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    live.create_topics(kafka.bootstrap, prefix, 2)
    config = settings(kafka, prefix)
    events = [live.Outgoing("views", f"s{n % 9}".encode(), view(n, f"s{n % 9}")) for n in range(200)]
    asyncio.run(live.send_all(kafka.bootstrap, prefix, 2, events))
    worker = live.Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", group=config.group, idle_after="1s")
    try:
        worker.await_ready()
        live.wait_for("it is caught up", lambda: _counted(worker) == 200)
        findings = asyncio.run(run_checks(config, SAMPLE, lambda _: None))
    finally:
        worker.stop()
    found = {check: {each.severity for each in findings if each.check is check} for check in Check}
    assert found.pop(Check.REPLICATION) == {Severity.WARNING}, "one broker, one copy"
    assert set().union(*found.values()) == {Severity.OK}, findings
    asyncio.run(_nothing_is_written(config))


def _counted(worker: live.Worker) -> float:
    return sum(value for name, value in worker.metrics().items() if name.startswith("liveshop_views_total"))


async def _nothing_is_written(config: Settings) -> None:
    async def state() -> object:
        """Where all partitions end, and which topics there are, once no marker of a transaction is on its way."""
        async with checks_of(config) as (facts, _):
            stable = await offsets.stable_ends(facts, facts.partitions)
            ends = await offsets.ends(facts, facts.partitions)
            return (ends, sorted(facts.named.topics)) if stable == ends else None

    before = await live.eventually("the worker's last markers are written", state)
    await run_checks(config, SAMPLE, lambda _: None)
    assert await state() == before


# --- brokers


def test_an_address_and_a_broker_that_do_not_answer_are_errors(kafka: EmbeddedKafka, prefix: str) -> None:
    nobody = f"127.0.0.1:{free_port()}"

    async def main() -> None:
        config = settings(kafka, prefix, connect_timeout=QUICK)
        config = config.model_copy(update={"brokers": f"{nobody},{kafka.bootstrap}"})
        async with checks_of(config.model_copy(update={"connect_timeout": timedelta(seconds=20)})) as (facts, made):
            facts.named.brokers[99] = nobody
            assert one(await made.run(Check.BROKERS), Severity.ERROR).subject == "broker 99"
        findings = await run_checks(config, SAMPLE, lambda _: None)
        assert one([each for each in findings if each.check is Check.BROKERS], Severity.ERROR).subject == nobody
        assert {each.check for each in findings} == set(Check), "the others are made"

    asyncio.run(main())


def test_without_any_broker_the_other_checks_are_not_made(kafka: EmbeddedKafka, prefix: str) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    config = settings(kafka, prefix).model_copy(update={"brokers": nobody, "connect_timeout": QUICK})
    findings = asyncio.run(run_checks(config, SAMPLE, lambda _: None))
    assert one(findings, Severity.ERROR).subject == nobody
    assert {each.check for each in findings} == set(Check)


# --- topics


def test_missing_topics_are_errors_and_the_rest_goes_on(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await create(kafka, config.topic(STATE))
        async with checks_of(config) as (_, made):
            found = severities(await made.run(Check.TOPICS))
            assert found == {name: Severity.ERROR for name in topics.names(config) if name != config.topic(STATE)}
            for check in (Check.SETTINGS, Check.POSITIONS, Check.LAG, Check.KEYS, Check.CLOCK, Check.TRANSACTIONS):
                assert not [each for each in await made.run(check) if "could not be made" in each.what]

    asyncio.run(main())


def test_topics_that_differ_in_every_way_are_told(kafka: EmbeddedKafka, prefix: str) -> None:
    wrong = {
        "live.views": {"message.timestamp.type": "CreateTime", "retention.ms": "1000"},
        "live.state": {"cleanup.policy": "compact,delete", "min.insync.replicas": "2"},
    }
    others = tuple(replace(spec, configs={**spec.configs, **wrong.get(spec.name, {})}) for spec in SPECS)

    async def main() -> None:
        config = settings(kafka, prefix)
        await create_all(replace(WORKER, specs=others[:3]), config, 3)
        await create_all(replace(WORKER, specs=others), config, 2)
        async with checks_of(config) as (_, made):
            found = {
                (each.check, each.severity, each.subject.removeprefix(prefix), each.what.split(" is ")[0])
                for check in (Check.TOPICS, Check.SETTINGS, Check.REPLICATION)
                for each in await made.run(check)
            }
        differing = {each[2] for each in found if each[:2] == (Check.TOPICS, Severity.ERROR)}
        assert differing == set(INPUTS.values()), "these have more than can be counted"
        assert {each for each in found if each[0] is not Check.TOPICS} == {
            (Check.SETTINGS, Severity.ERROR, "live.views", "message.timestamp.type"),
            (Check.SETTINGS, Severity.ERROR, "live.views", "retention.ms"),
            (Check.SETTINGS, Severity.ERROR, "live.state", "cleanup.policy"),
            (Check.REPLICATION, Severity.ERROR, "live.state", "min.insync.replicas"),
            (Check.REPLICATION, Severity.WARNING, "cluster", next(each[3] for each in found if each[2] == "cluster")),
        }

    asyncio.run(main())


# --- clock


def test_one_machine_has_one_clock_and_a_stamp_from_the_future_is_told(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        await send_views(kafka, config, range(3))
        assert one(await checked(config, Check.CLOCK), Severity.OK).subject == "controller"
        monkeypatch.setattr("stream.doctor.probes.records.now_ms", lambda: now_ms() - 30_000)
        found = one(await checked(config, Check.CLOCK), Severity.ERROR)
        assert found.subject == f"{config.topic(INPUTS[Kind.VIEWS])}/0"

    asyncio.run(main())


# --- transactions


@pytest.mark.usefixtures("_look_again_soon")
def test_an_open_transaction_is_a_warning(kafka: EmbeddedKafka, prefix: str) -> None:
    config = settings(kafka, prefix)

    async def main() -> None:
        await make_topics(config)
        await send_views(kafka, config, range(3))
        async with producer(kafka, transactional_id=prefix + "shop") as other:
            await other.begin_transaction()
            await other.send_and_wait(config.topic(INPUTS[Kind.VIEWS]), b"x", partition=0)
            found = one(await checked(config, Check.TRANSACTIONS), Severity.WARNING)
            assert found.subject == f"{config.topic(INPUTS[Kind.VIEWS])}/0"
            assert f"{prefix}shop is open" in found.what
            assert "since offset 3" in found.what
            await other.abort_transaction()
        await live.eventually("its markers are written", ended)

    async def ended() -> bool:
        return worst(await checked(config, Check.TRANSACTIONS)) is Severity.OK

    asyncio.run(main())


@pytest.mark.usefixtures("_look_again_soon")
def test_a_transaction_that_its_coordinator_does_not_know_is_an_error_with_the_command_that_ends_it(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(kafka, prefix)
    topic = config.topic(INPUTS[Kind.VIEWS])

    async def hangs() -> bool:
        """Writes without telling the coordinator of the partition, once the broker no longer asks it."""
        with monkeypatch.context() as forgetful, contextlib.suppress(InvalidTxnState):
            forgetful.setattr(TransactionManager, "maybe_add_partition_to_txn", lambda _self, _partition: None)
            async with producer(kafka, transactional_id=prefix + "lost") as other:
                await other.begin_transaction()
                await other.send_and_wait(topic, b"x", partition=0)
                await other.abort_transaction()  # of no partition
                return True
        return False

    async def main() -> None:
        await make_topics(config)
        await send_views(kafka, config, range(3))
        await _verify_partitions(kafka, enabled=False)
        try:
            await live.eventually("the broker takes a record of a transaction that nobody knows", hangs)
        finally:
            await _verify_partitions(kafka, enabled=True)
        found = one(await checked(config, Check.TRANSACTIONS), Severity.ERROR)
        where = f"abort --topic {topic} --partition 0 --start-offset 3"
        assert found.subject == f"{topic}/0"
        assert found.todo.endswith(f"kafka-transactions.sh --bootstrap-server {kafka.bootstrap} {where}")

    asyncio.run(main())


async def _verify_partitions(kafka: EmbeddedKafka, *, enabled: bool) -> None:
    """Whether the broker asks the coordinator if a partition belongs to a transaction."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    setting = {"transaction.partition.verification.enable": "true" if enabled else "false"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", setting)])
    await admin.close()


# --- group


def test_a_stranger_in_the_group_is_an_error_and_nobody_a_warning(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        await create(kafka, prefix + "payments")
        assert "does not exist" in one(await checked(config, Check.GROUP), Severity.WARNING).what
        stranger = AIOKafkaConsumer(
            prefix + "payments",
            bootstrap_servers=kafka.bootstrap,
            client_id="stranger",
            group_id=config.group,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )
        await stranger.start()
        try:
            await until(stranger.assignment, "the stranger has its partition")
            findings = await checked(config, Check.GROUP)
        finally:
            await stranger.stop()
        told = " ".join(each.what for each in findings if each.severity is Severity.ERROR)
        assert "by roundrobin" in told
        assert f"member stranger (/127.0.0.1) reads topics that are not ours: {prefix}payments" in told
        assert f"nobody owns {config.topic(INPUTS[Kind.CHECKOUTS])}, partition 0" in told

    asyncio.run(main())


# --- positions, configuration


def test_a_state_that_agrees_and_one_that_is_anothers(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        await send_views(kafka, config, range(8))
        one(await checked(config, Check.POSITIONS), Severity.INFO)
        await checkpointed(kafka, config)
        one(await checked(config, Check.POSITIONS), Severity.OK)
        other = config.model_copy(update={"group": "someone-else"})
        found = one(await checked(other, Check.POSITIONS), Severity.ERROR)
        assert f"its group is {config.group}, not someone-else" in found.what

    asyncio.run(main())


def test_offsets_that_somebody_has_set_are_told(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        await send_views(kafka, config, range(8))
        await checkpointed(kafka, config)
        await commit(kafka, config, 3)
        assert "behind the state's 8" in one(await checked(config, Check.POSITIONS), Severity.WARNING).what
        await send_views(kafka, config, range(8, 12))
        await commit(kafka, config, 12)
        found = one(await checked(config, Check.POSITIONS), Severity.ERROR)
        assert "position 8 is behind the group's offset 12" in found.what

    asyncio.run(main())


def test_records_deleted_before_they_were_read_are_an_error(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        await send_views(kafka, config, range(8))
        await checkpointed(kafka, config)
        await send_views(kafka, config, range(8, 20))
        await delete_records(kafka, config.topic(INPUTS[Kind.VIEWS]), 15)
        assert "up to 7 records were deleted unread" in one(await checked(config, Check.POSITIONS), Severity.ERROR).what

    asyncio.run(main())


def test_offsets_or_results_without_a_state_and_an_unreadable_one_are_errors(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        await send_views(kafka, config, range(2))
        await commit(kafka, config, 2)
        await send(kafka, config.topic(SESSIONS), [(b"s1", b"{}")])
        found = one(await checked(config, Check.POSITIONS), Severity.ERROR)
        assert "no state, but the group has offsets and there are results" in found.what
        await send(kafka, config.topic(STATE), [(b"0/0", b"\xff")])
        assert (
            "cannot be read: the record at offset 0 is a state of version 255"
            in one(await checked(config, Check.POSITIONS), Severity.ERROR).what
        )

    asyncio.run(main())


def test_a_state_whose_beginning_was_deleted_is_an_error(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        state = config.topic(STATE)
        await create(kafka, state, cleanup_policy="compact,delete")
        await make_topics(config)
        for number in range(2):
            await send_views(kafka, config, [number])
            await checkpointed(kafka, config)
        await delete_records(kafka, state, 1)
        found = one(await checked(config, Check.POSITIONS), Severity.ERROR, f"{state}/0")
        assert "has lost its beginning: it begins at offset 1, 0 and on are needed" in found.what

    asyncio.run(main())


def test_settings_are_held_against_the_state(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        await send_views(kafka, config, range(2))
        await checkpointed(kafka, config)
        assert (
            "the same in the state of partition 0" in one(await checked(config, Check.CONFIGURATION), Severity.OK).what
        )
        changed = settings(kafka, prefix, windows="2m")
        assert "--windows was" in one(await checked(changed, Check.CONFIGURATION), Severity.ERROR).what
        allowed = settings(kafka, prefix, lateness=timedelta(seconds=9))
        assert "--lateness was" in one(await checked(allowed, Check.CONFIGURATION), Severity.INFO).what

    asyncio.run(main())


# --- lag and keys


def test_old_records_that_nobody_reads_are_an_error(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix, trust_producer_time=True)
        await create(kafka, config.topic(INPUTS[Kind.VIEWS]), message_timestamp_type="CreateTime")
        await make_topics(config)
        await send_views(kafka, config, range(2))
        await checkpointed(kafka, config)
        one(await checked(config, Check.LAG), Severity.OK)
        async with producer(kafka) as sender:
            for timestamp in (1_700_000_000_000, None):
                context = {"partition": 0, "timestamp_ms": timestamp}
                await sender.send_and_wait(config.topic(INPUTS[Kind.VIEWS]), view(3), key=b"s1", **context)
        found = one(await checked(config, Check.LAG), Severity.ERROR)
        assert "up to 2 records are unread" in found.what
        assert "start a worker" in found.todo

    asyncio.run(main())


def test_misplaced_and_broken_records_are_told_without_a_word_of_them(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix, partitions=2)
        views, comments = (config.topic(INPUTS[kind]) for kind in (Kind.VIEWS, Kind.COMMENTS))
        wrong = int(ShardContext(config, 0, 2, WORKER).placed()(b"secret"))
        await send(kafka, views, [(b"secret", view(1, "secret")), (None, view(2, "secret"))], partition=wrong)
        await send(kafka, comments, [(b"secret", b"secret")] * 2 + [(b"secret", None)], partition=1 - wrong)
        findings = await checked(config, Check.KEYS)
        assert (
            "1 of 2 sampled records have keys of other partitions"
            in one(findings, Severity.ERROR, f"{views}/{wrong}").what
        )
        assert "1 of 2 sampled records have no key" in one(findings, Severity.WARNING, f"{views}/{wrong}").what
        broken = one(findings, Severity.ERROR, f"{comments}/{1 - wrong}")
        assert "2 of 3 sampled records are no events: 2 invalid_json" in broken.what
        assert "secret" not in str(findings)

    asyncio.run(main())


def test_late_records_are_told_with_their_cause(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        views = config.topic(INPUTS[Kind.VIEWS])
        late = [view_at(n, event_time=T if n else NOW, session_id="s") for n in range(30)]
        await send(kafka, views, [(b"s", text(event)) for event in late], partition=0)
        found = one(await checked(config, Check.EVENTS), Severity.WARNING, f"{views}/0")
        assert found.what == "29 of 30 sampled records came too late for their windows"
        assert "a producer was offline" in found.todo

    asyncio.run(main())


def test_the_sample_is_of_the_newest(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await made(kafka, prefix)
        await send(kafka, config.topic(INPUTS[Kind.VIEWS]), [(b"s", b"broken")] * 5)
        await send_views(kafka, config, range(SAMPLE))
        assert f"{SAMPLE} sampled records" in one(await checked(config, Check.KEYS), Severity.OK).what

    asyncio.run(main())


# --- a check that cannot be made


def test_a_broker_that_is_gone_after_the_first_look_is_a_finding(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(_: Settings) -> list[Address]:
        return [Address(f"127.0.0.1:{free_port()}")]

    monkeypatch.setattr(ask_brokers, "addresses", look)
    findings = asyncio.run(run_checks(settings(kafka, prefix, connect_timeout=QUICK), SAMPLE, lambda _: None))
    assert "no Kafka broker answered" in one(findings, Severity.ERROR).what
    assert {each.check for each in findings} == set(Check)


@pytest.mark.parametrize(
    ("error", "severity"),
    [
        (ClusterAuthorizationFailedError("cluster"), Severity.WARNING),
        (IncompatibleBrokerVersion("request 55"), Severity.INFO),
        (TimeoutError("slow"), Severity.ERROR),
        (KeyError("a value"), Severity.ERROR),
    ],
)
def test_a_check_that_fails_is_a_finding_and_the_others_go_on(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch, error: Exception, severity: Severity
) -> None:
    async def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(transactions, "held", fail)
    findings = asyncio.run(run_checks(settings(kafka, prefix), SAMPLE, lambda _: None))
    (found,) = (each for each in findings if each.check is Check.TRANSACTIONS)
    assert (found.severity, found.what.startswith("could not be made: ")) == (severity, True)
    assert found.todo
    assert "a value" not in found.what, "what a bug says may hold anything"
    assert {each.check for each in findings} == set(Check)
    assert worst(findings) is Severity.ERROR  # the topics are missing
