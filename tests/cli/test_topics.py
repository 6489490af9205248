"""``liveshop topics``: what is asked of Kafka, and how the answer is shown. The topics themselves are tests/kafka's."""

import json
from typing import Any

import pytest

from stream.cli import main
from stream.config import Settings
from stream.errors import UsageError
from stream.kafka.topics import Topic, TopicStatus
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from stream.sessions.role import PROMOTING, SPECS

FOUND = [
    Topic("x.live.views", TopicStatus.CREATED, 4, 1, {"retention.ms": "604800000"}),
    Topic("x.live.comments", TopicStatus.DIFFERS, 4, 3, {}, ("retention.ms is 1000, should be 604800000",)),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Kafka was asked for; it answers with FOUND."""
    asked: list[Any] = []

    async def create(settings: Settings, partitions: int, replication: int | None) -> list[Topic]:
        asked.append((settings.brokers, settings.topic_prefix, partitions, replication))
        return FOUND

    async def describe(settings: Settings) -> list[Topic]:
        asked.append((settings.brokers, settings.topic_prefix))
        return [*FOUND, Topic("x.live.state", TopicStatus.MISSING)]

    monkeypatch.setattr(topics, "create", create)
    monkeypatch.setattr(topics, "describe", describe)
    return asked


def ended(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as end:
        main(["topics", *arguments])
    return end.value.code


def test_create_asks_for_what_it_was_told(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--brokers", "k:9092", "--topic-prefix", "x.", "--partitions", "8", "--replication", "1")
    assert ended("create", *given) == 1
    assert asked == [("k:9092", "x.", 8, 1)]
    text, told = capsys.readouterr()
    assert "x.live.comments: retention.ms is 1000, should be 604800000. To change it: kafka-configs.sh" in told
    assert "--add-config retention.ms=604800000" in told
    assert "x.live.views" in text
    assert "created" in text
    assert "retention.ms is 1000, should be 604800000" in text


def test_copies_suit_the_cluster_unless_told_otherwise(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("create", "--brokers", "k:9092") == 1, "another topic differs"
    assert asked == [("k:9092", "", None, None)]
    told = "warning: the cluster has one broker, so each partition has one copy"
    assert capsys.readouterr().err.startswith(told)


def test_a_deployment_goes_on_with_topics_that_differ(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("create", "--brokers", "k:9092", "--may-differ") == 0
    assert asked
    assert "retention.ms is 1000, should be 604800000" in capsys.readouterr().out


def test_who_asks_for_one_copy_is_not_warned(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("create", "--brokers", "k:9092", "--replication", "1") == 1, "another topic differs"
    assert asked
    assert "warning" not in capsys.readouterr().err


def test_json_is_one_document(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("show", "--brokers", "k:9092", "--json") == 1
    out, told = capsys.readouterr()
    assert "missing topics: x.live.state. Make them with: liveshop topics create --brokers k:9092" in told
    shown = json.loads(out)
    assert [(topic["name"], topic["made"]) for topic in shown] == [
        ("x.live.views", "created"),
        ("x.live.comments", "differs"),
        ("x.live.state", "missing"),
    ]
    assert asked == [("k:9092", "")]


def test_unequal_partitions_are_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def create(*_: object) -> list[Topic]:
        return [FOUND[0], Topic("x.live.state", TopicStatus.EXISTS, 8, 1)]

    monkeypatch.setattr(topics, "create", create)
    assert ended("create", "--brokers", "k:9092") == 2
    assert "need the same number of partitions" in capsys.readouterr().err


def test_what_the_broker_refuses_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def create(*_: object) -> list[Topic]:
        raise UsageError("live.views could not be created: InvalidReplicationFactor")

    monkeypatch.setattr(topics, "create", create)
    assert ended("create", "--brokers", "k:9092") == 2
    assert capsys.readouterr().err == "liveshop: live.views could not be created: InvalidReplicationFactor\n"


@pytest.mark.parametrize("arguments", [("create",), ("show",), ("create", "--brokers", "k:9092", "--partitions", "0")])
def test_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*arguments) == 2
    assert capsys.readouterr().err


@pytest.mark.kafka
def test_on_a_real_broker_they_are_created_once(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--brokers", kafka.bootstrap, "--topic-prefix", prefix)
    assert ended("create", *where, "--replication", "3") == 2
    told = capsys.readouterr().err
    assert "--replication 3: " in told
    assert "replication factor of 3" in told
    assert "Not given, --replication is as many as there are brokers, at most 3" in told
    seen, warned = [], []
    for _ in range(2):
        assert ended("create", *where, "--partitions", "2", "--json") == 0
        printed = capsys.readouterr()
        found = json.loads(printed.out)
        assert {each["replication"] for each in found} == {1}
        seen.append({(each["name"], each["made"]) for each in found})
        warned.append("has one broker" in printed.err)
    assert warned == [True, False], "what is there already is no news"
    names = [prefix + spec.name for spec in PROMOTING.specs]
    assert seen == [{(name, "created") for name in names}, {(name, "exists") for name in names}]
    assert ended("show", *where) == 0
    shown = capsys.readouterr().out
    assert all(f" {prefix}{spec.name} " in shown for spec in SPECS)
