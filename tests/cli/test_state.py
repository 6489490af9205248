"""``liveshop state``: what is printed, asked and returned. The work itself is tests/operate's."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from stream.cli import main, state
from stream.config import Settings
from stream.model.names import STATE
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import everything, send, send_views
from tests.observe.views import logging_restored
from tests.operate.tools import count, make


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


def ended(command: str, config: Settings, *arguments: str) -> Any:
    where = ("--brokers", str(config.brokers), "--topic-prefix", config.topic_prefix, "--group", config.group)
    with pytest.raises(SystemExit) as end:
        main(["state", command, *where, *arguments])
    return end.value.code


async def prepare(kafka: EmbeddedKafka, prefix: str) -> Settings:
    config = await make(kafka, prefix, partitions=2)
    await send_views(kafka, config, range(100))
    await count(kafka, config, partitions=2)
    return config


@pytest.mark.kafka
def test_show_and_verify_print_a_table_or_json(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = asyncio.run(prepare(kafka, prefix))
    capsys.readouterr()
    assert ended("show", config, "--delay", "5s") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split()[:3] == ["partition", "generation", "format"]
    assert lines[1].split()[:4] == ["0", "0", "5", "4"]
    assert "partition 0: counted under --delay 10s, yours is 5s" in lines
    assert "partition 1: no state yet" in lines
    assert said.err == ""
    assert ended("show", config, "--partition", "0", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["figures"]["positions"] == {"views": 100, "comments": 0, "checkouts": 0}
    assert ended("show", config, "--session", "s1") == 0
    text = capsys.readouterr().out
    assert text.startswith("session s1 in partition 0: ended, 100 events (written: 100), revision ")
    assert "views 100" in text
    assert ended("show", config, "--session", "s2") == 1
    assert "no shard holds session s2" in capsys.readouterr().err
    assert ended("verify", config) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "partition 0: right (checkpoints 4, live.sessions 1, live.session-windows 6)",
        "partition 1: right (no state)",
    ]
    assert said.err == ""


@pytest.mark.kafka
def test_what_is_wrong_is_exit_code_1(kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = asyncio.run(prepare(kafka, prefix))
    capsys.readouterr()
    asyncio.run(send(kafka, config.topic(STATE), [(b"0/0", b"\xff")], partition=1))
    assert ended("show", config) == 1
    assert "partition 1: cannot be read: the record at offset 0 is a state of version 255" in capsys.readouterr().out
    assert ended("verify", config, "--json", "--windows", "2m") == 1
    said = capsys.readouterr()
    assert [finding["what"] for each in json.loads(said.out) for finding in each["findings"]] == ["refused", "refused"]
    assert said.err == ""
    assert ended("verify", config, "--partition", "2") == 2
    assert "there is no partition 2: the topics have 2, the first is 0" in capsys.readouterr().err


@pytest.mark.kafka
def test_a_rebuild_is_planned_then_confirmed_then_done(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = asyncio.run(prepare(kafka, prefix))
    capsys.readouterr()
    before = asyncio.run(everything(kafka, config.topic(STATE)))
    assert ended("rebuild", config, "--partition", "0") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1].split() == ["0", "0", "1", f"{prefix}live.views", "100", "0", "100", "100"]
    assert said.out.splitlines()[-1] == "nothing is done without --execute"
    assert said.err == ""
    assert ended("rebuild", config, "--all", "--execute") == 2
    assert "nothing was done: this is no terminal to ask on, say --yes" in capsys.readouterr().err
    assert asyncio.run(everything(kafka, config.topic(STATE))) == before
    assert ended("rebuild", config, "--partition", "0", "--execute", "--yes", "--json") == 0
    said = capsys.readouterr()
    (done,) = json.loads(said.out)
    assert (done["generation"], done["checkpoint"]) == (1, 1)
    assert [topic["records"] for topic in done["topics"]] == [100, 0, 0]
    assert "the shard is counted anew" in said.err
    assert ended("show", config, "--partition", "0", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["figures"]["generation"], shown["figures"]["positions"]["views"]) == (1, 0)


def test_a_session_is_shown_with_its_money_as_people_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    totals = {"session_id": "s1", "counts": {"orders_paid": 2}, "gmv_minor": {"IDR": 81900000, "USD": 1234}}
    held = {"partition": 0, "status": "live", "events": 2, "written_events": 2, "revision": 1, "last_event": 0}
    state._print_session(held | {"totals": totals, "panes": []})
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "gmv Rp 819.000" in rows
    assert "gmv USD 12.34" in rows


def test_a_rebuild_names_its_partitions(capsys: pytest.CaptureFixture[str]) -> None:
    config = Settings(brokers="k:9092")
    for which in ((), ("--all", "--partition", "1")):
        assert ended("rebuild", config, *which) == 2
        assert "say which: --partition N, once or more, or --all" in capsys.readouterr().err
