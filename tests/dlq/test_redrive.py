"""``liveshop dlq redrive`` end to end: what is sent again is counted, once, whatever happens in between."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced

from stream import cli
from stream.children import Child
from stream.config import Settings
from stream.dlq import ledger
from stream.dlq import redrive as redriving
from stream.dlq.drafts import Draft
from stream.dlq.fixes import FIXES
from stream.dlq.letters import Selection
from stream.dlq.redrive import Done, Redrive
from stream.errors import FailedError
from stream.kafka import client, statereader
from stream.model.names import DEAD_LETTERS, INPUTS, REDRIVES, Kind, Outcome, Reason
from stream.operate.shards import reading
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from tests.dlq.tools import Rec, letter, refused, write
from tests.kafka import tools
from tests.kafka.tools import BASE, everything, headers, send_views, until, view
from tests.live import path, wait_for
from tests.operate.tools import count, eventually, make, totals, worker
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka
VIEWS: Final = INPUTS[Kind.VIEWS]
SECONDS: Final = BASE // 1000


def flags(config: Settings) -> list[str]:
    return [f"--brokers={config.brokers}", f"--topic-prefix={config.topic_prefix}", f"--group={config.group}"]


def redrive(config: Settings, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()  # what the test itself has logged
    with pytest.raises(SystemExit) as caught:
        cli.main(["dlq", "redrive", *flags(config), "--json", *words])
    out, err = capsys.readouterr()
    assert not caught.value.code, err
    found: dict[str, Any] = orjson.loads(out)
    return found


async def sent(kafka: EmbeddedKafka, config: Settings, partitions: int = 1) -> list[Any]:
    """Records of views that were sent again, in order."""
    every = [record for number in range(partitions) for record in await everything(kafka, config.topic(VIEWS), number)]
    return [record for record in every if "liveshop-redrives" in headers(record)]


def test_what_a_worker_refused_is_mended_and_counted_once(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        wrong: tools.Rows = [(b"s1", view(number, event_time=SECONDS + number)) for number in range(3)]
        asked = Redrive(Selection(frozenset({"bad_value"})), "me", (FIXES["seconds-to-milliseconds"],))
        async with worker(config) as memory:
            await send_views(kafka, config, [10])
            await tools.send(kafka, config.topic(VIEWS), wrong)
            await until(lambda: memory.read == 4, "all are read")
            letters = await everything(kafka, config.topic(DEAD_LETTERS))
            assert [headers(each)["liveshop-reason"] for each in letters] == [b"bad_value"] * 3

            looked = await redriving.look(config, asked, lambda _done, _every: None)
            assert looked.tally.sent.total() == 3
            assert await sent(kafka, config) == []

            done = Done()
            await redriving.execute(config, asked, lambda _done, _every: None, done)
            assert (done.committed, done.transactions) == (3, 1)
            await until(lambda: memory.counted == 4, "what was sent again is counted")

            again = Done()
            await redriving.execute(config, asked, lambda _done, _every: None, again)
            assert (again.committed, again.tally.left) == (0, {"redriven": 3})

            async def total() -> bool:
                return await totals(kafka, config) == {"s1": 4}

            await eventually(total, "the total is written")
        found = await sent(kafka, config)
        assert [orjson.loads(each.value)["event_time"] for each in found] == [(SECONDS + n) * 1000 for n in range(3)]
        assert [each.key for each in found] == [b"s1"] * 3
        assert headers(found[0])["liveshop-redrives"] == b"1"
        assert headers(found[0])["liveshop-origin"] == headers(letters[0])["liveshop-origin"]
        [entry] = [orjson.loads(each.value) for each in await everything(kafka, config.topic(REDRIVES))]
        assert (entry["offsets"], entry["by"], entry["fixes"]) == ([[0, 2]], "me", ["seconds-to-milliseconds"])

    asyncio.run(main())


def test_a_dry_run_tells_what_would_only_come_back_and_what_comes_back_too_often_is_left(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the clocks and settings of the state: its newest view is of BASE + 100 s, and late is what is 310 s before it."""

    async def prepare() -> Settings:
        config = await make(kafka, prefix)
        await send_views(kafka, config, [1000])
        await count(kafka, config)
        letters = [
            refused(Rec(view(900)), Reason.LATE),
            refused(Rec(view(901, event_time=BASE - 210_000)), Reason.LATE),
            refused(Rec(view(902), headers=[("liveshop-redrives", b"1")]), Reason.LATE),
            refused(Rec(view(903)), Reason.FUTURE),
            refused(Rec(b"no json"), Reason.LATE),
        ]
        await write(kafka, config, letters)
        return config

    config = asyncio.run(prepare())
    asked = ("--reason=late", "--max-redrives=1")
    looked = redrive(config, capsys, *asked)
    assert (looked["meant"], looked["left"]) == (4, {"late": 1, "loop": 1, "refused": 1})
    assert looked["sent"] == [{"topic": config.topic(VIEWS), "outlook": "counted", "letters": 1}]
    assert looked["details"][0]["detail"].startswith("invalid_json: ")
    assert (looked["executed"], looked["committed"]) == (False, 0)
    assert asyncio.run(sent(kafka, config)) == []

    done = redrive(config, capsys, *asked, "--execute")
    assert (done["committed"], done["left"]) == (1, looked["left"])
    [record] = asyncio.run(sent(kafka, config))
    assert record.value == view(900)
    asyncio.run(count(kafka, config))
    assert asyncio.run(totals(kafka, config)) == {"s1": 2}

    # another selection of the same letter sends nothing twice, and one that comes back stays by its count
    other = redrive(config, capsys, *asked, "--session=s1", "--execute")
    assert (other["committed"], other["left"]["redriven"]) == (0, 1)
    back = Rec(record.value, record.key, record.offset, record.timestamp, record.headers)
    asyncio.run(write(kafka, config, [refused(back, Reason.LATE)]))
    assert redrive(config, capsys, *asked, "--execute")["left"]["loop"] == 2

    with pytest.raises(SystemExit):
        cli.main(["dlq", "redrive", *flags(config), "--reason=late"])
    out = capsys.readouterr().out
    assert "would only come back as late: a replay of the recorded topics can count it" in out
    assert "nothing is sent without --execute" in out


