"""Topics become a recording: all of a stretch of time, in the order of arrival, and it counts as the topics do."""

import asyncio
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer

from stream import cli
from stream.config import Settings
from stream.errors import UsageError
from stream.model.messages import Message
from stream.model.names import INPUTS, SESSION_WINDOWS, SESSIONS, Kind
from stream.replay import recorder, recording
from stream.sandbox import sender
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka import tools
from tests.outputs import read_inputs
from tests.recount import recount
from tests.replay.test_anonymize import figures, ids_of
from tests.replay.test_from_file import MESSAGES, Taken, replayed

pytestmark = pytest.mark.kafka
PARTITIONS: Final = 2
EVER: Final = (0, 2**42)


async def filled(kafka: EmbeddedKafka, prefix: str, messages: list[Message]) -> Settings:
    config = tools.settings(kafka, prefix)
    await tools.make_topics(config, PARTITIONS)
    producer = sender.producer(kafka.bootstrap)
    await producer.start()
    try:
        sending = sender.Sender(producer, config.topic_prefix)
        await sending.check(config)
        await sending.send(messages)
        await sending.flush()
    finally:
        await producer.stop()
    return config


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["record", *words])
    return int(caught.value.code or 0)


def flags(config: Settings, *more: str) -> list[str]:
    return ["--brokers", config.brokers or "", "--topic-prefix", config.topic_prefix, *more]


def test_a_recording_of_topics_counts_as_a_recount_of_them_does_and_so_does_an_anonymized_one(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = asyncio.run(filled(kafka, prefix, MESSAGES[:6_000]))
    plain, anonymous = tmp_path / "events.ndjson.gz", tmp_path / "anonymous.ndjson"
    assert run(*flags(config, "--from", "-1h", "-o", str(plain))) == 0
    said = capsys.readouterr().out
    assert "6,000 messages" in said
    assert "personal data" in said
    assert f"--partitions {PARTITIONS}" in said
    assert run(*flags(config, "--from", "-1h", "-o", str(anonymous), "--anonymize", "--json")) == 0
    assert sum(json.loads(capsys.readouterr().out)["messages"].values()) == 6_000
    expected = recount(asyncio.run(read_inputs(kafka.bootstrap, prefix, PARTITIONS)))
    before, after = Taken(), Taken()
    first, second = replayed(plain, PARTITIONS, before), replayed(anonymous, PARTITIONS, after)
    assert before.last == {SESSION_WINDOWS: expected.windows, SESSIONS: expected.sessions}
    assert (first.outcomes, first.refused) == (second.outcomes, second.refused)
    for topic in (SESSION_WINDOWS, SESSIONS):
        assert figures(after, topic) == figures(before, topic)
    arrived = [json.loads(line)["at"] for line in anonymous.read_bytes().splitlines()]
    assert arrived == sorted(arrived)
    (tmp_path / "plain.ndjson").write_bytes(gzip.decompress(plain.read_bytes()))
    assert not ids_of(tmp_path / "plain.ndjson") & ids_of(anonymous)


async def send(kafka: EmbeddedKafka, topic: str, rows: tools.Rows, *headers: tuple[str, bytes]) -> None:
    async with tools.producer(kafka) as producer:
        for key, value in rows:
            await producer.send_and_wait(topic, value, key=key, partition=0, headers=[*headers])


async def recorded(
    config: Settings, span: tuple[int, int] = EVER, *sessions: str
) -> tuple[recorder.Recorded, list[Message]]:
    found: list[Message] = []
    done: list[tuple[int, int]] = []

    def tell(now: int, every: int) -> None:
        done.append((now, every))

    partitions = await recorder.count_partitions(config)
    summary = await recorder.record(config, partitions, span, sessions, write=found.append, tell=tell)
    assert not done or done[-1][0] == done[-1][1]
    return summary, found


def test_only_what_arrived_in_the_stretch_and_of_the_sessions_that_are_named(kafka: EmbeddedKafka, prefix: str) -> None:
    async def check() -> None:
        config = tools.settings(kafka, prefix)
        await tools.make_topics(config, PARTITIONS)
        views, comments = (config.topic(INPUTS[kind]) for kind in (Kind.VIEWS, Kind.COMMENTS))
        await tools.send(kafka, views, [(b"7", b"first"), (b"8", b"first")])
        await tools.send(kafka, comments, [(b"7", b"{}")], partition=1)
        appended = await tools.everything(kafka, comments, 1)
        between = appended[-1].timestamp + 2
        await tools.until(lambda: time.time() * 1000 > between, "the broker's clock, which is ours, has moved on")
        await send(kafka, views, [(b"7", b"second"), (None, b"x")], ("a", b"b"))
        assert [each.value for each in (await recorded(config))[1]] == [b"first", b"first", b"{}", b"second", b"x"]
        summary, found = await recorded(config, (between, EVER[1]))
        assert [(each.key, each.value) for each in found] == [(b"7", b"second"), (None, b"x")]
        assert (summary.with_headers, summary.messages) == (2, Counter({"live.views": 2}))
        assert [each.value for each in (await recorded(config, (0, between)))[1]] == [b"first", b"first", b"{}"]
        assert [each.value for each in (await recorded(config, EVER, "7"))[1]] == [b"first", b"{}", b"second"]
        assert (await recorded(config, EVER, "7"))[0].misplaced
        assert (await recorded(config, (EVER[1] - 1, EVER[1])))[1] == []

    asyncio.run(check())


def test_what_was_aborted_is_not_in_it_and_markers_at_the_end_do_not_hang(kafka: EmbeddedKafka, prefix: str) -> None:
    async def check() -> None:
        config = tools.settings(kafka, prefix)
        await tools.make_topics(config)
        topic = config.topic(INPUTS[Kind.VIEWS])
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=prefix)
        await producer.start()
        try:
            for value, commit in ((b"1", True), (b"2", False), (b"3", True)):
                await producer.begin_transaction()
                await producer.send_and_wait(topic, value, key=b"7")
                await (producer.commit_transaction() if commit else producer.abort_transaction())
        finally:
            await producer.stop()
        assert [each.value for each in (await recorded(config))[1]] == [b"1", b"3"]

    asyncio.run(check())


