"""The way between a process and the broker: what is asked arrives later, twice, never, or after nobody waits any more.

Every await of the code under test ends in a request, and the weather decides here what becomes of each one. A request that
was sent arrives, whatever has happened to its sender since; an answer reaches only a process that lives.
"""

import asyncio
import zlib
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeVar

from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    NotCoordinatorError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
)

from tests.simulation.cluster import BROKER, Cluster
from tests.simulation.loop import PROCESS, Process

T = TypeVar("T")
Done = Callable[[Any, KafkaError | None], None]

REFUSALS: Final = {
    "produce": (NotLeaderForPartitionError, NotEnoughReplicasError),
    "fetch": (),
    "bounds": (NotLeaderForPartitionError,),
    "connect": (),
    "metadata": (),
}
"""What a broker may answer instead of doing what it is asked to: of coordinators, what follows."""
MOVED: Final = (NotCoordinatorError, CoordinatorNotAvailableError, CoordinatorLoadInProgressError)


class TransportError(KafkaConnectionError):  # type: ignore[misc]  # aiokafka is not typed for us
    """The connection broke: nobody knows whether the request has arrived."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request; seconds."""

    there: float | None
    """Until it arrives. None: never."""
    back: float
    """The answer's way."""
    refusal: type[KafkaError] | None = None
    """What the broker answers, without having done it."""
    broken: float | None = None
    """After so long the sender is told that the connection broke, or that there was no answer in time."""
    mute: bool = False
    """The answer gets lost."""


class Weather:
    """Draws fates. ``rough`` is the share of requests with which something goes wrong, ``slow`` how slow the rest is."""

    def __init__(self, seed: str, rough: float = 0.0, slow: float = 1.0) -> None:
        self.rough = rough
        self.slow = slow
        self._rng = Random(seed)

    def fate(self, what: str) -> Fate:
        rng = self._rng
        there = (0.0005 + rng.random() * 0.004) * self.slow
        back = (0.0005 + rng.random() * 0.003) * self.slow
        luck = rng.random()
        if luck >= self.rough:
            return Fate(there, back)
        kind = int(luck / self.rough * 6)
        if kind == 0:  # slow, this one
            return Fate(there + rng.random() * 0.8, back + rng.random() * 0.3)
        if kind == 1:  # never arrives
            return Fate(None, back, broken=rng.choice((0.02, 0.3, 1.0)))
        if kind == 2:  # done, but nobody is told
            return Fate(there, back, broken=there + rng.choice((0.02, 0.3, 1.0)), mute=True)
        if kind == 3:  # done after the sender has given it up
            return Fate(there + 0.05 + rng.random() * 1.5, back, broken=there + 0.02)
        refusals = REFUSALS.get(what, MOVED)
        return Fate(there, back, refusal=rng.choice(refusals)) if refusals else Fate(there + 0.2, back)


class Wire:
    """All connections of all processes."""

    def __init__(self, cluster: Cluster, weather: Weather, *, tell: Callable[[str], None] | None = None) -> None:
        self.cluster = cluster
        self.weather = weather
        self.digest = 0
        """Of all that has gone over it: two runs with the same one were the same schedule."""
        self.requests = 0
        self._tell = tell
        self._flying: dict[Process | None, dict[int, Callable[[KafkaError], None]]] = {}

    def note(self, text: str) -> None:
        """Something happened: it is part of the schedule."""
        line = f"{self.cluster.loop.now:.6f} {text}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if self._tell is not None:
            self._tell(line)

    def submit(self, what: str, perform: Callable[[], Any], done: Done) -> None:
        """Sends. ``perform`` is what the broker does; ``done`` is called with the answer in the process that asks."""
        _Call(self, what, perform, done).send()

    async def ask(self, what: str, perform: Callable[[], T | asyncio.Future[T]]) -> T:
        """The answer, or the error that came instead."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(result: T, error: KafkaError | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        self.submit(what, perform, done)
        return await answer

    def cut(self, process: Process) -> None:
        """Its connections break; what has been sent is on its way all the same."""
        for lose in list(self._flying.get(process, {}).values()):
            lose(TransportError("the connection was cut"))

    def flying(self, process: Process | None) -> dict[int, Callable[[KafkaError], None]]:
        return self._flying.setdefault(process, {})


class _Call:
    """One request."""

    def __init__(self, wire: Wire, what: str, perform: Callable[[], Any], done: Done) -> None:
        self._wire = wire
        self._what = what
        self._perform = perform
        self._done = done
        self._context = copy_context()
        self._process = PROCESS.get(None)
        self._number = wire.requests = wire.requests + 1
        self._fate = wire.weather.fate(what)
        self._told = False

    def send(self) -> None:
        self._wire.flying(self._process)[self._number] = self._lose
        loop, fate = self._wire.cluster.loop, self._fate
        if fate.there is not None:
            loop.call_later(fate.there, self._arrive, context=BROKER)
        if fate.broken is not None:
            error = TransportError("broken") if fate.broken < 1 else RequestTimedOutError("no answer")
            loop.call_later(fate.broken, self._lose, error, context=BROKER)

    def _arrive(self) -> None:
        if not self._wire.cluster.up:
            self._answer(None, TransportError("nobody listens there"))
            return
        if self._fate.refusal is not None:
            self._answer(None, self._fate.refusal())
            return
        try:
            result = self._perform()
        except KafkaError as error:
            self._answer(None, error)
            return
        if isinstance(result, asyncio.Future):
            self._note("...")
            result.add_done_callback(self._answered, context=BROKER)
        else:
            self._answer(result, None)

    def _answered(self, promise: "asyncio.Future[Any]") -> None:
        error = promise.exception()
        self._answer(None if error else promise.result(), error)

    def _lose(self, error: KafkaError) -> None:
        if not self._told:
            self._answer(None, error)

    def _answer(self, result: Any, error: KafkaError | None) -> None:
        self._note("ok" if error is None else type(error).__name__)
        if self._told or (error is None and self._fate.mute):
            return
        self._told = True
        self._wire.flying(self._process).pop(self._number, None)
        self._wire.cluster.loop.answer(self._fate.back, self._context, self._done, result, error)

    def _note(self, outcome: str) -> None:
        name = self._process.name if self._process else "-"
        self._wire.note(f"{name} #{self._number} {self._what}: {outcome}")
