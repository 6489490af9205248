"""The contract of membership: what a group tells its members, in memory and on a real Kafka."""

import asyncio
from collections.abc import Iterable

from aiokafka import ConsumerRebalanceListener, TopicPartition

from stream.kafka import client
from stream.kafka.members import describe
from stream.model.names import INPUTS
from stream.sessions.role import WORKER
from tests.simulation.stage import Demo, eventually, started


class Watching(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed for us
    def __init__(self) -> None:
        self.told: list[tuple[str, set[int]]] = []

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.told.append(("revoked", {tp.partition for tp in revoked}))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.told.append(("assigned", {tp.partition for tp in assigned}))

    @property
    def last(self) -> tuple[str, set[int]]:
        return self.told[-1] if self.told else ("", set())


def test_a_group_shares_the_partitions_and_takes_them_all_away_first(stage: Demo) -> None:
    async def act() -> None:
        await stage.make_topics(4)
        topics = [stage.settings.topic(name) for name in INPUTS.values()]
        watching = Watching(), Watching()
        async with started(client.make_member(stage.settings, WORKER.name), stage.settings) as first:
            first.subscribe(topics, listener=watching[0])

            async def alone() -> bool:
                await first.getmany(timeout_ms=50)
                return watching[0].last == ("assigned", {0, 1, 2, 3})

            await eventually(alone, "the first has all of them")
            async with started(client.make_member(stage.settings, WORKER.name), stage.settings) as second:
                second.subscribe(topics, listener=watching[1])

                async def shared() -> bool:
                    await asyncio.gather(first.getmany(timeout_ms=50), second.getmany(timeout_ms=50))
                    last = [each.last for each in watching]
                    return {name for name, _ in last} == {"assigned"} and sorted(map(sorted, (n for _, n in last))) == [
                        [0, 1],
                        [2, 3],
                    ]

                await eventually(shared, "they share")
                async with started(client.make_admin(stage.settings), stage.settings) as admin:
                    found = await describe(admin, stage.settings.group)
                assert (found.state, found.assignor) == ("Stable", "range")
                for member in found.members:
                    assert (member.client, member.topics) == (
                        client.member_id(stage.settings, WORKER.name),
                        frozenset(topics),
                    )
                owned = sorted(sorted(map(tuple, member.partitions.values())) for member in found.members)
                assert owned == [[(0, 1)] * 3, [(2, 3)] * 3]
                assert ("revoked", {0, 1, 2, 3}) in watching[0].told
            await eventually(alone, "the first has all of them again")
            assert watching[0].told[-2][0] == "revoked"

    stage.play(act)
