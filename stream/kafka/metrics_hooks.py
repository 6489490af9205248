"""What the Kafka edge reports about itself. observe/metrics.py implements it; the edge knows no Prometheus.

``name``: of an input, as the role has it. What a machine says of itself is handed on as it is.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from stream.kafka.machine import Name


class Activity(StrEnum):
    """What a shard's task spends its seconds on."""

    POLL = "poll"
    DECODE = "decode"
    COUNT = "count"
    CLOSE = "close"
    CHECKPOINT = "checkpoint"
    LOOK = "look"
    IDLE = "idle"


class MetricsHooks(Protocol):
    """Called from the event loop, about once a batch or less often; never once an event. Seconds throughout."""

    def committed(self, partition: int, tally: Any, seconds: float) -> None:
        """A checkpoint has committed after ``seconds``: the machine's numbers may be shown now."""

    def latency(self, name: Name, seconds: float, count: int) -> None:
        """``count`` records became visible ``seconds`` after the broker appended them (sampled by batch)."""

    def emit_delay(self, seconds: float) -> None:
        """A window became visible ``seconds`` of wall clock after its end + delay (newest window of a checkpoint)."""

    def transaction_failed(self, partition: int, error: str) -> None:
        """A checkpoint was not committed; ``error`` is the name of an exception class."""

    def rebalanced(self, seconds: float) -> None:
        """From revocation to all kept and new shards running."""

    def ended(self, partition: int, *, published: bool = False) -> None:
        """A shard of ours has ended, and begins again: its lag is not known until its next view.

        ``published``: its last look is of just now, after a checkpoint of all that it had counted.
        """

    def recovered(self, partition: int, seconds: float, records: int) -> None:
        """A shard was restored from ``records`` records of live.state."""

    def refused(self, partition: int) -> None:
        """A shard's state cannot be continued: it stays down until it is told `recovered`, or is somebody else's.

        Nothing is known of it then.
        """

    def activity(self, activity: Activity, seconds: float) -> None:
        """Seconds spent on one activity."""

    def loop_lag(self, seconds: float) -> None:
        """How late the event loop woke a timer."""

    def full_collection(self, seconds: float) -> None:
        """Garbage was looked for among all objects, and the event loop stood still meanwhile."""

    def clock_offset(self, seconds: float) -> None:
        """How far the wall clock of this machine is ahead of the brokers', negative when it is behind."""

    def buffered(self, size: int) -> None:
        """Bytes of memory of unpacked batches whose records wait to be counted."""

    def lag(self, partition: int, name: Name, records: int, seconds: float | None) -> None:
        """Committed records not yet read, and how far the newest record read is behind the wall clock (0: caught up).

        None: that is not known, since none was read yet.
        """

    def brokers(self, connected: int) -> None:
        """So many brokers answered just now; with none, nobody knows how far the inputs' ends are."""

    def hidden(self, partition: int, name: Name, seconds: float) -> None:
        """For so long the same open transaction has hidden what follows it in this input; 0 while none does."""

    def pending(self, partition: int, *, something: bool) -> None:
        """Whether a shard has counted something, or is about to write something, that is not committed."""

    def stuck(self, partition: int, seconds: float) -> None:
        """A shard has had records to read for so long, and has read none; 0 when it moves or has read everything."""

    def partitions(self, number: int) -> None:
        """So many of each topic are counted, by all workers together."""

    def partitions_added(self, added: Mapping[str, int]) -> None:
        """How many each topic has, by name on the broker, beyond those that are counted. Empty: none any more."""

    def assigned(self, partitions: frozenset[int]) -> None:
        """The shards this worker owns now; series of others are dropped."""

    def shard(self, partition: int, view: Any) -> None:
        """A new view of a shard, about every second."""
