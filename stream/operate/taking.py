"""A shard taken over by hand, for one thing to be written: who works on it is fenced, and takes it back afterwards.

A running worker may take it back sooner, before that is written. Then it is taken once more: a fenced worker pauses for
longer each time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from stream.errors import FailedError
from stream.kafka import client, recovery
from stream.kafka.discarded import Discarded
from stream.kafka.place import FencedError, Place
from stream.kafka.recovery import Recovered

PATIENCE: Final = 60.0
"""Seconds after which a shard that is taken back is not taken again."""
PAUSE: Final = 0.1

Done = TypeVar("Done")


async def with_shard(
    place: Place,
    work: Callable[[Recovered], Awaitable[Done]],
    *,
    what: str,
    discard: Discarded | None = None,
    again: tuple[type[Exception], ...] = (FencedError,),
) -> Done:
    """What ``work`` makes of the recovered shard; it writes a checkpoint, and may be called several times.

    After an exception of ``again`` it is tried anew, with a shard that is recovered anew. Raises FailedError that ``what``
    was not written after `PATIENCE` seconds of that, and whatever `recovery.recover` raises.
    """
    until = time.monotonic() + PATIENCE
    while True:
        recovered = await recovery.recover(place, discard=discard, current=lambda: True)
        try:
            return await work(recovered)
        except again as error:
            if time.monotonic() > until:
                raise FailedError(
                    f"partition {place.partition} was taken back for {PATIENCE:.0f} s before {what} was written: try again, "
                    "with its worker stopped if need be"
                ) from error
        finally:
            await client.end(recovered.producer)
        await asyncio.sleep(PAUSE)
