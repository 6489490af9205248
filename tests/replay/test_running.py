"""Replays of real topics: what a worker has counted is counted again, also when it is killed. Nothing live is touched."""

import asyncio
import gc
import os
import random
import time
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec
import orjson
import pytest
from aiokafka import TopicPartition

from stream.config import Settings
from stream.errors import FailedError, UsageError
from stream.kafka import topics
from stream.kafka.recovery import group_offsets
from stream.model.messages import Message
from stream.model.names import INPUTS, OUTPUTS, STATE, Kind
from stream.operate.shards import reading
from stream.replay import diff, planning, running
from stream.replay import plan as plans
from stream.replay.pacing import Pace
from stream.replay.plan import Plan
from stream.replay.planning import Asked
from stream.replay.role import replay_role
from stream.replay.running import Counts
from stream.sandbox import sender
from stream.sandbox.broker import EmbeddedKafka
from stream.sandbox.traffic import Plan as TrafficPlan
from stream.sandbox.traffic import Traffic
from tests.kafka import tools
from tests.kafka.test_recovery import delete_records
from tests.live import eventually
from tests.outputs import Follower, Value, newest, without
from tests.replay.test_planning import make
from tests.replay.tools import event
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka
MINUTE: Final = 60_000
PARTITIONS: Final = 2
NOW: Final = int(time.time() * 1000) // (10 * MINUTE) * (10 * MINUTE)
START: Final = NOW - 120 * MINUTE
FROM: Final = START + 12 * MINUTE
TO: Final = START + 24 * MINUTE
SPEED: Final = 150.0
ROUNDS: Final = int(os.environ.get("REPLAY_ROUNDS", "2"))
"""Of a replay that is interrupted; `make chaos` has more."""
MINUTES: Final = 40
"""Of traffic: it goes on until every window of the range is final."""


def settings_of(kafka: EmbeddedKafka, prefix: str, **more: Any) -> Settings:
    return tools.settings(
        kafka, prefix, trust_producer_time=True, session_end_after=timedelta(minutes=1), rules="default", **more
    )


def traffic() -> list[Message]:
    """Rooms come and go, one event in a hundred is a repeat, some come late, and a few are refused."""
    return Traffic(
        TrafficPlan(seed=7, rate=10, sessions=8, bad=0.01, outages=((14 * MINUTE, 17 * MINUTE),)), START
    ).step(START + MINUTES * MINUTE)


async def fill(settings: Settings, messages: Sequence[Message]) -> None:
    producer = sender.producer(settings.brokers or "")
    await producer.start()
    try:
        sending = sender.Sender(producer, settings.topic_prefix)
        await sending.check(settings)
        await sending.send(messages)
        await sending.flush()
    finally:
        await producer.stop()


async def planned(settings: Settings, **more: Any) -> Plan:
    values: dict[str, Any] = {"from_ms": FROM, "to_ms": TO, "now_ms": NOW, "id": "again"} | more
    asked = Asked(**values)
    return (await planning.make(settings, asked)).plan


async def replay(plan: Plan, settings: Settings, stop: asyncio.Event | None = None) -> Counts:
    await running.prepare(plan, settings)
    numbers = range(plan.partitions)
    return await running.run(plan, settings, numbers, stop=stop or asyncio.Event(), tell=lambda _, __: None)


@dataclass
class Seen:
    """Everything in some outputs: the newest value of each key, and dead letters by origin."""

    windows: dict[str, Value]
    totals: dict[str, Value]
    alerts: set[tuple[str, str, int, str]]
    letters: dict[bytes, bytes]
    raw: list[tuple[str, int, int]]
    """Where there are records."""

    @property
    def bare(self) -> tuple[Any, ...]:
        return bare(self.windows), bare(self.totals), self.alerts, self.letters


def bare(values: dict[str, Value]) -> dict[str, Value]:
    return {key: without(value, "run", "revision", "reason", "generation") for key, value in values.items()}


async def seen(settings: Settings, topics: Sequence[str]) -> Seen:
    """``topics``: windows, totals, alerts, dead letters."""
    names = [settings.topic(name) for name in topics]
    async with Follower(settings.brokers or "", names, PARTITIONS) as follower:
        records = await follower.more()
    by_topic: dict[str, list[Any]] = {name: [] for name in names}
    for record in records:
        by_topic[record.topic].append(record)
    windows, totals, alerts, letters = (by_topic[name] for name in names)
    headers = [dict(record.headers) for record in letters]
    told = [orjson.loads(record.value) for record in alerts]
    return Seen(
        _newest(windows),
        _newest(totals),
        {(each["alert"], each["session_id"], each["at"], each["status"]) for each in told},
        {each["liveshop-origin"]: each["liveshop-reason"] for each in headers},
        sorted((record.topic, record.partition, record.offset) for record in records),
    )


