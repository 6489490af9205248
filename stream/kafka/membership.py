"""Membership of the group: which partition numbers are ours. Its consumer is only a member; it hands out no records.

The protocol's rules live here: no joining where other members may not be joined, the inputs of the role with the range
assignor, every partition paused at once, polled without pause, and after a fence the group is left and joined anew. What
a shard does about it is the worker's business.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InvalidSessionTimeoutError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from stream.config import Settings
from stream.errors import UnreachableError, UsageError
from stream.kafka import client, limits, members
from stream.kafka.retries import Backoff, BackoffPolicy
from stream.kafka.role import Role

log: Final = structlog.get_logger()

POLL_MS: Final = 1000
BACKOFF: Final = BackoffPolicy(first=0.5, most=10.0, calm=60.0)
"""Before the group is joined again."""
LEAVE_SECONDS: Final = 1.5
KEPT_OUT_SECONDS: Final = 2.0
"""Between two looks at members that keep us out."""
TELL_AGAIN: Final = 60.0
"""Seconds after which the log repeats who does."""
CHECK_MEMBERS_AFTER: Final = 2.0
"""Seconds from an assignment to a look at the other members: of two that joined at once, none has seen the other before."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What the worker does when the assignment changes. An exception of either ends the membership, and the process."""

    revoked: Callable[[], Awaitable[None]]
    """Checkpoint and pause what there is, within the revoke deadline: the group waits for it."""
    assigned: Callable[[frozenset[int]], None]
    """These partition numbers are ours now, whole: keep, drop and start shards. Returns at once."""
    left: Callable[[object], None] = lambda _: None
    """Hears of each consumer that has left the group, whose memory may be given back."""
    kept_out: Callable[[str | None], None] = lambda _: None
    """Hears what keeps it from joining, for people; None: nothing does."""
    foreign_members: Callable[[str | None], None] = lambda _: None
    """Hears, after an assignment, who is in the group and should not be; None: nobody."""


