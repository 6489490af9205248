"""What happens to workers and broker during a round. A slot is a place where a supervisor keeps one worker running."""

import asyncio
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.errors import FailedError
from stream.kafka.role import Role
from stream.operate.show import show
from stream.sandbox.broker import EmbeddedKafka
from tests.chaos.job import Job
from tests.chaos.profile import Profile
from tests.live import STOP_SECONDS, Worker, eventually

WEIGHTS: Final = {"kill": 4, "term": 2, "stop": 4}
NEIGHBOUR_SECONDS: Final = 90.0
REFUSED: Final = 2
"""Exit code of a worker that would be refused again however often it was started."""
JUMPS: Final = ((-7200, -600), (60, 1800), (7200, 7200), (0, 0))
"""Seconds, from..to, that the clocks of the machines are wrong by, one after another."""
RESTART_AFTER: Final = (0.0, 3.0)
"""Seconds until the supervisor starts the next worker, from..to."""


class Slot:
    """One worker after another; each ends by a fault or by itself."""

    def __init__(
        self,
        number: int,
        brokers: str,
        prefix: str,
        profile: Profile,
        folder: Path,
        *,
        program: tuple[str, ...] = ("stream.cli",),
    ) -> None:
        self.faults: Counter[str] = Counter()
        self.exits: list[str] = []
        """Workers that ended by themselves, or not as they should."""
        self._number = number
        self._brokers = brokers
        self._prefix = prefix
        self._profile = profile
        self._folder = folder
        self._program = program
        self._started = 0
        self._rng = Random(f"slot {profile.seed} {number}")
        self.worker = self._start()

    def _start(self) -> Worker:
        self._started += 1
        log = self._folder / f"worker-{self._number}-{self._started}.log"
        if not self._profile.clock_jumps:
            return Worker(self._brokers, self._prefix, log, program=self._program, **self._profile.settings)
        environ = (f"WRONG_CLOCK_FILE={_clock_file(self._folder)}",)
        program = ("tests.faults.wrong_clock",)
        return Worker(self._brokers, self._prefix, log, program=program, environ=environ, **self._profile.settings)

    async def suffer(self, until: float) -> None:
        """Faults until that moment of the monotonic clock; a worker runs when it returns."""
        while time.monotonic() + self._profile.pause[0] < until:
            await asyncio.sleep(self._rng.uniform(*self._profile.pause))
            (fault,) = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
            if self.worker.child.code is not None:
                await self._replace("ended by itself")
                continue
            await self.hit(fault)
        await self.ensure()

    async def hit(self, fault: str) -> None:
        """One fault from beginning to end: a stopped worker runs on, one that ended is replaced."""
        self.faults[fault] += 1
        await getattr(self, f"_{fault}")()

    async def ensure(self) -> None:
        """A worker runs, and is not stopped."""
        self.worker.child.send(signal.SIGCONT)
        if self.worker.child.code is not None:
            await self._replace("ended by itself")

    async def _kill(self) -> None:
        self.worker.child.kill()
        await self._replace(None)

    async def _term(self) -> None:
        """One that has said nothing yet does not listen to signals yet."""
        has_begun = bool(self.worker.lines())
        code = await self._leave(signal.SIGTERM)
        good = code == 0 or (code == -signal.SIGTERM and not has_begun)
        await self._replace(None if good else f"left with {code} after SIGTERM")

    async def _stop(self) -> None:
        """A zombie: asleep for longer than the session timeout, and then it goes on where it was."""
        self.worker.child.send(signal.SIGSTOP)
        await asyncio.sleep(self._rng.uniform(*self._profile.asleep))
        self.worker.child.send(signal.SIGCONT)

    async def _leave(self, number: signal.Signals) -> int | None:
        child = self.worker.child
        child.send(number)

        async def gone() -> bool:
            return child.code is not None

        try:
            await eventually("a worker leaves after SIGTERM", gone, STOP_SECONDS)
        except AssertionError:
            child.kill()
            return None
        return child.code

    async def _replace(self, why: str | None) -> None:
        if why is not None:
            self.exits.append(f"{self.worker.log.name} {why} (exit code {self.worker.child.code})")
        await asyncio.sleep(self._rng.uniform(*RESTART_AFTER))
        self.worker = self._start()

    async def end(self) -> None:
        """SIGTERM: it must leave with 0."""
        code = await self._leave(signal.SIGTERM)
        if code != 0:
            self.exits.append(f"{self.worker.log.name} left with {code} after SIGTERM at the end")

    def kill(self) -> None:
        self.worker.child.kill()


