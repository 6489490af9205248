"""Topics and groups that ``liveshop run`` makes on a broker of the user: each run has its own prefix, ``sandbox-…``.

A run deletes them at its end. A killed run leaves them; this module finds and deletes them. A run is alive when its group
has members, or when something was written a short time ago: its workers write at every checkpoint.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupIdNotFound, KafkaError, NonEmptyGroup, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

from stream.config import Settings
from stream.errors import FailedError
from stream.kafka import client, topics
from stream.kafka.members import describe_all
from stream.kafka.patches import access
from stream.kafka.role import Spec
from stream.model.names import REDRIVES, REPLAYS
from stream.sessions.role import PROMOTING

START_SECONDS: Final = 60.0
"""Within so many seconds of making its topics, a run has workers in its group, or has ended."""
GROUP_SECONDS: Final = 15.0
ROLE: Final = replace(PROMOTING, specs=(*PROMOTING.specs, Spec(REDRIVES, {}), Spec(REPLAYS, {})))
"""With all topics that there may be under a prefix, also those of redrives and replays (dlq/ledger.py, replay/audit.py)."""
_PREFIX: Final = re.compile(r"sandbox-[0-9a-f]{8}\.", re.ASCII)


class RunStatus(StrEnum):
    """Only ``left`` runs are deleted, and ``new`` ones that are still new after a while."""

    RUNS = "runs"
    """Its group has members."""
    RECENT = "recent"
    """Its group has no members, but something was written a short time ago."""
    NEW = "new"
    """Nothing was ever written: it may be about to start."""
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Run:
    """The topics and groups of one run."""

    prefix: str
    stands: RunStatus
    topics: tuple[str, ...]
    groups: tuple[str, ...]


def new_prefix() -> str:
    """The prefix of a new run."""
    return f"sandbox-{secrets.token_hex(4)}."


async def find_runs(settings: Settings, quiet: float) -> list[Run]:
    """All runs, sorted by prefix. ``quiet``: a run without members is over after so many seconds without a record.

    Raises KafkaError, and FailedError without a broker.
    """
    admin, reader = client.make_admin(settings), client.make_reader(settings, wait_ms=50)
    try:
        await client.start(admin, settings)
        await client.start(reader, settings)
        sizes = {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}
        groups = await _groups(admin)
        prefixes = {_prefix_of_topic(settings, name) for name in sizes} | set(map(prefix_of, groups))
        found = []
        for prefix in sorted(prefixes - {""}):
            names = tuple(name for name in (*_names(settings, prefix), *_of_replays(prefix, sizes)) if name in sizes)
            own = tuple(sorted(group for group in groups if prefix_of(group) == prefix))
            members = sum(groups[group] for group in own)
            partitions = [TopicPartition(name, number) for name in names for number in range(sizes[name])]
            stands = RunStatus.RUNS if members else await _written(reader, partitions, quiet)
            found.append(Run(prefix, stands, names, own))
        return found
    finally:
        await client.end(reader)
        await client.end(admin)


async def remove(settings: Settings, quiet: float) -> list[Run]:
    """Deletes what is left of runs that are over. What was deleted, and what was kept, as it stood then.

    Where nothing was ever written it is looked at once more after ``quiet`` seconds, at most `START_SECONDS`.
    """
    found = await find_runs(settings, quiet)
    new = {run.prefix for run in found if run.stands is RunStatus.NEW}
    if new:
        await asyncio.sleep(min(quiet, START_SECONDS))
        found = await find_runs(settings, quiet)
    over = [run for run in found if is_over(run, new)]
    for run in over:
        await delete(settings.model_copy(update={"topic_prefix": run.prefix}), run.groups)
    return [Run(run.prefix, RunStatus.LEFT, run.topics, run.groups) if run in over else run for run in found]


def is_over(run: Run, new: Collection[str]) -> bool:
    """``new``: prefixes of those that were new at the look before."""
    return run.stands is RunStatus.LEFT or (run.stands is RunStatus.NEW and run.prefix in new)


async def delete(settings: Settings, groups: Iterable[str]) -> None:
    """The topics of the prefix, those of its replays, then the groups, which must be empty first. Raises FailedError."""
    await topics.delete(ROLE, settings)
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        replays = _of_replays(settings.topic_prefix, await admin.list_topics())
        if replays:
            await admin.delete_topics(replays)
        for group in groups:
            await _delete_group(admin, group)
    finally:
        await client.end(admin)


def prefix_of(name: str) -> str:
    """Of a run's topic or group; nothing for all others."""
    found = _PREFIX.match(name)
    return found[0] if found else ""


def _names(settings: Settings, prefix: str) -> list[str]:
    return topics.names(ROLE, settings.model_copy(update={"topic_prefix": prefix}))


def _of_replays(prefix: str, names: Iterable[str]) -> list[str]:
    """Topics that replays have made under a prefix."""
    return sorted(name for name in names if name.startswith(f"{prefix}replay."))


def _prefix_of_topic(settings: Settings, name: str) -> str:
    """Nothing for a topic that no run makes, whatever it is called."""
    prefix = prefix_of(name)
    return prefix if prefix and name in _names(settings, prefix) else ""


async def _groups(admin: client.Admin) -> dict[str, int]:
    """The groups of runs and how many members each has."""
    found: dict[str, int] = {}
    for node in access.nodes(admin):
        names = [name for name, *_ in await admin.list_consumer_groups([node]) if prefix_of(name)]
        found |= {name: len(each.members) for name, each in await describe_all(admin, names, node)}
    return found


async def _written(reader: client.Reader, partitions: Collection[TopicPartition], quiet: float) -> RunStatus:
    """By the newest record of a run without members."""
    if not partitions:
        return RunStatus.LEFT
    if not any((await reader.end_offsets(partitions)).values()):
        return RunStatus.NEW
    since = int((time.time() - quiet) * 1000)
    newer = await reader.offsets_for_times(dict.fromkeys(partitions, since))
    return RunStatus.RECENT if any(newer.values()) else RunStatus.LEFT


async def _delete_group(admin: client.Admin, group: str) -> None:
    try:
        async with asyncio.timeout(GROUP_SECONDS):
            while not await _try_to_delete(admin, group):  # noqa: ASYNC110 - only the broker knows
                await asyncio.sleep(0.2)
    except (TimeoutError, KafkaError) as error:
        raise FailedError(f"the group {group} could not be deleted: {error!r}") from None


async def _try_to_delete(admin: client.Admin, group: str) -> bool:
    """False when it still has members, or has no coordinator yet. The client has the request but no method for it."""
    try:
        coordinator = await admin.find_coordinator(group)
    except GroupCoordinatorNotAvailableError:  # the first question makes the broker's topic of groups
        return False
    response = await access.send_when_ready(admin, DeleteGroupsRequest([group]), coordinator)
    codes = {code for _, code, *_ in response.results} - {0, GroupIdNotFound.errno}
    if codes - {NonEmptyGroup.errno}:
        raise for_code(min(codes - {NonEmptyGroup.errno}))
    return not codes
