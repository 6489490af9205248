"""What ``--rebuild`` throws away: of each partition the state that was there when it was asked for, however it grew since.

A running worker writes on until it is fenced, and may take its shard back before our first checkpoint is written. What it
has written is of the same generation as before; what a rebuild writes, ours or that of another process, is of a newer
one, and is continued. So each shard is rebuilt once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from stream.config import Settings
from stream.core.framing import StateError
from stream.kafka import client, statereader
from stream.kafka.role import Role
from stream.kafka.shard_context import ShardContext


@dataclass(frozen=True, slots=True)
class Discarded:
    """States of one partition that are not to be continued."""

    end: int
    """Those whose newest record lies before this offset of live.state …"""
    generation: int = -1
    """… and those of this generation or an older one; -1: there was none that could be read."""

    def holds(self, newest: int, generation: int) -> bool:
        """Whether to throw away a state with its newest record at this offset (-1: there is no state)."""
        return newest < self.end or generation <= self.generation

    def __str__(self) -> str:
        return f"{self.end}.{self.generation}"

    @classmethod
    def parse(cls, text: str) -> Self:
        end, _, generation = text.partition(".")
        return cls(int(end), int(generation or -1))


ANY: Final = Discarded(2**63 - 1)
"""Whatever state there is."""
Discards = Mapping[int, Discarded]
"""By partition number."""


async def states_now(role: Role, settings: Settings, partitions: int) -> dict[int, Discarded]:
    """The states that are there now, to be thrown away."""
    contexts = [ShardContext(settings, number, partitions, role) for number in range(partitions)]
    reader = client.make_reader(settings, wait_ms=50)
    await client.start(reader, settings)
    try:
        reader.assign([context.state for context in contexts])
        ends = await reader.end_offsets([context.state for context in contexts])
        return {
            context.partition: Discarded(ends[context.state], await _generation(reader, context))
            for context in contexts
        }
    finally:
        await client.end(reader)


async def _generation(reader: client.Reader, context: ShardContext) -> int:
    try:
        newest = await statereader.newest_checkpoint(reader, context.state)
    except StateError:
        return -1
    return -1 if newest is None else newest.meta.generation