class Neighbour:
    """A worker of another installation on the same topics: it must end with 2, whatever happens to the others meanwhile."""

    def __init__(self, brokers: str, prefix: str, profile: Profile, folder: Path, job: Job) -> None:
        self.faults: Counter[str] = Counter()
        self.exits: list[str] = []
        """What it did instead."""
        self._job = job
        self._brokers = brokers
        self._prefix = prefix
        self._profile = profile
        self._log = folder / "neighbour.log"
        self._rng = Random(f"neighbour {profile.seed}")

    async def run(self) -> None:
        """It moves in when every partition has a state, some time in the middle of the round."""
        patience = NEIGHBOUR_SECONDS + self._profile.outage
        await asyncio.sleep(self._profile.seconds * self._rng.uniform(0.2, 0.5))
        begun = partial(all_begun, self._job.role, self._brokers, self._prefix)
        await eventually("every partition has a state", begun, patience, every=0.5)
        self.faults["neighbour"] += 1
        group = f"{self._prefix.rstrip('.')}-neighbour"
        settings = {**self._profile.settings, "group": group}
        with Worker(self._brokers, self._prefix, self._log, program=self._job.program, **settings) as worker:

            async def gone() -> bool:
                return worker.child.code is not None

            await eventually("the neighbour has ended", gone, patience)
            said = [str(line.get("event")) for line in worker.lines()]
            if worker.child.code != REFUSED or not any("is another's: its group is" in text for text in said):
                self.exits.append(f"the neighbour ended with {worker.child.code}: {said[-3:]}")


async def all_begun(role: Role, brokers: str, prefix: str) -> bool:
    """Whether every partition has a state."""
    settings = Settings(brokers=brokers, topic_prefix=prefix, group=prefix.rstrip("."))
    try:
        return all(each.figures for each in await show(role, settings, ()))
    except (KafkaError, FailedError, OSError):
        return False  # no broker is there


class Clock:
    """Of the workers' machines: it jumps, and is right again at the end."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        self.faults: Counter[str] = Counter()
        self._profile = profile
        self._folder = folder
        self._rng = Random(f"clock {profile.seed}")

    async def run(self) -> None:
        jumps = JUMPS if self._profile.clock_jumps else ()
        for least, most in jumps:
            await asyncio.sleep(self._profile.seconds / (len(jumps) + 2))
            self.faults["clock jumps"] += 1
            file = _clock_file(self._folder)
            fresh = file.with_suffix(".new")
            fresh.write_text(str(self._rng.randint(least, most)))
            fresh.replace(file)


def _clock_file(folder: Path) -> Path:
    """How wrong their clock is, for tests/faults/wrong_clock.py."""
    file = folder / "clock"
    if not file.exists():
        file.write_text("0")
    return file


class BrokerFaults:
    """Restarts of the broker, in order or after a crash. Blocking, so in a thread that lives as long as the broker."""

    def __init__(self, kafka: EmbeddedKafka, thread: ThreadPoolExecutor, profile: Profile) -> None:
        self.faults: Counter[str] = Counter()
        self._kafka = kafka
        self._thread = thread
        self.profile = profile
        self._rng = Random(f"broker {profile.seed}")

    @property
    def bootstrap(self) -> str:
        return self._kafka.bootstrap

    async def run(self, _prefix: str) -> None:
        if self.profile.outage:
            await self._be_away()
            return
        loop = asyncio.get_running_loop()
        length = self.profile.seconds
        for number in range(self.profile.broker_restarts):
            part = length / self.profile.broker_restarts
            await asyncio.sleep(part * (0.2 if number == 0 else 0.0) + self._rng.uniform(0, part * 0.5))
            crash = self._rng.random() < 0.5
            self.faults["broker crash" if crash else "broker restart"] += 1
            if crash:
                await loop.run_in_executor(self._thread, self._kafka.kill)
            await loop.run_in_executor(self._thread, self._kafka.restart)

    async def _be_away(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep((self.profile.seconds - self.profile.outage) * 0.4)
        self.faults["brokers away"] += 1
        await loop.run_in_executor(self._thread, self._kafka.kill)
        await asyncio.sleep(self.profile.outage)
        await loop.run_in_executor(self._thread, self._kafka.restart)