def test_what_a_worker_refuses_again_and_again_is_not_sent_for_ever(kafka: EmbeddedKafka, prefix: str) -> None:
    """A session for which there is no room: nobody but the shard can know."""

    async def main() -> None:
        config = await make(kafka, prefix, max_sessions=1)
        asked = Redrive(Selection(frozenset({"too_many_sessions"})), "me", max_redrives=2)
        async with worker(config) as memory:
            await send_views(kafka, config, [1])
            await until(lambda: memory.counted == 1, "the first session is known")
            await tools.send(kafka, config.topic(VIEWS), [(b"s2", view(2, "s2"))])
            for redrives in range(3):
                await until(lambda number=redrives + 2: memory.read == number, "it is refused")  # type: ignore[misc]  # bound now
                letters = await everything(kafka, config.topic(DEAD_LETTERS))
                assert [headers(each)["liveshop-redrives"] for each in letters] == [
                    b"%d" % each for each in range(redrives + 1)
                ]
                done = Done()
                await redriving.execute(config, asked, lambda _done, _every: None, done)
                assert done.committed == (redrives < 2)
            assert done.tally.left == {"redriven": 2, "loop": 1}
        assert len(await sent(kafka, config)) == 2

    asyncio.run(main())


def test_a_second_redrive_takes_over_and_the_first_ends(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        every = [refused(Rec(view(number)), Reason.LATE) for number in range(100)]
        await write(kafka, config, every)
        slow, fast = (Redrive(Selection(frozenset({"late"})), "me", rate=rate) for rate in (2, 1000))
        done, other = Done(), Done()
        first = asyncio.create_task(redriving.execute(config, slow, lambda _done, _every: None, done))
        try:
            await until(lambda: done.committed or first.done(), "the first has sent some")
            await redriving.execute(config, fast, lambda _done, _every: None, other)
            with pytest.raises(FailedError, match="another redrive has taken over"):
                async with asyncio.timeout(PATIENCE):
                    await first
        finally:
            first.cancel()
        found = [record.value for record in await sent(kafka, config)]
        assert sorted(found) == sorted(each.record.value or b"" for each in every)
        assert done.committed > 0
        assert other.committed > 0

    asyncio.run(main())


def test_nothing_is_sent_where_nothing_is_counted_any_more(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Partitions were added: workers wait for a new set of topics."""

    async def prepare() -> Settings:
        config = await make(kafka, prefix)
        await send_views(kafka, config, [1])
        await count(kafka, config)
        await write(kafka, config, [refused(Rec(), Reason.LATE)])
        admin = AIOKafkaAdminClient(bootstrap_servers=config.brokers)
        await admin.start()
        try:
            await admin.create_partitions({config.topic(VIEWS): NewPartitions(2)})
        finally:
            await admin.close()

        async def added() -> bool:
            return (await topics.counts(config))[config.topic(VIEWS)] == 2

        await eventually(added, "there are two partitions")
        return config

    config = asyncio.run(prepare())
    with pytest.raises(SystemExit) as caught:
        cli.main(["dlq", "redrive", *flags(config), "--reason=late", "--execute"])
    assert caught.value.code == 2
    assert "partitions were added: " in capsys.readouterr().err


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_on_where_it_was_stopped(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], kill: signal.Signals
) -> None:
    numbers = range(60)

    async def prepare() -> Settings:
        config = await make(kafka, prefix, 2)
        for partition in range(2):
            mine = [each for each in numbers if each % 2 == partition]
            letters = [refused(Rec(view(each, f"s{each}"), f"s{each}".encode()), Reason.LATE) for each in mine]
            await write(kafka, config, letters, partition)
        return config

    def ids(records: Sequence[Any]) -> list[str]:
        return sorted(orjson.loads(each.value)["event_id"] for each in records)

    config = asyncio.run(prepare())
    words = ["dlq", "redrive", *flags(config), "--reason=late", "--execute"]
    environ = {**{name: value for name, value in os.environ.items() if "LIVESHOP_" not in name}, "PYTHONPATH": path()}
    child = Child([sys.executable, "-m", "stream.cli", *words, "--rate=1"], log=tmp_path / "log", environ=environ)
    try:
        wait_for("some are sent", lambda: len(asyncio.run(sent(kafka, config, 2))) >= 3, every=0.2)
        os.kill(child.pid, kill)
        wait_for("it has ended", lambda: child.code is not None)
    finally:
        child.kill()
    if kill is signal.SIGINT:
        assert child.code == 130
        assert "they are noted, the same command goes on" in child.tail()
    before = len(asyncio.run(sent(kafka, config, 2)))
    assert before < len(numbers)

    done = redrive(config, capsys, "--reason=late", "--execute")
    assert (done["committed"], done["left"]) == (len(numbers) - before, {"redriven": before})
    assert ids(asyncio.run(sent(kafka, config, 2))) == sorted(f"e{each}" for each in numbers)
    assert redrive(config, capsys, "--reason=late", "--execute")["committed"] == 0


class FencedProducer:
    """Takes some records, whose fate is ``error`` or still open, and then no more."""

    def __init__(self, takes: int, error: KafkaError | None) -> None:
        self.takes, self.error = takes, error
        self.fates: list[asyncio.Future[object]] = []
        self.ended = ""

    async def begin_transaction(self) -> None: ...

    async def send(self, *_: object, **__: object) -> asyncio.Future[object]:
        if len(self.fates) == self.takes:
            raise IllegalOperation("Can't send messages while not in transaction")
        self.fates.append(asyncio.get_running_loop().create_future())
        if self.error is not None:
            self.fates[-1].set_exception(self.error)
        return self.fates[-1]

    async def abort_transaction(self) -> None:
        self.ended = "aborted"
        raise ProducerFenced

    async def commit_transaction(self) -> None:
        self.ended = "committed"


def sending(producer: FencedProducer) -> Any:
    asked = Redrive(Selection(frozenset({"late"})), "me")
    return redriving._Sending(Settings(brokers="127.0.0.1:1"), asked, producer, "id", Done())


DRAFTS: Final = [
    Draft(letter(refused(Rec()), offset), "live.views", 0, b"s1", b"{}", (), Outcome.COUNTED) for offset in range(3)
]


def test_a_fence_in_the_middle_of_a_batch_is_told_as_one() -> None:
    producer = FencedProducer(2, ProducerFenced())
    with pytest.raises(ProducerFenced):
        asyncio.run(sending(producer).commit(DRAFTS))
    assert producer.ended == "aborted"


def test_an_interrupted_batch_is_aborted_at_once() -> None:
    """Else every reader of the inputs waits until the broker does it."""

    async def main(producer: FencedProducer) -> None:
        task = asyncio.create_task(sending(producer).commit(DRAFTS))
        await until(lambda: len(producer.fates) == len(DRAFTS) + 1, "all are on their way")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    producer = FencedProducer(len(DRAFTS) + 1, None)
    asyncio.run(main(producer))
    assert producer.ended == "aborted"


def test_a_batch_that_failed_hides_nothing_from_the_readers_of_the_inputs(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_results: object) -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        config = await make(kafka, prefix)
        await ledger.make(config)
        patient = config.model_copy(update={"transaction_timeout": timedelta(minutes=10)})
        producer = client.make_producer(patient, f"liveshop.{config.topic(REDRIVES)}")
        await client.start(producer, patient)
        try:
            sender = redriving._Sending(patient, Redrive(Selection(), "me"), producer, "id", Done())
            drafts = [replace(each, topic=config.topic(VIEWS)) for each in DRAFTS]
            with pytest.raises(asyncio.CancelledError):
                await sender.commit(drafts)
            tp = TopicPartition(config.topic(VIEWS), 0)
            async with reading(config, [tp]) as reader:
                await statereader.await_stable(reader, tp, 0, PATIENCE)
                assert await reader.end_offsets([tp]) == {tp: len(DRAFTS) + 1}, "the records, and the end"
        finally:
            await client.end(producer)
        assert await everything(kafka, config.topic(VIEWS)) == []

    monkeypatch.setattr(redriving, "_raise_worst", fail)
    asyncio.run(main())


def test_the_ledger_needs_the_id_of_the_topic_where_there_are_ids() -> None:
    assert redriving._letters_id({}) == ""
    assert redriving._letters_id({DEAD_LETTERS: "id", VIEWS: "other"}) == "id"
    with pytest.raises(FailedError, match="try again"):
        redriving._letters_id({VIEWS: "other"})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--reason: say which"),
        (("--reason=late", "--session=\udcff"), "--session: '\\udcff' is no UTF-8"),
        (("--reason=late", "--by=\udcff"), "--by: '\\udcff' is no UTF-8"),
        (("--reason=late", "--fix=magic"), "--fix: there is no 'magic'; there are seconds-to-milliseconds, "),
        (("--reason=late", "--from=2026-01-01T00:00"), "--from: '2026-01-01T00:00' has no offset"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["dlq", "redrive", "--brokers=127.0.0.1:1", *words])
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_fixes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["dlq", "fixes", "--json"])
    assert [each["name"] for each in orjson.loads(capsys.readouterr().out)] == list(FIXES)
