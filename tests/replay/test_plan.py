"""A plan of a replay is run as it was made, or refused with what is wrong."""

import msgspec
import pytest

from stream.core.policy import Policy
from stream.errors import UsageError
from stream.model.names import SESSIONS
from stream.replay import plan as plans
from stream.replay.plan import PartitionPlan, Plan


def a_plan(**more: object) -> Plan:
    part = PartitionPlan(
        partition=0,
        begins={"views": 10, "comments": 0, "checkouts": 3},
        ends={"views": 500, "comments": 40, "checkouts": 9},
        expected={"views": 110, "comments": 0, "checkouts": 5},
    )
    values: dict[str, object] = {
        "id": "friday",
        "from_ms": 60_000,
        "to_ms": 180_000,
        "lead_ms": 30_000,
        "policy": Policy().deciding(),
        "live_policy": "0" * 12,
        "rules": "",
        "cluster": "c",
        "topic_prefix": "t.",
        "topic_ids": {},
        "partitions": 1,
        "parts": [part],
        "planned_ms": 200_000,
        "version": "0",
    }
    return plans.sealed(Plan(**(values | more)))  # type: ignore[arg-type]  # values of a test


def test_a_file_holds_all_of_it() -> None:
    plan = a_plan(count_late=True, sessions=["7301"])
    assert plans.read(plans.written(plan), "plan.json") == plan


def test_records_are_those_that_will_be_read() -> None:
    assert a_plan().records == 102


@pytest.mark.parametrize(
    ("start", "end", "inside"),
    [(60_000, 120_000, True), (120_000, 180_000, True), (59_000, 119_000, False), (121_000, 181_000, False)],
)
def test_windows_are_inside_or_not(start: int, end: int, *, inside: bool) -> None:
    assert a_plan().has_window(start, end) is inside


def test_its_topics_are_never_live_ones() -> None:
    plan = a_plan()
    names = [plan.topic(name) for name in plans.WRITTEN]
    assert plan.topic(SESSIONS) == "replay.friday.sessions"
    assert len({*names}) == len(names)
    assert not any(name.startswith("live.") for name in names)


def test_one_that_was_edited_is_refused() -> None:
    data = plans.written(a_plan()).replace(b'"to_ms": 180000', b'"to_ms": 190000')
    with pytest.raises(UsageError, match="edited"):
        plans.read(data, "plan.json")


@pytest.mark.parametrize("data", [b"", b"[1]", b"{}", b"\xff", b"[" * 2000])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"plan\.json: this is no plan"):
        plans.read(data, "plan.json")


def test_one_of_a_later_version_is_refused() -> None:
    data = msgspec.json.encode({"format": 99, "version": "9.9"})
    with pytest.raises(UsageError, match="later version"):
        plans.read(data, "plan.json")


@pytest.mark.parametrize("text", ["", "-a", "A", "a.b", "../x", "x" * 41, "é"])
def test_ids_are_parts_of_topic_names(text: str) -> None:
    with pytest.raises(UsageError, match="no id of a replay"):
        plans.check_id(text)
