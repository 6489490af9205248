"""Who else is in our group: looked at before the group is joined, since to join is to take shards away from others.

Two sorts of members keep a worker out. Those of an earlier version write under other transactional ids (see
`ShardContext.transactional_id`): their writing would not be fenced by ours, so they are to be stopped first. Those that read
other topics are another installation with the same name of group.
"""

import asyncio
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.group import MemberAssignment

from stream.config import Settings
from stream.kafka import client
from stream.kafka.client import Admin
from stream.kafka.retriable import is_retriable
from stream.kafka.retries import BackoffPolicy, retry
from stream.kafka.role import Role

log: Final = structlog.get_logger()

AGAIN: Final = BackoffPolicy(first=0.2, most=1.0)
"""Before a coordinator that is not there yet is asked again."""
PATIENCE: Final = 5.0
"""Seconds for a coordinator to answer: the join that follows is patient itself."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group. ``topics`` and ``partitions`` are empty while the group is in a rebalance."""

    client: str
    host: str
    topics: frozenset[str] = frozenset()
    """What it has subscribed to."""
    partitions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """What it owns, by topic."""


@dataclass(frozen=True, slots=True)
class Described:
    """A group. ``state`` is Kafka's word; Dead for a group that does not exist."""

    state: str
    assignor: str = ""
    members: Sequence[Member] = ()


async def describe(admin: Admin, group: str) -> Described:
    """Asks the group's coordinator. Raises KafkaError."""
    (response,) = await admin.describe_consumer_groups([group])
    code = response.groups[0][0]
    if code:
        raise for_code(code)(group)
    return _described(*response.groups[0])


async def describe_all(admin: Admin, groups: Iterable[str], node: int) -> list[tuple[str, Described]]:
    """Asks the broker that coordinates all of them. Groups that it does not describe (any more) are left out.

    One after another: aiokafka cannot read an answer with several (its schema of version 3 lacks a field of each).
    """
    found = []
    for name in groups:
        (response,) = await admin.describe_consumer_groups([name], node)
        if not response.groups[0][0]:
            found.append((name, _described(*response.groups[0])))
    return found


def _described(
    _code: int, _name: str, state: str, _kind: str, assignor: str, members: Iterable[Sequence[Any]], *_: object
) -> Described:
    return Described(state, assignor, [_member(*each) for each in members])


def _member(_member_id: str, client_id: str, host: str, metadata: bytes, owned: bytes) -> Member:
    """What it says of its topics may be of any protocol: whoever joins a group chooses that."""
    try:
        assignment = dict(MemberAssignment.decode(owned).assignment) if owned else {}
        topics = frozenset(ConsumerProtocolMemberMetadata.decode(metadata).subscription if metadata else ())
    except (ValueError, struct.error):
        return Member(client_id, host)
    return Member(client_id, host, topics, assignment)


async def list_members(settings: Settings) -> Sequence[Member]:
    """The members of our group now; none when nobody can tell: then the join itself says what is wrong."""
    try:
        return await fetch_members(settings, PATIENCE)
    except (KafkaError, TimeoutError) as error:
        log.debug("the members of the group are not known", error=type(error).__name__)
        return ()


async def fetch_members(settings: Settings, seconds: float) -> Sequence[Member]:
    """The same for who must know. Raises KafkaError, and TimeoutError when no coordinator answers within ``seconds``.

    On a cluster that has never had a group, the first question makes the topic of its coordinators.
    """
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        async with asyncio.timeout(seconds):
            what = f"who is in the group {settings.group}"
            return (await retry(lambda: describe(admin, settings.group), what, is_retriable, AGAIN)).members
    finally:
        await client.end(admin)


def earlier(settings: Settings, members: Iterable[Member]) -> str | None:
    """What to say of members of an earlier version, None without any."""
    hosts = sorted({each.host for each in members if each.client == client.earlier_member_id(settings)})
    if not hosts:
        return None
    return (
        f"workers of an earlier version are in the group {settings.group} (at {', '.join(hosts)}). Stop all of them: newer "
        "ones join when they are gone, since they write under other transactional ids and could not fence them"
    )


def others(role: Role, settings: Settings, members: Iterable[Member]) -> str | None:
    """What to say of members that read other topics than ours, None without any."""
    ours = frozenset(settings.topic(name) for name in role.input_topics.values())
    for each in members:
        theirs = each.topics - ours or ours - each.topics if each.topics else _topics_by_id(role, settings, each)
        if theirs:
            return (
                f"the group {settings.group} belongs to an installation on other topics: its member {each.client} "
                f"({each.host}) reads {', '.join(sorted(each.topics or theirs))}, and this worker is to read "
                f"{', '.join(sorted(ours))}. Give this worker a group of its own (--group), or the --topic-prefix of that "
                "installation"
            )
    return None


def _topics_by_id(role: Role, settings: Settings, member: Member) -> frozenset[str]:
    """Of a member that has other topics, as its client id says: that is known also while the group is in a rebalance."""
    begin = client.member_id(settings, role.name).removesuffix(settings.topic_prefix)
    prefix = member.client.removeprefix(begin)
    if not member.client.startswith(begin) or prefix == settings.topic_prefix:
        return frozenset()
    return frozenset(prefix + name for name in role.input_topics.values())