def _newest(records: Collection[Any]) -> dict[str, Value]:
    by_key: dict[str, list[Value]] = {}
    for record in records:
        by_key.setdefault(record.key.decode(), []).append(orjson.loads(record.value))
    return {key: newest(values) for key, values in by_key.items()}


def own(plan: Plan) -> list[str]:
    return [plan.topic(name) for name in OUTPUTS]


async def counted_live(settings: Settings, messages: int) -> None:
    """A worker counts all of it, until the windows of the range are final."""
    names = [settings.topic(OUTPUTS[0])]
    found: list[Value] = []
    async with Follower(settings.brokers or "", names, PARTITIONS) as follower, tools.worker(settings) as memory:

        async def final() -> bool:
            found.extend(orjson.loads(record.value) | {"p": record.partition} for record in await follower.more())
            last = {(each["p"], each["window"]) for each in found if each["end"] >= TO + 8 * MINUTE}
            return memory.read >= messages and len(last) == 2 * PARTITIONS

        await eventually("the range is counted live", final, every=0.2)


def within(values: dict[str, Value]) -> dict[str, Value]:
    return {key: each for key, each in values.items() if each["start"] >= FROM and each["end"] <= TO}


def whole(totals: dict[str, Value], before: int = TO - MINUTE) -> dict[str, Value]:
    """Those of sessions that are neither over before the range nor go on behind it."""
    return {
        key: each
        for key, each in totals.items()
        if "first_event" in each
        and each["last_event"] >= FROM
        and each["last_event"] < before
        and each["status"] == "ended"
    }


async def counted(kafka: EmbeddedKafka, prefix: str) -> Settings:
    """Topics with traffic that a worker has counted."""
    settings = settings_of(kafka, prefix)
    await make(settings, PARTITIONS)
    messages = traffic()
    await fill(settings, messages)
    await counted_live(settings, len(messages))
    return settings


