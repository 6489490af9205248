"""Closing the shards of a set of topics for good: what is open is written, and all else is left to another set.

Everything that a shard has counted comes into the results: windows that were not due yet (``end_of_input``), totals, and the
end of each alert. Then its state says where the rest goes, so that no worker counts on here.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from stream.config import Settings
from stream.core.deadletters import LETTER_BYTES, LetterSize
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.place import Place
from stream.kafka.recovery import Recovered
from stream.model.names import DEAD_LETTERS
from stream.operate.taking import with_shard
from stream.sessions import topics
from stream.sessions.machines import shard_of
from stream.sessions.role import worker_role
from stream.sessions.rulebook import RuleBook

STEPS: Final = 100


async def places(settings: Settings, counted: int, moving_to: str) -> list[Place]:
    """Of all shards. One that never began would begin with the oldest records."""
    settings = settings.model_copy(update={"start_at": "earliest"})
    letters = LetterSize.of(await topics.max_bytes(settings, DEAD_LETTERS) or LETTER_BYTES)
    role = worker_role(RuleBook(settings.model_copy(update={"rules": "none"})))
    return [Place(settings, number, counted, role, letters=letters, moving_to=moving_to) for number in range(counted)]


async def close(place: Place) -> None:
    """Fences the shard, writes what is open, and marks its state. May be done again: then nothing is written twice."""
    await with_shard(place, partial(_finish, place), what="its end")


async def _finish(place: Place, recovered: Recovered) -> None:
    shard = shard_of(recovered.machine)
    if shard.moved_to is None:
        shard.moved_to, shard.moved = place.moving_to, True
    checkpoints = Checkpoints(place, recovered.producer, recovered.state_end)
    shard.finish()
    while True:
        await asyncio.to_thread(_work, shard.work)
        outputs = await asyncio.to_thread(shard.collect)
        if outputs is None:
            return
        shard.committed(outputs.checkpoint, await checkpoints.write(outputs))


def _work(work: Callable[[int], bool]) -> None:
    while work(STEPS):
        pass
