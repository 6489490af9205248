"""``liveshop offsets``: what is printed, refused and returned. The work itself is tests/operate's."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from stream.cli import main
from stream.cli.operating import operator
from stream.config import Settings
from stream.model.names import DEAD_LETTERS
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import damage, everything, headers, send_batches, send_views
from tests.observe.views import logging_restored
from tests.operate.tools import count, make


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


def ended(command: str, config: Settings, *arguments: str) -> Any:
    where = ("--brokers", str(config.brokers), "--topic-prefix", config.topic_prefix, "--group", config.group)
    with pytest.raises(SystemExit) as end:
        main(["offsets", command, *where, *arguments])
    return end.value.code


@pytest.mark.kafka
def test_poison_is_shown_then_skipped(kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def prepare() -> Settings:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        await count(kafka, config)
        await send_batches(kafka, config, [range(10, 12), range(12, 20)])
        damage(kafka, f"{prefix}live.views", 10)
        return config

    config = asyncio.run(prepare())
    capsys.readouterr()
    assert ended("show", config) == 0
    said = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in said.out.splitlines()}
    assert rows[f"{prefix}live.views"][:7] == ["0", "0", "10", "10", "20", "20", "10"]
    assert rows[f"{prefix}live.views"][-2:] == ["see", "below"]
    assert f"{prefix}live.views, partition 0: offsets 10 to 11 cannot be read (wrong checksum)" in said.out
    assert said.err == ""
    assert ended("show", config, "--json") == 0
    assert [each["lag"] for each in json.loads(capsys.readouterr().out)] == [0, 0, 10]

    named = ("--topic", "live.views", "--partition", "0", "--offset", "10", "--to", "11", "--reason", "bad disk")
    assert ended("skip", config, *named) == 0
    said = capsys.readouterr()
    assert said.out.count("cannot be read, damaged batch") == 1
    assert "10 to 11, lz4, " in said.out
    assert f"{prefix}live.views, partition 0: would go on at 12 of 20; nothing is done without --execute" in said.out
    assert said.err == ""
    assert asyncio.run(everything(kafka, config.topic(DEAD_LETTERS))) == []

    assert ended("skip", config, *named, "--execute", "--json") == 0
    said = capsys.readouterr()
    (done,) = json.loads(said.out)
    assert (done["position"], done["checkpoint"] > 1) == (12, True)
    assert [(item["offset"], item["last"], item["records"]) for item in done["items"]] == [(10, 11, 2)]
    assert "records were skipped" in said.err
    (letter,) = asyncio.run(everything(kafka, config.topic(DEAD_LETTERS)))
    assert headers(letter)["liveshop-detail"].decode() == f"skipped by {operator()}: bad disk"
    assert headers(letter)["liveshop-origin"].decode().startswith(f"{prefix}live.views/0/10-11/")

    assert ended("skip", config, *named, "--execute") == 2
    assert "the shard stands at 12, what is before it was read: going back is a replay" in capsys.readouterr().err


def test_what_is_no_input_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    config = Settings(brokers="k:9092", topic_prefix="x.")
    named = ("--topic", "live.sessions", "--partition", "0", "--offset", "1", "--reason", "r")
    assert ended("skip", config, *named) == 2
    text = capsys.readouterr().err
    assert "live.sessions is no input; they are x.live.views, x.live.comments, x.live.checkouts" in text


def test_a_reason_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    config = Settings(brokers="k:9092")
    assert ended("skip", config, "--topic", "live.views", "--partition", "0", "--offset", "1") == 2
    assert "Missing option '--reason'" in capsys.readouterr().err