def test_an_untouched_range_equals_what_was_counted_live_and_nothing_live_is_touched(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    """It begins and ends inside sessions, and crosses late events and dead letters."""

    async def run() -> None:
        settings = await counted(kafka, prefix)
        live = await seen(settings, OUTPUTS)
        places = [tp for name in INPUTS.values() for tp in _partitions(settings, name)]
        offsets = await group_offsets(settings, places)
        plan = await planned(settings)
        counts = await replay(plan, settings)
        found = await seen(settings, own(plan))

        assert bare(found.windows) == bare(within(live.windows)) != {}
        assert {each["run"] for each in (*found.windows.values(), *found.totals.values())} == {"again"}
        expected = whole(live.totals)
        assert len(expected) > 1
        assert {key: bare(found.totals)[key] for key in expected} == bare(expected)
        assert all(each["first_event"] < TO for each in found.totals.values())
        assert found.alerts == {alert for alert in live.alerts if FROM < alert[2] <= TO}
        assert found.letters.items() <= live.letters.items()
        assert found.letters
        assert counts.done == set(range(PARTITIONS))
        assert counts.records > 0
        assert counts.outcomes["counted"] > counts.outcomes["duplicate"] > 0

        compared = await diff.diff(settings, plan)
        assert (compared.equal, compared.differing) == (True, 0), compared.largest
        assert compared.compared >= len(found.windows), "totals as well, where no end of the range cuts the session"

        assert (await seen(settings, OUTPUTS)).raw == live.raw
        assert await group_offsets(settings, places) == offsets
        again = await replay(plan, settings)
        assert again.records == 0, "what is done is not done twice"
        assert (await seen(settings, own(plan))).raw == found.raw

    asyncio.run(run())


def _partitions(settings: Settings, name: str) -> list[TopicPartition]:
    return [TopicPartition(settings.topic(name), number) for number in range(PARTITIONS)]


def test_wherever_it_is_ended_it_goes_on_and_equals_an_undisturbed_run(kafka: EmbeddedKafka, prefix: str) -> None:
    """Ended in order, as at Ctrl-C, or in the middle of whatever it does; also while it closes what is open at the end."""

    async def run() -> None:
        settings = settings_of(kafka, prefix, checkpoint_every=timedelta(milliseconds=50))
        await make(settings, PARTITIONS)
        await fill(settings, traffic())
        smooth = await planned(settings, id="smooth")
        began = time.monotonic()
        await replay(smooth, settings)
        lasted = time.monotonic() - began
        expected = await seen(settings, own(smooth))
        for number in range(ROUNDS):
            plan, dice, ends = await planned(settings, id=f"r{number}"), random.Random(number), 0
            while await _ended_early(plan, settings, dice, lasted * (1 + ends / 4)):
                ends += 1
                assert ends < 50
            found = await seen(settings, own(plan))
            assert found.bare == expected.bare
            assert found.windows

    asyncio.run(run())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # aiokafka leaves a connection open when it is cancelled while it connects


async def _ended_early(plan: Plan, settings: Settings, dice: random.Random, lasted: float) -> bool:
    stop = asyncio.Event()
    work = asyncio.create_task(replay(plan, settings, stop))
    await asyncio.wait({work}, timeout=dice.uniform(0.1, 1.2) * lasted)
    if work.done():
        return work.result().done != set(range(PARTITIONS))
    if dice.random() < 0.5:
        stop.set()
        return (await work).done != set(range(PARTITIONS))
    work.cancel()
    await asyncio.wait({work}, timeout=PATIENCE)
    return True


def test_other_windows_are_those_of_the_plan_and_only_named_sessions_are_written(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        await fill(settings, traffic())
        every = await planned(settings, id="every")
        await replay(every, settings)
        two = await planned(settings, id="two", windows="2m")
        await replay(two, settings)
        minutes, found = await seen(settings, own(every)), await seen(settings, own(two))
        assert {each["window"] for each in found.windows.values()} == {"2m"}
        views = sum(each["counts"]["views"] for each in minutes.windows.values() if each["window"] == "1m")
        assert sum(each["counts"]["views"] for each in found.windows.values()) == views > 0
        assert bare(whole(found.totals)) == bare(whole(minutes.totals))

        session = next(each["session_id"] for each in minutes.windows.values())
        one = await planned(settings, id="one", sessions=(session,))
        await replay(one, settings)
        only = await seen(settings, own(one))
        assert only.windows == {
            key: each | {"run": "one"} for key, each in minutes.windows.items() if each["session_id"] == session
        }
        assert set(only.totals) == {session}

    asyncio.run(run())


def test_what_retention_has_cut_is_marked_incomplete(kafka: EmbeddedKafka, prefix: str) -> None:
    """Also what it cuts after the plan was made."""

    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        await fill(settings, traffic())
        before = await planned(settings, id="before")
        for name in INPUTS.values():
            for tp in _partitions(settings, name):
                await cut(kafka, settings, tp, FROM - 6 * MINUTE)
        after = await planned(settings, id="after")
        assert all(part.lost for part in after.parts)
        for plan in (before, after):
            await replay(plan, settings)
            found = (await seen(settings, own(plan))).windows.values()
            first = min(each["start"] for each in found)
            assert all(each.get("incomplete") for each in found if each["start"] == first)

    asyncio.run(run())


async def cut(kafka: EmbeddedKafka, settings: Settings, tp: TopicPartition, before_ms: int) -> None:
    async with reading(settings, [tp]) as reader:
        [found] = (await reader.offsets_for_times({tp: before_ms})).values()
    assert found is not None
    await delete_records(kafka, tp.topic, found.offset, tp.partition)


def test_a_partition_without_records_is_done_at_once(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        plan = await planned(settings)
        assert (await replay(plan, settings)).done == set(range(PARTITIONS))
        await fill(settings, [each for each in traffic() if each.kind is Kind.VIEWS][:50])
        later = await planned(settings, id="later")
        assert (await replay(later, settings)).done == set(range(PARTITIONS))
        assert (await replay(plan, settings)).records == 0, "the ends of a plan are frozen"
        assert not (await seen(settings, own(plan))).raw

    asyncio.run(run())


def test_aborted_records_and_markers_are_passed_over(kafka: EmbeddedKafka, prefix: str) -> None:
    """Also at the frozen end, where nothing follows them."""

    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        topic = settings.topic(INPUTS[Kind.VIEWS])
        async with tools.producer(kafka, transactional_id=prefix) as producer:
            for numbers, commit in (
                (range(5), True),
                (range(5, 9), False),
                (range(9, 12), True),
                (range(12, 15), False),
            ):
                await producer.begin_transaction()
                for number in numbers:
                    value = event(Kind.VIEWS, number, 0, event_time=FROM + number * 1000)
                    at = FROM + number * 1000
                    await producer.send_and_wait(topic, value, key=b"7", partition=0, timestamp_ms=at)
                await (producer.commit_transaction() if commit else producer.abort_transaction())
        plan = await planned(settings)
        assert plan.parts[0].ends["views"] == 19, "four markers"
        counts = await replay(plan, settings)
        assert (counts.records, counts.outcomes["counted"]) == (8, 8)
        found = await seen(settings, own(plan))
        assert {each["counts"]["views"] for each in found.windows.values() if each["window"] == "1m"} == {8}
        assert {each["reason"] for each in found.windows.values()} == {"end_of_input"}

    asyncio.run(run())


def test_traffic_goes_on_and_a_worker_counts_it_as_if_there_were_no_replay(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        messages = traffic()
        half = len(messages) * 3 // 4
        await fill(settings, messages[:half])
        async with tools.worker(settings) as memory:
            plan = await planned(settings)
            sending = asyncio.create_task(fill(settings, messages[half:]))
            first = await replay(plan, settings)
            await sending
            await tools.until(lambda: memory.read >= len(messages), "all is counted live")
        assert sum(memory.outcomes.values()) == len(messages)
        assert first.records <= half
        places = [tp for name in INPUTS.values() for tp in _partitions(settings, name)]
        assert await group_offsets(settings, places) == await _ends(settings, places), "the worker's own"
        found = await seen(settings, own(plan))
        assert found.windows

    asyncio.run(run())


async def _ends(settings: Settings, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    async with reading(settings, places) as reader:
        return dict(await reader.end_offsets(list(places)))


def test_event_time_passes_no_faster_than_asked_for(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        await fill(settings, traffic())
        fast, slow = await planned(settings, id="fast"), await planned(settings, id="slow")
        await replay(fast, settings)
        await running.prepare(slow, settings)
        began = time.monotonic()
        await running.run(slow, settings, range(PARTITIONS), stop=asyncio.Event(), tell=lambda _, __: None, speed=SPEED)
        assert time.monotonic() - began > 0.8 * (TO - FROM) / 1000 / SPEED, "a bound, and not how long it takes"
        assert (await seen(settings, own(slow))).bare == (await seen(settings, own(fast))).bare

    asyncio.run(run())


def test_who_runs_the_same_replay_beside_another_ends_that_one(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        await fill(settings, traffic())
        plan = await planned(settings)
        await running.prepare(plan, settings)
        stop, slow = asyncio.Event(), Pace(500)
        moved = asyncio.Event()

        def tell(_: int, done: int) -> None:
            if done:
                moved.set()

        first = asyncio.create_task(running.run(plan, settings, [0], stop=stop, tell=tell, pace=slow))
        async with asyncio.timeout(PATIENCE):
            await moved.wait()
        second = await running.run(plan, settings, [0], stop=asyncio.Event(), tell=lambda _, __: None)
        assert second.done == {0}
        with pytest.raises(FailedError, match="somebody else runs the replay again"):
            await asyncio.wait_for(first, PATIENCE)

    asyncio.run(run())


def test_a_plan_that_does_not_fit_is_refused_before_anything_is_made(kafka: EmbeddedKafka, prefix: str) -> None:
    async def run() -> None:
        settings = settings_of(kafka, prefix)
        await make(settings, PARTITIONS)
        plan = await planned(settings)
        with pytest.raises(UsageError, match="--topic-prefix"):
            await running.prepare(plan, settings.model_copy(update={"topic_prefix": "other."}))
        with pytest.raises(UsageError, match="dead letters"):
            await running.prepare(plans.sealed(msgspec.structs.replace(plan, letters=["late"])), settings)
        there = await topics.describe(replay_role(plan), settings)
        assert {topic.made for topic in there} == {topics.TopicStatus.MISSING}
        await running.prepare(plan, settings)
        made = {topic.name: topic for topic in await topics.describe(replay_role(plan), settings)}
        assert set(made) == {settings.topic(plan.topic(name)) for name in (*OUTPUTS, STATE)}
        assert {topic.configs["retention.ms"] for topic in made.values()} == {str(7 * 24 * 60 * MINUTE)}
        assert {topic.partitions for topic in made.values()} == {PARTITIONS}
        assert all("delete" in topic.configs["cleanup.policy"] for topic in made.values())

    asyncio.run(run())
