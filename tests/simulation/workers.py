"""The workers of a world: each slot is a supervisor that starts its process again when that has ended."""

import asyncio
from random import Random
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from stream.errors import FailedError, UsageError
from stream.kafka.state_refused import StateRefusedError
from stream.kafka.worker import Worker
from tests.simulation.cluster import BROKER
from tests.simulation.loop import Life, Process

if TYPE_CHECKING:
    from stream.config import Settings
    from tests.simulation.world import World

FORGIVEN = (FailedError, KafkaError, OSError)
"""What may end a worker when something is wrong outside of it. Its supervisor starts it again."""


class Slot:
    def __init__(self, world: "World", number: int, settings: "Settings | None" = None) -> None:
        """``settings``: of another installation; else of the world's own."""
        self.number = number
        self._settings = settings or world.settings
        self.process: Process | None = None
        self._world = world
        self._rng = Random(f"slot {world.seed} {number}")
        self._task: asyncio.Task[None] | None = None
        self._worker: Worker | None = None
        self._asked = False
        self._lives = 0
        self._wanted = True

    @property
    def running(self) -> bool:
        return self.process is not None

    @property
    def shards(self) -> frozenset[int]:
        """The partitions that it reads now."""
        alive = self.process is not None and self.process.life is Life.ALIVE
        return frozenset(self._worker._running()) if alive and self._worker is not None else frozenset()

    def start(self) -> None:
        if self.running or not self._wanted:
            return
        self._lives += 1
        self._asked = False
        self.process = process = Process(f"w{self.number}.{self._lives}")
        self._world.wire.note(f"{process.name} starts")
        self._task = self._world.loop.start(process, self._work())
        self._task.add_done_callback(self._ended, context=BROKER)

    async def _work(self) -> None:
        memory = self._world.job.watch()
        self._worker = Worker(self._settings, self._world.job.role, memory, memory, rebuild=False)
        await self._worker.run()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is not self._task or self.process is None:
            return
        error = None if task.cancelled() else task.exception()
        self._world.wire.note(f"{self.process.name} has ended: {error!r}")
        if isinstance(error, StateRefusedError) and "is another's" in str(error) and self._world.neighbour is not None:
            error = None  # as it must be: it tries again, as a supervisor has it do
        if isinstance(error, UsageError) or (error is not None and not isinstance(error, FORGIVEN)):
            self._world.problem(f"{self.process.name} ended with {error!r}")
        self.process.kill()  # what it has left running ends with it
        self._gone()

    def _gone(self) -> None:
        self.process = self._worker = None
        self._world.cluster.later(0.1 + self._rng.random(), self.start)

    # -- what is done to it

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, but what it has sent arrives."""
        if self.process is not None:
            self._world.wire.note(f"{self.process.name} is killed")
            self.process.kill()
            self._gone()

    def freeze(self) -> None:
        """SIGSTOP."""
        if self.process is not None:
            self._world.wire.note(f"{self.process.name} is frozen")
            self.process.freeze()

    def wake(self) -> None:
        """SIGCONT."""
        if self.process is not None and self.process.life is Life.FROZEN:
            self._world.wire.note(f"{self.process.name} wakes up")
            self._world.loop.wake(self.process)

    def terminate(self, *, for_good: bool = False) -> None:
        """SIGTERM: a last checkpoint, then it ends by itself. A second one ends it at once."""
        self._wanted = self._wanted and not for_good
        if self.process is None or self._task is None:
            return
        if not self._asked:
            self._asked = True
            self._world.wire.note(f"{self.process.name} is to end")
            self._world.loop.in_process(self.process, self._task.cancel)
        elif not for_good:
            self.kill()

    def retire(self) -> None:
        self.terminate(for_good=True)
