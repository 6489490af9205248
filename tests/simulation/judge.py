"""What the outputs of a world must be: those of the recount, each once, with a state that can be continued."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import orjson
from aiokafka import TopicPartition

from stream.config import Settings
from stream.core.framing import StateError, first_needed
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.kafka.shard_context import ShardContext
from stream.model.names import ALERTS, DEAD_LETTERS, SESSION_WINDOWS, SESSIONS, STATE
from stream.sessions.role import WORKER
from tests.chaos.judge import differences
from tests.outputs import Letter, Written
from tests.recount import Recounted
from tests.simulation.cluster import Cluster
from tests.simulation.content import PARTITIONS, Content


def judge(
    cluster: Cluster, settings: Settings, content: Content, offsets: Mapping[tuple[str, int, int], int]
) -> list[str]:
    """Everything that is not as it must be, one line each."""

    def moved(context: tuple[str, int, int]) -> tuple[str, int, int]:
        return context[0], context[1], offsets[context]

    said = content.expected
    expected = Recounted(
        windows=said.windows,
        sessions=said.sessions,
        dead={moved(context): reason for context, reason in said.dead.items()},
        faults={moved(context): faults for context, faults in said.faults.items()},
    )
    records = [replace(record, offset=offsets[record.place]) for log in content.logs.values() for record in log]
    empty = _empty(cluster, settings)
    if empty:
        return empty
    found = differences(records, expected, written(cluster, settings), settings.topic_prefix)
    for number in range(PARTITIONS):
        found += _state(cluster, ShardContext(settings, number, PARTITIONS, WORKER), content.policy)
    return found


def _empty(cluster: Cluster, settings: Settings) -> list[str]:
    """Records without a value in the outputs: no shard writes any, and who ends a forgotten transaction aborts them."""
    return [
        f"{name}/{number} has an empty record at {entry.offset}"
        for number in range(PARTITIONS)
        for name in (SESSION_WINDOWS, SESSIONS, ALERTS, DEAD_LETTERS, STATE)
        for entry in cluster.log(TopicPartition(settings.topic(name), number)).committed()
        if not entry.value
    ]


def written(cluster: Cluster, settings: Settings) -> Written:
    written = Written()
    for number in range(PARTITIONS):
        for name, into in (
            (SESSION_WINDOWS, written.windows),
            (SESSIONS, written.sessions),
            (ALERTS, written.alerts),
        ):
            for entry in cluster.log(TopicPartition(settings.topic(name), number)).committed():
                value = orjson.loads(entry.value or b"")
                into.setdefault((entry.key or b"").decode(), []).append(value)
                written.partitions.setdefault(value["session_id"], set()).add(number)
        for entry in cluster.log(TopicPartition(settings.topic(DEAD_LETTERS), number)).committed():
            written.letters.append(Letter(number, entry.key, entry.value, tuple(entry.headers)))
    return written


def _state(cluster: Cluster, context: ShardContext, policy: Policy) -> Iterator[str]:
    """It can be restored, and no record is left behind its positions or the group's."""
    log = cluster.log(context.state)
    if log.open:
        yield f"partition {context.partition}: a transaction hangs in the state"
    entries = log.committed()
    if not entries:
        yield f"partition {context.partition} has no state"
        return
    start = first_needed(entries[-1].value or b"", entries[-1].offset)
    records = [(entry.offset, entry.value or b"") for entry in entries if entry.offset >= start]
    try:
        shard = Shard.restore(policy, records, placed=context.placed())
    except StateError as error:
        yield f"partition {context.partition}: the state cannot be restored: {error}"
        return
    committed = cluster.group(shard.owner["group"]).offsets
    for kind, partition in context.inputs.items():
        for whose, position in (("state", shard.positions[kind]), ("group", committed.get(partition, 0))):
            left = len(cluster.log(partition).committed(position))
            if left:
                yield f"{partition.topic}/{partition.partition}: {left} records are behind the {whose}'s {position}"
