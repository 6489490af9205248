"""What a finding is, and that those who judge know no broker and no clock."""

import ast
from pathlib import Path

import pytest

import stream.doctor
from stream.doctor.finding import Check, Finding, Severity, listed, worst

ROOM = Path(stream.doctor.__file__).parent
JUDGES = sorted(path for path in ROOM.glob("*.py") if path.name != "checks.py")


def test_the_worst_decides() -> None:
    found = [Finding(Check.LAG, severity, "", "") for severity in (Severity.INFO, Severity.ERROR, Severity.WARNING)]
    assert worst(found) is Severity.ERROR
    assert worst(found[:1]) is Severity.INFO
    assert worst([]) is Severity.OK


@pytest.mark.parametrize(("numbers", "text"), [([], ""), ([3], "3"), ([2, 0, 1, 7, 5, 5], "0-2, 5, 7")])
def test_partitions_are_listed_for_people(numbers: list[int], text: str) -> None:
    assert listed(numbers) == text


@pytest.mark.parametrize("path", JUDGES, ids=lambda path: path.name)
def test_a_judge_knows_no_broker_and_no_clock(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in names} & {"aiokafka", "asyncio", "time", "os", "random"} == set()
    assert not [name for name in names if name.startswith("stream.doctor.probes")]
