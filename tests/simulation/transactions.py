"""The coordinator of transactions: producer ids and epochs, what belongs to a transaction, and how one ends.

As the first version of the requests has it, which is what aiokafka speaks: an epoch is raised by fencing and by time-outs,
not by each commit; a partition must have been added before it is written to; markers are written after the answer.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import ConcurrentTransactions, InvalidProducerEpoch, InvalidProducerIdMapping, InvalidTxnState


class State(Enum):
    EMPTY = 1
    ONGOING = 2
    COMMITTING = 3
    ABORTING = 4
    COMMITTED = 5
    ABORTED = 6


ENDING: Final = (State.COMMITTING, State.ABORTING)


@dataclass(slots=True)
class Transaction:
    """Of one transactional id."""

    producer: int
    timeout: float
    epoch: int = 0
    state: State = State.EMPTY
    partitions: dict[TopicPartition, None] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)
    number: int = 0
    """How many it has begun."""


class Marks(Protocol):
    """Where transactions end."""

    def mark(self, partition: TopicPartition, producer: int, epoch: int, *, commit: bool) -> None:
        """A marker in a partition."""

    def mark_offsets(self, group: str, producer: int, *, commit: bool) -> None:
        """What a transaction has written to a group's offsets counts from now on, or never."""


Later = Callable[[float, Callable[[], None]], None]


class Transactions:
    """``later`` runs something after so many seconds; ``delay`` says how long each marker takes."""

    def __init__(self, marks: Marks, later: Later, delay: Callable[[], float], sweep_every: float) -> None:
        self._marks = marks
        self._later = later
        self._delay = delay
        self._sweep_every = sweep_every
        self._by_id: dict[str, Transaction] = {}
        self._producers = itertools.count(1000)

    def init(self, name: str, timeout: float) -> tuple[int, int]:
        """Producer id and epoch. An open transaction of that id is aborted first; ask again meanwhile."""
        known = self._by_id.get(name)
        if known is None:
            known = self._by_id[name] = Transaction(next(self._producers), timeout)
            return known.producer, known.epoch
        if known.state in ENDING:
            raise ConcurrentTransactions
        if known.state is State.ONGOING:
            self._fence(known)
            raise ConcurrentTransactions
        known.epoch += 1
        known.timeout = timeout
        known.state = State.EMPTY
        return known.producer, known.epoch

    def add(
        self,
        name: str,
        producer: int,
        epoch: int,
        *,
        partitions: Iterable[TopicPartition] = (),
        group: str | None = None,
    ) -> None:
        """Partitions or a group's offsets become part of the transaction, which begins with the first of them."""
        known = self._known(name, producer, epoch)
        if known.state in ENDING:
            raise ConcurrentTransactions
        if known.state is not State.ONGOING:
            known.state = State.ONGOING
            known.number += 1
            number = known.number
            self._later(known.timeout + self._sweep_every, lambda: self._time_out(known, number))
        known.partitions.update(dict.fromkeys(partitions))
        if group is not None:
            known.groups[group] = None

    def verify(self, name: str, producer: int, epoch: int, partition: TopicPartition | None = None) -> None:
        """Whoever writes must be in a transaction, with that partition in it."""
        known = self._known(name, producer, epoch)
        if known.state in ENDING:
            raise ConcurrentTransactions
        if known.state is not State.ONGOING or (partition is not None and partition not in known.partitions):
            raise InvalidTxnState

    def end(self, name: str, producer: int, epoch: int, *, commit: bool) -> None:
        """Decides. The markers follow."""
        known = self._known(name, producer, epoch)
        done, doing = (State.COMMITTED, State.COMMITTING) if commit else (State.ABORTED, State.ABORTING)
        if known.state is done:
            return  # asked again
        if known.state is doing:
            raise ConcurrentTransactions
        if known.state is not State.ONGOING:
            raise InvalidTxnState
        self._finish(known, commit=commit)

    def ongoing(self) -> list[str]:
        """Transactional ids with an open transaction."""
        return [name for name, known in self._by_id.items() if known.state is State.ONGOING]

    def forget(self, name: str) -> None:
        """The coordinator fences an open transaction and loses it, so that it hangs in its partitions.

        Seen once on a real broker. One that lost it and let its producer go on would keep no promise at all.
        """
        known = self._by_id[name]
        known.epoch += 1
        known.state = State.EMPTY
        known.partitions.clear()
        known.groups.clear()

    def _known(self, name: str, producer: int, epoch: int) -> Transaction:
        known = self._by_id.get(name)
        if known is None or known.producer != producer:
            raise InvalidProducerIdMapping
        if known.epoch != epoch:
            raise InvalidProducerEpoch
        return known

    def _time_out(self, known: Transaction, number: int) -> None:
        if known.state is State.ONGOING and known.number == number:
            self._fence(known)

    def _fence(self, known: Transaction) -> None:
        known.epoch += 1
        self._finish(known, commit=False)

    def _finish(self, known: Transaction, *, commit: bool) -> None:
        """Every partition gets its marker in its own time; then the next transaction may begin."""
        known.state = State.COMMITTING if commit else State.ABORTING
        left = len(known.partitions) + len(known.groups)

        def marked() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                known.state = State.COMMITTED if commit else State.ABORTED
                known.partitions.clear()
                known.groups.clear()

        def mark(partition: TopicPartition) -> None:
            self._marks.mark(partition, known.producer, known.epoch, commit=commit)
            marked()

        def mark_offsets(group: str) -> None:
            self._marks.mark_offsets(group, known.producer, commit=commit)
            marked()

        for partition in known.partitions:
            self._later(self._delay(), lambda partition=partition: mark(partition))  # type: ignore[misc]
        for group in known.groups:
            self._later(self._delay(), lambda group=group: mark_offsets(group))  # type: ignore[misc]
