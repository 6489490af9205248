"""The group: who is in it, and whether all partitions have one owner each."""

from collections.abc import Sequence

import pytest

from stream.doctor.finding import Finding, Severity
from stream.doctor.group import Group, Member, judge_group, judge_neighbours
from tests.doctor.tools import one

INPUTS = {"views": 2, "comments": 2}


def member(*numbers: int, topics: Sequence[str] = ("views", "comments")) -> Member:
    return Member("c", "/h", {topic: list(numbers) for topic in topics})


def judged(*members: Member, state: str = "Stable", assignor: str = "range") -> list[Finding]:
    return judge_group(Group("g", state, assignor, members), INPUTS, "liveshop worker --brokers k:9092")


def test_a_stable_group_that_owns_everything_is_fine() -> None:
    assert "2 members" in one(judged(member(0), member(1)), Severity.OK).what


@pytest.mark.parametrize(("state", "says"), [("Empty", "has no member"), ("Dead", "does not exist")])
def test_without_a_worker_is_a_warning(state: str, says: str) -> None:
    found = one(judged(state=state), Severity.WARNING)
    assert says in found.what
    assert "liveshop worker" in found.todo


def test_a_rebalance_is_a_warning() -> None:
    assert "PreparingRebalance" in one(judged(member(), state="PreparingRebalance"), Severity.WARNING).what


def test_a_partition_that_nobody_owns_is_an_error() -> None:
    findings = judged(member(0), member(1, topics=["views"]))
    assert "nobody owns comments, partition 1" in one(findings, Severity.ERROR).what


def test_a_shard_in_pieces_is_an_error() -> None:
    pieces = Member("c", "/h", {"views": [0], "comments": [0, 1]}), Member("d", "/h", {"views": [1], "comments": []})
    assert "partition 1 of the inputs is owned by several" in one(judged(*pieces), Severity.ERROR).what


def test_strangers_are_errors() -> None:
    assert "roundrobin" in one(judged(member(0, 1), assignor="roundrobin"), Severity.ERROR).what
    stranger = Member("other", "/h", {"payments": [0]})
    assert (
        "other (/h) reads topics that are not ours: payments"
        in one(judged(member(0, 1), stranger), Severity.ERROR).what
    )


def test_members_that_stand_by_are_told() -> None:
    assert "1 of 2 members own nothing" in one(judged(member(0, 1), member()), Severity.INFO).what


def test_a_member_that_has_other_topics_is_an_error_though_it_owns_nothing() -> None:
    other = Member("liveshop-g-worker-b.", "/h", {}, frozenset({"b.views", "b.comments"}))
    found = one(judged(member(0, 1), other), Severity.ERROR)
    assert found.what == "member liveshop-g-worker-b. (/h) reads topics that are not ours: b.comments, b.views"
    assert "--group" in found.todo


def test_workers_of_an_earlier_version_are_a_warning() -> None:
    found = one(
        judged(Member("c", "/10.0.0.3", {"views": [0, 1], "comments": [0, 1]}, is_earlier=True)), Severity.WARNING
    )
    assert "earlier version are in it (at /10.0.0.3)" in found.what
    assert found.todo.startswith("stop all workers of the earlier version")


def test_another_installation_on_the_same_topics_is_an_error() -> None:
    ours = frozenset({"views", "comments"})
    worker = Member("liveshop-h-worker-", "/h", {}, ours)
    found = one(judge_neighbours([Group("h", "Stable", "range", [worker, worker])], INPUTS), Severity.ERROR)
    assert found.subject == "group h"
    assert "--topic-prefix" in found.todo
    app = Member("analytics", "/h", {}, ours)
    elsewhere = Member("liveshop-h-worker-b.", "/h", {"b.views": [0]}, frozenset({"b.views"}))
    assert judge_neighbours([Group("h", "Stable", "range", [app, elsewhere])], INPUTS) == []