class Membership:
    """Joins, polls, leaves. ``epoch`` grows with every revocation: what began under an older one is not current."""

    def __init__(
        self, role: Role, settings: Settings, owner: Owner, brokers_there: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """It does not try to join while ``brokers_there`` waits."""
        self.epoch = 0
        self._brokers_there = brokers_there
        self._role = role
        self._settings = settings
        self._owner = owner
        self._topics = [settings.topic(name) for name in role.input_topics.values()]
        self._assigned = False
        self._polled = time.monotonic()
        self._joined = time.monotonic()
        self._has_joined = False
        self._rejoin: str | None = None
        self._failure: BaseException | None = None
        self._consumer: client.Reader | None = None
        self._checking: asyncio.Task[None] | None = None

    def current(self, epoch: int) -> bool:
        """Whether that assignment still stands, as far as this process can know.

        A process that was stopped for longer than the session timeout has lost it, though nobody has told it yet.
        """
        awake = time.monotonic() - self._polled < self._settings.session_timeout.total_seconds()
        return self._assigned and epoch == self.epoch and awake and self._rejoin is None

    def rejoin(self, why: str) -> None:
        """Leave the group and join it again, soon. Nothing when a new assignment is on its way already."""
        if self._rejoin is None and self._assigned:
            log.warning("leaving the group to join it again", why=why)
            self._rejoin = why

    async def run(self) -> None:
        """Is a member until cancelled, then `leave` is to be called. Raises what the owner or the group cannot mend."""
        backoff = Backoff(BACKOFF)
        while True:
            if self._brokers_there is not None:
                await self._brokers_there()
            try:
                await self._await_admission()
                await self._join()
            except UnreachableError:
                continue  # the topics have been looked at: this is no start with a wrong address any more
            await self._stay()
            pause = backoff.pause(time.monotonic() - self._joined)
            await self.leave()
            self._rejoin = None
            await asyncio.sleep(pause)

    async def leave(self) -> None:
        """Gives everything back, then tells the group, so that others need not wait for the session timeout.

        One that was cancelled on the way may be called again.
        """
        if self._consumer is None:
            return
        await self._revoke()
        if self._checking is not None:
            await asyncio.wait({self._checking}, timeout=LEAVE_SECONDS)
        await client.end(self._consumer, LEAVE_SECONDS)
        self._owner.left(self._consumer)
        self._consumer = None

    async def _await_admission(self) -> None:
        """Returns when no member keeps us out. UsageError: the group has other topics, and has had from our start on."""
        told = -math.inf
        while True:
            found = await members.list_members(self._settings)
            others = members.others(self._role, self._settings, found)
            if others and not self._has_joined:
                raise UsageError(others)
            text = others or members.earlier(self._settings, found)
            self._owner.kept_out(text)
            if text is None:
                return
            if time.monotonic() - told > TELL_AGAIN:
                told = time.monotonic()
                log.error("waiting to join the group", why=text)
            await asyncio.sleep(KEPT_OUT_SECONDS)

    async def _check_members(self) -> None:
        """Who is in the group and should not be is told, and no reason to leave: what is counted is right."""
        await asyncio.sleep(CHECK_MEMBERS_AFTER)
        with suppress(UnreachableError, UsageError):  # whoever else connects says so
            found = await members.list_members(self._settings)
            self._owner.foreign_members(
                members.others(self._role, self._settings, found) or members.earlier(self._settings, found)
            )

    async def _join(self) -> None:
        consumer = client.make_member(self._settings, self._role.name)
        await client.start(consumer, self._settings)
        self._consumer = consumer
        self._polled = self._joined = time.monotonic()
        consumer.subscribe(self._topics, listener=_Listener(self, consumer))
        self._has_joined = True
        log.info("joining the group", group=self._settings.group)

    async def _stay(self) -> None:
        """Polls until there is a reason to leave."""
        consumer = self._consumer
        while self._rejoin is None and consumer is not None:
            try:
                await consumer.getmany(timeout_ms=POLL_MS)
            except (GroupAuthorizationFailedError, TopicAuthorizationFailedError) as error:
                raise UsageError(f"the broker does not let us read as group {self._settings.group}: {error}") from error
            except InvalidSessionTimeoutError as error:
                raise limits.refused(self._settings, "session_timeout") from error
            except KafkaError as error:
                self._rejoin = f"the group consumer failed: {error!r}"
                log.warning("leaving the group to join it again", why=self._rejoin)
            if self._failure is not None:
                raise self._failure
            self._notice_a_stall()

    def _notice_a_stall(self) -> None:
        now = time.monotonic()
        stalled, self._polled = now - self._polled, now
        if stalled > self._settings.session_timeout.total_seconds() and self._assigned:
            self.rejoin(f"this process stood still for {stalled:.0f} s, longer than the session timeout")

    # called by the listener, within the rebalance

    async def on_revoked(self) -> None:
        await self._guarded(self._revoke())

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        await self._guarded(self._assign(partitions))

    async def _guarded(self, callback: Awaitable[None]) -> None:
        """Aiokafka logs and swallows what a callback raises, so it is kept here and raised by the next poll."""
        try:
            await callback
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the process
            self._failure = error

    async def _revoke(self) -> None:
        self.epoch += 1
        self._assigned = False
        if self._checking is not None:
            self._checking.cancel()
        await self._owner.revoked()

    async def _assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._assigned = True
        self._polled = time.monotonic()
        self._checking = asyncio.create_task(self._check_members())
        numbers = _numbers(partitions, self._topics)
        self._owner.assigned(numbers or frozenset())
        if numbers is None:  # somebody is adding partitions: the watchdog sees it, or the next assignment is whole
            self.rejoin("the inputs do not have the same number of partitions")


def _numbers(partitions: Iterable[TopicPartition], topics: list[str]) -> frozenset[int] | None:
    """The partition numbers. The range assignor gives the same ones of every topic when they have equally many.

    None when they have not.
    """
    by_topic = {topic: frozenset(tp.partition for tp in partitions if tp.topic == topic) for topic in topics}
    return by_topic[topics[0]] if len(set(by_topic.values())) == 1 else None


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed for us
    def __init__(self, membership: Membership, consumer: client.Reader) -> None:
        self._membership = membership
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - its interface
        await self._membership.on_revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        assigned = list(assigned)
        self._consumer.pause(*assigned)
        await self._membership.on_assigned(assigned)
