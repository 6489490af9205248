"""A worker as a process of its own, for tests of signals: ``python -m tests.kafka.process BROKERS PREFIX [CHECKPOINT_MS]``.

It says ``running`` for each shard, ``seen N`` of events that it has read and ``counted N`` for each checkpoint, and exits
with the worker's code.
"""

# ruff: noqa: T201, ARG002 - what it prints is what the test reads; it implements a protocol whole

import asyncio
import logging
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from stream.errors import FailedError, UsageError
from stream.model.results import ShardView, Tally
from stream.sessions.worker import run_worker
from tests.kafka.tools import Memory, settings

SESSION_SECONDS = 60
"""Nobody is thrown out of the group: whoever has left it has said so."""


class Talkative(Memory):
    def committed(self, partition: int, tally: Tally, seconds: float) -> None:
        super().committed(partition, tally, seconds)
        print("counted", self.counted, flush=True)

    def shard(self, partition: int, view: ShardView) -> None:
        print("seen", view.dedupe_ids, flush=True)

    def recovered(self, partition: int, seconds: float = 0.0, records: int = -1) -> None:
        if records < 0:
            print("running", partition, flush=True)


def main(brokers: str, prefix: str, checkpoint_ms: str = "200") -> int:
    logging.basicConfig(level=logging.CRITICAL)
    kafka = cast("Any", SimpleNamespace(bootstrap=brokers))
    quick = {
        "checkpoint_every": timedelta(milliseconds=int(checkpoint_ms)),
        "transaction_timeout": timedelta(seconds=10),
    }
    config = settings(kafka, prefix, **quick, session_timeout=timedelta(seconds=SESSION_SECONDS))
    memory = Talkative()
    try:
        return asyncio.run(run_worker(config, memory, memory, rebuild=False))
    except UsageError as error:
        print(error, flush=True)
        return 2
    except FailedError as error:
        print(error, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
