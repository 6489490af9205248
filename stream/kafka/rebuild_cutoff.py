"""Which states ``--rebuild`` discards: those that were there when the operator asked, even if they have grown since.

A running worker writes until it is fenced, and may take its shard back before our first checkpoint is written. Its records
have the same generation as before. A rebuild, by this process or another one, writes a newer generation, and that state is
continued. So each shard is rebuilt once.
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
class RebuildCutoff:
    """Which states of one partition are discarded."""

    end: int
    """States whose newest record is before this offset of live.state …"""
    generation: int = -1
    """… and states of this generation or an older one; -1: no state could be read."""

    def covers(self, newest: int, generation: int) -> bool:
        """Whether to discard a state whose newest record is at this offset (-1: there is no state)."""
        return newest < self.end or generation <= self.generation

    def __str__(self) -> str:
        return f"{self.end}.{self.generation}"

    @classmethod
    def parse(cls, text: str) -> Self:
        end, _, generation = text.partition(".")
        return cls(int(end), int(generation or -1))


ANY: Final = RebuildCutoff(2**63 - 1)
"""Whatever state there is."""
RebuildCutoffs = Mapping[int, RebuildCutoff]
"""By partition number."""


async def states_now(role: Role, settings: Settings, partitions: int) -> dict[int, RebuildCutoff]:
    """The states that are there now, to be discarded."""
    contexts = [ShardContext(settings, number, partitions, role) for number in range(partitions)]
    reader = client.make_reader(settings, wait_ms=50)
    await client.start(reader, settings)
    try:
        reader.assign([context.state for context in contexts])
        ends = await reader.end_offsets([context.state for context in contexts])
        return {
            context.partition: RebuildCutoff(ends[context.state], await _generation(reader, context))
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
