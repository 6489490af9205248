"""Transactions that hold readers back: those open when we look, and still open when we look again."""

import asyncio
from collections.abc import Collection
from typing import Final

from aiokafka import TopicPartition

from stream.doctor.probes.facts import ClusterFacts, now_ms
from stream.doctor.probes.offsets import ends, stable_ends
from stream.doctor.transactions import OpenTransaction, Owner
from stream.kafka import requests
from stream.kafka.requests import OpenProducer, Transaction

AGAIN: Final = 2.0
"""Seconds between the looks: the transactions of workers live for milliseconds."""


async def held(facts: ClusterFacts) -> list[OpenTransaction]:
    """Waits only when a transaction is open."""
    first = await _open(facts, facts.partitions)
    if not first:
        return []
    await asyncio.sleep(AGAIN)
    second = await _open(facts, first)
    still = [tp for tp, (stable, _) in second.items() if first[tp][0] == stable]
    found: dict[TopicPartition, list[OpenProducer]] = {
        tp: await requests.open_producers(facts.admin, facts.leader(tp), tp.topic, tp.partition) for tp in still
    }
    ids = {producer.producer_id for producers in found.values() for producer in producers}
    known = await requests.transactions(facts.admin, facts.named.brokers, sorted(ids)) if ids else []
    return [
        _held(tp, producer, second[tp][1], known)
        for tp, producers in found.items()
        for producer in producers
        if producer.start_offset <= first[tp][1]  # else it has begun since
    ]


def _held(tp: TopicPartition, producer: OpenProducer, end: int, known: Collection[Transaction]) -> OpenTransaction:
    owner = next((each for each in known if each.producer_id == producer.producer_id), None)
    return OpenTransaction(
        tp.topic,
        tp.partition,
        producer.start_offset,
        end - producer.start_offset,
        producer.producer_id,
        now_ms() - producer.last_timestamp,
        None if owner is None else _owner(owner, tp),
    )


def _owner(known: Transaction, tp: TopicPartition) -> Owner:
    has_partition = (tp.topic, tp.partition) in known.partitions
    age = now_ms() - known.start_ms if known.start_ms >= 0 else 0
    return Owner(known.transactional_id, known.state, has_partition, age, known.timeout_ms)


async def _open(facts: ClusterFacts, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
    """Last stable offset and end of the partitions in which they differ."""
    stable = await stable_ends(facts, partitions)  # asked first: it never is beyond the end
    return {tp: (stable[tp], end) for tp, end in (await ends(facts, partitions)).items() if stable[tp] < end}
