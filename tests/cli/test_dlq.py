"""``liveshop dlq``: what was refused, in figures and one by one; data is shown, and never obeyed."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, Final

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from stream import cli
from stream.config import Settings
from stream.model.names import DEAD_LETTERS, Kind, Reason
from stream.sandbox.broker import EmbeddedKafka
from tests.dlq.tools import Rec, refused, row, write
from tests.kafka import tools
from tests.kafka.tools import BASE, view

pytestmark = pytest.mark.kafka
EVIL: Final = b'{"viewer_id": "\x1b[31mv", "\xe2\x80\xaex": 1}'

FIRST: Final = (
    refused(Rec(view(1)), Reason.LATE, "event_time: 311000 ms behind"),
    refused(Rec(view(20), b"s2"), Reason.KEY_MISMATCH, "key: is not the session_id"),
    refused(Rec(EVIL, headers=[("trace", b"\xff\x00")]), Reason.INVALID_JSON, "byte 16"),
)
SECOND: Final = (
    refused(Rec(view(30)), Reason.LATE, "event_time: 400000 ms behind"),
    refused(Rec(view(40)), Reason.LATE, "event_time: 1 ms behind", Kind.COMMENTS),
)


async def abort(config: Settings) -> None:
    """A letter that was never committed."""
    producer = AIOKafkaProducer(bootstrap_servers=config.brokers, transactional_id=config.group)
    await producer.start()
    try:
        await producer.begin_transaction()
        key, value, headers = row(FIRST[0], 0, config.topic_prefix)
        await producer.send_and_wait(config.topic(DEAD_LETTERS), value, key=key, partition=0, headers=headers)
        await producer.abort_transaction()
    finally:
        await producer.stop()


@pytest.fixture
def flags(kafka: EmbeddedKafka, prefix: str) -> list[str]:
    config = tools.settings(kafka, prefix)

    async def fill() -> None:
        await tools.make_topics(config, 2)
        await write(kafka, config, FIRST)
        await abort(config)
        await write(kafka, config, SECOND, partition=1)

    asyncio.run(fill())
    return [f"--brokers={kafka.bootstrap}", f"--topic-prefix={prefix}"]


def dlq(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["dlq", *arguments])
    assert (caught.value.code or 0) == code


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    dlq("list", *arguments, "--json")
    found: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    return found


def test_letters_are_counted_in_groups_with_a_sample_each(
    flags: list[str], prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = figures(capsys, *flags)
    assert (found["read"], found["letters"], found["others"], found["rest"]) == (5, 5, 0, 0)
    late = found["groups"][0]
    assert (late["reason"], late["topic"], late["letters"]) == ("late", f"{prefix}live.views", 2)
    assert late["detail"] == "event_time: N ms behind"
    assert (late["first"], late["last"]) == (BASE + 100, BASE + 3000)
    assert late["sample"]["place"] == "1:0"
    assert sum(each["letters"] for each in found["times"]) == 5
    dlq("list", *flags)
    out = capsys.readouterr().out
    assert [line.split()[:3] for line in out.splitlines()[1:5]] == [
        ["2", "2", "late"],
        ["1", "1", "invalid_json"],
        ["1", "1", "key_mismatch"],
        ["1", "1", "late"],
    ]
    assert "viewer_id" not in out, "no value is shown"
    assert "5 of 5 dead letters" in out


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        (["--reason=late"], 3),
        (["--reason=late", "--reason=invalid_json"], 4),
        (["--topic=live.comments"], 1),
        (["--session=s2"], 1),
        (["--from=2023-11-14T22:13:21Z", "--to=2023-11-15T05:13:23.5+07:00"], 2),
        (["--from", "-2h"], 0),
        (["--to", "-2h"], 5),
        (["--reason=future"], 0),
    ],
)
def test_filters_leave_the_others_out(
    flags: list[str], capsys: pytest.CaptureFixture[str], asked: Sequence[str], number: int
) -> None:
    assert figures(capsys, *flags, *asked)["letters"] == number


def test_one_letter_is_shown_by_its_place(flags: list[str], prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    dlq("show", "0:1", *flags)
    out = capsys.readouterr().out
    assert "key_mismatch" in out
    assert f"{prefix}live.views, partition 0, offset 7" in out
    assert "refused: key_mismatch: key: is not the session_id" in out
    assert '"viewer_id": "v6"' in out


def test_the_newest_of_those_meant_is_shown_byte_for_byte(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    dlq("show", *flags, "--reason=late", "--topic=live.views", "--json")
    [found] = orjson.loads(capsys.readouterr().out)
    assert (found["partition"], found["offset"]) == (1, 0)
    assert base64.b64decode(found["value"]["base64"]) == view(30)
    assert found["headers_of_liveshop"]["liveshop-reason"] == "late"
    assert found["as_of_now"].startswith("a right event")


def test_nothing_in_a_value_or_a_header_is_obeyed(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    dlq("show", "0:2", *flags)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"\x1b[31mv" in out
    assert "ff 00" in out
    dlq("show", "0:2", *flags, "--json")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    [found] = orjson.loads(out)
    assert base64.b64decode(found["value"]["base64"]) == EVIL
    assert base64.b64decode(found["headers"][0]["base64"]) == b"\xff\x00"


def test_what_is_no_dead_letter_is_counted_and_named_by_its_place(
    kafka: EmbeddedKafka, prefix: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(tools.send(kafka, f"{prefix}{DEAD_LETTERS}", [(b"a", b"secret")], partition=1))
    dlq("list", *flags)
    out, err = capsys.readouterr()
    assert (
        f"{prefix}{DEAD_LETTERS}, partition 1: records that are no dead letters were left out: 1, the first at" in err
    )
    assert "secret" not in out + err
    dlq("show", "1:2", *flags, code=2)
    assert "there is no dead letter at offset 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["list", "--from=2023-11-14T22:13"], "--from: '2023-11-14T22:13' has no offset: write 2023-11-14T22:13+07:00"),
        (["list", "--from=yesterday"], "--from: 'yesterday' is no time"),
        (["list", "--from", "-1h", "--to", "-2h"], "--to -2h must lie behind --from -1h"),
        (["list", "--reason=lat"], "--reason: there is no 'lat'; there are invalid_json, "),
        (["list", "--topic=live.sessions"], "--topic: live.sessions is no input; they are live.views, "),
        (["show", "5"], "'5' is no place: write partition:offset in live.dead-letters"),
        (["show", "0:1", "--reason=late"], "a place names one dead letter"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_broker_is_asked(
    asked: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dlq(*asked, "--brokers=127.0.0.1:1", code=2)
    assert says in capsys.readouterr().err


def test_what_is_not_there_is_said(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    dlq("show", "7:0", *flags, code=2)
    assert "there is no partition 7" in capsys.readouterr().err
    dlq("show", "--reason=future", *flags, code=1)
    assert "holds no dead letter that is meant" in capsys.readouterr().err
    dlq("list", "--reason=future", *flags)
    assert capsys.readouterr().out == "none of 5 dead letters is meant\n"
