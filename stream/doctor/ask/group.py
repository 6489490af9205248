"""The group's members and what they own, and what the group has committed."""

from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, for_code
from aiokafka.protocol.group import MemberAssignment

from stream.doctor.ask.topics import INTERNAL
from stream.doctor.ask.visit import Visit
from stream.doctor.group import Group, Member


def _without_groups(visit: Visit) -> bool:
    """No group has ever been: asking for one's coordinator would make the topic."""
    return INTERNAL[0] not in visit.named.topics


async def group(visit: Visit) -> Group:
    name = visit.settings.group
    if _without_groups(visit):
        return Group(name, "Dead")
    (response,) = await visit.admin.describe_consumer_groups([name])
    code, _, state, _kind, assignor, members, *_ = response.groups[0]
    if code:
        raise for_code(code)(name)
    return Group(name, state, assignor, [_member(client, host, owned) for _, client, host, _, owned in members])


def _member(client: str, host: str, owned: bytes) -> Member:
    """While the group is in a rebalance, nobody owns anything yet."""
    assignment = MemberAssignment.decode(owned).assignment if owned else []
    return Member(client, host, dict(assignment))


async def committed(visit: Visit, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """-1 for nothing. aiokafka overlooks an error of the whole answer, which then names no partitions."""
    if _without_groups(visit) or not partitions:
        return dict.fromkeys(partitions, -1)
    found = await visit.admin.list_consumer_group_offsets(visit.settings.group, partitions=list(partitions))
    if len(found) < len(partitions):
        raise GroupCoordinatorNotAvailableError(visit.settings.group)
    return {tp: int(each.offset) for tp, each in found.items()}
