"""Settings of topics: more than is needed is fine; the rest is told with the command that mends it."""

from datetime import timedelta

import pytest

from stream.doctor import topic_settings
from stream.doctor.finding import Finding, Severity
from stream.doctor.topic_settings import Needs, judge_settings
from stream.doctor.topics import Partition, Topic
from stream.sessions.role import SPECS
from tests.doctor.tools import one

PLAIN = {"compression.type": "producer", "retention.bytes": "-1", "max.message.bytes": "1048588"}


def judged(name: str, changes: dict[str, str]) -> list[Finding]:
    spec = next(spec for spec in SPECS if spec.name == name)
    topic = Topic(name, [Partition(0, 1, 1, 1)], {**PLAIN, **spec.configs, **changes})
    return judge_settings([Needs(topic, spec, timedelta(hours=1))], "k:9092")


def test_every_setting_that_a_topic_is_made_with_has_a_rule() -> None:
    assert {key for spec in SPECS for key in spec.configs} <= set(topic_settings._RULES)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_topic_as_it_is_made_is_fine(spec: object) -> None:
    one(judged(getattr(spec, "name", ""), {}), Severity.OK)


@pytest.mark.parametrize(
    ("name", "key", "value", "severity"),
    [
        ("live.views", "message.timestamp.type", "CreateTime", Severity.ERROR),
        ("live.sessions", "message.timestamp.type", "CreateTime", Severity.WARNING),
        ("live.views", "retention.ms", "-1", Severity.OK),
        ("live.views", "retention.ms", "999999999999", Severity.OK),
        ("live.views", "retention.ms", "86400000", Severity.WARNING),
        ("live.views", "retention.ms", "60000", Severity.ERROR),
        ("live.views", "cleanup.policy", "compact", Severity.ERROR),
        ("live.views", "retention.bytes", "1000", Severity.WARNING),
        ("live.views", "max.message.bytes", "1000", Severity.OK),
        ("live.sessions", "retention.ms", "60000", Severity.WARNING),
        ("live.sessions", "cleanup.policy", "compact", Severity.WARNING),
        ("live.sessions", "max.message.bytes", "1000", Severity.ERROR),
        ("live.session-windows", "segment.ms", "604800000", Severity.WARNING),
        ("live.session-windows", "segment.ms", "60000", Severity.OK),
        ("live.dead-letters", "max.message.bytes", "1048588", Severity.WARNING),
        ("live.dead-letters", "max.message.bytes", "50000", Severity.ERROR),
        ("live.state", "cleanup.policy", "compact,delete", Severity.ERROR),
        ("live.state", "min.cleanable.dirty.ratio", "0.5", Severity.WARNING),
        ("live.state", "segment.bytes", "1073741824", Severity.WARNING),
        ("live.state", "compression.type", "zstd", Severity.INFO),
    ],
)
def test_what_differs_is_as_bad_as_what_it_does(name: str, key: str, value: str, severity: Severity) -> None:
    found = one(judged(name, {key: value}), severity)
    if severity is not Severity.OK:
        assert key in found.what
        assert f"--entity-name {name} " in found.todo
        assert key in found.todo


def test_create_time_is_allowed_to_who_trusts_producers() -> None:
    topic = Topic("live.views", [Partition(0, 1, 1, 1)], {**SPECS[0].configs, "message.timestamp.type": "CreateTime"})
    [found] = judge_settings([Needs(topic, SPECS[0], timedelta(hours=1), trust_producer_time=True)], "k:9092")
    assert found.severity is Severity.WARNING


def test_a_list_is_written_in_brackets_and_a_duration_with_its_unit() -> None:
    assert one(judged("live.sessions", {"cleanup.policy": "delete"}), Severity.WARNING).todo.endswith(
        "=[compact,delete]"
    )
    assert (
        "retention.ms is 1m, should be 7d" in one(judged("live.views", {"retention.ms": "60000"}), Severity.ERROR).what
    )


def test_settings_that_may_not_be_seen_are_not_judged() -> None:
    assert judge_settings([Needs(Topic("live.views"), SPECS[0], timedelta(hours=1))], "k:9092") == []
