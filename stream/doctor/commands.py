"""Kafka's own commands, as a finding tells people to type them. The doctor itself changes nothing.

On a secured cluster each needs ``--command-config FILE`` besides.
"""

from stream.kafka.topics import set_config

__all__ = ["abort", "delete_config", "more_copies", "set_config"]


def delete_config(brokers: str, topic: str, key: str) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} "
        f"--delete-config {key}"
    )


def more_copies(brokers: str) -> str:
    return f"kafka-reassign-partitions.sh --bootstrap-server {brokers} --execute --reassignment-json-file FILE"


def abort(brokers: str, topic: str, partition: int, start_offset: int) -> str:
    """Ends an open transaction of one partition; what it wrote is never seen."""
    return (
        f"kafka-transactions.sh --bootstrap-server {brokers} abort --topic {topic} --partition {partition} "
        f"--start-offset {start_offset}"
    )
