"""Which partition numbers are ours, and what happens when nobody may know."""

import asyncio
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from stream.config import Settings
from stream.kafka import membership
from stream.kafka.membership import Membership, Owner
from stream.kafka.retries import BackoffPolicy
from stream.model.names import INPUTS, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.faults.grown import add_partitions
from tests.kafka.tools import make_topics, settings, until
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka


LONG = timedelta(seconds=60)
"""A session timeout that nobody waits for: who has left has said so."""


class Member:
    """A membership with an owner that only notes what it is told."""

    def __init__(self, config: Settings) -> None:
        self.owned: AbstractSet[int] | None = None
        self.revocations = 0
        self.membership = Membership(WORKER, config, Owner(self.revoked, self.assigned))
        self.running = asyncio.ensure_future(self.membership.run())

    async def revoked(self) -> None:
        self.revocations += 1
        self.owned = None

    def assigned(self, partitions: frozenset[int]) -> None:
        self.owned = partitions

    async def leave(self) -> None:
        self.running.cancel()
        await asyncio.wait({self.running})
        await self.membership.leave()


@asynccontextmanager
async def members(config: Settings, *made: Any) -> AsyncIterator[list[Member]]:
    found = [make(config) for make in made]
    try:
        yield found
    finally:
        await asyncio.gather(*(member.leave() for member in found))


def test_members_share_the_partition_numbers(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix, session_timeout=LONG)
        await make_topics(config, 3)
        async with members(config, Member) as [first]:
            await until(lambda: first.owned == {0, 1, 2}, "the only member owns everything")
            epoch = first.membership.epoch
            assert first.membership.current(epoch)
            async with members(config, Member) as [second]:
                await until(lambda: second.owned and first.owned, "both own something")
                assert first.owned is not None
                assert second.owned is not None
                assert first.owned | second.owned == {0, 1, 2}
                assert not first.owned & second.owned
                assert first.membership.epoch > epoch
                assert not first.membership.current(epoch)
                assert first.membership.current(first.membership.epoch)
            await until(lambda: first.owned == {0, 1, 2}, "it owns everything again", LONG.total_seconds() - 5)

    asyncio.run(main())


def test_more_members_than_partitions_leave_one_with_none(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        async with members(config, Member, Member) as both:
            await until(lambda: {member.owned for member in both} == {frozenset(), frozenset({0})}, "one owns nothing")

    asyncio.run(main())


def test_leaving_and_joining_again(kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        async with members(config, Member) as [member]:
            await until(lambda: member.owned == {0}, "it owns the partition")
            epoch = member.membership.epoch
            member.membership.rejoin("a test")
            assert not member.membership.current(epoch)
            await until(lambda: member.membership.epoch > epoch and member.owned == {0}, "it owns it anew")

    monkeypatch.setattr(membership, "BACKOFF", BackoffPolicy(0.05, 0.05))
    asyncio.run(main())


def test_an_uneven_assignment_is_none(kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group hears of added partitions before the watchdog does: nothing is owned, and nothing ends."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        await add_partitions(kafka, {config.topic(INPUTS[Kind.CHECKOUTS]): 3})
        async with members(config, Member) as [member]:
            await until(lambda: member.owned == frozenset() and member.membership.epoch > 2, "it joins again and again")
            assert not member.running.done()

    monkeypatch.setattr(membership, "BACKOFF", BackoffPolicy(0.05, 0.05))
    asyncio.run(main())


def test_an_owner_that_fails_ends_the_membership(kafka: EmbeddedKafka, prefix: str) -> None:
    class Broken(Member):
        def assigned(self, _partitions: frozenset[int]) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        member = Broken(config)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(member.running, PATIENCE)
        await member.leave()

    asyncio.run(main())


def test_a_process_that_stood_still_has_lost_its_assignment(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        async with members(config, Member) as [member]:
            await until(lambda: member.owned == {0}, "it owns the partition")
            epoch = member.membership.epoch
            member.membership._polled -= 7  # as if the loop had not moved for longer than the session timeout
            assert not member.membership.current(epoch)
            await until(lambda: member.membership.epoch > epoch and member.owned == {0}, "it has joined again")

    asyncio.run(main())
