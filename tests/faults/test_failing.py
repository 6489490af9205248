"""A shard that fails again and again, here since no checkpoint is taken: it says at what, not that it is being restored."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import InvalidTimestampError

from stream.kafka.checkpoint import Checkpoints
from stream.kafka.shard_context import CheckpointError
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import send_views, until
from tests.operate.tools import eventually, make, totals, worker

pytestmark = pytest.mark.kafka

PATIENCE = 60.0


def test_a_checkpoint_that_is_not_taken_is_a_reason_until_one_is(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Checkpoints.write
    taken = False

    async def taken_or_not(self: Checkpoints, outputs: Any) -> int:
        if not taken:
            raise CheckpointError from InvalidTimestampError("this machine's clock is wrong")
        return await write(self, outputs)

    async def main() -> None:
        nonlocal taken
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))
        async with worker(config) as memory:
            await until(lambda: memory.stops, "it says so", PATIENCE)
            why = "CheckpointError (InvalidTimestampError): [Error 32] InvalidTimestampError: this machine's clock is wrong"
            assert memory.stops == {0: f"partition 0 fails and is begun again: {why}"}
            assert memory.counted == 0
            taken = True
            await until(lambda: not memory.stops, "it goes on", PATIENCE)

            async def written() -> bool:
                return await totals(kafka, config) == {"s1": 10}

            await eventually(written, "all is counted")

    monkeypatch.setattr(Checkpoints, "write", taken_or_not)
    asyncio.run(main())
