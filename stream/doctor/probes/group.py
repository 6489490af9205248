"""The group's members and what they own, and what the group has committed."""

from collections.abc import Sequence
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream.doctor.group import Group, Member
from stream.doctor.probes.facts import ClusterFacts
from stream.doctor.probes.topics import INTERNAL
from stream.kafka.client import earlier_member_id
from stream.kafka.members import Described, describe, describe_all

CONSUMERS: Final = "consumer"
"""What the groups of consumers say of their protocol; others are of Connect and the like."""
MOST: Final = 1000


def _without_groups(facts: ClusterFacts) -> bool:
    """No group has ever been: asking for one's coordinator would make the topic."""
    return INTERNAL[0] not in facts.named.topics


async def group(facts: ClusterFacts) -> Group:
    name = facts.settings.group
    if _without_groups(facts):
        return Group(name, "Dead")
    return _group(name, await describe(facts.admin, name), earlier_member_id(facts.settings))


async def others(facts: ClusterFacts) -> list[Group]:
    """The other groups that this user may see. Each broker is asked for those that it coordinates, at most `MOST`."""
    found: list[Group] = []
    for node in () if _without_groups(facts) else facts.named.brokers:
        listed = [name for name, kind, *_ in await facts.admin.list_consumer_groups([node]) if kind == CONSUMERS]
        names = sorted({*listed} - {facts.settings.group})[:MOST]
        found += [_group(name, each) for name, each in await describe_all(facts.admin, names, node)]
    return found


def _group(name: str, found: Described, earlier: str = "") -> Group:
    members = [
        Member(each.client, each.host, each.partitions, each.topics, is_earlier=each.client == earlier)
        for each in found.members
    ]
    return Group(name, found.state, found.assignor, members)


async def committed(facts: ClusterFacts, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """-1 for nothing. aiokafka overlooks an error of the whole answer, which then names no partitions."""
    if _without_groups(facts) or not partitions:
        return dict.fromkeys(partitions, -1)
    found = await facts.admin.list_consumer_group_offsets(facts.settings.group, partitions=list(partitions))
    if len(found) < len(partitions):
        raise GroupCoordinatorNotAvailableError(facts.settings.group)
    return {tp: int(each.offset) for tp, each in found.items()}
