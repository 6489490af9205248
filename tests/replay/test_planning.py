"""Plans of real topics: bounds become offsets, and what is missing is said; nothing is written."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from stream import cli
from stream.cli.replay_plan import notes
from stream.config import Settings
from stream.core.policy import DAY, HOUR, MINUTE
from stream.errors import UsageError
from stream.kafka import client
from stream.model.names import INPUTS, KINDS, SESSIONS, Kind
from stream.replay import identity, planning
from stream.replay import plan as plans
from stream.replay.plan import Plan
from stream.replay.planning import Asked, Planned
from stream.replay.resolving import Stretch
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from tests.kafka import tools
from tests.kafka.test_recovery import delete_records
from tests.operate.tools import count
from tests.replay.test_plan import a_plan

kafka_test: Final = pytest.mark.kafka
NOW: Final = int(time.time() * 1000) // HOUR * HOUR
"""A whole hour, so that windows begin where ranges do."""
FROM: Final = NOW - 5 * HOUR
TO: Final = NOW - 4 * HOUR


def asked(**more: Any) -> Asked:
    return Asked(**({"from_ms": FROM, "to_ms": TO, "now_ms": NOW} | more))


# -- what is refused before anything is asked: there is no broker at all


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"to_ms": FROM}, "the same moment"),
        ({"to_ms": FROM - 1}, "--to must lie behind --from"),
        ({"to_ms": NOW + 1}, "future"),
        ({"from_ms": FROM + 1, "to_ms": FROM + MINUTE}, "no window lies wholly"),
        ({"windows": "2h,3h/1h"}, "no window lies wholly"),
        ({"windows": "5x"}, "--windows: '5x'"),
        ({"windows": "1m,1m"}, "--windows: .*used twice"),
        ({"windows": ""}, "--windows: .*at least one"),
        ({"rules": "/nowhere/rules.yaml"}, "cannot be read"),
        ({"id": "Fri day"}, "no id of a replay"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(more: Mapping[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        asyncio.run(planning.make(Settings(brokers="127.0.0.1:1"), asked(**more)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from=2026-03-01T19:30", "--to=-1h"], "has no offset"),
        (["--from=-1h", "--to=-2h"], "must lie behind"),
        (["--from=-2h", "--to=2109-01-01T00:00Z"], "future"),
    ],
)
def test_the_command_refuses_in_one_line(words: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["replay", "plan", "--brokers=127.0.0.1:1", *words])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


# -- a real broker


def event(kind: Kind, number: int, at: int, session: str = "7") -> bytes:
    common = {"event_id": f"{kind}{number}", "event_time": at, "session_id": session, "seller_id": "s1"}
    return json.dumps(common).encode()


async def make(settings: Settings, partitions: int = 1) -> None:
    """Inputs that keep the times of their producers, so that records can be of any age."""
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        configs = {"message.timestamp.type": "CreateTime"}
        names = map(settings.topic, INPUTS.values())
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs) for name in names])
    finally:
        await client.end(admin)
    await topics.create(settings, partitions)


async def fill(settings: Settings, kind: Kind, times: Sequence[int], partition: int = 0) -> None:
    """Records appended at these times, of events of the same moments."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers)
    await producer.start()
    try:
        for number, at in enumerate(times):
            await producer.send(
                settings.topic(INPUTS[kind]), event(kind, number, at), key=b"7", partition=partition, timestamp_ms=at
            )
        await producer.flush()
    finally:
        await producer.stop()


async def total(settings: Settings, session: str, span: tuple[int, int], partition: int = 0) -> None:
    value = {"session_id": session, "seller_id": f"of-{session}", "first_event": span[0], "last_event": span[1]}
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers)
    await producer.start()
    try:
        await producer.send_and_wait(
            settings.topic(SESSIONS), json.dumps(value).encode(), key=session.encode(), partition=partition
        )
    finally:
        await producer.stop()


