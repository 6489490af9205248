"""Brokers: each that does not answer is named; the version is said as far as it is known."""

import pytest

from stream.config import Settings
from stream.doctor.brokers import Address, Broker, Cluster, judge_addresses, judge_cluster, judge_limits, release
from stream.doctor.finding import Severity
from tests.doctor.tools import one


@pytest.mark.parametrize(
    ("level", "says"),
    [
        (None, "ZooKeeper"),
        (3, "before 3.3"),
        (7, "3.3 "),
        (24, "4.0 "),
        (25, "4.0 "),
        (30, "4.3 "),
        (31, "newer than 4.3"),
    ],
)
def test_a_version_is_as_exact_as_it_can_be(level: int | None, says: str) -> None:
    assert says in release(level)


def test_an_address_without_a_broker_is_an_error() -> None:
    found = one(judge_addresses([Address("a:1"), Address("b:2", "refused")]), Severity.ERROR)
    assert (found.subject, "refused" in found.what) == ("b:2", True)


def test_a_broker_that_the_cluster_names_and_nobody_reaches_is_an_error() -> None:
    findings = judge_cluster(Cluster([Broker(1, "a:1", level=30), Broker(2, "b:2", "NodeNotReadyError")], 30))
    assert "advertised.listeners" in one(findings, Severity.ERROR, "broker 2").todo
    assert "Kafka 4.3" in one(findings, Severity.OK).what


def test_differing_versions_are_a_warning_and_an_unfinished_upgrade_is_told() -> None:
    mixed = Cluster([Broker(1, "a:1", level=25), Broker(2, "b:2", level=30)], 25)
    assert "broker 1: Kafka 4.0" in one(judge_cluster(mixed), Severity.WARNING).what
    late = Cluster([Broker(1, "a:1", level=30)], 25)
    assert "metadata.version 25" in one(judge_cluster(late), Severity.INFO).what


def test_limits_that_the_settings_do_not_keep_are_errors() -> None:
    settings = Settings(brokers="k:9092")
    asked = {1: {"group.max.session.timeout.ms": 7_000, "transaction.max.timeout.ms": 900_000}}
    found = one(judge_limits(settings, asked), Severity.ERROR)
    assert (found.subject, "--session-timeout is 10s" in found.what) == ("group.max.session.timeout.ms", True)
    assert "--session-timeout 7s" in found.todo
    one(judge_limits(settings, {1: {"transaction.max.timeout.ms": 900_000}, 2: {}}), Severity.OK)
    one(judge_limits(settings, {1: {}, 2: {}}), Severity.INFO)
