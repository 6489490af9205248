"""What a killed run has left is found and deleted; what a run has that is alive, may be, or is none, is left alone."""

import asyncio
import json
from typing import Any, Final

import pytest
from aiokafka.admin import NewTopic

from stream import cli
from stream.config import Settings
from stream.dlq import ledger
from stream.kafka import client
from stream.model.names import INPUTS, SESSIONS, Kind
from stream.operate import sandbox_topics
from stream.operate.sandbox_topics import Run, RunStatus, is_over, prefix_of
from stream.replay import audit
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from tests.kafka.tools import send
from tests.live import eventually
from tests.replay.test_plan import a_plan

HOUR: Final = 3600.0
A_MOMENT: Final = 0.001


@pytest.mark.parametrize(
    "name",
    ["live.views", "sandbox.live.views", "sandbox-0123abc.live.views", "sandbox-0123abcD.x", "my-sandbox-0123abcd.x"],
)
def test_only_a_whole_prefix_is_that_of_a_run(name: str) -> None:
    assert prefix_of(name) == ""
    assert prefix_of("sandbox-0123abcd.live.views") == "sandbox-0123abcd."
    assert prefix_of(sandbox_topics.new_prefix() + "liveshop")


def test_what_may_be_starting_is_over_only_when_it_still_is_so() -> None:
    def over(stands: RunStatus, new: set[str]) -> bool:
        return is_over(Run("sandbox-0123abcd.", stands, (), ()), new)

    assert over(RunStatus.LEFT, set())
    assert over(RunStatus.NEW, {"sandbox-0123abcd."})
    assert not over(RunStatus.NEW, set())
    assert not any(over(stands, {"sandbox-0123abcd."}) for stands in (RunStatus.RUNS, RunStatus.RECENT))


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    with pytest.raises(SystemExit) as end:
        cli.main(["topics", "clean", "--json", *arguments])
    out, err = capsys.readouterr()
    assert end.value.code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


async def made(kafka: EmbeddedKafka, *, written: bool) -> Settings:
    """The topics of a run, with an event or without."""
    prefix = sandbox_topics.new_prefix()
    config = Settings(brokers=kafka.bootstrap, topic_prefix=prefix, group=f"{prefix}liveshop")
    await topics.create(config, 1)
    await ledger.make(config)  # as the first redrive does
    if written:
        await audit.record(config, audit.begun(a_plan(), "me", "", None))  # as the first replay does
        await one_more(config, a_plan().topic(SESSIONS))
        await send(kafka, config.topic(INPUTS[Kind.VIEWS]), [(b"7301", b"{}")])
    return config


async def one_more(config: Settings, name: str) -> None:
    admin = client.make_admin(config)
    await client.start(admin, config)
    try:
        await admin.create_topics([NewTopic(config.topic(name), 1, 1)])
    finally:
        await client.end(admin)


async def there(config: Settings) -> set[str]:
    admin = client.make_admin(config)
    await client.start(admin, config)
    try:
        return set(await admin.list_topics()) | {name for name, *_ in await admin.list_consumer_groups()}
    finally:
        await client.end(admin)


async def joined(config: Settings) -> client.Reader:
    """A member of the run's group, as its worker is."""
    member = client.make_member(config, "worker")
    await client.start(member, config)
    member.subscribe([config.topic(name) for name in INPUTS.values()])

    async def assigned() -> bool:
        await member.getmany(timeout_ms=100)
        return bool(member.assignment())

    await eventually("a member of the group", assigned)
    return member


async def foreign(config: Settings) -> set[str]:
    """Topics that look a little like those of a run, and are none."""
    names = {"sandbox-0123abcd.mine", "sandbox-live.views", "live.sandbox-0123abcd.live.views"}
    admin = client.make_admin(config)
    await client.start(admin, config)
    await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    await client.end(admin)
    return names


@pytest.mark.kafka
def test_what_is_left_is_listed_and_deleted_and_nothing_else(
    kafka: EmbeddedKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        left, alive, new = [await made(kafka, written=each) for each in (True, True, False)]
        others = await foreign(left)
        await client.end(await joined(left))  # its group stays, empty
        member = await joined(alive)
        try:
            found = {run.prefix: run for run in await sandbox_topics.find_runs(left, HOUR)}
            assert found[left.topic_prefix].groups == (left.group,)
            assert len(found[left.topic_prefix].topics) == len(topics.names(left)) + 5
            stands = {config.topic_prefix: found[config.topic_prefix].stands for config in (left, alive, new)}
            assert list(stands.values()) == [RunStatus.RECENT, RunStatus.RUNS, RunStatus.NEW]
            assert not any(run.prefix in name for run in found.values() for name in others)

            before = await there(left)
            where = f"--brokers={kafka.bootstrap}"
            listed = await asyncio.to_thread(ended, capsys, where, "--quiet=1ms")
            assert {each["prefix"]: each["stands"] for each in listed}[left.topic_prefix] == "left"
            assert await there(left) == before, "nothing is done without --execute"
            await asyncio.to_thread(ended, capsys, where, "--quiet=1ms", "--execute")

            await gone(left)
            await gone(new)
            assert await there(left) >= others | set(topics.names(alive)) | {alive.group}
        finally:
            await client.end(member)

    asyncio.run(main())


@pytest.mark.kafka
def test_the_end_of_a_run_needs_no_cleaning(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        config = await made(kafka, written=True)
        await sandbox_topics.delete(config, [config.group])
        await gone(config)

    asyncio.run(main())


async def gone(config: Settings) -> None:
    """Nothing of the run is there any more."""

    async def none() -> bool:
        return not any(name.startswith(config.topic_prefix) for name in await there(config))

    await eventually("all is deleted", none)
