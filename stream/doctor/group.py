"""Whether the group of workers stands, and shares all partitions among its members."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stream.doctor.finding import Check, Finding, Severity, listed

ASSIGNOR: Final = "range"
OURS: Final = "liveshop-"
"""With which the client ids of workers begin."""
SETTLED: Final = frozenset({"Stable", "Empty", "Dead", ""})
"""States in which nothing is going on. The others are a rebalance."""


@dataclass(frozen=True, slots=True)
class Member:
    """``partitions`` by topic; ``topics`` are those that it has subscribed to, if that is known.

    ``is_earlier``: its client id is that of the workers of earlier versions.
    """

    client: str
    host: str
    partitions: Mapping[str, Sequence[int]]
    topics: frozenset[str] = frozenset()
    is_earlier: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """``state`` is Kafka's word; Dead (or empty) for a group that does not exist."""

    name: str
    state: str
    assignor: str = ""
    members: Sequence[Member] = ()


def judge_group(group: Group, inputs: Mapping[str, int], worker: str) -> list[Finding]:
    """``inputs``: the number of partitions of each; ``worker``: the command that starts one."""
    subject = f"group {group.name}"
    if group.state not in SETTLED:
        what = f"is in a rebalance ({group.state}), with {len(group.members)} members"
        todo = "look again in a minute; if it stays so, a worker comes and goes: see the workers' logs"
        return [Finding(Check.GROUP, Severity.WARNING, subject, what, todo)]
    if not group.members:
        exists = "has no member" if group.state == "Empty" else "does not exist"
        todo = f"start one: {worker}"
        return [Finding(Check.GROUP, Severity.WARNING, subject, f"{exists}: no worker is running", todo)]
    found = _foreign(group, inputs, subject) + _unowned(group, inputs, subject) + _torn(group, inputs, subject)
    found += _earlier(group, subject)
    if not found:
        found.append(
            Finding(Check.GROUP, Severity.OK, subject, f"stable, {len(group.members)} members own all partitions")
        )
    idle = [member for member in group.members if not any(member.partitions.values())]
    if idle:
        what = f"{len(idle)} of {len(group.members)} members own nothing: there are not more partitions"
        todo = "they stand by; fewer workers do the same work, or make topics with more partitions"
        found.append(Finding(Check.GROUP, Severity.INFO, subject, what, todo))
    return found


def _foreign(group: Group, inputs: Mapping[str, int], subject: str) -> list[Finding]:
    """Members that are no workers of ours."""
    found = []
    todo = "find out who uses this group's name, and give that program, or the workers, a name of its own (--group)"
    if group.assignor != ASSIGNOR:
        what = f"shares partitions by {group.assignor or 'no assignor'}, workers do it by {ASSIGNOR}: somebody else is in it"
        found.append(Finding(Check.GROUP, Severity.ERROR, subject, what, todo))
    for member in group.members:
        owned = {topic for topic, numbers in member.partitions.items() if numbers}
        others = sorted((owned | member.topics) - inputs.keys())
        if others:
            what = f"member {member.client} ({member.host}) reads topics that are not ours: {', '.join(others)}"
            found.append(Finding(Check.GROUP, Severity.ERROR, subject, what, todo))
    return found


def _earlier(group: Group, subject: str) -> list[Finding]:
    hosts = sorted({member.host for member in group.members if member.is_earlier})
    if not hosts:
        return []
    what = f"workers of an earlier version are in it (at {', '.join(hosts)}): newer ones wait until they have left"
    todo = "stop all workers of the earlier version, then start the newer ones"
    return [Finding(Check.GROUP, Severity.WARNING, subject, what, todo)]


def judge_neighbours(others: Iterable[Group], inputs: Iterable[str]) -> list[Finding]:
    """Other groups whose members are workers of ours, and read our inputs: a second installation on the same topics."""
    wanted = frozenset(inputs)
    found = []
    for group in others:
        for member in group.members:
            reads = member.topics | {topic for topic, numbers in member.partitions.items() if numbers}
            if member.client.startswith(OURS) and wanted & reads:
                what = (
                    f"member {member.client} ({member.host}) is a worker of another installation on the same topics: only "
                    "one of them can have the state of a partition"
                )
                todo = "stop one of the two, or give it topics of its own (--topic-prefix)"
                found.append(Finding(Check.GROUP, Severity.ERROR, f"group {group.name}", what, todo))
                break
    return found


def _unowned(group: Group, inputs: Mapping[str, int], subject: str) -> list[Finding]:
    found = []
    for topic, count in inputs.items():
        owned = {number for member in group.members for number in member.partitions.get(topic, ())}
        gone = set(range(count)) - owned
        if gone:
            what = f"nobody owns {topic}, partition {listed(gone)}: it is not counted"
            todo = "restart the workers one after another, so that the group shares the partitions anew"
            found.append(Finding(Check.GROUP, Severity.ERROR, subject, what, todo))
    return found


def _torn(group: Group, inputs: Mapping[str, int], subject: str) -> list[Finding]:
    """A shard is one number of all topics, so it must have one owner."""
    owners: dict[int, set[int]] = {}
    for at, member in enumerate(group.members):
        for topic in inputs:
            for number in member.partitions.get(topic, ()):
                owners.setdefault(number, set()).add(at)
    torn = [number for number, members in owners.items() if len(members) > 1]
    if not torn:
        return []
    what = f"partition {listed(torn)} of the inputs is owned by several members, each a part of its topics"
    todo = "the inputs must have the same number of partitions, and every member must be a worker of this version"
    return [Finding(Check.GROUP, Severity.ERROR, subject, what, todo)]
