"""``liveshop simulate``: to a file, to Kafka, and a recording played."""

import asyncio
import gzip
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import murmur2

from stream import cli
from stream.children import free_port
from stream.config import Settings
from stream.model.messages import Message
from stream.model.names import INPUTS
from stream.replay import recording
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from tests.support import PATIENCE, eventually, handles_sigterm

START = 1_760_000_000_000
PARTITIONS = 3


def simulate(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as caught:
        cli.main(["simulate", *arguments])
    return caught.value.code


@pytest.fixture
def sandbox(kafka: EmbeddedKafka, prefix: str) -> Settings:
    """Topics of our own."""
    settings = Settings(brokers=kafka.bootstrap, topic_prefix=prefix)
    asyncio.run(topics.create(settings, PARTITIONS))
    return settings


def flags(settings: Settings) -> list[str]:
    return [f"--brokers={settings.brokers}", f"--topic-prefix={settings.topic_prefix}"]


def records(settings: Settings) -> list[Any]:
    """Everything in the three inputs."""

    async def read() -> list[Any]:
        names = [settings.topic(topic) for topic in INPUTS.values()]
        consumer = AIOKafkaConsumer(*names, bootstrap_servers=settings.brokers, auto_offset_reset="earliest")
        async with consumer, asyncio.timeout(PATIENCE):
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[Any] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                found += [each for batch in (await consumer.getmany(timeout_ms=200)).values() for each in batch]
            return found

    return asyncio.run(read())


# --- to a file


def test_a_seed_makes_the_same_file_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--for", "5s", "--seed", "3", "--start-ms", str(START)]
    assert simulate(*asked, "--to", str(tmp_path / "a.ndjson"), "--json") == 0
    summary = orjson.loads(capsys.readouterr().out)
    assert simulate(*asked, "--to", str(tmp_path / "b.ndjson")) == 0
    assert (tmp_path / "a.ndjson").read_bytes() == (tmp_path / "b.ndjson").read_bytes()
    assert summary["sent"] == len((tmp_path / "a.ndjson").read_bytes().splitlines()) == sum(summary["topics"].values())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no Kafka to send to: set --brokers or LIVESHOP_BROKERS"),
        (["--to", "x.ndjson"], "--to needs --for"),
        (["--to", "x.ndjson", "--for", "5"], "--for: a duration needs a unit"),
        (["--to", "x.ndjson", "--from", "y.ndjson", "--for", "5s"], "--from and --to"),
        (["--brokers", "h:1", "--outage", "now"], "--outage: 'now': write 'at 30s for 20s'"),
        (["--brokers", "h:1", "--from", "y.ndjson", "--shift", "--speed", "2"], "--shift goes with --speed 1"),
        (["--brokers", "h"], "'h' is not host:port"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(*arguments) == 2
    assert says in capsys.readouterr().err


def test_a_broker_that_does_not_answer_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(f"--brokers=127.0.0.1:{free_port()}", "--connect-timeout=1s") == 1
    assert "no Kafka broker answered at 127.0.0.1" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ctrl_c_while_it_looks_for_a_broker_ends_it_at_once() -> None:
    command = [sys.executable, "-m", "stream.cli", "simulate", f"--brokers=127.0.0.1:{free_port()}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            eventually(lambda: handles_sigterm(child.pid), what="it has its signal handlers")
            began = time.monotonic()
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=PATIENCE)
        finally:
            child.kill()
    assert child.returncode == 130
    assert time.monotonic() - began < 30


# --- to Kafka


@pytest.mark.kafka
def test_traffic_arrives_at_the_asked_rate_keyed_by_murmur2(
    sandbox: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert simulate(*flags(sandbox), "--for", "3s", "--rate", "1000", "--json") == 0
    assert 2.5 < time.monotonic() - began < 60
    summary = orjson.loads(capsys.readouterr().out)
    found = records(sandbox)
    assert len(found) == summary["sent"] == pytest.approx(3000, rel=0.1)
    by_topic = Counter(record.topic.removeprefix(sandbox.topic_prefix) for record in found)
    assert by_topic == Counter(summary["topics"])
    keyed = [record for record in found if record.key is not None]
    assert all(record.partition == (murmur2(record.key) & 0x7FFFFFFF) % PARTITIONS for record in keyed)
    stamped = [record.timestamp - orjson.loads(record.value)["event_time"] for record in found[:500] if is_json(record)]
    assert sorted(stamped)[len(stamped) // 2] < 5_000, "event times are about now"


def is_json(record: Any) -> bool:
    try:
        return isinstance(orjson.loads(record.value or b"")["event_time"], int)
    except (ValueError, KeyError, TypeError):
        return False


@pytest.mark.kafka
def test_missing_topics_are_named(kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(f"--brokers={kafka.bootstrap}", f"--topic-prefix={prefix}") == 2
    message = capsys.readouterr().err
    assert f"missing topics: {prefix}live.views, {prefix}live.comments, {prefix}live.checkouts" in message
    assert "liveshop topics create" in message


@pytest.mark.kafka
def test_sigterm_ends_it_with_a_summary_of_all_that_was_sent(sandbox: Settings) -> None:
    command = [sys.executable, "-m", "stream.cli", "simulate", *flags(sandbox), "--json", "--rate=500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            eventually(lambda: records(sandbox), what="the first messages")
            child.send_signal(signal.SIGTERM)
            summary = orjson.loads(child.communicate(timeout=PATIENCE)[0])
        finally:
            child.kill()
    assert child.returncode == 0
    assert summary["sent"] == len(records(sandbox))


@pytest.mark.kafka
def test_ctrl_c_ends_it_with_130_and_a_summary(sandbox: Settings) -> None:
    command = [sys.executable, "-m", "stream.cli", "simulate", *flags(sandbox), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            eventually(lambda: records(sandbox), what="the first messages")
            child.send_signal(signal.SIGINT)
            summary = orjson.loads(child.communicate(timeout=PATIENCE)[0])
        finally:
            child.kill()
    assert child.returncode == 130
    assert summary["sent"] == len(records(sandbox))


@pytest.mark.kafka
def test_sigterm_ends_it_though_the_broker_is_gone() -> None:
    """Else a container would be killed, and whoever stops it by hand would wait for ever."""
    with EmbeddedKafka() as own:
        settings = Settings(brokers=own.bootstrap)
        asyncio.run(topics.create(settings, PARTITIONS))
        command = [sys.executable, "-m", "stream.cli", "simulate", *flags(settings), "--rate=500"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
            try:
                eventually(lambda: records(settings), what="the first messages")
                own.stop()
                child.send_signal(signal.SIGTERM)
                _, err = child.communicate(timeout=PATIENCE)
            finally:
                child.kill()
    assert child.returncode == 1
    assert "Kafka has not acknowledged the last messages in 8 s" in err
    assert "Traceback" not in err


# --- a recording, played


def recorded(file: Path, lines: list[bytes]) -> str:
    file.write_bytes(b"\n".join(lines) + b"\n")
    return str(file)


def view(at: int, number: int) -> bytes:
    value = b'{"event_id":"e%d","event_time":%d,"action":"enter"}' % (number, at)
    return b'{"topic":"live.views","key":"k","at":%d,"value":%b}' % (at, value)


@pytest.mark.kafka
def test_a_recording_is_played_byte_for_byte_and_bad_lines_are_counted(
    sandbox: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate("--for", "4s", "--bad", "0.2", "--to", str(tmp_path / "t.ndjson.gz"), "--start-ms", str(START)) == 0
    messages = [each for each in recording.read(tmp_path / "t.ndjson.gz") if isinstance(each, Message)]
    lines = gzip.decompress((tmp_path / "t.ndjson.gz").read_bytes())
    (tmp_path / "u.ndjson").write_bytes(lines + b"no line of a recording\n")
    capsys.readouterr()
    assert simulate(*flags(sandbox), "--from", str(tmp_path / "u.ndjson"), "--speed", "0", "--json") == 3
    out, err = capsys.readouterr()
    summary = orjson.loads(out)
    assert summary["bad_lines"] == 1
    assert summary["sent"] == len(messages)
    assert f"line {len(messages) + 1}: not JSON" in err
    sent = Counter((INPUTS[each.kind], each.key, each.value) for each in messages)
    came = Counter((each.topic.removeprefix(sandbox.topic_prefix), each.key, each.value) for each in records(sandbox))
    assert came == sent


@pytest.mark.kafka
def test_a_recording_keeps_its_pace_at_the_speed_asked_for(sandbox: Settings, tmp_path: Path) -> None:
    source = recorded(tmp_path / "r.ndjson", [view(START + at, at) for at in (0, 4000, 8000)])
    assert simulate(*flags(sandbox), "--from", source, "--speed", "4") == 0
    stamps = [record.timestamp for record in records(sandbox)]
    assert 1000 < stamps[2] - stamps[0] < 7000, (
        "two seconds instead of eight; the first is late, and a busy machine slow"
    )
    assert stamps == sorted(stamps)


@pytest.mark.kafka
def test_a_shifted_recording_begins_now(sandbox: Settings, tmp_path: Path) -> None:
    source = recorded(tmp_path / "r.ndjson", [view(START + at, at) for at in (0, 300)])
    assert simulate(*flags(sandbox), "--from", source, "--shift") == 0
    first, second = [orjson.loads(record.value)["event_time"] for record in records(sandbox)]
    assert second - first == 300
    assert abs(first - time.time() * 1000) < 60_000


def test_a_recording_that_is_there_is_not_written_over_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.ndjson"
    there.write_text("hours of work")
    assert simulate("--for", "1s", "--to", str(there)) == 2
    assert "holds something already, and would lose it: --force writes over it" in capsys.readouterr().err
    assert there.read_text() == "hours of work"
    assert simulate("--for", "1s", "--to", str(there), "--force") == 0
    assert there.read_text().startswith('{"topic"')
