"""``liveshop alerts``: the newest word on each alert and session, and all that is left of one session."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from stream import cli
from stream.config import Settings
from stream.model.alerts import Alert, Severity, Status, alert_id
from stream.model.names import ALERTS
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka import tools

pytestmark = pytest.mark.kafka
START: Final = 1_760_000_040_000
MINUTE: Final = 60_000


def alert(name: str, session: str, status: Status, minute: int, **changes: Any) -> Alert:
    told: dict[str, Any] = {
        "alert": name,
        "session_id": session,
        "seller_id": "s1",
        "status": status,
        "severity": Severity.INFO,
        "since": START,
        "at": START + minute * MINUTE,
        "run": "live",
        "summary": f"{name} of {session}",
        "runbook": name,
        "values": {"comments": 90},
        "id": alert_id(name, session, START),
    }
    return Alert(**{**told, **changes})


FIRED: Final = (
    alert("surge", "7", Status.FIRING, 1),
    alert("surge", "8", Status.FIRING, 2),
    alert("surge", "7", Status.RESOLVED, 3),
    alert("failures", "7", Status.FIRING, 4, severity=Severity.PAGE, idle=True),
    alert("surge", "7", Status.FIRING, 6, since=START + 5 * MINUTE),
)


async def write(config: Settings, alerts: Sequence[Alert], *, commit: bool = True) -> None:
    """As a shard does: each session's on its own partition, in a transaction."""
    producer = AIOKafkaProducer(bootstrap_servers=config.brokers, transactional_id=config.group)
    await producer.start()
    try:
        await producer.begin_transaction()
        for each in alerts:
            partition = int(each.session_id) % 2
            await producer.send_and_wait(config.topic(ALERTS), each.value(), key=each.key(), partition=partition)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


@pytest.fixture
def flags(kafka: EmbeddedKafka, prefix: str) -> list[str]:
    """Of a cluster whose live.alerts holds what fired, and what a transaction that was aborted would have resolved."""
    config = tools.settings(kafka, prefix)

    async def fill() -> None:
        await tools.make_topics(config, 2)
        await write(config, FIRED)
        await write(config, [alert("failures", "7", Status.RESOLVED, 9)], commit=False)

    asyncio.run(fill())
    return [f"--brokers={kafka.bootstrap}", f"--topic-prefix={prefix}"]


def alerts(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["alerts", *arguments])
    assert (caught.value.code or 0) == code


def test_what_fires_now_is_listed_the_gravest_first(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    alerts("list", *flags, "--json")
    found = orjson.loads(capsys.readouterr().out)
    assert found == [orjson.loads(each.value()) for each in (FIRED[3], FIRED[1], FIRED[4])]
    alerts("list", *flags)
    out = capsys.readouterr().out
    assert [line.split()[3] for line in out.splitlines()[1:]] == ["failures", "surge", "surge"]
    assert "surge of 8" in out


def test_a_session_shows_all_that_is_left_in_order(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    alerts("history", "7", *flags, "--json")
    found = orjson.loads(capsys.readouterr().out)
    assert found == [orjson.loads(each.value()) for each in FIRED if each.session_id == "7"]
    alerts("history", "7", *flags)
    out = capsys.readouterr().out
    assert [line.split()[3] for line in out.splitlines()[1:]] == ["firing", "resolved", "firing", "firing"]
    assert out.count("idle") == 1


def test_nothing_is_said_in_words_and_as_an_empty_list(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    alerts("history", "nobody", *flags)
    assert capsys.readouterr().out == "live.alerts holds nothing of session nobody\n"
    alerts("history", "nobody", *flags, "--json")
    assert orjson.loads(capsys.readouterr().out) == []


def test_what_is_no_alert_is_named_by_its_place_and_not_quoted(
    kafka: EmbeddedKafka, prefix: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(tools.send(kafka, f"{prefix}{ALERTS}", [(b"a/7", b'{"alert": "secret"}')], partition=1))
    alerts("list", *flags)
    out, err = capsys.readouterr()
    assert (
        f"{prefix}{ALERTS}, partition 1: records that are no alerts of liveshop were left out: 1, the first at" in err
    )
    assert "secret" not in out + err
    assert "surge of 8" in out, "what is one is shown"


def test_a_missing_topic_is_named(kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    alerts("list", f"--brokers={kafka.bootstrap}", f"--topic-prefix={prefix}", code=2)
    assert f"missing topics: {prefix}{ALERTS}. Make them with: liveshop topics create" in capsys.readouterr().err
