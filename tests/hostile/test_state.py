"""What strangers write to live.state and to the results ends no worker, and takes away nothing that is ours."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from stream import cli
from stream.config import Settings
from stream.core.framing import CHECKSUM
from stream.errors import UsageError
from stream.kafka import recovery, state_refused
from stream.kafka import worker as worker_module
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.shard_context import ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.model.alerts import Alert, Severity, Status
from stream.model.names import ALERTS, SESSION_WINDOWS, SESSIONS, STATE
from stream.operate import fencing, rebuild, verify
from stream.printed import command as printed
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.machines import shard_of
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.cli.test_processes import Supervised, partitions, read
from tests.kafka.tools import BASE, Memory, everything, producer, send, send_views, settings, until
from tests.live import wait_for
from tests.observe.views import logging_restored
from tests.operate.tools import count, eventually, make, totals, worker

pytestmark = pytest.mark.kafka

GARBAGE: Final = (
    b"",
    b"\xff" * 20,
    b"\x02",
    b"\x02" + b"\xff" * 28,
    b'{"generation":1}',
    b"\x02" + bytes(28) + b"\xdd\xff\xff\xff\xff",
    b"[" * 100_000,
    b"\x91" * 100_000,
    b'{"generation":' + b"9" * 5000 + b"}",
    b'{"a":' * 5000,
    b'"\xed\xa0\x80"',
)
"""Values of strangers: nested deep, cut, of wrong types and of sizes that nobody has, no UTF-8."""


@pytest.fixture(autouse=True)
def _look_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "REFUSED_AGAIN", 0.5)


async def counted(kafka: EmbeddedKafka, prefix: str, partitions: int = 1, **changes: Any) -> Settings:
    """60 views are counted and written in each partition."""
    config = await make(kafka, prefix, partitions, **changes)
    for partition in range(partitions):
        await send_views(kafka, config, range(60), partition)
        await count(kafka, config, partition, partitions)
    return config


async def stray(kafka: EmbeddedKafka, config: Settings, *values: bytes, key: bytes | None = None) -> None:
    """Into partition 0 of live.state, as a producer by mistake does; each under a key of its own."""
    rows = [(b"stranger-%d" % number if key is None else key, value) for number, value in enumerate(values)]
    await send(kafka, config.topic(STATE), [*rows])


async def damaged(kafka: EmbeddedKafka, config: Settings) -> int:
    """Writes the newest part of the state once more with one bit changed, as a copying tool might; its offset."""
    newest = (await everything(kafka, config.topic(STATE)))[-1]
    assert [name for name, _ in newest.headers] == [CHECKSUM]
    spoiled = bytearray(newest.value)
    spoiled[len(spoiled) // 2] ^= 1
    async with producer(kafka) as sender:
        sent = await sender.send_and_wait(
            config.topic(STATE), bytes(spoiled), key=newest.key, partition=0, headers=list(newest.headers)
        )
    return int(sent.offset)


async def ended(config: Settings) -> None:
    """Runs a worker until it ends by itself."""
    memory = Memory()
    async with asyncio.timeout(30):
        await make_worker(config, memory, memory, rebuild=False).run()


# -- the state


def test_a_state_that_is_damaged_keeps_its_own_shard_down_until_it_is_rebuilt(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    """The others count on; who rebuilds it needs to start nothing anew."""

    async def main() -> None:
        config = await counted(kafka, prefix, partitions=2)
        offset = await damaged(kafka, config)
        await send_views(kafka, config, range(60, 100), 1)
        async with worker(config) as memory:
            await until(lambda: 0 in memory.down and memory.counted == 40, "partition 1 counts, 0 is down")
            text = memory.down[0]
            assert (
                f"the state of partition 0 in {config.topic(STATE)} cannot be read: the record at offset {offset} ("
                in text
            )
            assert re.search(r"\(checkpoint \d+, part 1 of 1\) is damaged: its checksum is wrong", text)
            assert f"`{printed(config, 'state verify', '--partition', '0')}`" in text
            assert f"`{printed(config, 'state rebuild', '--partition', '0', '--execute')}`" in text
            context = ShardContext(config, 0, 2, WORKER)
            await rebuild.execute(context, await rebuild.plan(context))
            await until(lambda: not memory.down and memory.counted == 40 + 60, "it is counted anew")
            await send_views(kafka, config, range(100, 120), 1)
            await until(lambda: memory.counted == 120, "the other one was not disturbed")
            assert memory.running is not None
            assert not memory.running.done()

    asyncio.run(main())


def test_a_rebuild_is_not_fenced_by_the_worker_whose_shard_is_down(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker looks at the state again and again, however long the rebuild takes."""
    looks, refused, write = 0, state_refused.unreadable_state, Checkpoints.write

    def counting(*args: Any) -> StateRefusedError:
        nonlocal looks
        looks += 1
        return refused(*args)

    async def slowly(self: Checkpoints, outputs: Any) -> int:
        if not self._context.partition:
            before = looks
            await until(lambda: looks >= before + 2, "the worker has looked twice")
        return await write(self, outputs)

    async def main() -> None:
        config = await counted(kafka, prefix, partitions=2)
        await damaged(kafka, config)
        monkeypatch.setattr(state_refused, "unreadable_state", counting)
        async with worker(config) as memory:
            await until(lambda: 0 in memory.down, "shard 0 is down")
            context = ShardContext(config, 0, 2, WORKER)
            planned = await rebuild.plan(context)
            monkeypatch.setattr(Checkpoints, "write", slowly)
            monkeypatch.setattr(fencing, "PATIENCE", 0.0)
            await rebuild.execute(context, planned)
            monkeypatch.setattr(Checkpoints, "write", write)
            await until(lambda: not memory.down, "it is taken up again")

    asyncio.run(main())