def test_a_structured_cloud_event_is_written_as_the_event_in_it(kafka: EmbeddedKafka, prefix: str) -> None:
    async def check() -> None:
        config = tools.settings(kafka, prefix)
        await tools.make_topics(config)
        rows: tools.Rows = [(b"7", b'{"specversion":"1.0","data":{"a":1}}'), (b"7", b"{")]
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send(kafka, topic, rows, ("content-type", b"application/cloudevents+json"))
        assert [each.value for each in (await recorded(config))[1]] == [b'{"a":1}', b"{"]

    asyncio.run(check())


def test_a_file_is_not_overwritten_and_missing_topics_leave_none(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tools.settings(kafka, prefix)
    out = tmp_path / "events.ndjson"
    words = flags(config, "--from", "-1h", "-o", str(out))
    assert run(*words) == 2
    assert "missing topics" in capsys.readouterr().err
    assert not out.exists()
    out.write_bytes(b"mine")
    assert run(*words) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert run(*words, "--to", "-2h", "--force") == 2
    assert "--to must lie behind --from" in capsys.readouterr().err
    with pytest.raises(UsageError, match="missing topics"):
        asyncio.run(recorder.count_partitions(config))
    asyncio.run(tools.make_topics(config))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recorder, "record", _broken)
        assert run(*words, "--force") == 1
    assert "the broker could not do it" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == [out.name], "nothing that is not whole"
    assert out.read_bytes() == b"mine"
    assert run(*words, "--force") == 0
    assert [*recording.read(out)] == []


async def _broken(*_: object, write: Callable[[Message], None], **__: object) -> None:
    write(MESSAGES[0])
    raise TimeoutError
