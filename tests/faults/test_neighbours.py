"""Other installations beside ours: on the same topics, in the same group, and of an earlier version."""

import asyncio
import json
import os
import pty
import shlex
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from stream.children import liveshop
from stream.config import Settings
from stream.core.shard import Shard
from stream.doctor.finding import Check, Severity
from stream.errors import UsageError
from stream.kafka import client, membership, state_refused, statereader
from stream.kafka import worker as worker_module
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.health import COMPANY, KEPT_OUT
from stream.kafka.recovery import recover
from stream.kafka.retries import BackoffPolicy
from stream.kafka.shard_context import ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.model.names import INPUTS, SESSION_WINDOWS, SESSIONS, STATE, Kind
from stream.model.results import Outputs
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.machines import shard_of
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests import live
from tests.doctor.tools import checked
from tests.kafka.tools import Memory, everything, make_topics, producer, send_views, settings, until
from tests.live import eventually
from tests.operate.tools import count, make, totals, worker
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "BACKOFF", BackoffPolicy(0.1, 0.5))
    monkeypatch.setattr(membership, "KEPT_OUT_SECONDS", 0.2)
    monkeypatch.setattr(worker_module, "REFUSED_AGAIN", 0.5)


@asynccontextmanager
async def installation(config: Settings, *, rebuild: bool = False) -> AsyncIterator[Memory]:
    """A worker that may be refused for good: then it has ended with exit code 2."""
    memory = Memory()
    memory.running = running = asyncio.ensure_future(make_worker(config, memory, memory, rebuild=rebuild).run())
    try:
        yield memory
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=PATIENCE)
        if not running.cancelled() and running.exception() is not None:
            assert isinstance(running.exception(), StateRefusedError), running.exception()


async def owners(config: Settings, partitions: int) -> list[str]:
    """The group whose state each partition has."""
    found = []
    reader = client.make_reader(config, wait_ms=50)
    await client.start(reader, config)
    try:
        contexts = [ShardContext(config, number, partitions, WORKER).state for number in range(partitions)]
        reader.assign(contexts)
        for context in contexts:
            newest = await statereader.newest_checkpoint(reader, context)
            found.append("" if newest is None else newest.meta.owner["group"])
        return found
    finally:
        await client.end(reader)


async def results(kafka: EmbeddedKafka, config: Settings, partitions: int = 1) -> Counter[tuple[Any, ...]]:
    """How often each window and each total was written under one generation and revision."""
    found: Counter[tuple[Any, ...]] = Counter()
    for number in range(partitions):
        for name in (SESSION_WINDOWS, SESSIONS):
            for record in await everything(kafka, config.topic(name), number):
                value = json.loads(record.value)
                found[name, number, record.key, value["generation"], value["revision"]] += 1
    return found


async def right(kafka: EmbeddedKafka, config: Settings, views: int, partition: int = 0) -> bool:
    """Whether the totals say so."""
    return await totals(kafka, config, partition) == {"s1": views}


def another(config: Settings) -> Settings:
    return config.model_copy(update={"group": config.group + "-b"})


# -- two installations on one set of topics


