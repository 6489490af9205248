"""What operators do with states and offsets works for the totals as well: shown, skipped, counted anew."""

import asyncio

import pytest

from stream.kafka.recovery import rehearse
from stream.operate import offsets, rebuild, skip
from stream.operate.shards import contexts, require_same_partitions
from stream.operate.show import show
from stream.operate.skip import Skip
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import send
from tests.totals.machine import PAID, ROLE
from tests.totals.test_recovery import await_totals, make, pay, working

pytestmark = pytest.mark.kafka


def test_states_and_offsets_of_any_role_are_shown_skipped_and_counted_anew(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        sums = await pay(kafka, config, PAID, range(1, 40))
        async with working(config):
            await await_totals(kafka, config, sums)
        await send(kafka, config.topic(PAID), [(b"a/1", b"5000")])
        await require_same_partitions(ROLE, config)
        first, _ = await contexts(ROLE, config, ())

        figures = [each.figures or {} for each in await show(ROLE, config, ())]
        assert [each["positions"] for each in figures] == [{"paid": 39, "refunded": 0}] * 2
        assert [(each["accounts"], each["owner"]["role"], each["generation"]) for each in figures] == [
            (2, "totals", 0)
        ] * 2
        assert [each["settings_differ"] + each["topics_made_anew"] for each in figures] == [[], []]
        stands = {(each.topic, each.partition): each for each in await offsets.show(ROLE, config)}
        assert len(stands) == 4
        paid = stands[config.topic(PAID), 0]
        assert (paid.state, paid.group, paid.end, paid.lag) == (39, 39, 40, 1)

        done = await skip.execute(first, Skip("paid", 39, 39, "far too much", "ops@here"))
        assert (done.position, [item.offset for item in done.items]) == (40, [39])
        sums.update(await pay(kafka, config, PAID, range(40, 50)))
        async with working(config):
            await await_totals(kafka, config, sums)

        again = await rebuild.execute(first, await rebuild.plan(first))
        paid_again, _ = again.topics
        assert (paid_again.begin, paid_again.position, paid_again.end) == (0, 50, 50)
        machine, _ = await rehearse(first)
        assert (again.generation, machine.generation, machine.positions) == (1, 1, {"paid": 0, "refunded": 0})

    asyncio.run(main())
