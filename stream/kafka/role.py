"""What the shards of a worker do: a name, the topics they read and write, and the machines they feed. Data only.

Everything in kafka/ works by a role and knows none of its own: the session worker's is in sessions/role.py.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from stream.kafka.machine import Machines
from stream.model.names import LIVE_RUN


@dataclass(frozen=True, slots=True)
class Spec:
    """What a topic is created with."""

    name: str
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Input:
    """One that every shard reads, its own partition of it."""

    name: str
    """In states, metrics and offsets of the role."""
    topic: str


@dataclass(frozen=True, slots=True)
class Output:
    """One that a shard writes: its own partition of it, or any of them, by key."""

    topic: str
    by: Callable[[bytes], bytes] | None = None
    """What of a record's key says where it goes: partition = murmur2 of that, modulo the topic's own number of partitions.
    None: to the shard's own partition."""
    has_generation: bool = False
    """Its records say of which generation they are; a rebuild reads them, for the next one."""


@dataclass(frozen=True, slots=True)
class Role:
    """Topics are named as the code names them, without the prefix of an installation."""

    name: str
    """In the owner of its states and in the client ids of its members. Its transactional ids hold the name of its state
    topic, which no other role has."""
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    """With that of dead letters."""
    state: str
    specs: tuple[Spec, ...]
    """Of all its topics, in the order in which they are shown."""
    machines: Machines = field(compare=False)
    letters: str | None = None
    """The output for records that were refused."""
    aligned: bool = True
    """Inputs are counted in step of event time (`core/alignment.py`); else as they come."""
    renamed: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Topics of outputs by what its machines call them, where that is something else."""
    run: str = LIVE_RUN
    """In its results, in the owner of its states and in its transactional ids."""
    has_group: bool = True
    """It is shared out by a group of consumers, and each checkpoint tells the group how far it has read. Else no group is
    asked or told anything."""
    side_inputs: tuple[Input, ...] = ()
    """Read beside the inputs, each shard its own partition, as they come: they have no event time, and nothing waits for
    them. Who has which partition follows from the inputs alone, and their offsets are in the state alone."""
    optional: frozenset[str] = frozenset()
    """Topics of side inputs and outputs that an installation may be without: then the role is, too."""

    def without(self, missing: Collection[str]) -> "Role":
        """The role where these of the optional topics are missing."""
        gone = self.optional.intersection(missing)
        return replace(
            self,
            outputs=tuple(each for each in self.outputs if each.topic not in gone),
            side_inputs=tuple(each for each in self.side_inputs if each.topic not in gone),
            specs=tuple(each for each in self.specs if each.name not in gone),
            optional=self.optional - gone,
        )

    @property
    def read(self) -> tuple[Input, ...]:
        """All that a shard reads."""
        return self.inputs + self.side_inputs

    @property
    def names(self) -> tuple[str, ...]:
        """Of the inputs."""
        return tuple(each.name for each in self.inputs)

    @property
    def input_topics(self) -> dict[str, str]:
        """By name of the input."""
        return {each.name: each.topic for each in self.inputs}

    @property
    def topics(self) -> tuple[str, ...]:
        """All that it reads, writes or creates."""
        return tuple(dict.fromkeys([*self.input_topics.values(), *(spec.name for spec in self.specs)]))

    @property
    def own(self) -> tuple[str, ...]:
        """Outputs of which a shard writes its own partition."""
        return tuple(each.topic for each in self.outputs if each.by is None)

    @property
    def by_key(self) -> frozenset[str]:
        """Outputs that have a number of partitions of their own."""
        return frozenset(each.topic for each in self.outputs if each.by is not None)
