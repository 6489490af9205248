"""What was replayed is known: by whom, why, with which plan, and what became of it; also when its topics are gone."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest
from aiokafka.admin import NewTopic

from stream import cli
from stream.config import Settings
from stream.errors import FailedError, UsageError
from stream.kafka import client
from stream.model.names import REPLAYS, SESSIONS
from stream.replay import audit, removal
from stream.replay.audit import Entry, Promotion, RunOutcome
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka import tools
from tests.live import eventually
from tests.replay.test_plan import a_plan

PLAN: Final = a_plan()


def begun(**more: Any) -> Entry:
    return audit.begun(a_plan(**more), "ana@ops-1", "a wrong rate", None)


# -- pure


def test_a_replay_is_begun_once_and_then_gone_on_with() -> None:
    first = begun()
    assert (first.outcome, first.resumed, first.plan_hash) == (RunOutcome.RUNNING, 0, PLAN.hash)
    failed = audit.changed(first, outcome=RunOutcome.FAILED, detail="no broker")
    again = audit.begun(PLAN, "ben@ops-1", "", failed)
    assert (again.outcome, again.resumed, again.by, again.detail) == (RunOutcome.RUNNING, 1, "ben@ops-1", "")
    assert (again.why, again.started_ms) == (first.why, first.started_ms)


def test_an_id_is_of_one_plan() -> None:
    with pytest.raises(UsageError, match="friday of another plan is there already"):
        audit.begun(a_plan(count_late=True), "me", "", begun())
    with pytest.raises(UsageError, match="friday was deleted"):
        audit.begun(PLAN, "me", "", audit.changed(begun(), outcome=RunOutcome.DELETED))


# -- on a real broker


async def raw(kafka: EmbeddedKafka, settings: Settings, key: bytes, value: bytes | None) -> None:
    await tools.send(kafka, settings.topic(REPLAYS), [(key, value)])


def test_what_was_written_is_found(kafka: EmbeddedKafka, prefix: str) -> None:
    settings = tools.settings(kafka, prefix)

    async def run() -> None:
        assert await audit.every(settings) == []
        assert await audit.find(settings, "friday") is None
        first, second = begun(), begun(id="saturday")
        await audit.record(settings, first)
        await audit.record(settings, second)
        assert await audit.find(settings, "friday") == first
        done = await audit.change(settings, "friday", _done)
        assert done.records == 102
        assert await audit.find(settings, "friday") == done
        assert [each.id for each in await audit.every(settings)] == ["friday", "saturday"]
        assert await audit.require(settings, "saturday") == second
        with pytest.raises(UsageError, match="there is no replay sunday"):
            await audit.require(settings, "sunday")
        with pytest.raises(UsageError, match="of another plan"):
            await audit.change(
                settings, "friday", lambda before: audit.begun(a_plan(count_late=True), "me", "", before)
            )
        assert await audit.find(settings, "friday") == done, "nothing was written"

    asyncio.run(run())


def _done(entry: Entry | None) -> Entry:
    assert entry is not None
    promotion = Promotion(at_ms=1, by="me", why="the rate", sessions=["7301"])
    counts = {"counted": 100, "late": 2}
    return audit.changed(entry, outcome=RunOutcome.DONE, records=102, ended_ms=2, counts=counts, promotions=[promotion])


def test_of_two_who_write_at_once_one_fails(kafka: EmbeddedKafka, prefix: str) -> None:
    settings = tools.settings(kafka, prefix)

    async def run() -> None:
        await audit.record(settings, begun())
        results = await asyncio.gather(
            *(audit.change(settings, "friday", _counted) for _ in range(2)), return_exceptions=True
        )
        written = [each for each in results if isinstance(each, Entry)]
        assert all(isinstance(each, Entry | FailedError) for each in results), results
        assert written
        found = await audit.find(settings, "friday")
        assert found is not None
        assert found.records == len(written), "none is lost"

    asyncio.run(run())


def _counted(entry: Entry | None) -> Entry:
    assert entry is not None
    return audit.changed(entry, records=entry.records + 1)


@pytest.mark.parametrize("value", [b"{}", b"[", None, begun(id="other").value()])
def test_what_is_none_of_ours_is_not_passed_over(kafka: EmbeddedKafka, prefix: str, value: bytes | None) -> None:
    settings = tools.settings(kafka, prefix)

    async def run() -> None:
        await audit.record(settings, begun())
        await raw(kafka, settings, b"friday", value)
        with pytest.raises(FailedError, match=r"the record at offset \d+ is none of liveshop"):
            await audit.every(settings)

    asyncio.run(run())


def test_a_plan_that_was_edited_is_not_run(kafka: EmbeddedKafka, prefix: str) -> None:
    settings = tools.settings(kafka, prefix)

    async def run() -> None:
        await audit.record(settings, begun())
        edited = msgspec.structs.replace(PLAN, to_ms=190_000)
        await raw(kafka, settings, b"friday", audit.changed(begun(), plan=edited).value())
        with pytest.raises(FailedError, match="the plan of friday is not the one that was run"):
            await audit.find(settings, "friday")

    asyncio.run(run())


# -- the commands


def ended(settings: Settings, *words: str) -> Any:
    with pytest.raises(SystemExit) as caught:
        cli.main(["replay", *words, f"--brokers={settings.brokers}", f"--topic-prefix={settings.topic_prefix}"])
    return caught.value.code


async def with_topics(settings: Settings, ids: Sequence[str]) -> None:
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        names = [settings.topic(a_plan(id=each).topic(SESSIONS)) for each in ids]
        await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    finally:
        await client.end(admin)
    for each in ids:
        await audit.record(settings, begun(id=each))


def test_the_commands_show_what_was_replayed(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tools.settings(kafka, prefix)
    assert ended(settings, "list") == 0
    assert "there were no replays" in capsys.readouterr().out
    assert ended(settings, "show", "friday") == 2
    assert "there is no replay friday" in capsys.readouterr().err
    asyncio.run(audit.record(settings, _done(begun(sessions=["7301", "7302"]))))
    assert ended(settings, "list", "--timezone=UTC") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("friday", "done", "1970-01-01 00:01:00 UTC", "ana@ops-1", "a wrong rate"))
    assert ended(settings, "show", "friday") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("7301, 7302", PLAN.fingerprint, "102", "late", "promoted", "1m,5m/1m"))
    assert ended(settings, "show", "friday", "--json") == 0
    assert json.loads(capsys.readouterr().out)["plan"]["sessions"] == ["7301", "7302"]
    assert ended(settings, "list", "--json") == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == ["friday"]


def test_delete_takes_the_topics_of_one_replay_and_nothing_else(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tools.settings(kafka, prefix)
    asyncio.run(with_topics(settings, ["fri", "fri-2"]))
    own = [f"{prefix}replay.fri.sessions"]

    def there() -> list[str]:
        return asyncio.run(removal.topics_of(settings, "fri"))

    assert ended(settings, "delete", "fri") == 0
    assert "nothing is deleted without --confirm fri" in capsys.readouterr().out
    assert ended(settings, "delete", "fri", "--confirm=fri-2") == 2
    assert ended(settings, "delete", "fri", "--confirm=fri") == 1
    assert "is running, or was killed" in capsys.readouterr().err
    assert there() == own
    assert ended(settings, "delete", "fri", "--confirm=fri", "--killed", "--by=me", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"id": "fri", "topics": own, "deleted": True}

    async def after() -> None:
        async def gone() -> bool:
            return await removal.topics_of(settings, "fri") == []

        await eventually("its topics are gone", gone)
        assert await removal.topics_of(settings, "fri-2") == [f"{prefix}replay.fri-2.sessions"]
        entry = await audit.require(settings, "fri")
        assert (entry.outcome, entry.detail) == (RunOutcome.DELETED, "deleted by me")
        assert (await audit.require(settings, "fri-2")).outcome is RunOutcome.RUNNING

    asyncio.run(after())
    assert ended(settings, "delete", "nobody") == 2
    assert ended(settings, "delete", "*") == 2
