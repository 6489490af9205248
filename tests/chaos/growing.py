"""A round in which partitions are added and a new set of topics takes over, while workers and the command are killed.

Some inputs grow and others do not, and producers go on in the new set. `growth` adds partitions amid all other faults, and
holds each of both sets against a recount of its own.

Nothing that can be added may be missing or twice: counts and money of both sets together equal the recount of one log that
nobody ever split.
"""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from stream.children import Child, liveshop
from stream.model.messages import Message
from stream.model.names import INPUTS, SESSION_WINDOWS, SESSIONS, STATE
from stream.operate.moving import RECORDS
from stream.sandbox.broker import EmbeddedKafka
from tests.chaos.rounds import Outcome
from tests.faults.grown import add_partitions
from tests.kafka.tools import everything, make_topics, settings
from tests.live import Outgoing, Worker, eventually, path, send_all
from tests.operate.test_grow_recount import Sums, recounted, traffic, written

WORKERS: Final = 2
PAUSE: Final = (1.0, 4.0)
"""Seconds from one kill of a worker to the next."""
CUT: Final = (0.5, 5.0)
"""Seconds after which the command is killed, as often as it is."""
QUICK: Final = {"idle_after": "1s", "checkpoint_every": "200ms", "session_timeout": "6s", "transaction_timeout": "5s"}
SECONDS: Final = 120.0


class Growing:
    """One round. All of it follows from the seed, but for what the machine's own timing adds."""

    def __init__(self, kafka: EmbeddedKafka, seed: int, folder: Path) -> None:
        self.kafka = kafka
        self.rng = Random(f"growing {seed}")
        self.outcome = Outcome(seed)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.before = self.rng.choice((2, 3))
        self.after = self.before + self.rng.choice((1, 2, 3))
        self.config = settings(kafka, f"grow{seed}-{int(time.time())}.")
        self.prefix = self.config.topic_prefix
        self.target = self.config.model_copy(update={"topic_prefix": f"{self.prefix}new."})
        self.old: list[Worker] = []
        self.new: list[Worker] = []

    async def play(self) -> Outcome:
        began = time.monotonic()
        await make_topics(self.config, self.before)
        self.old = [self._worker(self.prefix) for _ in range(WORKERS)]
        killing = asyncio.ensure_future(self._kill())
        try:
            await self._grow()
        finally:
            killing.cancel()
            for worker in (*self.old, *self.new):
                worker.child.kill()
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _grow(self) -> None:
        messages = traffic(int(time.time() * 1000))
        first, second = sorted(self.rng.sample(range(len(messages)), 2))
        self.outcome.events = len(messages)
        await self._send(messages[:first], self.prefix, dict.fromkeys(INPUTS.values(), self.before))
        await eventually("a state is written: without any, uneven topics are a mistake", self._begun, SECONDS)
        grown = self.rng.sample(list(INPUTS.values()), self.rng.choice((1, 2, 3)))
        await add_partitions(self.kafka, {self.config.topic(name): self.after for name in grown})
        places = {name: self.after if name in grown else self.before for name in INPUTS.values()}
        self.outcome.faults["partitions added"] += len(grown)
        await self._send(messages[first:second], self.prefix, places)
        growing = asyncio.ensure_future(self._take_over())
        log = self.folder / "grow"

        async def told() -> bool:
            return growing.done() or (log.exists() and "let producers write to" in log.read_text())

        await eventually("producers may switch", told, SECONDS)
        self.new = [self._worker(self.target.topic_prefix) for _ in range(WORKERS)]
        await self._send(messages[second:], self.target.topic_prefix, dict.fromkeys(INPUTS.values(), self.after))
        await growing
        await self._compare(messages)

    async def _begun(self) -> bool:
        states = [await everything(self.kafka, self.config.topic(STATE), number) for number in range(self.before)]
        return any(states)

    async def _take_over(self) -> None:
        flags = ["--topic-prefix", self.prefix, "--group", self._group(self.prefix), "--transaction-timeout", "5s"]
        words = ["--partitions", str(self.after), "--to-prefix", self.target.topic_prefix, "--quiet", "4s", "--execute"]
        command = liveshop("topics", "grow", "--brokers", self.kafka.bootstrap, *flags, *words)
        for cut in [*(self.rng.uniform(*CUT) for _ in range(self.rng.choice((0, 1, 2, 3)))), SECONDS]:
            child = Child(command, log=self.folder / "grow", environ={"PYTHONPATH": path()})
            with suppress(AssertionError):
                await eventually("it has ended", lambda child=child: _ended(child), cut)  # type: ignore[misc]
            if child.code == 0:
                return
            if child.code is not None or cut == SECONDS:
                self.outcome.exits.append(f"topics grow: {child.code}\n{child.tail()}")
                child.kill()
                return
            child.kill()
            self.outcome.faults["command killed"] += 1

    async def _kill(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(*PAUSE))
            fleet = self.rng.choice([workers for workers in (self.old, self.new) if workers])
            number = self.rng.randrange(len(fleet))
            worker = fleet[number]
            if worker.child.code is not None:
                self.outcome.exits.append(f"a worker ended with {worker.child.code}: {worker.child.tail()}")
            worker.child.kill()
            self.outcome.faults["worker killed"] += 1
            fleet[number] = self._worker(self.prefix if fleet is self.old else self.target.topic_prefix)

    def _group(self, prefix: str) -> str:
        return prefix.rstrip(".")

    def _worker(self, prefix: str) -> Worker:
        number = len(list(self.folder.iterdir()))
        return Worker(self.kafka.bootstrap, prefix, self.folder / f"{number}.log", group=self._group(prefix), **QUICK)

    async def _send(self, messages: list[Message], prefix: str, partitions: dict[str, int]) -> None:
        """Where a producer puts them that knows so many partitions of each input."""
        for begin in range(0, len(messages), RECORDS // 20):
            piece = messages[begin : begin + RECORDS // 20]
            for kind, name in INPUTS.items():
                rows = [Outgoing(kind, message.key, message.value) for message in piece if message.kind is kind]
                await send_all(self.kafka.bootstrap, prefix, partitions[name], rows, together=100)

    async def _compare(self, messages: list[Message]) -> None:
        for name, wanted in zip((SESSIONS, SESSION_WINDOWS), recounted(messages), strict=True):
            found: Sums = Sums()

            async def equal(name: str = name, wanted: Sums = wanted) -> bool:
                nonlocal found
                found = await written(self.kafka, self.config, name, self.before)
                found += await written(self.kafka, self.target, name, self.after)
                return found == wanted

            with suppress(AssertionError):
                await eventually(f"{name} of both equal the recount", equal, SECONDS, every=0.5)
            self.outcome.differences += [
                f"{name} {key}: {found[key]}, recounted {wanted[key]}"
                for key in sorted({*found, *wanted})
                if found[key] != wanted[key]
            ]


async def _ended(child: Child) -> bool:
    return child.code is not None


def play(kafka: EmbeddedKafka, seed: int, folder: Path) -> Outcome:
    async def main() -> Outcome:
        return await Growing(kafka, seed, folder).play()

    return asyncio.run(main())
