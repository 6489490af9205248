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
from stream.kafka.recovery import Recovered
from stream.kafka.shard_context import ShardContext
from stream.model.names import DEAD_LETTERS
from stream.operate.fencing import with_fenced_shard
from stream.sessions import topics
from stream.sessions.machines import shard_of
from stream.sessions.role import worker_role
from stream.sessions.rules_reload import ReloadedRules

STEPS: Final = 100


async def contexts(settings: Settings, counted: int, moving_to: str) -> list[ShardContext]:
    """Of all shards. One that never began would begin with the oldest records."""
    settings = settings.model_copy(update={"start_at": "earliest"})
    letters = LetterSize.of(await topics.max_bytes(settings, DEAD_LETTERS) or LETTER_BYTES)
    role = worker_role(ReloadedRules(settings.model_copy(update={"rules": "none"})))
    role = role.without(role.optional)
    return [
        ShardContext(settings, number, counted, role, letters=letters, moving_to=moving_to) for number in range(counted)
    ]


async def close(context: ShardContext) -> None:
    """Fences the shard, writes what is open, and marks its state. May be done again: then nothing is written twice."""
    await with_fenced_shard(context, partial(_finish, context), what="its end")


async def _finish(context: ShardContext, recovered: Recovered) -> None:
    shard = shard_of(recovered.machine)
    if shard.moved_to is None:
        shard.moved_to, shard.moved = context.moving_to, True
    checkpoints = Checkpoints(context, recovered.producer, recovered.state_end)
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
