"""Traffic of all inputs goes on while partitions are added and a new set takes over: both sets together equal a recount.

The recount is of one log that nobody ever split. What can be added of two records of a session must be the same: counts and
money, of totals and of windows.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Final

import orjson
import pytest

from stream.config import Settings
from stream.kafka.health import PARTITIONS
from stream.model.messages import Message
from stream.model.names import INPUTS, SESSION_WINDOWS, SESSIONS
from stream.operate import takeover
from stream.operate.grow import Growth
from stream.sandbox.broker import EmbeddedKafka
from stream.sandbox.traffic import Plan, Traffic
from tests.faults.grown import add_partitions
from tests.kafka.tools import everything, newest, until
from tests.live import Outgoing, send_all
from tests.operate.tools import eventually, make, worker
from tests.recount import LogRecord, recount
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

SECONDS: Final = 45
HOUR_MS: Final = 3_600_000
ON_TIME_MS: Final = 60_000
"""Those that come later are left out: whether they are late is decided by the clock of a partition, and there are two."""
Sums = Counter[tuple[str, str]]
"""By session or window, and name of the figure."""


def traffic(now_ms: int) -> list[Message]:
    """Of some seconds an hour ago, whose windows silence may close; nothing twice, since each set knows only its own."""
    start = now_ms - HOUR_MS
    made = Traffic(Plan(seed=11, rate=120, sessions=25, bad=0, duplicates=0), start)
    found: dict[tuple[object, ...], Message] = {}
    for message in made.step(start + 1000 * SECONDS):
        if message.at - message.event_time < ON_TIME_MS:
            event = orjson.loads(message.value or b"{}")
            order = tuple(event.get(name) for name in ("checkout_id", "status", "attempt"))
            found.setdefault((message.key, *order) if order[0] else (event["event_id"],), message)
    return list(found.values())


def sums(values: Iterable[tuple[str, dict[str, Any]]]) -> Sums:
    found: Sums = Counter()
    for key, value in values:
        money = {f"{name} {code}": n for name in ("gmv_minor", "item_value_minor") for code, n in value[name].items()}
        found.update({(key, name): number for name, number in (value["counts"] | money).items() if number})
    return found


async def written(kafka: EmbeddedKafka, config: Settings, name: str, partitions: int) -> Sums:
    rows: list[tuple[str, dict[str, Any]]] = []
    for number in range(partitions):
        rows += [
            (key.decode(), value) for key, value in newest(await everything(kafka, config.topic(name), number)).items()
        ]
    return sums(rows)


def test_both_sets_together_equal_the_recount(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, 2)
        target = config.model_copy(update={"topic_prefix": f"{prefix}p3.", "group": f"{prefix}new"})
        messages = traffic(int(time.time() * 1000))
        third = len(messages) // 3
        said: list[str] = []

        async def produce(some: list[Message], to: Settings, partitions: int) -> None:
            rows = [Outgoing(message.kind, message.key, message.value) for message in some]
            await send_all(kafka.bootstrap, to.topic_prefix, partitions, rows, together=200)

        async with worker(config) as memory, AsyncExitStack() as later:
            await produce(messages[:third], config, 2)
            await until(lambda: memory.counted > third // 2, "the old set counts")
            await add_partitions(kafka, {config.topic(name): 3 for name in INPUTS.values()})
            await produce(messages[third : 2 * third], config, 3)
            await until(lambda: PARTITIONS in memory.reasons, "it stops")
            growing = asyncio.ensure_future(takeover.execute(config, Growth(target.topic_prefix, 3, 2.0), said.append))
            await until(lambda: any("let producers write to" in text for text in said), "producers may switch")
            await later.enter_async_context(worker(target))
            await produce(messages[2 * third :], target, 3)
            done = await asyncio.wait_for(growing, PATIENCE)
            assert done.done
            assert done.split
            expected = recounted(messages)
            for name, wanted in ((SESSIONS, expected[0]), (SESSION_WINDOWS, expected[1])):

                async def equal(name: str = name, wanted: Sums = wanted) -> bool:
                    return await written(kafka, config, name, 2) + await written(kafka, target, name, 3) == wanted

                await eventually(equal, f"{name} of both equal the recount")

    asyncio.run(main())


def recounted(messages: list[Message]) -> tuple[Sums, Sums]:
    """Totals and windows."""
    now_ms = int(time.time() * 1000)
    result = recount(
        LogRecord(message.kind, 0, offset, now_ms, message.key, message.value)
        for offset, message in enumerate(messages)
    )
    assert {outcome for _, outcome in result.outcomes} <= {"counted", "not_an_order"}
    return sums(result.sessions.items()), sums(result.windows.items())
