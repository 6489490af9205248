"""The topics: what each must be like; made, looked at and checked. The worker only checks.

``liveshop topics create`` makes them.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from stream.config import Settings
from stream.errors import FailedError, UsageError
from stream.kafka import client, limits
from stream.kafka.role import Role, Spec
from stream.printed import command

DAY_MS: Final = 86_400_000
PARTITIONS: Final = 4
"""Of a new set of topics, unless somebody says otherwise."""
SAFE_REPLICATION: Final = 3
"""From this many copies on, one may be away without a write being refused or lost."""


TIMESTAMPS: Final = "message.timestamp.type"
MAX_BYTES: Final = "max.message.bytes"
BATCH_BYTES: Final = 1_048_588
"""What Kafka's topics take by default. It is set for each topic that a worker writes, since a broker may have less."""


class TopicStatus(StrEnum):
    CREATED = "created"
    EXISTS = "exists"
    DIFFERS = "differs"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is. ``differences`` are for people: ``retention.ms is 1000, should be 604800000``."""

    name: str
    made: TopicStatus
    partitions: int = 0
    replication: int = 0
    configs: Mapping[str, str] = field(default_factory=dict)
    differences: tuple[str, ...] = ()


def names(role: Role, settings: Settings) -> list[str]:
    """All topics of a role, as the broker calls them."""
    return [settings.topic(spec.name) for spec in role.specs]


async def create(role: Role, settings: Settings, partitions: int | None, replication: int | None = 1) -> list[Topic]:
    """Makes the topics that are missing and leaves the others as they are; says which is which, and what differs.

    ``partitions`` None: as many as the others have, or `PARTITIONS` where there are none. ``replication`` None: as many
    copies as suit the cluster, and topics that are there may have any. Idempotent.
    Raises UsageError for what a broker refuses (a bad number, no permission), FailedError without a broker.
    """
    async with _Admin(settings) as admin:
        there = {
            topic.name: topic for topic in await _look(role, admin, settings) if topic.made is not TopicStatus.MISSING
        }
        partitions = partitions or max((topic.partitions for topic in there.values()), default=PARTITIONS)
        missing = [spec for spec in role.specs if settings.topic(spec.name) not in there]
        if missing:
            copies = fitting(await _brokers(admin)) if replication is None else replication
            await _create(admin, [_new(role, settings, spec, partitions, copies) for spec in missing])
        created = {settings.topic(spec.name) for spec in missing}
        found = await _wait_for(role, admin, settings)
    return [_reported(role, topic, created, partitions, replication or 0) for topic in found]


def fitting(brokers: int) -> int:
    """Copies of each partition on so many brokers."""
    return max(1, min(SAFE_REPLICATION, brokers))


def at_risk(found: Iterable[Topic]) -> str | None:
    """What to tell who has let us choose: that topics just made have too few copies. None: they have enough."""
    made = [topic.replication for topic in found if topic.made is TopicStatus.CREATED]
    if not made or min(made) >= SAFE_REPLICATION:
        return None
    if min(made) == 1:
        what = "one broker, so each partition has one copy: what that broker loses is lost"
    else:
        what = (
            f"{min(made)} brokers, so each partition has {min(made)} copies: while one is away, one copy alone is left"
        )
    return f"the cluster has {what}. For work that matters make topics on {SAFE_REPLICATION} brokers"


async def copy(role: Role, settings: Settings, target: Settings, partitions: int) -> list[Topic]:
    """Makes the topics of ``target`` that are missing like those of ``settings``: their copies and own settings.

    Those that are there are left as they are. Raises as `create` does.
    """
    async with _Admin(settings) as admin:
        old = await _look(role, admin, settings)
        own = await _configs(admin, [topic.name for topic in old], own=True)
        there = {
            topic.name
            for topic in await _look(role, admin, target, configs=False)
            if topic.made is not TopicStatus.MISSING
        }
        new = [
            NewTopic(target.topic(spec.name), partitions, topic.replication, topic_configs=own.get(topic.name, {}))
            for spec, topic in zip(role.specs, old, strict=True)
            if target.topic(spec.name) not in there
        ]
        if new:
            await _create(admin, new)
        found = await _wait_for(role, admin, target)
    return [_reported(role, topic, {each.name for each in new}, partitions, 0) for topic in found]


async def describe(role: Role, settings: Settings) -> list[Topic]:
    """Every topic as it is, missing ones included."""
    async with _Admin(settings) as admin:
        return [_reported(role, topic, set(), 0, 0) for topic in await _look(role, admin, settings)]


async def delete(role: Role, settings: Settings) -> list[str]:
    """Deletes what there is of the topics, and their data. Only with a ``topic_prefix``: never the live topics."""
    if not settings.topic_prefix:
        raise UsageError("topics are only deleted under a prefix: set --topic-prefix")
    async with _Admin(settings) as admin:
        there = [topic.name for topic in await _look(role, admin, settings) if topic.made is not TopicStatus.MISSING]
        if there:
            await admin.delete_topics(there)
    return there


async def counts(role: Role, settings: Settings, only: Collection[str] = ()) -> dict[str, int]:
    """The number of partitions of each topic, by name on the broker. UsageError names every topic that is missing.

    Topics that are written by key are none of them: they may have any number.

    ``only``: names, as the code calls them, for who needs no others.
    """
    async with _Admin(settings) as admin:
        every = await _look(role, admin, settings, configs=False)
        topics = [topic for topic in every if not only or topic.name in map(settings.topic, only)]
        missing = [topic.name for topic in topics if topic.made is TopicStatus.MISSING]
        brokers = await _brokers(admin) if missing else 0
    if missing:
        raise UsageError(
            f"missing topics: {', '.join(missing)}. Make them with: "
            + make_command(settings, brokers, max(topic.partitions for topic in every))
            + (", or let this user see them: docs/security.md has the ACLs" if settings.protocol != "plaintext" else "")
        )
    others = set(map(settings.topic, role.by_key))
    return {topic.name: topic.partitions for topic in topics if topic.name not in others}


async def unfit(role: Role, settings: Settings) -> list[str]:
    """Those of the optional topics of a role that cannot be used, by their names in the code: one is missing, or has not
    as many partitions as the inputs.
    """
    async with _Admin(settings) as admin:
        every = {topic.name: topic.partitions for topic in await _look(role, admin, settings, configs=False)}
    wanted = min(every[settings.topic(name)] for name in role.input_topics.values())
    return [name for name in sorted(role.optional) if every[settings.topic(name)] != wanted]


async def check(role: Role, settings: Settings, only: Collection[str] = ()) -> int:
    """The number of partitions, the same for all topics. UsageError names every topic that is missing or differs."""
    found = await counts(role, settings, only)
    if len(set(found.values())) > 1:
        raise uneven(settings, found)
    return min(found.values())


async def shards(role: Role, settings: Settings) -> int:
    """How many there are: the partition numbers that every topic has. UsageError names every topic that is missing."""
    return min((await counts(role, settings)).values())


def uneven(settings: Settings, counts: Mapping[str, int]) -> UsageError:
    """To be raised for topics whose numbers of partitions differ, and of which nothing is counted yet."""
    listed, most = ", ".join(f"{name} has {number}" for name, number in counts.items()), max(counts.values())
    words = ("--partitions", str(max(2, most)), "--to-prefix", f"{settings.topic_prefix}p{most}.")
    return UsageError(
        f"all topics need the same number of partitions: {listed}. "
        "Where nothing was written yet, kafka-topics.sh --alter --partitions gives each as many as the largest has. Else "
        f"a new set of topics takes over what is in them; this shows the plan: {command(settings, 'topics grow', *words)}"
    )


def make_command(settings: Settings, brokers: int, partitions: int = 0) -> str:
    """The command that makes the missing ones: with as many partitions as the others, and copies as there is room for."""
    words = ["--partitions", str(partitions)] if partitions else []
    return command(settings, "topics create", *words, "--replication", str(fitting(brokers)))


async def configs(role: Role, settings: Settings) -> dict[str, Mapping[str, str]]:
    """The settings of every topic that is there, by its name in the code. Empty ones: this user may not see them."""
    async with _Admin(settings) as admin:
        found = await _look(role, admin, settings)
    return {
        spec.name: topic.configs
        for spec, topic in zip(role.specs, found, strict=True)
        if topic.made is TopicStatus.EXISTS
    }


async def broker_limits(settings: Settings) -> limits.BrokerLimits:
    """What the brokers' own settings allow. Empty ones: this user may not see them."""
    async with _Admin(settings) as admin:
        return await limits.fetch(admin)


