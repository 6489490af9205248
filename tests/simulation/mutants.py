"""Known mistakes, put back: the simulation is worth something only if it finds them."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest.mock import patch

from stream.kafka import client, statereader
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.shard_context import CheckpointError, FencedError, ShardContext
from stream.model.results import Outputs
from tests.simulation.slips import slipped


async def _nobody_looks(_checkpoints: Checkpoints, _begin: int) -> None:
    """Instead of `Checkpoints._check_single_writer`, which finds some of these mistakes by itself."""
    await asyncio.sleep(0)


@contextmanager
def nobody_is_fenced() -> Iterator[None]:
    """Each producer has a transactional id of its own, so that a zombie's transaction is committed."""
    numbers = itertools.count()
    name = property(lambda context: f"{context.settings.group}.{context.partition}.{next(numbers)}")
    with patch.object(ShardContext, "transactional_id", name):
        yield


@contextmanager
def neighbours_write_the_same_state() -> Iterator[None]:
    """The transactional id is named after the group, so that two groups fence nobody, and nobody looks who else writes."""
    name = property(lambda context: context.earlier_id(context.owner))
    with (
        patch.object(ShardContext, "transactional_id", name),
        patch.object(Checkpoints, "_check_single_writer", _nobody_looks),
    ):
        yield


@contextmanager
def sent_again_from_memory() -> Iterator[None]:
    """A checkpoint of which nobody knows whether it was committed is written once more, by a new producer."""
    write = Checkpoints.write

    async def again(self: Checkpoints, outputs: Outputs) -> int:
        while True:
            try:
                return await write(self, outputs)
            except (CheckpointError, FencedError):
                context = self._context
                await client.end(self._producer)
                self._producer = client.make_producer(context.settings, context.transactional_id)
                await client.start(self._producer, context.settings)

    with patch.object(Checkpoints, "write", again):
        yield


@contextmanager
def hanging_state_is_not_waited_for() -> Iterator[None]:
    """The state is read up to its last stable offset, whatever is open behind it."""

    async def at_once(*_: Any) -> None:
        await asyncio.sleep(0)

    looking = patch.object(Checkpoints, "_check_single_writer", _nobody_looks)
    with patch.object(statereader, "await_stable", at_once), looking:
        yield


MUTANTS: Final[Mapping[str, Any]] = {
    mutant.__name__: mutant
    for mutant in (
        nobody_is_fenced,
        neighbours_write_the_same_state,
        sent_again_from_memory,
        hanging_state_is_not_waited_for,
    )
}


def mutated(name: str) -> AbstractContextManager[None]:
    """Of these, or of the small ones in slips.py."""
    made: AbstractContextManager[None] = MUTANTS[name]() if name in MUTANTS else slipped(name)
    return made
