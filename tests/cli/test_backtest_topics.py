"""``liveshop backtest`` over the topics of a worker: it tells the alerts again that the worker has written."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from aiokafka.admin import NewTopic

from stream.config import Settings
from stream.kafka import client
from stream.model.alerts import Alert, read_alert
from stream.model.messages import Message
from stream.model.names import ALERTS, INPUTS, OUTPUTS, STATE
from stream.replay.incidents import Incident, Span, incidents
from stream.sandbox import sender
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from tests.cli.test_backtest import MINUTE, QUICK, backtest, reported, traffic
from tests.live import Worker, eventually
from tests.outputs import Follower

PARTITIONS: Final = 3
EVER: Final = Span(0, 2**62)


@pytest.fixture
def settings(kafka: EmbeddedKafka, prefix: str) -> Settings:
    """Inputs whose records are as old as their events, as those of a worker that has run for long."""
    settings = Settings(
        brokers=kafka.bootstrap,
        topic_prefix=prefix,
        group=prefix + "g",
        rules=str(QUICK),
        session_end_after=timedelta(minutes=2),
        trust_producer_time=True,
    )
    asyncio.run(_make(settings))
    return settings


async def _make(settings: Settings) -> None:
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        configs = {"message.timestamp.type": "CreateTime"}
        names = map(settings.topic, INPUTS.values())
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=configs) for name in names])
    finally:
        await client.end(admin)
    await topics.create(settings, PARTITIONS)


async def fill(settings: Settings, messages: Sequence[Message]) -> None:
    producer = sender.producer(settings.brokers or "")
    await producer.start()
    try:
        sending = sender.Sender(producer, settings.topic_prefix)
        await sending.check(settings)
        await sending.send(messages)
        await sending.flush()
    finally:
        await producer.stop()


def flags(settings: Settings) -> list[str]:
    names = ("brokers", "topic_prefix", "rules", "session_end_after", "trust_producer_time")
    shown = settings.shown()
    return [f"--{name.replace('_', '-')}={shown[name]}" for name in names]


async def alerts_of(settings: Settings, log: Path, expected: Sequence[Incident]) -> list[Incident]:
    """What a worker has written to live.alerts when it is as much as expected, or as it is after a while."""
    found: list[Alert] = []
    async with Follower(settings.brokers or "", [settings.topic(ALERTS)], PARTITIONS) as follower:

        async def all_there() -> bool:
            found.extend(read_alert(record.value) for record in await follower.more())
            assert worker.child.code is None, worker.child.tail()
            return incidents(found, EVER) == expected

        own = {"rules": settings.rules, "session_end_after": "2m", "idle_after": "1s", "trust_producer_time": "yes"}
        with Worker(settings.brokers or "", settings.topic_prefix, log, **own) as worker:
            with suppress(AssertionError):  # the caller compares, and says what differs
                await eventually("the alerts of the backtest", all_there, every=0.5)
            worker.stop()
        found.extend(read_alert(record.value) for record in await follower.more())
    return incidents(found, EVER)


def read_incidents(report: dict[str, Any]) -> list[Incident]:
    return msgspec.convert(report["incidents"], list[Incident])


@pytest.mark.kafka
def test_a_backtest_tells_the_alerts_that_a_worker_has_written_and_writes_nothing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the beginning all of them, and from some minute on those that fired since, though it begins to read later."""
    start = (int(time.time() * 1000) // MINUTE - 35) * MINUTE
    asyncio.run(fill(settings, traffic(start, 25)))
    whole = reported(capsys, *flags(settings))
    assert asyncio.run(written(settings)) == [], "nothing but the inputs has a record"
    expected = read_incidents(whole)
    assert {each.alert for each in expected} >= {"failures", "surge", "sales"}
    assert all(each.resolved is not None for each in expected), "every session is over by now"
    assert asyncio.run(alerts_of(settings, tmp_path / "worker.log", expected)) == expected

    begin = start + 18 * MINUTE
    part = reported(capsys, *flags(settings), f"--from={begin}")
    assert part["records"] < 0.9 * whole["records"], "what lies too far back is not read"
    assert [each for each in read_incidents(part) if each.fired >= begin] == [
        each for each in expected if each.fired >= begin
    ]
    assert part["lost"] == []


async def written(settings: Settings) -> list[Any]:
    """All records of the topics that are no inputs."""
    names = [settings.topic(name) for name in (*OUTPUTS, STATE)]
    async with Follower(settings.brokers or "", names, PARTITIONS) as follower:
        return await follower.more()


@pytest.mark.kafka
def test_missing_topics_are_named(kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    backtest(f"--brokers={kafka.bootstrap}", f"--topic-prefix={prefix}", code=2)
    assert f"missing topics: {prefix}live.views" in capsys.readouterr().err
