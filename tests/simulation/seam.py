"""Where the simulation takes the place of aiokafka: `stream.kafka.client` makes connections, and makes ours instead.

The code under test keeps its own way of starting and ending them. Clocks, garbage collection and logs of its modules are
those of the simulated world; nothing else of it is touched.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import stream.kafka
import stream.sessions
from stream.config import Settings
from stream.kafka.client import member_id
from tests.simulation.connection import Admin, Probe, diagnose, topic_metadata
from tests.simulation.loop import PROCESS, Loop
from tests.simulation.member import Member, Terms
from tests.simulation.producer import Producer
from tests.simulation.reader import Reader
from tests.simulation.wire import Wire


def _modules() -> Iterator[ModuleType]:
    """All of stream.kafka, its patches included, and of the session worker."""
    found = [*pkgutil.walk_packages(stream.kafka.__path__, "stream.kafka.")]
    for module in [*found, *pkgutil.iter_modules(stream.sessions.__path__, "stream.sessions.")]:
        yield importlib.import_module(module.name)


MODULES: Final = list(_modules())
COLLECTOR: Final = SimpleNamespace(
    freeze=lambda: None, unfreeze=lambda: None, collect=lambda _generation=2: 0, get_freeze_count=lambda: 0
)

MAKERS: Final = ("make_reader", "make_member", "make_producer", "make_admin", "make_probe")
POLL: Final = 0.4
"""Seconds that a turn waits for records: half as many turns in which nothing happens as in production."""


@dataclass
class Connections:
    """What stands for aiokafka, and for the clocks, in one world."""

    wire: Wire
    epoch: float
    """What the clock on the wall shows at the loop's 0."""
    batch_records: int = 1000
    fetch_offsets: int = 500
    idle_wait: float = 1.0
    """Seconds that a fetch of the inputs is kept at the broker."""
    tell: Callable[[str], None] | None = None
    dice: Random = field(default_factory=lambda: Random("dice"))
    """What the code under test draws from, so that one seed is one schedule."""

    @property
    def _loop(self) -> Loop:
        return self.wire.cluster.loop

    def make_reader(self, _settings: Settings, *, wait_ms: int = 0, uncommitted: bool = False) -> Reader:
        wait = wait_ms / 1000 if wait_ms else self.idle_wait
        return Reader(self.wire, wait, self.fetch_offsets, uncommitted=uncommitted)

    def make_member(self, settings: Settings, role: str) -> Member:
        session = settings.session_timeout.total_seconds()
        rebalance = max(settings.revoke_deadline.total_seconds() * 3, session)
        beat, name = settings.heartbeat_every.total_seconds(), member_id(settings, role)
        return Member(self.wire, Terms(settings.group, session, beat, rebalance, name))

    def make_producer(self, settings: Settings, name: str) -> Producer:
        return Producer(self.wire, name, settings.transaction_timeout.total_seconds(), self.batch_records)

    def make_admin(self, _settings: Settings) -> Admin:
        return Admin(self.wire)

    def make_probe(self, _settings: Settings) -> "Probe":
        return Probe()

    def replacements(self, module: ModuleType) -> Iterator[tuple[str, Any]]:
        made = {name: getattr(self, name) for name in MAKERS}
        now = self._loop.time
        clocks = SimpleNamespace(
            monotonic=now, perf_counter=now, thread_time=now, time=lambda: self.epoch + self._loop.now
        )
        every = {
            **made,
            "diagnose": diagnose,
            "topic_metadata": topic_metadata,
            "Buffer": _Buffer,
            "secure": lambda *_: None,  # there is nothing to be renewed or closed
            "time": clocks,
            "random": self.dice,
            "gc": COLLECTOR,
            "log": _Said(self),
            "POLL": POLL,
        }
        for name, replacement in every.items():
            if name in module.__dict__:
                yield name, replacement

    def said(self, text: str) -> None:
        if self.tell is not None:
            process = PROCESS.get(None)
            self.tell(f"{self._loop.now:.6f} {process.name if process else '-'} says {text}")


class _Buffer:
    """There are no batches here, packed or not."""

    def __init__(self, reader: Reader, _account: object) -> None:
        self._reader = reader

    def insist_on(self, ids: Mapping[str, bytes]) -> None:
        self._reader.ids = ids

    def fetch_at_most(self, size: int) -> None: ...

    def left(self, _partition: object) -> int:
        return 0

    def forget(self, partition: object) -> None: ...


class _Said:
    """A log of the code under test."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def _say(self, text: str, **values: Any) -> None:
        self._connections.said(" ".join([repr(text), *(f"{name}={value}" for name, value in values.items())]))

    debug = info = warning = error = _say


@contextmanager
def installed(connections: Connections) -> Iterator[None]:
    """While entered, stream.kafka lives in that world."""
    kept: list[tuple[ModuleType, str, Any]] = []
    try:
        for module in MODULES:
            for name, replacement in connections.replacements(module):
                kept.append((module, name, getattr(module, name)))
                setattr(module, name, replacement)
        yield
    finally:
        for module, name, before in reversed(kept):
            setattr(module, name, before)
