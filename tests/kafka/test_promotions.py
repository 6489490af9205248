"""A worker on a real broker reads promotions beside its inputs, whatever happens to it, and goes on without their topics."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from stream.config import Settings
from stream.model.names import INPUTS, PROMOTION_OUTCOMES, PROMOTIONS, SESSION_WINDOWS, SESSIONS, Kind
from stream.sandbox.broker import EmbeddedKafka
from tests.core.promoted import Live, Promoted, promotion
from tests.core.worlds import World
from tests.kafka.tools import (
    BASE,
    delete,
    everything,
    make_topics,
    producer,
    send,
    settings,
    until,
    view,
    views,
    worker,
)
from tests.live import eventually
from tests.recount import LogRecord

pytestmark = pytest.mark.kafka

MS = 3 * 3600 * 1000
"""So much later windows are final by every clock, also by those of topics that never spoke."""
COUNTED = [*views(range(0, 600, 2)), (b"s9", view(0, "s9", event_time=BASE + MS))]
RECORDED = [*views(range(600)), COUNTED[-1]]
"""The worker has lost each second view of those; the replay has them all."""


def replayed(config: Settings, rows: Iterable[tuple[bytes | None, bytes | None]]) -> Promoted:
    driver = Promoted(World(), config.policy())
    records = [LogRecord("views", 0, number, BASE + MS, key, value) for number, (key, value) in enumerate(rows)]
    driver.logs[Kind.VIEWS] = records
    driver.end()
    driver.shard.finish()
    driver.settle()
    return driver


async def promote(kafka: EmbeddedKafka, config: Settings, records: list[tuple[bytes, bytes]]) -> None:
    """In one transaction."""
    async with producer(kafka, transactional_id=config.topic("promoter")) as sender, sender.transaction():
        for key, value in records:
            await sender.send(config.topic(PROMOTIONS), value, key=key, partition=0)


async def outcomes(kafka: EmbeddedKafka, config: Settings) -> list[str]:
    found = await everything(kafka, config.topic(PROMOTION_OUTCOMES))
    return [json.loads(record.value)["outcome"] for record in found]


async def last(kafka: EmbeddedKafka, config: Settings) -> Live:
    """What a reader has in the end."""
    live = Live()
    for topic, into in ((SESSION_WINDOWS, live.windows), (SESSIONS, live.sessions)):
        for record in await everything(kafka, config.topic(topic)):
            if record.value is None:
                into.pop(record.key.decode(), None)
            else:
                into[record.key.decode()] = record.value
    return live


def of_s1(live: Live) -> tuple[dict[str, Any], Any]:
    windows, sessions = live.comparable()
    return {key: value for key, value in windows.items() if key.startswith("s1/")}, sessions.get("s1")


def test_a_promotion_is_applied_once_and_again_after_a_rebuild(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        await send(kafka, config.topic(INPUTS[Kind.VIEWS]), COUNTED)
        after = replayed(config, RECORDED)
        async with worker(config) as first:
            await until(lambda: first.counted == len(COUNTED), "all are counted")

            async def is_written() -> bool:
                return of_s1(await last(kafka, config)) == of_s1(replayed(config, COUNTED).live)

            await eventually("the live results are written", is_written)
        before = await last(kafka, config)
        records = promotion("s1", before, None, after, ends={"views": len(COUNTED) + 10})
        await promote(kafka, config, records)  # it is down
        async with worker(config):
            await asyncio.sleep(1)
            assert await outcomes(kafka, config) == [], "the inputs are not read up to the ends of the replay"
            await send(kafka, config.topic(INPUTS[Kind.VIEWS]), [(b"s9", view(n, "s9")) for n in range(10)])
            await eventually("it is applied", lambda: _are(kafka, config, ["applied"]))
            assert of_s1(await last(kafka, config)) == of_s1(after.live)
            await promote(kafka, config, records)
            await eventually("twice is nothing", lambda: _are(kafka, config, ["applied", "already"]))
        async with worker(config, rebuild=True):
            expected = ["applied", "already", "applied"]
            await eventually("it is applied again", lambda: _are(kafka, config, expected))
            found = await last(kafka, config)
            assert of_s1(found) == of_s1(after.live)
            assert json.loads(found.sessions["s1"])["generation"] == 1

    asyncio.run(main())


async def _are(kafka: EmbeddedKafka, config: Settings, expected: list[str]) -> bool:
    return await outcomes(kafka, config) == expected


def test_without_the_topics_of_promotions_everything_else_goes_on(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config)
        await send(kafka, config.topic(INPUTS[Kind.VIEWS]), views(range(10)))
        async with worker(config) as first:
            await until(lambda: first.counted == 10, "all are counted")
        await delete(config, PROMOTIONS, PROMOTION_OUTCOMES)
        async with worker(config) as second:
            await send(kafka, config.topic(INPUTS[Kind.VIEWS]), views(range(10, 30)))
            await until(lambda: second.counted == 20, "the rest is counted without them")
        await make_topics(config)
        async with worker(config):
            await promote(kafka, config, [(b"s1", b"no promotion")])
            await eventually("they are read again", lambda: _are(kafka, config, ["refused"]))

    asyncio.run(main())
