"""What is done to a world, drawn from its seed: processes killed, stopped and ended, the broker away, state compacted …

Some of it happens at a time, some before a certain step of a process, so that every await of the code is met.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition

from tests.simulation.content import PARTITIONS
from tests.simulation.workers import Slot

if TYPE_CHECKING:
    from tests.simulation.world import World

LAST: Final = 6.0
"""Seconds after which nothing new goes wrong."""
STEPS: Final = 400
"""A trap springs within so many steps of a process."""


class Faults:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = Random(f"faults {world.seed}")
        self._acts: tuple[tuple[Callable[[], str], int], ...] = (
            (self._kill, 4),
            (self._freeze, 4),
            (self._terminate, 2),
            (self._cut, 2),
            (self._outage, 2),
            (self._another_worker, 2),
            (self._neighbour, 2),
            (self._throw_out, 1),
            (self._compact, 3),
            (self._forget, 1),
        )

    async def run(self) -> None:
        """Until the last has been done; some of them last longer."""
        rng = self._rng
        times = sorted(rng.random() * LAST for _ in range(rng.choice((0, 2, 4, 7))))
        acts, weights = zip(*self._acts, strict=True)
        for at in times:
            await asyncio.sleep(max(0.0, at - self._world.loop.now))
            done = rng.choices(acts, weights)[0]()
            if done:
                self._world.outcome.faults.append(done)
        await asyncio.sleep(max(0.0, LAST - self._world.loop.now) * rng.random())

    async def heal(self) -> None:
        """Everything that was stopped goes on, and nothing goes wrong any more."""
        world = self._world
        world.weather.rough = 0.0
        if not world.cluster.up:
            world.cluster.come_back()
        for slot in world.workers:
            if slot.process is not None:
                slot.process.fuse = 0
            slot.wake()
        while len(world.slots) > 2:
            slot = world.slots.pop()
            slot.retire()
            world.retired.append(slot)

    def _slot(self) -> Slot:
        return self._rng.choice(self._world.workers)

    def _soon(self, slot: Slot, happen: Callable[[], None]) -> None:
        """Now, or before some step to come."""
        process = slot.process
        if process is None or self._rng.random() < 0.2:
            happen()
            return
        process.trap = lambda: happen() if slot.process is process else None
        process.fuse = 1 + self._rng.randrange(STEPS)

    def _kill(self) -> str:
        slot = self._slot()
        self._soon(slot, slot.kill)
        return "kill"

    def _freeze(self) -> str:
        slot, seconds = self._slot(), self._rng.choice((0.2, 0.9, 1.5, 2.5, 4.0))

        def freeze() -> None:
            slot.freeze()
            self._world.cluster.later(seconds, slot.wake)

        self._soon(slot, freeze)
        return f"freeze {seconds:g}s"

    def _terminate(self) -> str:
        slot = self._slot()
        self._soon(slot, slot.terminate)
        return "terminate"

    def _cut(self) -> str:
        slot = self._slot()

        def cut() -> None:
            if slot.process is not None:
                self._world.wire.note(f"{slot.process.name} is cut off")
                self._world.wire.cut(slot.process)

        self._soon(slot, cut)
        return "cut"

    def _outage(self) -> str:
        cluster, seconds = self._world.cluster, self._rng.choice((0.1, 0.5, 1.2, 2.5))
        if not cluster.up:
            return ""

        def come_back() -> None:
            if not cluster.up:
                self._world.wire.note("the broker is back")
                cluster.come_back()

        self._world.wire.note("the broker goes down")
        cluster.go_down()
        cluster.later(seconds, come_back)
        return f"outage {seconds:g}s"

    def _another_worker(self) -> str:
        """It joins, and perhaps leaves again: what the others have is taken away, and given back."""
        world = self._world
        slot = Slot(world, len(world.slots) + len(world.retired))
        world.slots.append(slot)
        slot.start()
        return "another worker"

    def _neighbour(self) -> str:
        """Another installation on the same topics: it may win what nobody has begun yet, and nothing else."""
        if self._world.neighbour is not None:
            return ""
        self._world.move_in()
        return "neighbour"

    def _throw_out(self) -> str:
        group = self._world.cluster.group(self._world.settings.group)
        names = list(group.members)
        if not names:
            return ""
        name = self._rng.choice(names)
        self._world.wire.note(f"{name} is thrown out of the group")
        group.remove(name)
        return "throw out"

    def _compact(self) -> str:
        topic = self._world.settings.topic(self._world.job.role.state)
        log = self._world.cluster.log(TopicPartition(topic, self._rng.randrange(PARTITIONS)))
        until = int(log.high * self._rng.choice((0.5, 0.9, 1.0)))
        self._world.wire.note(f"{topic}/{log.number} is compacted up to {until}")
        log.compact(until)
        return "compact"

    def _forget(self) -> str:
        """Only when a transaction is open: the coordinator loses it."""
        open_ones = self._world.cluster.transactions.ongoing()
        if not open_ones:
            return ""
        name = self._rng.choice(open_ones)
        self._world.wire.note(f"the coordinator forgets the transaction of {name}")
        self._world.cluster.transactions.forget(name)
        return "forget"
