"""Which batches of a fetch belong to no reader: aiokafka's own account of aborted transactions, kept as it keeps it.

Its ``PartitionRecords`` knows the transactions that the answer calls aborted, and forgets each at the marker that ends it.
"""

from collections.abc import Callable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED


def partition_of(records: Any) -> TopicPartition:
    return records._tp


def is_left_out(records: Any, batch: Any, is_abort: Callable[[Any], bool]) -> bool:
    """Markers, and what belongs to a transaction that was aborted, as aiokafka decides it.

    ``is_abort`` is asked about a batch of control records.
    """
    if records._isolation_level == READ_COMMITTED:
        records._consume_aborted_up_to(batch.base_offset)
        aborted = records._aborted_producers
        if batch.is_control_batch and is_abort(batch):
            aborted.discard(batch.producer_id)
        elif batch.is_transactional and batch.producer_id in aborted:
            return True
    return bool(batch.is_control_batch)