def test_a_second_installation_is_refused_before_it_fences_or_writes_anything(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        await send_views(kafka, config, range(60), 0)
        async with worker(config) as memory:
            await until(lambda: memory.counted == 60 and len(memory.recoveries) == 2, "both shards run")
            await eventually("both have a state", lambda: both(config))
            before = memory.rebalances
            with live.Worker(kafka.bootstrap, prefix, tmp_path / "log", group=config.group + "-b") as other:

                async def gone() -> bool:
                    return other.child.code is not None

                await eventually("the second one ends", gone)
                said = [line["event"] for line in other.lines()]
                assert other.child.code == 2, said
            whose = f"its group is {config.group}, not {config.group}-b. Give this worker its own --topic-prefix"
            assert sum(whose in text for text in said) == 1, said
            assert "joining the group" not in said
            await send_views(kafka, config, range(60, 100), 0)
            await until(lambda: memory.counted == 100, "the first counts on")
            assert (memory.rebalances, len(memory.recoveries), memory.failures) == (before, 2, [])

    async def both(config: Settings) -> bool:
        return await owners(config, 2) == [config.group, config.group]

    asyncio.run(main())


def test_of_two_that_begin_at_once_on_nothing_one_wins_each_partition(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        for number in (0, 1):
            await send_views(kafka, config, range(60), number)
        async with installation(config) as first, installation(another(config)) as second:

            async def each_has_one() -> bool:
                return all(await owners(config, 2)) and first.counted + second.counted == 120

            await eventually("each partition has an owner, and everything is counted once", each_has_one)
            won = await owners(config, 2)
            for number in (0, 1):
                await send_views(kafka, config, range(60, 100), number)
            await until(lambda: first.counted + second.counted == 200, "the winners count on")
            assert await owners(config, 2) == won

            def told() -> list[str]:
                """What those say who did not win."""
                ended = [each.running for each in (first, second) if each.running is not None and each.running.done()]
                down = [text for each in (first, second) for text in each.down.values()]
                return down + [str(each.exception()) for each in ended]

            await until(told, "the others say why they do not count")
            assert all("is another's: its group is" in text for text in told())
            await eventually("the totals of 0 are right", lambda: right(kafka, config, 100, 0))
            await eventually("the totals of 1 are right", lambda: right(kafka, config, 100, 1))
        assert set((await results(kafka, config, 2)).values()) == {1}

    asyncio.run(main())


def test_who_looks_whether_a_state_is_still_anothers_fences_nobody(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has one partition, and looks again and again at the other one, which it may not have."""
    looks: list[ShardContext] = []
    refuse = state_refused.other_owner

    def noted(context: ShardContext, owner: Mapping[str, str]) -> StateRefusedError:
        looks.append(context)
        return refuse(context, owner)

    monkeypatch.setattr(state_refused, "other_owner", noted)

    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        context = ShardContext(another(config), 1, 2, WORKER)
        theirs = await recover(context, discard=None, current=lambda: True)
        outputs = shard_of(theirs.machine).collect()
        assert outputs is not None
        checkpoints = Checkpoints(context, theirs.producer, theirs.state_end)
        await checkpoints.write(outputs)
        await send_views(kafka, config, range(60), 0)
        await count(kafka, config, 0, 2)
        await send_views(kafka, config, range(60, 100), 0)
        async with worker(config) as memory:
            await until(lambda: 1 in memory.down and memory.counted == 40 and len(looks) >= 4, "it has looked again")
            await checkpoints.check_ownership(outputs.positions)  # would raise FencedError
        await client.end(theirs.producer)

    asyncio.run(main())


# -- a foreign writer


async def written_by_an_earlier_version(config: Settings) -> None:
    """One checkpoint of a worker whose transactional id is named after its group: nothing of ours fences it."""
    context = ShardContext(config, 0, 1, WORKER)
    sender = client.make_producer(config, context.earlier_id(context.owner))
    await client.start(sender, config)
    try:
        shard = Shard(config.policy())
        shard.owner = context.owner
        shard.begin_at(dict.fromkeys(Kind, 0))
        outputs = shard.collect()
        assert outputs is not None
        await Checkpoints(context, sender).write(outputs)
    finally:
        await client.end(sender)


def typed(command: str) -> None:
    """Runs a command as a person does who copies it from a message, on a terminal, and says yes."""
    mine, theirs = pty.openpty()
    words = shlex.split(command)
    assert words[0] == "liveshop"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LIVESHOP_")}
    child = subprocess.Popen(
        liveshop(*words[1:]), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environ | {"PYTHONPATH": live.path()},
    )  # fmt: skip
    try:
        os.write(mine, b"y\n")
        out, err = child.communicate(timeout=PATIENCE)
        assert child.returncode == 0, out + err
    finally:
        child.kill()
        os.close(mine)
        os.close(theirs)


def named_in(text: str, begin: str) -> str:
    """The command in backticks that begins so."""
    (found,) = (each for each in text.split("`")[1::2] if each.startswith(begin))
    return found


def test_what_another_writes_into_the_state_stops_the_shard_which_names_it_and_the_way_out(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "REFUSED_AGAIN", 5.0)

    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(60))
        async with worker(config) as memory:
            await until(lambda: memory.counted == 60, "all are counted")
            await written_by_an_earlier_version(another(config))
            await send_views(kafka, config, range(60, 100))
            await until(lambda: 0 in memory.down, "the shard is down")
            first = memory.down[0]
            assert "is written by somebody else too: at offset " in first
            assert f"its group is {config.group}-b" in first
            assert await owners(config, 1) == [config.group + "-b"], "nothing of ours was committed after it"
            assert memory.counted == 60
            await until(lambda: "is another's" in memory.down[0], "it has looked again")
            command = named_in(memory.down[0], "liveshop state rebuild")
            assert command == named_in(first, "liveshop state rebuild")
            await asyncio.to_thread(typed, command)
            await until(lambda: not memory.down and memory.counted == 160, "all are counted anew")
            await eventually("the totals are right", lambda: right(kafka, config, 100))
        assert set((await results(kafka, config)).values()) == {1}

    asyncio.run(main())


class Earlier(ShardContext):
    """Of a worker of an earlier version."""

    @property
    def transactional_id(self) -> str:
        return self.earlier_id(self.owner)


def test_an_earlier_version_in_the_same_group_makes_the_shard_begin_again(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has had the partition for a while: what is in memory is old."""
    write = Checkpoints.write

    async def main() -> None:
        gate = asyncio.Event()
        gate.set()

        async def gated(self: Checkpoints, outputs: Outputs) -> int:
            await gate.wait()
            return await write(self, outputs)

        monkeypatch.setattr(Checkpoints, "write", gated)
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(60))
        async with worker(config) as memory:
            await until(lambda: memory.counted == 60, "all are counted")
            gate.clear()
            await send_views(kafka, config, range(60, 100))
            context = Earlier(config, 0, 1, WORKER)
            earlier = await recover(context, discard=None, current=lambda: True)
            rows = await everything(kafka, config.topic(INPUTS[Kind.VIEWS]))
            shard_of(earlier.machine).read(Kind.VIEWS, rows[shard_of(earlier.machine).positions[Kind.VIEWS] :])
            outputs = shard_of(earlier.machine).collect()
            assert outputs is not None
            await write(Checkpoints(context, earlier.producer), outputs)
            await client.end(earlier.producer)
            gate.set()
            await send_views(kafka, config, range(100, 120))
            await until(lambda: len(memory.recoveries) == 2, "it has recovered")
            await eventually("each is counted once", lambda: right(kafka, config, 120))
            assert not memory.down
        assert set((await results(kafka, config)).values()) == {1}

    asyncio.run(main())


def test_a_state_that_two_have_written_is_rebuilt_by_the_command_that_the_message_names(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    """As earlier versions left it: both had written on, each its own checkpoints."""

    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(60))
        context = ShardContext(config, 0, 1, WORKER)
        found = await recover(context, discard=None, current=lambda: True)
        other = await recover(context, discard=None, current=lambda: True)
        await client.end(found.producer)
        sender = client.make_producer(config, prefix + "unfenced")
        await client.start(sender, config)
        try:
            for start in range(0, 60, 20):
                for each, into in ((found, sender), (other, other.producer)):
                    rows = await everything(kafka, config.topic(INPUTS[Kind.VIEWS]))
                    shard_of(each.machine).read(Kind.VIEWS, rows[start : start + 20])
                    outputs = shard_of(each.machine).collect()
                    assert outputs is not None
                    shard_of(each.machine).committed(
                        outputs.checkpoint, await Checkpoints(context, into).write(outputs)
                    )
        finally:
            await client.end(sender)
            await client.end(other.producer)
        with pytest.raises(UsageError, match="cannot be read: ") as refused:
            await make_worker(config, Memory(), Memory(), rebuild=False).run()
        await asyncio.to_thread(typed, named_in(str(refused.value), "liveshop state rebuild"))
        async with worker(config) as memory:
            await until(lambda: memory.counted == 60, "all are counted anew")
            await eventually("the totals are right", lambda: right(kafka, config, 60))

    asyncio.run(main())


def test_a_rebuild_fences_whoever_runs(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(60))
        async with worker(config) as first:
            await until(lambda: first.counted == 60, "all are counted")
            async with installation(another(config), rebuild=True) as second:
                await until(
                    lambda: second.counted == 60 and 0 in first.down, "all are counted anew, the first is down", 60
                )
                assert f"its group is {config.group}-b, not {config.group}" in first.down[0]
                recoveries = len(second.recoveries)
                await send_views(kafka, config, range(60, 100))
                await until(lambda: second.counted == 100, "the second counts on")
                assert len(second.recoveries) == recoveries, "and is not fenced again"
                assert first.counted == 60
                await eventually("the totals are right", lambda: right(kafka, config, 100))
            assert await owners(config, 1) == [config.group + "-b"]
        assert set((await results(kafka, config)).values()) == {1}

    asyncio.run(main())


# -- doctor


def test_doctor_finds_other_installations(kafka: EmbeddedKafka, prefix: str) -> None:
    """On the same topics, with a state of theirs and without; and in the same group, on others."""

    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(60))
        second, elsewhere = another(config), settings(kafka, prefix + "b.", group=config.group)
        await make_topics(elsewhere)
        async with worker(config) as memory:
            await until(lambda: memory.counted == 60, "all are counted")
            await eventually("it has a state", lambda: owned(config))
            (state, running) = await errors(second)
            assert f"the state is another's: its group is {config.group}" in state
            assert f"group {config.group}: member {client.member_id(config, WORKER.name)} " in running
            assert "is a worker of another installation on the same topics" in running
            assert await errors(config) == []
            (found,) = [text for text in await errors(elsewhere) if "not ours" in text]
            assert f"member {client.member_id(config, WORKER.name)} " in found
            assert f"{prefix}live.views" in found

    async def owned(config: Settings) -> bool:
        return await owners(config, 1) == [config.group]

    async def errors(config: Settings) -> list[str]:
        found = [*await checked(config, Check.POSITIONS), *await checked(config, Check.GROUP)]
        return [f"{each.subject}: {each.what}" for each in found if each.severity is Severity.ERROR]

    asyncio.run(main())


# -- one group


def test_one_group_on_two_prefixes_is_refused_before_it_joins(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        elsewhere = settings(kafka, prefix + "b.", group=config.group)
        await make_topics(elsewhere)
        async with worker(config) as memory:
            await until(lambda: len(memory.recoveries) == 1, "the first runs")
            with live.Worker(kafka.bootstrap, prefix + "b.", tmp_path / "log", group=config.group) as other:

                async def gone() -> bool:
                    return other.child.code is not None

                await eventually("the second one ends", gone)
                said = [line["event"] for line in other.lines()]
                assert other.child.code == 2, said
            text = f"the group {config.group} belongs to an installation on other topics"
            assert sum(text in each for each in said) == 1, said
            assert "joining the group" not in said
            await send_views(kafka, config, range(60))
            await until(lambda: memory.counted == 60, "the first counts on")
            assert (memory.rebalances, len(memory.recoveries), memory.failures) == (0, 1, [])
        assert await everything(kafka, elsewhere.topic(STATE)) == []

    asyncio.run(main())


def test_who_has_joined_at_the_same_moment_is_told_and_what_is_counted_is_right(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "CHECK_MEMBERS_AFTER", 0.3)

    async def main() -> None:
        config = await make(kafka, prefix)
        elsewhere = settings(kafka, prefix + "b.", group=config.group)
        await make_topics(elsewhere)
        async with worker(config) as memory:
            await until(lambda: len(memory.recoveries) == 1, "the first runs")
            other = client.make_member(elsewhere, WORKER.name)  # it has looked before the first one had joined
            await client.start(other, elsewhere)
            other.subscribe([elsewhere.topic(name) for name in INPUTS.values()])
            await until(lambda: COMPANY in memory.notes, "the first says so")
            assert "belongs to an installation on other topics" in memory.notes[COMPANY]
            whole = {TopicPartition(elsewhere.topic(name), 0) for name in INPUTS.values()}
            await until(lambda: frozenset(other.assignment()) == whole, "the other one has its partitions")
            await send_views(kafka, config, range(60))
            await until(lambda: memory.counted == 60, "and counts on")
            await client.end(other)
            await until(lambda: COMPANY not in memory.notes, "it is over when the other one has left")
            assert (len(memory.recoveries), memory.failures, memory.reasons) == (1, [], {})

    asyncio.run(main())


def test_a_worker_waits_until_those_of_an_earlier_version_have_left(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(60))
        with monkeypatch.context() as older:
            older.setattr(client, "member_id", lambda settings, _name: client.earlier_member_id(settings))
            old = client.make_member(config, WORKER.name)
        await client.start(old, config)
        old.subscribe([config.topic(name) for name in INPUTS.values()])
        await until(old.assignment, "the old one has its partitions")
        async with worker(config) as memory:
            await until(lambda: KEPT_OUT in memory.reasons, "it says why it waits")
            assert "workers of an earlier version are in the group" in memory.reasons[KEPT_OUT]
            assert "Stop all of them: newer ones join when they are gone" in memory.reasons[KEPT_OUT]
            assert not memory.told
            await client.end(old)
            await until(lambda: memory.counted == 60, "it joins when they are gone")
            assert KEPT_OUT not in memory.reasons

    asyncio.run(main())


def test_what_an_earlier_version_has_left_open_is_ended_and_a_zombie_of_it_fenced(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(60))
        await written_by_an_earlier_version(config)
        context = ShardContext(config, 0, 1, WORKER)
        earlier = f"{config.group}.worker.live.0"
        async with producer(kafka, transactional_id=earlier, transaction_timeout_ms=600_000) as zombie:
            await zombie.begin_transaction()
            await zombie.send_and_wait(context.state.topic, b"half", key=b"1/0", partition=0)
            async with worker(config) as memory:
                await until(lambda: memory.counted == 60, "nothing is waited for")
                with pytest.raises(ProducerFenced):
                    await zombie.send_and_wait(context.state.topic, b"half", key=b"2/0", partition=0)

        begun: list[str] = []
        begin = client.make_producer

        def noted(settings: Settings, name: str) -> Any:
            begun.append(name)
            return begin(settings, name)

        monkeypatch.setattr(client, "make_producer", noted)
        found = await recover(context, discard=None, current=lambda: True)
        await client.end(found.producer)
        assert begun == [context.transactional_id], "once this version has written, that is over"

    asyncio.run(main())
