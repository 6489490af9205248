"""Batches of three topics into one machine, in step in event time, as the worker reads a backlog. Pure.

What the machine decides does not depend on how the topics interleave, as long as none of them falls far behind: the
worker's rule for that (core/alignment.py) is kept here.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from stream.core.alignment import Alignment, ReadAhead
from stream.core.decode import Decoded, Events, decode_batch
from stream.core.policy import Policy
from stream.model.names import KINDS, Kind
from stream.model.results import Record

PIECES: Final = 8
"""So many pieces (core/alignment.py) are asked for at a time."""


class Machine(Protocol):
    """What is fed: a shard, or the part of it that alerts need."""

    @property
    def clocks(self) -> dict[Kind, int | None]: ...
    def count(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None: ...
    def remember(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None: ...
    def exclude(self, kind: Kind) -> None: ...


class Feed:
    """Says which topics to read next, and hands over what was read. ``until_ms``: clocks beyond it need no more."""

    def __init__(self, policy: Policy, machine: Machine, until_ms: int) -> None:
        self._machine = machine
        self._until = until_ms
        self._policy = policy
        self._read_ahead = ReadAhead(policy.max_future_ms, self._decode)
        self._alignment = Alignment(self._read_ahead, lambda: machine.clocks, self._behind, policy.state_retention_ms)
        self._over: set[Kind] = set()

    @property
    def at_once(self) -> int:
        """Records to read at a time."""
        return PIECES * self._read_ahead.size

    def _decode(self, kind: Kind, records: Sequence[Record]) -> tuple[Sequence[Record], Events]:
        policy = self._policy
        trust = policy.trust_producer_time
        return records, decode_batch(kind, records, policy.max_value, trust_producer_time=trust)

    def remember(self, kind: Kind, records: Sequence[Record]) -> None:
        """What was read of a topic before anything is put: it only makes repeats known."""
        self._machine.remember(kind, *self._decode(kind, records))

    def wanted(self) -> set[Kind]:
        """Topics to read from now; none when all is over."""
        return self._alignment.wanted(self._behind())

    def put(self, kind: Kind, records: Sequence[Record]) -> None:
        """What was read of a topic that is wanted."""
        self._read_ahead.wait(kind, records)
        self._count_waiting()

    def over(self, kind: Kind) -> None:
        """There is no more of a topic: it holds nobody back, since everything of it is in."""
        if kind not in self._over and kind not in self._read_ahead:
            self._over.add(kind)
            self._machine.exclude(kind)
            self._count_waiting()

    def _behind(self) -> set[Kind]:
        return set(KINDS) - self._over

    def _count_waiting(self) -> None:
        counted = True
        while counted:
            counted = False
            for kind, records, events in self._alignment.ready():
                counted = True
                self._machine.count(kind, records, events)
                clock = self._machine.clocks[kind]
                if clock is not None and clock >= self._until:
                    self._read_ahead.forget(kind)
                    self._over.add(kind)
