"""Fences the worker of a shard, so that a command can write one checkpoint. The worker takes the shard back afterwards.

A running worker may take it back before the checkpoint is written. Then the command fences it again: a fenced worker pauses
for longer each time. A broker may refuse the checkpoint. Logs that were copied byte for byte from another cluster hold
producer ids that the new cluster gives away a second time (p: ``OutOfOrderSequenceNumber``). Each try has the next epoch,
which in the end is a newer one than those in the logs.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from stream.errors import FailedError
from stream.kafka import client, recovery
from stream.kafka.rebuild_cutoff import RebuildCutoff
from stream.kafka.recovery import Recovered
from stream.kafka.retries import BackoffPolicy, retry
from stream.kafka.shard_context import CheckpointError, FencedError, ShardContext

PATIENCE: Final = 60.0
"""Seconds after which the command gives up."""
AGAIN: Final = BackoffPolicy(first=0.1, most=0.5)

Done = TypeVar("Done")


async def with_fenced_shard(
    context: ShardContext,
    work: Callable[[Recovered], Awaitable[Done]],
    *,
    what: str,
    discard: RebuildCutoff | None = None,
) -> Done:
    """Recovers the shard, calls ``work``, which writes a checkpoint, and returns its result.

    After FencedError and CheckpointError it recovers the shard and calls ``work`` again. Raises FailedError that ``what``
    was not written after `PATIENCE` seconds, and whatever `recovery.recover` raises.
    """

    async def take() -> Done:
        recovered = await recovery.recover(context, discard=discard, current=lambda: True)
        try:
            return await work(recovered)
        except (FencedError, CheckpointError) as error:
            raise _NotWrittenError(error) from error
        finally:
            await client.end(recovered.producer)

    try:
        return await retry(take, what, lambda error: isinstance(error, _NotWrittenError), AGAIN, seconds=PATIENCE)
    except _NotWrittenError as error:
        raise _given_up(context, what, error.cause) from error.cause


class _NotWrittenError(Exception):
    """``cause`` says why the checkpoint of a recovered shard was not written this time."""

    def __init__(self, cause: FencedError | CheckpointError) -> None:
        super().__init__(cause)
        self.cause = cause


def _given_up(context: ShardContext, what: str, error: Exception) -> FailedError:
    if isinstance(error, CheckpointError):
        return FailedError(
            f"partition {context.partition}: the brokers did not take {what} for {PATIENCE:.0f} s: {error}"
        )
    return FailedError(
        f"partition {context.partition} was taken back for {PATIENCE:.0f} s before {what} was written: try again, "
        "with its worker stopped if need be"
    )
