"""Where a shard is: its partition number, and the names that follow from it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from stream.config import Settings
from stream.core.brokertime import BrokerTime
from stream.core.deadletters import LetterSize
from stream.kafka.client import Reader
from stream.kafka.machine import Name
from stream.kafka.memory import Memory
from stream.kafka.role import Role


class FencedError(Exception):
    """Somebody else is the producer of this shard now, or the broker gave its transaction up."""


class CheckpointError(Exception):
    """A checkpoint was not committed, or nobody can say whether it was: what is in memory is not to be used again."""


class CommittedError(CheckpointError):
    """The checkpoint is committed, but its producer can write no other one: its successor goes on from the state."""


class LetterRefusedError(CheckpointError):
    """The topic of dead letters took none of this size: the next ones are smaller."""


class OutdatedError(Exception):
    """The assignment under which this was begun does not stand any more."""


class Adopted(StrEnum):
    """Where reading goes on in inputs that are other topics than those a state was counted from."""

    KEEP = "keep"
    """At the positions of the state: it is the same log, with the same offsets, for example on another cluster."""
    BEGINNING = "beginning"
    """At the oldest record: it is another log."""


@dataclass(frozen=True, slots=True)
class ShardContext:
    """One partition number of one group's topics. ``partitions`` is how many there are."""

    settings: Settings
    partition: int
    partitions: int
    role: Role
    letters: LetterSize = field(default_factory=LetterSize, compare=False)
    clock: BrokerTime = field(default_factory=BrokerTime, compare=False)
    memory: Memory | None = field(default=None, compare=False)
    confirm: Callable[[Reader], Awaitable[None]] | None = field(default=None, compare=False)
    """Raises OutgrownError when the topics have not so many partitions any more."""
    moving_to: str | None = None
    """The prefix of the topics to which all that is not counted here is being moved: that is no reason to refuse it."""
    begins: Mapping[Name, int] | None = None
    """Where a new shard begins to read; None: as the setting ``start_at`` says."""
    adopts: Adopted | None = None
    """By hand: the topics that are there now are to be those of the state, whatever their ids. A worker refuses others."""

    @property
    def transactional_id(self) -> str:
        """One producer per state, whatever the group of its worker: whoever starts one with this id last is the one."""
        return f"liveshop.{self.state.topic}.{self.role.run}.{self.partition}"

    def earlier_id(self, owner: Mapping[str, str]) -> str:
        """The id under which an earlier version wrote this state: it was named after the group of its owner."""
        return f"{owner.get('group')}.{owner.get('role')}.{owner.get('run')}.{self.partition}"

    @property
    def inputs(self) -> dict[Name, TopicPartition]:
        """With side inputs."""
        return {each.name: self._partition_of(each.topic) for each in self.role.read}

    @property
    def outputs(self) -> list[TopicPartition]:
        """Those that are of this shard alone."""
        return [self._partition_of(name) for name in self.role.own]

    @property
    def state(self) -> TopicPartition:
        return self._partition_of(self.role.state)

    @property
    def owner(self) -> dict[str, str]:
        """Whose state it is. Another's is refused."""
        topics = ",".join(self.settings.topic(name) for name in self.role.input_topics.values())
        return {"group": self.settings.group, "role": self.role.name, "run": self.role.run, "topics": topics}

    def placed(self) -> Callable[[bytes], bool]:
        """Whether a key belongs to this partition by murmur2, as Java clients and aiokafka place it."""
        partition, partitions = self.partition, self.partitions
        return lambda key: (murmur2(key) & 0x7FFFFFFF) % partitions == partition

    def _partition_of(self, name: str) -> TopicPartition:
        return TopicPartition(self.settings.topic(name), self.partition)
