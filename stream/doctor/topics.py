"""Whether the topics are there, have the same number of partitions, and enough copies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from stream.config import Settings
from stream.doctor import commands
from stream.doctor.finding import Check, Finding, Severity, listed
from stream.kafka.partitions import judge
from stream.kafka.topics import make_command
from stream.sessions.role import WORKER

SAFE: Final = 3
"""Copies from which on one may be away without a write being refused or lost."""


@dataclass(frozen=True, slots=True)
class Partition:
    """``leader`` is -1 for none."""

    number: int
    leader: int
    copies: int
    in_sync: int


@dataclass(frozen=True, slots=True)
class Topic:
    """As the broker has it. ``configs`` are the effective ones. Without partitions: it is missing."""

    name: str
    partitions: Sequence[Partition] = ()
    configs: Mapping[str, str] = field(default_factory=dict)

    @property
    def copies(self) -> int:
        return min(partition.copies for partition in self.partitions)


def judge_presence(topics: Sequence[Topic], settings: Settings, brokers: int) -> list[Finding]:
    """Of our own topics: all there, the same number of partitions, each with a leader."""
    make = make_command(settings, brokers, max(len(topic.partitions) for topic in topics))
    missing = [topic for topic in topics if not topic.partitions]
    there = [topic for topic in topics if topic.partitions]
    found = [
        Finding(
            Check.TOPICS,
            Severity.ERROR,
            topic.name,
            "is missing (or may not be seen by this user)",
            f"{make} ; or grant Describe on it",
        )
        for topic in missing
    ]
    found += _co_partitioned(there, settings)
    found += [each for topic in there for each in _leaderless(topic)]
    if not found:
        what = f"all {len(there)} are there, with {min(len(topic.partitions) for topic in there)} partitions each"
        found.append(Finding(Check.TOPICS, Severity.OK, "topics", what))
    return found


def _co_partitioned(topics: Sequence[Topic], settings: Settings) -> list[Finding]:
    """Partitions are never taken away: those of all topics are the shards, and what inputs have beyond was added."""
    counts = {topic.name: len(topic.partitions) for topic in topics}
    outgrown = judge(WORKER, settings, counts, min(counts.values())) if counts else None
    if outgrown is None:
        return []
    return [
        Finding(
            Check.TOPICS,
            Severity.ERROR,
            name,
            f"has {count} partitions, others have {outgrown.counted}: a shard is one partition number of all topics, and "
            "workers count nothing while there are others",
            outgrown.todo(settings),
        )
        for name, count in outgrown.topics.items()
    ]


def _leaderless(topic: Topic) -> list[Finding]:
    offline = [partition.number for partition in topic.partitions if partition.leader < 0]
    if not offline:
        return []
    what = f"nobody leads partition {listed(offline)}: it can be neither read nor written"
    todo = "start the brokers that hold its copies"
    return [Finding(Check.TOPICS, Severity.ERROR, topic.name, what, todo)]


def judge_replication(topics: Sequence[Topic], brokers: int, bootstrap: str) -> list[Finding]:
    """Of our own topics and Kafka's two for groups and transactions."""
    there = [topic for topic in topics if topic.partitions]
    alone = [topic.name for topic in there if topic.copies == 1]
    found = _single_broker(alone) if brokers == 1 else [_one_copy(name, brokers, bootstrap) for name in alone]
    for topic in there:
        found += _copies(topic, brokers, bootstrap) + _guards(topic, bootstrap) + _in_sync(topic)
    if not found and there:
        what = f"{min(topic.copies for topic in there)} copies or more of every partition, all in sync"
        found.append(Finding(Check.REPLICATION, Severity.OK, "topics", what))
    return found


def _single_broker(alone: Sequence[str]) -> list[Finding]:
    if not alone:
        return []
    what = f"one copy of {len(alone)} topics on the only broker: when its disk is lost, everything is"
    todo = "fine for trying things out; production needs three brokers and --replication 3"
    return [Finding(Check.REPLICATION, Severity.WARNING, "cluster", what, todo)]


def _one_copy(name: str, brokers: int, bootstrap: str) -> Finding:
    what = f"has one copy though there are {brokers} brokers: when one is away, its partitions are, too"
    todo = f"give it {min(SAFE, brokers)}: {commands.more_copies(bootstrap)}"
    return Finding(Check.REPLICATION, Severity.ERROR, name, what, todo)


def _copies(topic: Topic, brokers: int, bootstrap: str) -> list[Finding]:
    if not 1 < topic.copies < SAFE:
        return []
    what = f"has {topic.copies} copies: with one broker away, either writes are refused or one copy alone accepts them"
    hint = "" if brokers >= SAFE else "add a broker, then "
    todo = f"{hint}give it {SAFE}: {commands.more_copies(bootstrap)}"
    return [Finding(Check.REPLICATION, Severity.WARNING, topic.name, what, todo)]


def _guards(topic: Topic, bootstrap: str) -> list[Finding]:
    """What keeps an acknowledged record from being lost. With one copy there is nothing to guard."""
    found = []
    least = int(topic.configs.get("min.insync.replicas", 0))
    if least > topic.copies:
        value = str(max(1, topic.copies - 1))
        what = f"min.insync.replicas is {least}, but there are {topic.copies} copies: no write can succeed"
        found.append(_guard(topic, Severity.ERROR, what, bootstrap, ("min.insync.replicas", value)))
    if topic.copies >= SAFE and least == 1:
        what = f"min.insync.replicas is 1: a record that one of {topic.copies} copies has may be acknowledged and lost"
        pair = ("min.insync.replicas", str(topic.copies - 1))
        found.append(_guard(topic, Severity.ERROR, what, bootstrap, pair))
    if topic.copies >= SAFE and least == topic.copies:
        what = f"min.insync.replicas is {least}, all copies: with one broker away, every write is refused"
        pair = ("min.insync.replicas", str(topic.copies - 1))
        found.append(_guard(topic, Severity.WARNING, what, bootstrap, pair))
    if topic.copies > 1 and topic.configs.get("unclean.leader.election.enable") == "true":
        what = "unclean.leader.election.enable is true: a copy that lacks committed records may become the leader"
        pair = ("unclean.leader.election.enable", "false")
        found.append(_guard(topic, Severity.ERROR, what, bootstrap, pair))
    return found


def _guard(topic: Topic, severity: Severity, what: str, bootstrap: str, pair: tuple[str, str]) -> Finding:
    return Finding(Check.REPLICATION, severity, topic.name, what, commands.set_config(bootstrap, topic.name, *pair))


def _in_sync(topic: Topic) -> list[Finding]:
    least = int(topic.configs.get("min.insync.replicas", 1))
    led = [partition for partition in topic.partitions if partition.leader >= 0]
    refused = [each.number for each in led if each.in_sync < min(least, each.copies)]
    behind = [each.number for each in led if each.in_sync < each.copies and each.number not in refused]
    todo = "start the broker that is away, or see why it lags (disk, network); its log says"
    found = []
    if refused:
        what = f"partition {listed(refused)} has fewer copies in sync than min.insync.replicas ({least}): writes are refused"
        found.append(Finding(Check.REPLICATION, Severity.ERROR, topic.name, what, todo))
    if behind:
        what = f"partition {listed(behind)} has copies that are not in sync"
        found.append(Finding(Check.REPLICATION, Severity.WARNING, topic.name, what, todo))
    return found