def planned(kafka: EmbeddedKafka, prefix: str, *others: Any, **more: Any) -> Planned:
    """Of topics with an event a minute, from ten hours ago on, after ``others`` were done."""
    settings = tools.settings(kafka, prefix)

    async def run() -> Planned:
        await make(settings)
        for kind in KINDS:
            await fill(settings, kind, range(NOW - 10 * HOUR, NOW, MINUTE))
        for each in others:
            await each(settings)
        return await planning.make(settings, asked(**more))

    return asyncio.run(run())


def minutes(offset: int) -> int:
    """Before the beginning of the range, of the record at an offset."""
    return (FROM - (NOW - 10 * HOUR)) // MINUTE - offset


@kafka_test
def test_bounds_become_offsets(kafka: EmbeddedKafka, prefix: str) -> None:
    found = planned(kafka, prefix, id="friday")
    [part] = found.plan.parts
    lead = found.plan.lead_ms // MINUTE
    assert minutes(part.begins["views"]) in {lead + 1, lead + 2}, "the lead and max_future"
    assert part.begins["comments"] == part.begins["views"]
    assert part.begins["checkouts"] == 0, "a day before"
    assert part.ends == dict.fromkeys(INPUTS, 600)
    assert part.expected["views"] == 6 * 60 + 6, "the range, delay and lateness"
    assert part.expected["checkouts"] == 600, "a day after it, or the end"
    assert part.lost == {}
    assert part.expected_bytes > 0
    assert found.plan.records == 2 * (366 - part.begins["views"]) + 600
    assert (found.plan.id, found.plan.topic_prefix) == ("friday", prefix)
    assert len(found.plan.topic_ids) == 3
    assert plans.read(plans.written(found.plan), "plan.json") == found.plan


@kafka_test
def test_reading_begins_where_sessions_on_air_do(kafka: EmbeddedKafka, prefix: str) -> None:
    async def sessions(settings: Settings) -> None:
        await total(settings, "early", (FROM - HOUR, FROM - HOUR + MINUTE))
        await total(settings, "early", (FROM - 2 * HOUR, FROM))
        await total(settings, "gone", (FROM - 4 * HOUR, FROM - 1))
        await total(settings, "inside", (FROM, TO - 1))
        await total(settings, "later", (TO, TO + HOUR))
        await total(settings, "ancient", (FROM - 2 * DAY, TO + 1))

    found = planned(kafka, prefix, sessions, sellers=("of-early", "of-inside", "of-gone", "of-later"))
    assert [each.session for each in found.sessions or ()] == ["early", "inside"]
    lead = found.plan.lead_ms // MINUTE
    assert minutes(found.plan.parts[0].begins["views"]) in {120 + lead + 1, 120 + lead + 2}
    assert found.beyond == []
    assert [note for note in notes(found) if "partial" in note] == [
        "began before --from, so they are partial: one session (early)"
    ]
    settings = tools.settings(kafka, prefix)
    every = asyncio.run(planning.make(settings, asked()))
    assert [each.session for each in every.beyond] == ["ancient"]
    assert every.plan.parts[0].begins["views"] == 0
    assert any("their beginning is not read: one session (ancient)" in note for note in notes(every))
    assert any("went on after --to, so they are partial: one session (ancient)" in note for note in notes(every))


@kafka_test
def test_named_sessions_need_their_partitions_only(kafka: EmbeddedKafka, prefix: str) -> None:
    settings = tools.settings(kafka, prefix)

    async def run() -> list[list[int]]:
        await make(settings, 4)
        await total(settings, "7301", (FROM, TO - 1), partition=3)
        whose = [asked(sessions=("7301",)), asked(sessions=("7301",), sellers=("s1",)), asked()]
        return [[part.partition for part in (await planning.make(settings, each)).plan.parts] for each in whose]

    by_session, *others = asyncio.run(run())
    assert 3 in by_session
    assert len(by_session) <= 2, "where its totals are, and where its key belongs"
    assert others == [[0, 1, 2, 3]] * 2