@pytest.mark.parametrize("value", GARBAGE, ids=range(len(GARBAGE)))
def test_any_value_under_a_key_of_the_state_is_refused_by_its_offset(
    kafka: EmbeddedKafka, prefix: str, value: bytes
) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        end = len(await everything(kafka, config.topic(STATE)))
        await stray(kafka, config, value, key=b"5/0")
        ((found),) = await verify.verify(config, [0])
        ((what, text),) = [(finding.what, finding.text) for finding in found.findings]
        assert what == "refused"
        assert f"cannot be read: the record at offset {end + 3}" in text, "behind three checkpoints and their markers"
        with pytest.raises(UsageError, match=re.escape(text)):  # the only shard of all, at the start: exit code 2
            await ended(config)

    asyncio.run(main())


def test_records_under_other_keys_are_passed_over_and_told(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        await stray(kafka, config, *GARBAGE)
        await send(kafka, config.topic(STATE), [(b"0/0", None), (b"59/3", None)])  # tombstones
        await send_views(kafka, config, range(60, 70))

        async def written() -> bool:
            return await totals(kafka, config) == {"s1": 70}

        with capture_logs() as logs:
            async with worker(config) as memory:
                await until(lambda: memory.counted == 10, "it goes on from its own state")
                await eventually(written, "its totals are written")
        told = [entry for entry in logs if "not of liveshop" in entry["event"]]
        assert {(entry["expected"], entry["partition"], entry["log_level"]) for entry in told} == {
            ("state", 0, "warning")
        }
        ((found),) = await verify.verify(config, [0])
        assert [finding.what for finding in found.findings] == ["strays"]
        assert "docs/security.md" in found.findings[0].text

    asyncio.run(main())


def test_a_state_without_checksums_is_continued(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier versions wrote it; and what is written on has them."""

    async def main() -> None:
        with monkeypatch.context() as older:
            older.setattr("stream.kafka.checkpoint.state_headers", lambda _value: [])
            config = await counted(kafka, prefix)
        assert not [record for record in await everything(kafka, config.topic(STATE)) if record.headers]
        await send_views(kafka, config, range(60, 70))
        await count(kafka, config)
        assert await totals(kafka, config) == {"s1": 70}
        assert [record for record in await everything(kafka, config.topic(STATE)) if record.headers]
        ((found),) = await verify.verify(config, [0])
        assert found.findings == []

    asyncio.run(main())


def test_wrong_settings_end_a_worker_at_its_start_though_it_has_several_shards(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    async def main() -> None:
        await counted(kafka, prefix, partitions=2)
        with pytest.raises(UsageError, match="was counted under other settings: --windows was 1m,5m/1m, is now 2m"):
            await ended(settings(kafka, prefix, windows="2m"))

    asyncio.run(main())


def test_with_processes_one_unreadable_state_ends_none_of_them(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    async def prepare() -> None:
        config = await counted(kafka, prefix, partitions=4, group=prefix.rstrip("."))
        await damaged(kafka, config)
        for partition in range(4):
            await send_views(kafka, config, range(60, 100), partition)

    asyncio.run(prepare())
    with Supervised(kafka.bootstrap, prefix, tmp_path / "log") as found:
        last = found.until(
            "the other three are counted, and shown", lambda seen: read(seen) == 3 * 40 and len(partitions(seen)) == 3
        )
        wait_for("it is told", lambda: "the state of partition 0 in" in found.get("/readyz")[1], 30)
        assert found.until("it is shown", lambda seen: seen.get('liveshop_state_refused{partition="0"}') == 1)
        assert sorted(found.children()) == [0, 1]
        assert last['liveshop_process_restarts_total{process="0"}'] == 0
        found.stop()


# -- results and alerts


def alert(session: str, status: Status = Status.FIRING, at: int = BASE) -> Alert:
    return Alert(
        alert="silent", session_id=session, seller_id="x", status=status, severity=Severity.PAGE, since=BASE, at=at,
        run="live", summary="", runbook="", values={"events": 0}, id="1",
    )  # fmt: skip


STRANGERS: Final = (
    *GARBAGE,
    b"[" * 500_000,
    json.dumps({"alert": "silent", "session_id": "s1"}).encode(),
    alert("s1").value().replace(b"firing", b"smoking"),
    alert("s1").value().replace(b'"at":', b'"at":' + b"9" * 300 + b',"x":'),
    alert("s1").value()[:-1] + b',"x":' + b"[" * 200_000,
    alert("s1").value() + b"\xff",
    alert("s2").value(),
    b"null",
)
"""Under the key of an alert of s1: none of them is one, also not that of another session."""


async def spoil(kafka: EmbeddedKafka, topic: str, key: bytes) -> None:
    await send(kafka, topic, [(key, value) for value in STRANGERS], max_batch_size=2_000_000)


def test_alerts_are_listed_whatever_else_lies_between(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def prepare() -> Settings:
        config = await make(kafka, prefix)
        for each in (alert("s1"), alert("s3"), alert("s4"), alert("s3", Status.RESOLVED, BASE + 1)):
            await send(kafka, config.topic(ALERTS), [(each.key(), each.value())])
        await spoil(kafka, config.topic(ALERTS), alert("s1").key())
        await send(kafka, config.topic(ALERTS), [(alert("s4").key(), None)])
        return config

    config = asyncio.run(prepare())
    arguments = ["--brokers", kafka.bootstrap, "--topic-prefix", prefix, "--group", config.group, "--json"]
    for command, expected in ((["list"], ["s1"]), (["history", "s3"], ["s3", "s3"])):
        with logging_restored():
            cli.app(["alerts", *command, *arguments], standalone_mode=False)
        out, err = capsys.readouterr()
        assert [each["session_id"] for each in json.loads(out)] == expected
        assert (
            f"no alerts of liveshop were left out: {len(STRANGERS)}, the first at offset 4; somebody else writes" in err
        )
        assert "Traceback" not in err


def test_a_rebuild_finds_what_is_ours_between_what_is_not(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        await send(kafka, config.topic(ALERTS), [(alert("s1").key(), alert("s1").value())])
        await spoil(kafka, config.topic(ALERTS), alert("s1").key())
        for topic in (SESSIONS, SESSION_WINDOWS):
            await spoil(kafka, config.topic(topic), b"s1")
        context = ShardContext(config, 0, 1, WORKER)
        with capture_logs() as logs:
            plan = await rebuild.plan(context)
        assert (plan.generation_now, plan.generation) == (0, 1)
        told = {entry["expected"] for entry in logs if "not of liveshop" in entry["event"]}
        assert told == {"results", "alerts"}
        await rebuild.execute(context, plan)
        mute = shard_of((await recovery.rehearse(context))[0]).alerting.emitter.mute
        assert mute is not None
        assert list(mute.told.values()) == [alert("s1")]

    asyncio.run(main())


def test_a_stranger_in_place_of_a_result_is_found(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        for value in STRANGERS[:-2:4]:
            await send(kafka, config.topic(SESSIONS), [(b"s1", value)])
            ((found),) = await verify.verify(config, [0])
            (finding,) = found.findings
            assert finding.text == "session s1: live.sessions is no result of liveshop: somebody else writes there"

    asyncio.run(main())
