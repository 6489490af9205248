"""Topics: there, co-partitioned, and with copies enough for what the cluster is."""

from typing import Any

import pytest

from stream.config import Settings
from stream.doctor.finding import Severity
from stream.doctor.topics import Partition, Topic, judge_presence, judge_replication
from tests.doctor.tools import one, severities

SETTINGS = Settings(brokers="k:9092", topic_prefix="x.")


def topic(name: str = "t", number: int = 2, copies: int = 3, in_sync: int | None = None, **configs: Any) -> Topic:
    partitions = [Partition(each, 1, copies, copies if in_sync is None else in_sync) for each in range(number)]
    given = {"min.insync.replicas": "2", **{name.replace("_", "."): value for name, value in configs.items()}}
    return Topic(name, partitions, given)


def replication(made: Topic, brokers: int = 3) -> list[Any]:
    return judge_replication([made], brokers, "k:9092")


def test_what_is_missing_differs_or_is_not_led_is_an_error_each() -> None:
    headless = Topic("d", [Partition(0, 1, 3, 3), Partition(1, -1, 3, 0)])
    findings = judge_presence([topic("a"), Topic("b"), topic("x.live.views", number=3), headless], SETTINGS, 1)
    assert severities(findings) == dict.fromkeys(("b", "x.live.views", "d"), Severity.ERROR)
    by_subject = {finding.subject: finding for finding in findings}
    make = "liveshop topics create --brokers k:9092 --topic-prefix x. --partitions 3 --replication 1"
    assert by_subject["b"].todo.startswith(f"{make} ; ")
    assert "has 3 partitions, others have 2" in by_subject["x.live.views"].what
    assert (
        "liveshop topics grow --brokers k:9092 --topic-prefix x. --partitions 3 --to-prefix x.p3."
        in by_subject["x.live.views"].todo
    )
    assert "partition 1" in by_subject["d"].what


def test_topics_as_they_should_be_are_one_line() -> None:
    assert "2 partitions each" in one(judge_presence([topic("a"), topic("b")], SETTINGS, 1), Severity.OK).what
    assert "3 copies" in one(replication(topic()), Severity.OK).what


def test_one_copy_is_a_warning_on_one_broker_and_an_error_on_several() -> None:
    alone = topic(copies=1, min_insync_replicas="1")
    assert one(replication(alone, brokers=1), Severity.WARNING).subject == "cluster"
    assert "kafka-reassign-partitions.sh --bootstrap-server k:9092" in one(replication(alone), Severity.ERROR).todo


def test_two_copies_are_a_warning() -> None:
    assert "2 copies" in one(replication(topic(copies=2, min_insync_replicas="1")), Severity.WARNING).what


@pytest.mark.parametrize(
    ("configs", "severity", "todo"),
    [
        ({"min_insync_replicas": "1"}, Severity.ERROR, "min.insync.replicas=2"),
        ({"min_insync_replicas": "3"}, Severity.WARNING, "min.insync.replicas=2"),
        ({"min_insync_replicas": "4"}, Severity.ERROR, "min.insync.replicas=2"),
        ({"unclean_leader_election_enable": "true"}, Severity.ERROR, "unclean.leader.election.enable=false"),
    ],
)
def test_what_may_lose_or_refuse_records(configs: dict[str, Any], severity: Severity, todo: str) -> None:
    assert one(replication(topic(**configs)), severity).todo.endswith(f"--entity-name t --add-config {todo}")


def test_copies_behind_are_a_warning_until_writes_are_refused() -> None:
    assert "partition 0-1" in one(replication(topic(in_sync=2)), Severity.WARNING).what
    assert "writes are refused" in one(replication(topic(in_sync=1)), Severity.ERROR).what


def test_a_topic_that_is_missing_is_not_judged_for_its_copies() -> None:
    assert judge_replication([Topic("t")], 3, "k:9092") == []