@kafka_test
def test_what_retention_has_cut_is_told(kafka: EmbeddedKafka, prefix: str) -> None:
    async def cut(settings: Settings) -> None:
        for kind, before in ((Kind.VIEWS, 330), (Kind.COMMENTS, 100), (Kind.CHECKOUTS, 600)):
            await delete_records(kafka, settings.topic(INPUTS[kind]), before)

    found = planned(kafka, prefix, cut)
    assert found.plan.parts[0].lost == {"views": 330, "checkouts": 600}
    assert found.plan.parts[0].begins["views"] == 330
    said = notes(found)
    assert any("views, partition 0: " in note and "first windows of the range" in note for note in said)
    assert any("checkouts, partition 0: " in note and "nothing of the range is left" in note for note in said)
    assert not any("comments" in note for note in said), "what was deleted there lies before all that is needed"


def test_hundreds_of_partitions_are_one_note() -> None:
    lost = Stretch("views", 0, 10, 20, 30, None, lost=10, oldest=a_plan().from_ms + 1, expires=None)
    whole = replace(lost, lost=0)
    stretches = [replace(lost, partition=number) for number in range(200)] + [replace(whole, partition=200)]
    [note] = [each for each in notes(Planned(a_plan(), stretches, [], [], [])) if "deleted" in each]
    assert note.startswith("views, partitions 0-199: retention has deleted")


@kafka_test
def test_what_retention_will_delete_soon_is_told(kafka: EmbeddedKafka, prefix: str) -> None:
    async def shorter(settings: Settings) -> None:
        await tools.alter(
            settings.brokers or "",
            settings.topic(INPUTS[Kind.VIEWS]),
            {"retention.ms": str(20 * HOUR), "message.timestamp.type": "CreateTime"},
        )

    said = [note for note in notes(planned(kafka, prefix, shorter)) if "may delete" in note]
    assert len(said) == 1
    assert "views, partition 0" in said[0]


@kafka_test
def test_settings_that_are_not_those_of_the_workers_are_told(kafka: EmbeddedKafka, prefix: str) -> None:
    workers = tools.settings(kafka, prefix, lateness=timedelta(minutes=1))

    async def run() -> list[list[str]]:
        await make(workers)
        await fill(workers, Kind.VIEWS, [FROM])
        await count(kafka, workers)
        others = tools.settings(kafka, prefix)
        return [notes(await planning.make(each, asked(windows="2m"))) for each in (workers, others)]

    same, other = asyncio.run(run())
    assert not any("other settings" in note for note in same), "the windows are the replay's own"
    assert "the workers count under other settings: --lateness was 1m, is now 5m" in other


@kafka_test
def test_an_empty_range_and_one_of_one_record(kafka: EmbeddedKafka, prefix: str) -> None:
    settings = tools.settings(kafka, prefix)

    async def run() -> list[Plan]:
        await make(settings)
        empty = (await planning.make(settings, asked())).plan
        await fill(settings, Kind.VIEWS, [FROM + MINUTE])
        return [empty, (await planning.make(settings, asked())).plan]

    empty, one = asyncio.run(run())
    assert empty.records == 0
    assert empty.parts[0].begins == empty.parts[0].ends == dict.fromkeys(INPUTS, 0)
    assert one.records == 1
    assert one.parts[0].ends == {"views": 1, "comments": 0, "checkouts": 0}


