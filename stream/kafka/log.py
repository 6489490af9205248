"""What a shard loop reads from and writes to: Kafka's logs (inputs.py, checkpoint.py), or those of a process
(sandbox/memory_log.py).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from stream.kafka.machine import Name, Outputs
from stream.kafka.memory import Account
from stream.model.results import Record


class Source(Protocol):
    """The inputs of one shard. Hands out records in order."""

    account: Account
    positions: dict[Name, int]
    """Next offset to hand out, by input."""

    @property
    def reader(self) -> Any:
        """Who is asked when offsets are out of range, and how many partitions there are."""

    @property
    def left(self) -> int:
        """Memory of what was unpacked and handed out in part."""

    def unfinished(self) -> list[Name]:
        """Inputs with something of that kind."""

    def seek(self, positions: Mapping[Name, int]) -> None:
        """To go on from there."""

    async def fetch(self, names: Collection[Name], seconds: float, most: int) -> Mapping[Name, Sequence[Record]]:
        """At most so many records of these inputs, in order; none after ``seconds``."""

    def lag(self, name: Name) -> int:
        """Records yet to be handed out."""

    def hidden(self, name: Name) -> int | None:
        """Where an open transaction begins that hides what follows it; None without one."""

    def behind(self) -> Collection[Name]:
        """Inputs with records to read."""

    def caught_up(self, name: Name) -> bool:
        """Everything there is has been handed out, and that is certain just now."""


class Sink(Protocol):
    """Where the checkpoints of one shard go."""

    async def write(self, outputs: Outputs) -> int:
        """All of it, or nothing. Returns the offset of the first record of the state."""

    async def check_ownership(self, positions: Mapping[Name, int]) -> None:
        """Raises FencedError when the shard is no longer ours."""
