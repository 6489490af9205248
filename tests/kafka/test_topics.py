"""Topics are made as schemas/topics say, and checked before the worker touches one."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from stream.children import free_port
from stream.errors import FailedError, UsageError
from stream.kafka.topics import Topic, TopicStatus, at_risk, create, fitting, names
from stream.model.names import SESSIONS, STATE
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from stream.sessions.role import PROMOTING, SPECS, WORKER
from tests.kafka.tools import delete, settings

pytestmark = pytest.mark.kafka
QUICK = timedelta(milliseconds=500)


def test_create_makes_all_and_then_nothing(kafka: EmbeddedKafka, prefix: str) -> None:
    config = settings(kafka, prefix)
    first = asyncio.run(topics.create(config, 3))
    assert {(topic.made, topic.partitions, topic.replication) for topic in first} == {(TopicStatus.CREATED, 3, 1)}
    assert [topic.differences for topic in first] == [()] * len(PROMOTING.specs)
    assert [topic.name for topic in first] == names(PROMOTING, config)
    second = asyncio.run(topics.create(config, 3))
    assert {topic.made for topic in second} == {TopicStatus.EXISTS}
    assert asyncio.run(topics.check(config)) == 3


def test_one_that_is_missing_gets_as_many_partitions_as_the_others(kafka: EmbeddedKafka, prefix: str) -> None:
    """Whoever brings back a topic that was lost may not know how many it had: another number stops all workers."""
    config = settings(kafka, prefix)
    asyncio.run(topics.create(config, 3))
    asyncio.run(delete(config, SESSIONS))
    found = {topic.name: topic for topic in asyncio.run(topics.create(config, None))}
    assert (found[prefix + SESSIONS].made, found[prefix + SESSIONS].partitions) == (TopicStatus.CREATED, 3)
    assert asyncio.run(topics.check(config)) == 3


def test_topics_are_as_the_contracts_say(kafka: EmbeddedKafka, prefix: str) -> None:
    made = {
        topic.name.removeprefix(prefix): topic.configs
        for topic in asyncio.run(topics.create(settings(kafka, prefix), 1))
    }
    assert {configs["message.timestamp.type"] for configs in made.values()} == {"LogAppendTime"}
    assert made["live.session-windows"]["cleanup.policy"] == "compact,delete"
    assert made["live.session-windows"]["retention.ms"] == str(7 * 86_400_000)
    assert made[SESSIONS]["retention.ms"] == str(90 * 86_400_000)
    assert made["live.dead-letters"]["cleanup.policy"] == "delete"
    assert int(made["live.dead-letters"]["max.message.bytes"]) >= 4 * 1024 * 1024
    assert made[STATE]["cleanup.policy"] == "compact"
    assert made[STATE]["min.cleanable.dirty.ratio"] == "0.1"


def test_what_differs_is_said_and_left_alone(kafka: EmbeddedKafka, prefix: str) -> None:
    config = settings(kafka, prefix)
    others = tuple(
        replace(spec, configs={**spec.configs, "retention.ms": "1000"}) if spec.name == SESSIONS else spec
        for spec in SPECS
    )
    asyncio.run(create(replace(WORKER, specs=others), config, 2))
    found = {topic.name: topic for topic in asyncio.run(topics.create(config, 4))}
    assert {found[prefix + spec.name].made for spec in SPECS} == {TopicStatus.DIFFERS}
    assert found[prefix + SESSIONS].differences == (
        "retention.ms is 1000, should be 7776000000",
        "partitions is 2, should be 4",
    )


def test_missing_topics_are_all_named(kafka: EmbeddedKafka, prefix: str) -> None:
    config = settings(kafka, prefix)
    with pytest.raises(UsageError, match="liveshop topics create") as raised:
        asyncio.run(topics.check(config))
    assert all(name in str(raised.value) for name in topics.names(config))
    described = asyncio.run(topics.describe(config))
    assert {topic.made for topic in described} == {TopicStatus.MISSING}


def test_differing_partition_counts_are_refused(kafka: EmbeddedKafka, prefix: str) -> None:
    config = settings(kafka, prefix)
    asyncio.run(create(replace(WORKER, specs=SPECS[:3]), config, 2))
    asyncio.run(topics.create(config, 3))
    with pytest.raises(UsageError, match=f"{prefix}live.views has 2.*{prefix}live.state has 3"):
        asyncio.run(topics.check(config))


def test_topics_are_deleted_under_a_prefix_only(kafka: EmbeddedKafka, prefix: str) -> None:
    config = settings(kafka, prefix)
    with pytest.raises(UsageError, match="prefix"):
        asyncio.run(topics.delete(settings(kafka, "")))
    assert asyncio.run(topics.delete(config)) == []
    asyncio.run(topics.create(config, 1))
    assert asyncio.run(topics.delete(config)) == names(PROMOTING, config)


def test_what_the_broker_refuses_is_a_usage_error(kafka: EmbeddedKafka, prefix: str) -> None:
    with pytest.raises(UsageError, match=r"^--replication 5: .*live\.views could not be created: .*factor of 5"):
        asyncio.run(topics.create(settings(kafka, prefix), 1, replication=5))


@pytest.mark.parametrize(("brokers", "copies"), [(1, 1), (2, 2), (3, 3), (7, 3)])
def test_there_are_three_copies_where_there_are_three_brokers_else_as_many_as_there_are(
    brokers: int, copies: int
) -> None:
    assert fitting(brokers) == copies


def test_too_few_copies_are_told_once_with_what_that_means() -> None:
    def made(copies: int, how: TopicStatus = TopicStatus.CREATED) -> list[Topic]:
        return [Topic("live.views", how, 4, copies), Topic("live.state", TopicStatus.EXISTS, 4, 1)]

    assert "one broker, so each partition has one copy" in (at_risk(made(1)) or "")
    assert "2 brokers, so each partition has 2 copies" in (at_risk(made(2)) or "")
    assert at_risk(made(3)) is None
    assert at_risk(made(1, TopicStatus.EXISTS)) is None, "it was told when they were made"


def test_an_unset_number_of_copies_takes_topics_with_any(kafka: EmbeddedKafka, prefix: str) -> None:
    made = asyncio.run(topics.create(settings(kafka, prefix), 1, None))
    assert {(topic.made, topic.replication) for topic in made} == {(TopicStatus.CREATED, 1)}
    again = asyncio.run(topics.create(settings(kafka, prefix), 1, None))
    assert {topic.made for topic in again} == {TopicStatus.EXISTS}


def test_a_broker_that_is_not_there_is_named(kafka: EmbeddedKafka, prefix: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = settings(kafka, prefix).model_copy(update={"brokers": address, "connect_timeout": QUICK})
    with pytest.raises(FailedError, match=f"no Kafka broker answered at {address} .*: {address} refuses connections"):
        asyncio.run(topics.check(config))