@kafka_test
def test_markers_and_what_was_aborted_are_offsets_too_and_an_open_transaction_ends_it(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    late = {"lateness": timedelta(hours=2), "state_retention": timedelta(hours=3)}  # markers are stamped now
    settings = tools.settings(kafka, prefix, **late)

    async def run() -> Planned:
        await make(settings)
        topic = settings.topic(INPUTS[Kind.VIEWS])
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=prefix)
        await producer.start()
        try:
            for minute, end in ((0, producer.commit_transaction), (10, producer.abort_transaction), (20, None)):
                await producer.begin_transaction()
                for number in range(3):
                    at = FROM + (minute + number) * MINUTE
                    value = event(Kind.VIEWS, number, at)
                    await producer.send_and_wait(topic, value, key=b"7", partition=0, timestamp_ms=at)
                if end is not None:
                    await end()
            return await planning.make(settings, asked(to_ms=NOW))
        finally:
            await producer.stop()

    found = asyncio.run(run())
    [part] = found.plan.parts
    assert (part.begins["views"], part.ends["views"]) == (0, 8), "three, a marker, three, a marker"
    assert [each.undecided for each in found.stretches] == [3, 0, 0]
    [note] = [each for each in notes(found) if "transaction" in each]
    assert note.startswith("views, partition 0: ends in an open transaction")


@kafka_test
def test_late_events_count_until_a_day_after_it(kafka: EmbeddedKafka, prefix: str) -> None:
    found = planned(kafka, prefix, count_late=True).plan
    plain = planned(kafka, prefix).plan
    assert found.policy["lateness_ms"] == HOUR + DAY
    assert found.policy["state_retention_ms"] >= HOUR + DAY
    assert found.live_policy == plain.live_policy
    assert found.lead_ms == plain.lead_ms
    assert found.parts[0].expected["views"] == 600


@kafka_test
def test_a_plan_is_of_its_cluster_topics_and_settings(kafka: EmbeddedKafka, prefix: str) -> None:
    settings = tools.settings(kafka, prefix)

    def changed(plan: Plan, **more: Any) -> Plan:
        return plans.sealed(plans.Plan(**{**{name: getattr(plan, name) for name in plan.__struct_fields__}, **more}))

    async def refused(plan: Plan, given: Settings = settings) -> str:
        with pytest.raises(UsageError) as caught:
            await identity.check(plan, given)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    async def run() -> None:
        await make(settings)
        plan = (await planning.make(settings, asked(id="a"))).plan
        await identity.check(plan, settings)
        assert "is of the cluster other, and this is" in await refused(changed(plan, cluster="other"))
        anew = changed(plan, topic_ids={**plan.topic_ids, INPUTS[Kind.VIEWS]: "x"})
        assert f"made anew since the plan a was made: {prefix}live.views" in await refused(anew)
        assert "is of 3 partitions, and there are 1" in await refused(changed(plan, partitions=3))
        others = settings.model_copy(update={"windows": "30s"})
        assert f"with the settings {plan.live_policy}, and these are" in await refused(plan, others)
        assert "--topic-prefix is 'x.'" in await refused(plan, settings.model_copy(update={"topic_prefix": "x."}))

    asyncio.run(run())


@kafka_test
def test_the_command_writes_a_file_and_nothing_to_kafka(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tools.settings(kafka, prefix)
    asyncio.run(make(settings, 2))
    asyncio.run(fill(settings, Kind.VIEWS, range(NOW - 6 * HOUR, NOW, MINUTE)))
    out = tmp_path / "plan.json"
    words = [
        "replay",
        "plan",
        f"--brokers={kafka.bootstrap}",
        f"--topic-prefix={prefix}",
        f"--from={FROM}",
        f"--to={TO}",
    ]
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, f"-o{out}", "--windows=2m", "--json"])
    assert caught.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    plan = plans.read(out.read_bytes(), "plan.json")
    assert shown["plan"]["hash"] == plan.hash
    assert plan.policy["windows"] == [["2m", 2 * MINUTE, 2 * MINUTE]]
    assert plan.id.startswith("r2")
    assert len(shown["stretches"]) == 6
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, "--timezone=UTC"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert "nothing was kept: -o FILE writes the plan" in told
    assert "records/s in " in told
    ends = [asyncio.run(tools.everything(kafka, settings.topic(name))) for name in (SESSIONS,)]
    assert ends == [[]]