async def max_bytes(role: Role, settings: Settings, name: str) -> int | None:
    """A topic's max.message.bytes now, by the topic's name in the code. None: it cannot be told."""
    try:
        found = (await configs(role, settings)).get(name, {}).get(MAX_BYTES)
    except (KafkaError, FailedError, OSError, TimeoutError):
        return None
    return None if found is None else int(found)


def set_config(brokers: str | None, topic: str, key: str, value: str) -> str:
    """Kafka's own command. On a secured cluster it needs ``--command-config FILE`` besides."""
    written = f"[{value}]" if "," in value else value  # a list is written in brackets
    return (
        f"kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} "
        f"--add-config {key}={written}"
    )


_OWN: Final = 1
"""DYNAMIC_TOPIC_CONFIG: where a setting comes from."""


class _Admin:
    """An admin connection for one ``async with``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __aenter__(self) -> client.Admin:
        self._admin = client.make_admin(self._settings)
        await client.start(self._admin, self._settings)
        return self._admin

    async def __aexit__(self, *_: object) -> None:
        await client.end(self._admin)


def _new(role: Role, settings: Settings, spec: Spec, partitions: int, replication: int) -> NewTopic:
    configs = dict(spec.configs)
    if spec.name not in role.input_topics.values():
        configs.setdefault(MAX_BYTES, str(BATCH_BYTES))
    if replication >= SAFE_REPLICATION:
        configs |= {"min.insync.replicas": str(replication - 1), "unclean.leader.election.enable": "false"}
    return NewTopic(settings.topic(spec.name), partitions, replication, topic_configs=configs)


async def _brokers(admin: client.Admin) -> int:
    """How many there are now."""
    return len((await admin.describe_cluster())["brokers"])


_FLAGS: Final = {
    InvalidReplicationFactorError: ("--replication", "replication_factor"),
    InvalidPartitionsError: ("--partitions", "num_partitions"),
}
"""Numbers that a broker refuses: the flag, and where it stands in what was asked for."""


async def _create(admin: client.Admin, new: list[NewTopic]) -> None:
    asked = {topic.name: topic for topic in new}
    response = await admin.create_topics(new)
    for name, code, *detail in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another may have been quicker
            flag, attribute = _FLAGS.get(error, ("", ""))
            number = f"{flag} {getattr(asked[name], attribute)}: " if flag else ""
            why = next(filter(None, detail), error.__name__)
            way_out = ""
            if error is InvalidReplicationFactorError:
                way_out = f". Not given, --replication is as many as there are brokers, at most {SAFE_REPLICATION}"
            raise UsageError(f"{number}{name} could not be created: {why.rstrip('.')}{way_out}")


async def _wait_for(role: Role, admin: client.Admin, settings: Settings) -> list[Topic]:
    """A topic just made takes a moment until every broker knows it."""
    seconds = settings.connect_timeout.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            while True:
                topics = await _look(role, admin, settings)
                if all(topic.made is not TopicStatus.MISSING for topic in topics):
                    return topics
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise FailedError(f"the topics were created, but do not appear within {seconds:g} s") from None


async def _look(role: Role, admin: client.Admin, settings: Settings, *, configs: bool = True) -> list[Topic]:
    """All topics of ours. Asks for the list of all: asking for a missing one by name may create it."""
    listed = {entry["topic"]: entry["partitions"] for entry in await admin.describe_topics()}
    wanted = names(role, settings)
    there = [name for name in wanted if any(partition["leader"] >= 0 for partition in listed.get(name, ()))]
    values = await _configs(admin, there) if configs and there else {}
    return [
        _topic(name, listed[name], values.get(name, {})) if name in there else Topic(name, TopicStatus.MISSING)
        for name in wanted
    ]


def _topic(name: str, partitions: list[dict[str, Any]], configs: Mapping[str, str]) -> Topic:
    copies = min(len(partition["replicas"]) for partition in partitions)
    return Topic(name, TopicStatus.EXISTS, len(partitions), copies, configs)


async def _configs(admin: client.Admin, topics: Iterable[str], *, own: bool = False) -> dict[str, dict[str, str]]:
    """``own``: only what is set for the topic itself."""
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in topics])
    found = {}
    for response in responses:
        for _code, _message, _type, name, entries in response.resources:
            found[name] = {entry[0]: entry[1] for entry in entries if not own or entry[3] == _OWN}
    return found


def _reported(role: Role, topic: Topic, created: set[str], partitions: int, replication: int) -> Topic:
    """With how it came about and what differs from its spec; 0 partitions or copies: any will do."""
    if topic.made is TopicStatus.MISSING:
        return topic
    spec = next(spec for spec in role.specs if topic.name.endswith(spec.name))
    wanted = {**spec.configs, **({"partitions": str(partitions)} if partitions else {})}
    actual = {**topic.configs, "partitions": str(topic.partitions)}
    if replication:
        wanted["replication"], actual["replication"] = str(replication), str(topic.replication)
    differences = tuple(
        f"{key} is {actual.get(key)}, should be {value}" for key, value in wanted.items() if actual.get(key) != value
    )
    made = TopicStatus.CREATED if topic.name in created else TopicStatus.DIFFERS if differences else TopicStatus.EXISTS
    shown = {key: actual[key] for key in spec.configs if key in actual}
    return Topic(topic.name, made, topic.partitions, topic.replication, shown, differences)
