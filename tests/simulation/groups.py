"""The coordinator of a consumer group: members, generations, rebalances, and the group's offsets."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError

Later = Callable[[float, Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Joined:
    """The answer to a join."""

    generation: int
    member: str
    leader: str
    members: tuple[str, ...]
    """For the leader alone, which assigns."""


class State(Enum):
    EMPTY = 1
    PREPARING = 2
    COMPLETING = 3
    STABLE = 4


_STATES: Final = {
    State.EMPTY: "Empty",
    State.PREPARING: "PreparingRebalance",
    State.COMPLETING: "CompletingRebalance",
    State.STABLE: "Stable",
}


@dataclass(slots=True)
class Member:
    session: float
    rebalance: float
    client: str = ""
    topics: tuple[str, ...] = ()
    expires: float = 0.0
    joining: asyncio.Future[Joined] | None = None
    syncing: asyncio.Future[Any] | None = None
    assignment: Any = None


@dataclass(slots=True)
class Group:
    """One group. ``now`` and ``later`` are the broker's clock; ``promise`` makes an answer that comes later."""

    now: Callable[[], float]
    later: Later
    promise: Callable[[], asyncio.Future[Any]]
    state: State = State.EMPTY
    generation: int = 0
    leader: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    pending: dict[int, dict[TopicPartition, int]] = field(default_factory=dict)
    """Offsets written in a transaction that has not ended, by producer id."""
    _names: Any = field(default_factory=lambda: itertools.count(1))
    _rounds: int = 0

    # -- membership

    def join(
        self, name: str, session: float, rebalance: float, client: str = "", topics: tuple[str, ...] = ()
    ) -> "asyncio.Future[Joined]":
        """Answered when all have joined, or have had their time."""
        if name and name not in self.members:
            raise UnknownMemberIdError
        fresh = not name
        if fresh:
            name = f"member-{next(self._names)}"
            self.members[name] = Member(session, rebalance, client, topics)
            self._watch(name)
        member = self.members[name]
        self._touch(member)
        answer = self.promise()
        if not fresh and self._may_stay(name):
            answer.set_result(self._joined(name))
            return answer
        member.joining = answer
        self._prepare()
        self._complete_if_all()
        return answer

    def _may_stay(self, name: str) -> bool:
        """One that asks again for what it has been told already (its answer may have been lost)."""
        return self.state is State.COMPLETING or (self.state is State.STABLE and name != self.leader)

    def sync(self, name: str, generation: int, assignment: Mapping[str, Any]) -> "asyncio.Future[Any]":
        member = self._known(name, generation)
        if self.state is State.PREPARING:
            raise RebalanceInProgressError
        self._touch(member)
        answer = self.promise()
        if self.state is State.STABLE:
            answer.set_result(member.assignment)
            return answer
        member.syncing = answer
        if name == self.leader:
            for each, its in self.members.items():
                its.assignment = assignment.get(each)
                if its.syncing is not None and not its.syncing.done():
                    its.syncing.set_result(its.assignment)
                its.syncing = None
            self.state = State.STABLE
        return answer

    def beat(self, name: str, generation: int) -> None:
        member = self._known(name, generation)
        self._touch(member)
        if self.state is State.PREPARING:
            raise RebalanceInProgressError

    def leave(self, name: str) -> None:
        if name in self.members:
            self.remove(name)

    def remove(self, name: str) -> None:
        """It left, or was silent for too long."""
        member = self.members.pop(name)
        for waiting in (member.joining, member.syncing):
            if waiting is not None and not waiting.done():
                waiting.set_exception(UnknownMemberIdError())
        if not self.members:
            self.state = State.EMPTY
            self.generation += 1
        else:
            self._prepare()
            self._complete_if_all()

    def revive(self) -> None:
        """The coordinator was away: everybody gets a whole session timeout again, and asks anew."""
        for member in self.members.values():
            member.joining = member.syncing = None
            self._touch(member)

    def _known(self, name: str, generation: int) -> Member:
        if name not in self.members:
            raise UnknownMemberIdError
        if generation != self.generation:
            raise IllegalGenerationError
        return self.members[name]

    def _touch(self, member: Member) -> None:
        member.expires = self.now() + member.session

    def _watch(self, name: str) -> None:
        """Until it has gone."""
        member = self.members[name]

        def look() -> None:
            if self.members.get(name) is not member:
                return
            waits = member.joining is not None and not member.joining.done()
            if not waits and self.now() >= member.expires:
                self.remove(name)
            else:
                self.later(max(0.01, member.expires - self.now() if not waits else member.session), look)

        self.later(member.session, look)

    def _prepare(self) -> None:
        if self.state is State.PREPARING:
            return
        self.state = State.PREPARING
        for member in self.members.values():
            if member.syncing is not None and not member.syncing.done():
                member.syncing.set_exception(RebalanceInProgressError())
            member.syncing = None
        self._rounds += 1
        began = self._rounds

        def enough() -> None:
            if self.state is State.PREPARING and self._rounds == began:
                for name in [each for each, its in self.members.items() if its.joining is None]:
                    del self.members[name]
                self._complete_if_all()

        self.later(max(member.rebalance for member in self.members.values()), enough)

    def _complete_if_all(self) -> None:
        if self.state is not State.PREPARING or not all(its.joining for its in self.members.values()):
            return
        if not self.members:
            self.state = State.EMPTY
            return
        self.generation += 1
        self.state = State.COMPLETING
        if self.leader not in self.members:
            self.leader = next(iter(self.members))
        for name, member in self.members.items():
            waiting, member.joining = member.joining, None
            self._touch(member)
            if waiting is not None and not waiting.done():
                waiting.set_result(self._joined(name))

    def _joined(self, name: str) -> Joined:
        members = tuple(self.members) if name == self.leader else ()
        return Joined(self.generation, name, self.leader, members)

    def describe(self) -> tuple[str, list[tuple[str, str, tuple[str, ...], Any]]]:
        """The state, and id, client, topics and assignment of each member: the last two only while all is settled."""
        settled = self.state is State.STABLE
        members = [
            (name, its.client, its.topics if settled else (), its.assignment if settled else None)
            for name, its in self.members.items()
        ]
        return _STATES[self.state], members

    # -- offsets

    def write(self, producer: int, offsets: Mapping[TopicPartition, int]) -> None:
        """In a transaction: it counts when that is committed."""
        self.pending.setdefault(producer, {}).update(offsets)

    def mark(self, producer: int, *, commit: bool) -> None:
        written = self.pending.pop(producer, {})
        if commit:
            self.offsets.update(written)
