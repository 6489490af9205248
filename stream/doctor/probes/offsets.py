"""Where partitions begin and end. Each leader is asked once for all, over a connection that no fetch keeps waiting."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import for_code
from aiokafka.protocol.offset import OffsetRequest

from stream.doctor.probes.facts import ClusterFacts
from stream.kafka.patches import access

_LATEST: Final = -1
_EARLIEST: Final = -2
_NO_REPLICA: Final = -1
_UNCOMMITTED: Final = 0
_COMMITTED: Final = 1


async def begins(facts: ClusterFacts, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The first offsets there are."""
    return await _offsets(facts, partitions, _EARLIEST, _UNCOMMITTED)


async def stable_ends(facts: ClusterFacts, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The last stable offsets: as far as readers of committed records get."""
    return await _offsets(facts, partitions, _LATEST, _COMMITTED)


async def ends(facts: ClusterFacts, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The high watermarks: open transactions included."""
    return await _offsets(facts, partitions, _LATEST, _UNCOMMITTED)


async def _offsets(
    facts: ClusterFacts, partitions: Collection[TopicPartition], at: int, isolation: int
) -> Mapping[TopicPartition, int]:
    by_leader: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for tp in partitions:
        by_leader[facts.leader(tp)][tp.topic].append((tp.partition, at))
    found = {}
    for node, asked in by_leader.items():
        request = OffsetRequest(_NO_REPLICA, isolation, list(asked.items()))
        response = await access.client_of(facts.admin).send(node, request)
        for topic, answers in response.topics:
            for partition, code, _timestamp, offset in answers:
                if code:
                    raise for_code(code)(f"{topic}/{partition}")
                found[TopicPartition(topic, partition)] = int(offset)
    return found
