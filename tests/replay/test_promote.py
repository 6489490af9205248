"""A replay is promoted session by session, and taken back, by what lies in the topics: on a real broker, with a worker."""

import asyncio
from datetime import timedelta

import pytest

from stream.cli import replay_promote
from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import topics
from stream.kafka.checkpoint import state_headers
from stream.kafka.role import Role, Spec
from stream.model.names import INPUTS, SESSION_WINDOWS, SESSIONS, STATE, Kind
from stream.replay import promote
from stream.replay.plan import Plan
from stream.replay.promotable import Standing
from stream.replay.promote import Asked
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.core.promoted import Promoted
from tests.core.worlds import World
from tests.kafka.test_promotions import COUNTED, MS, RECORDED, last, of_s1
from tests.kafka.tools import BASE, Rows, make_topics, producer, send, settings, until, worker
from tests.live import eventually
from tests.recount import LogRecord
from tests.replay.test_plan import a_plan

HOUR = 3_600_000


def planned(config: Settings) -> Plan:
    """The hours around the session."""
    return a_plan(
        from_ms=BASE // HOUR * HOUR,
        to_ms=BASE // HOUR * HOUR + 2 * HOUR,
        topic_prefix=config.topic_prefix,
        policy=config.policy().deciding(),
    )


async def run(kafka: EmbeddedKafka, config: Settings, plan: Plan) -> Promoted:
    """What the replay has counted lies in its topics, as one checkpoint."""
    names = (SESSION_WINDOWS, SESSIONS, STATE)
    specs = tuple(Spec(plan.topic(name), {}) for name in names)
    role = Role(name="t", inputs=(), outputs=(), state=plan.topic(STATE), specs=specs, machines=WORKER.machines)
    await topics.create(role, config, 1)
    driver = Promoted(World(), config.policy())
    driver.logs[Kind.VIEWS] = [
        LogRecord("views", 0, number, BASE + MS, key, value) for number, (key, value) in enumerate(RECORDED)
    ]
    driver.step("views", len(RECORDED))
    driver.shard.positions[Kind.VIEWS] = len(COUNTED)  # it has read what was lost, and nothing that is not there
    driver.shard.finish()
    while driver.shard.work(1000):
        pass
    driver.checkpoint()
    live = driver.live
    contents = [(SESSION_WINDOWS, live.windows), (SESSIONS, live.sessions)]
    for name, values in contents:
        rows: Rows = [(key.encode(), value) for key, value in values.items()]
        await send(kafka, config.topic(plan.topic(name)), rows)
    async with producer(kafka) as sender:
        for number, (_, value) in enumerate(driver.state):
            headers = state_headers(value)
            key = f"1/{number}".encode()
            await sender.send_and_wait(config.topic(plan.topic(STATE)), value, key=key, partition=0, headers=headers)
    return driver


@pytest.mark.kafka
def test_a_replay_is_promoted_and_taken_back(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix, session_keep=timedelta(days=1))
        await make_topics(config)
        plan = planned(config)
        after = await run(kafka, config, plan)
        await send(kafka, config.topic(INPUTS[Kind.VIEWS]), COUNTED)
        async with worker(config) as running:
            await until(lambda: running.counted == len(COUNTED), "all are counted")

            async def has_ended() -> bool:
                return b'"status":"ended"' in (await last(kafka, config)).sessions.get("s1", b"")

            await eventually("the session has ended", has_ended)
            before = of_s1(await last(kafka, config))
            asked = Asked(plan, "me", "a wrong rate")
            dry = await promote.promote(config, Asked(plan, "me", "why", dry_run=True))
            assert dry.standings == {"s1": Standing.PROMOTED}
            assert of_s1(await last(kafka, config)) == before
            done = await promote.promote(config, asked)
            assert done.outcomes == {"applied": 1}, (done.verdicts, done.waiting)
            assert of_s1(await last(kafka, config)) == of_s1(after.live)
            again = await promote.promote(config, asked)
            assert again.standings == {"s1": Standing.EQUAL}
            with pytest.raises(UsageError, match="has counted nothing of the session s7"):
                await promote.promote(config, Asked(plan, "me", "why", frozenset({"s7"})))
            back = await promote.undo(config, Asked(plan, "me", "a mistake"))
            assert back.outcomes == {"applied": 1}, (back.verdicts, back.waiting)
            assert of_s1(await last(kafka, config)) == before
            with pytest.raises(UsageError, match="no session of which the replay friday was promoted last"):
                await promote.undo(config, asked)

    asyncio.run(main())


def test_the_topic_is_to_be_typed_out(prefix: str) -> None:
    config = Settings(brokers="k:9092", topic_prefix=prefix)
    with pytest.raises(UsageError, match=f"say --confirm {prefix}live.session-windows, or --dry-run"):
        replay_promote._confirmed(config, "yes", dry_run=False)
    replay_promote._confirmed(config, "", dry_run=True)
