"""``liveshop doctor``: its exit codes, its table and its JSON. What it finds is tests/doctor's."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stream.cli import doctor, main
from stream.config import Settings
from stream.doctor.finding import Check, Finding, Severity
from stream.sandbox.broker import EmbeddedKafka
from tests.live import create_topics
from tests.observe.views import logging_restored

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "doctor" / "v1.schema.json").read_text())
OK = Finding(Check.BROKERS, Severity.OK, "brokers", "all 3 answer")
WARNING = Finding(Check.GROUP, Severity.WARNING, "group g", "has no member", "start one: liveshop worker")
ERROR = Finding(Check.KEYS, Severity.ERROR, "live.views/3", "1 of 2 [sampled] records …", "murmur2")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Puts findings in place of the checks; remembers what it was asked."""

    def put(*findings: Finding) -> list[Any]:
        asked: list[Any] = []

        async def run_checks(settings: Settings, sample: int, say: Callable[[str], None]) -> Sequence[Finding]:
            say("brokers")
            asked.append((settings.brokers, settings.group, sample))
            return findings

        monkeypatch.setattr(doctor, "run_checks", run_checks)
        return asked

    return put


def ended(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as end:
        main(["doctor", *arguments])
    return end.value.code


@pytest.mark.parametrize(("findings", "code"), [([OK], 0), ([OK, WARNING], 0), ([ERROR, OK], 1)])
def test_only_an_error_fails(finds: Callable[..., list[Any]], findings: list[Finding], code: int) -> None:
    asked = finds(*findings)
    assert ended("--brokers", "k:9092", "--group", "g", "--sample", "7") == code
    assert asked == [("k:9092", "g", 7)]


def test_it_says_what_to_do_once_for_several_and_cuts_nothing(
    finds: Callable[..., list[Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    finds(OK, WARNING, ERROR, replace(ERROR, subject="live.views/4"))
    ended("--brokers", "k:9092")
    shown = capsys.readouterr()
    assert [line.split() for line in shown.out.splitlines()] == [
        ["ok", "brokers", "brokers:", "all", "3", "answer"],
        ["warning", "group", "group", "g:", "has", "no", "member"],
        ["->", "start", "one:", "liveshop", "worker"],
        ["error", "keys", "live.views/3:", "1", "of", "2", "[sampled]", "records", "…"],
        ["error", "keys", "live.views/4:", "1", "of", "2", "[sampled]", "records", "…"],
        ["->", "murmur2"],
        ["errors:", "2,", "warnings:", "1"],
    ]
    assert shown.err == "", "progress is for terminals"


def test_json_is_one_document_as_its_schema_says(
    finds: Callable[..., list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    finds(OK, WARNING)
    assert ended("--brokers", "k:9092", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    Draft202012Validator(SCHEMA).validate(shown)
    assert shown["worst"] == "warning"
    assert shown["findings"][1] == {
        "check": "group",
        "severity": "warning",
        "subject": "group g",
        "what": "has no member",
        "todo": "start one: liveshop worker",
    }


def test_the_schema_knows_every_check_and_severity() -> None:
    assert SCHEMA["$defs"]["finding"]["properties"]["check"]["enum"] == list(Check)
    assert SCHEMA["$defs"]["severity"]["enum"] == list(Severity)


@pytest.mark.parametrize(
    "arguments",
    [(), ("--brokers", "k"), ("--brokers", "k:9092", "--sample", "0"), ("--brokers", "k:9092", "--delay", "5")],
)
def test_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*arguments) == 2
    assert capsys.readouterr().err


@pytest.mark.kafka
def test_on_a_real_broker_it_fails_until_the_topics_are_there(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--brokers", kafka.bootstrap, "--topic-prefix", prefix, "--group", prefix + "g", "--json")
    assert ended(*where) == 1
    first = json.loads(capsys.readouterr().out)
    create_topics(kafka.bootstrap, prefix, 1)
    assert ended(*where) == 0
    second, said = capsys.readouterr()
    Draft202012Validator(SCHEMA).validate(first)
    Draft202012Validator(SCHEMA).validate(json.loads(second))
    assert {each["subject"] for each in first["findings"] if each["severity"] == "error"} >= {prefix + "live.views"}
    assert all(line.startswith("liveshop: no Kafka broker answers yet: ") for line in said.splitlines()), said


@pytest.mark.kafka
def test_a_broker_that_is_not_there_is_a_finding(kafka: EmbeddedKafka, capsys: pytest.CaptureFixture[str]) -> None:
    brokers = f"{kafka.bootstrap},127.0.0.1:1"
    assert ended("--brokers", brokers, "--connect-timeout", "2s") == 1
    shown = capsys.readouterr()
    assert "127.0.0.1:1" in shown.out
    progress = "liveshop: no Kafka broker answers yet: 127.0.0.1:1 "
    assert all(line.startswith(progress) for line in shown.err.splitlines()), "said once, as a finding"
