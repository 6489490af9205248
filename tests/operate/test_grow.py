"""A larger set of topics takes over: every event is counted once, in one set or the other, whatever happens on the way."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from stream.config import Settings
from stream.core.deadletters import LetterSize
from stream.errors import FailedError, UsageError
from stream.kafka.health import PARTITIONS
from stream.model.names import DEAD_LETTERS, INPUTS, KINDS, SESSION_WINDOWS, SESSIONS, Kind
from stream.operate import grow, moving, takeover
from stream.operate.grow import Growth
from stream.operate.moving import Mover
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from tests.faults.grown import add_partitions, partition_of, send_events, sessions
from tests.kafka.test_checkpoint import unanswered
from tests.kafka.tools import (
    BASE,
    damage,
    everything,
    headers,
    newest,
    producer,
    send,
    send_batches,
    send_views,
    until,
    view,
)
from tests.operate.tools import eventually, make, worker
from tests.raw import LZ4, batch, checksummed, record, send_raw
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

MINUTE = 60_000


def new(config: Settings, to_prefix: str) -> Settings:
    return config.model_copy(update={"topic_prefix": to_prefix, "group": config.group + "-new"})


async def written(kafka: EmbeddedKafka, config: Settings, name: str, partitions: int) -> list[dict[str, Any]]:
    """The newest value of each key, in each partition."""
    found: list[dict[str, Any]] = []
    for number in range(partitions):
        found += newest(await everything(kafka, config.topic(name), number)).values()
    return found


async def views(kafka: EmbeddedKafka, config: Settings, partitions: int) -> Counter[str]:
    """By session, as the totals say."""
    found: Counter[str] = Counter()
    for value in await written(kafka, config, SESSIONS, partitions):
        found[value["session_id"]] += value["counts"]["views"]
    return found


async def windows(kafka: EmbeddedKafka, config: Settings, partitions: int) -> Counter[tuple[str, int]]:
    """Views by session and minute, as the windows say."""
    found: Counter[tuple[str, int]] = Counter()
    for value in await written(kafka, config, SESSION_WINDOWS, partitions):
        if value["window"] == "1m":
            found[value["session_id"], value["start"]] += value["counts"]["views"]
    return found


async def all_written(kafka: EmbeddedKafka, config: Settings, number: int) -> None:
    """By a shard that has fallen silent."""

    async def look() -> bool:
        totals, closed = await views(kafka, config, 3), await windows(kafka, config, 3)
        return totals.total() == closed.total() == number

    await eventually(look, "all is written")


def command(config: Settings, *words: str) -> list[str]:
    flags = config.as_flags(("brokers", "group", "topic_prefix", "transaction_timeout"))
    return [sys.executable, "-P", "-m", "stream.cli", "topics", "grow", *flags, *words]


def execute(config: Settings, *words: str) -> dict[str, Any]:
    """Runs it to its end, as people do; what it prints as JSON."""
    done = subprocess.run(
        command(config, *words, "--execute", "--json"), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def names(before: Iterable[tuple[int, int]]) -> list[str]:
    """A session for each place of 2 and place of 3 partitions."""
    return [next(sessions((old, 2), (now, 3))) for old, now in before]


def test_partitions_were_added_and_producers_have_followed(kafka: EmbeddedKafka, prefix: str) -> None:
    """Some records are in a partition that nobody reads, some in that of another shard, some where they always were."""
    ids = names([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)])
    to = f"{prefix}p3."

    async def main() -> None:
        config = await make(kafka, prefix, 2)
        async with worker(config) as memory:
            for name in ids:
                await send_events(kafka, prefix, name, range(30), 2)
            await until(lambda: memory.counted == 30 * len(ids), "the old set counts")
            await add_partitions(kafka, {config.topic(INPUTS[Kind.VIEWS]): 3})
            for name in ids:
                await send_events(kafka, prefix, name, range(30, 50), 3)
            await until(lambda: PARTITIONS in memory.reasons, "it stops")

            (shown,) = json.loads(await output(command(config, "--partitions", "3", "--to-prefix", to, "--json")))
            assert shown["added"]
            assert not shown["done"]
            assert set(shown["split"]) >= {name for name in ids if partition_of(name, 2) != partition_of(name, 3)}
            words = ("--partitions", "3", "--to-prefix", to, "--quiet", "1s")
            found = await asyncio.to_thread(execute, config, *words)
            assert found["done"]
            again = await asyncio.to_thread(execute, config, *words)
            assert (again["moved_records"], again["done"]) == (0, True)
            old = await views(kafka, config, 2)
            assert old.total() + found["moved_records"] == 50 * len(ids)
            async with worker(new(config, to)) as other:
                await until(lambda: other.counted == found["moved_records"], "the new set counts the rest")
                await all_written(kafka, new(config, to), other.counted)
            assert sorted(found["split"]) == sorted(name for name in ids if 0 < old[name] < 50)
        assert await views(kafka, config, 2) + await views(kafka, new(config, to), 3) == Counter(dict.fromkeys(ids, 50))
        one, two = await windows(kafka, config, 2), await windows(kafka, new(config, to), 3)
        assert one + two == Counter({(name, BASE // MINUTE * MINUTE): 50 for name in ids})

    asyncio.run(main())


async def output(words: list[str]) -> str:
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_producers_switch_while_workers_run(kafka: EmbeddedKafka, prefix: str) -> None:
    """The planned way: nothing was added to the old set, its workers count it to the end, and say who has taken over."""
    ids, to = names([(0, 0), (1, 2)]), f"{prefix}p3."

    async def main() -> None:
        config = await make(kafka, prefix, 2)
        await topics.create(config, 2)
        said: list[str] = []
        async with worker(config) as memory:
            for name in ids:
                await send_events(kafka, prefix, name, range(10), 2)
            growing = asyncio.ensure_future(takeover.execute(config, Growth(to, 3, 8.0), said.append))
            await until(lambda: any("let producers write to" in text for text in said), "it says what to do")
            for name in ids:
                await send_events(kafka, prefix, name, range(10, 20), 2)
            await send_events(kafka, to, ids[0], range(20, 40), 3)
            found = await asyncio.wait_for(growing, PATIENCE)
            assert (found.done, found.moved_records, found.split) == (True, 0, [ids[0]])
            # a producer that has not heard of it
            await send_events(kafka, prefix, ids[1], range(20, 25), 2)
            await until(lambda: f"was moved to {to}live.*" in memory.reasons.get(PARTITIONS, ""), "the worker says so")
        async with worker(new(config, to)) as other:
            await until(lambda: other.counted == 20, "the new set counts")
            await all_written(kafka, new(config, to), 20)
        assert await views(kafka, config, 2) == Counter(dict.fromkeys(ids, 20))
        assert await views(kafka, new(config, to), 3) == Counter({ids[0]: 20})

        found = await takeover.execute(config, Growth(to, 3, 1.0), said.append)
        assert (found.done, found.moved_records, found.split) == (True, 5, sorted(ids))
        with pytest.raises(UsageError, match=f"was moved to {to} already"):
            await grow.plan(config, Growth(f"{prefix}other.", 3, 1.0))

    asyncio.run(main())


def test_each_record_is_moved_once_whatever_interrupts_it(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended amid a transaction, not told of an end, begun twice, and with a broker that has forgotten how far it was."""
    monkeypatch.setattr(moving, "RECORDS", 20)
    to = f"{prefix}p3."

    async def main() -> None:
        config = await make(kafka, prefix, 2)
        for number in range(2):
            await send_views(kafka, config, range(100), number)
        growth = Growth(to, 3, 1.0)
        old, target = await grow.read_old_set(config, growth), grow.target_of(config, growth)
        await topics.copy(config, target.settings, 3)

        def mover() -> Mover:
            return Mover(config, target, dict.fromkeys(old.inputs, 0), LetterSize())

        commit = Mover._write
        left = 3

        async def broken(self: Mover, piece: list[Any]) -> None:
            nonlocal left
            left -= 1
            if not left:
                monkeypatch.setattr(self._producer, "commit_transaction", _interrupted)
            await commit(self, piece)

        with monkeypatch.context() as patch:
            patch.setattr(Mover, "_write", broken)
            with pytest.raises(InterruptedError):
                async with mover() as first:
                    await first.move(lambda _done, _every: None)
        with monkeypatch.context() as patch:
            asked = unanswered(patch, arrives=False)
            async with mover() as unsure:
                with pytest.raises(FailedError, match="it goes on where it was"):
                    await unsure.move(lambda _done, _every: None)
            assert asked == [2]
        async with mover() as slow, mover() as quick:
            assert quick.left == 0
            with pytest.raises(FailedError, match="another run moves"):
                await slow.move(lambda _done, _every: None)
            with monkeypatch.context() as patch:
                patch.setattr(quick, "_fill", _stop_after(quick, 2))
                with pytest.raises(InterruptedError):
                    await quick.move(lambda _done, _every: None)

        async def forgotten(_settings: Settings, partitions: list[Any]) -> dict[Any, int]:
            return dict.fromkeys(partitions, -1)

        monkeypatch.setattr(moving, "group_offsets", forgotten)
        async with mover() as last:
            await last.move(lambda _done, _every: None)
        origins = [
            headers(record)["liveshop-origin"].rpartition(b"/")[0].decode()
            for number in range(3)
            for record in await everything(kafka, target.settings.topic(INPUTS[Kind.VIEWS]), number)
        ]
        topic = config.topic(INPUTS[Kind.VIEWS])
        assert sorted(origins) == sorted(f"{topic}/{number}/{offset}" for number in range(2) for offset in range(100))

    asyncio.run(main())


async def _interrupted() -> None:
    raise InterruptedError


def _stop_after(mover: Mover, rounds: int) -> Any:
    fill = mover._fill
    left = rounds

    async def stopping() -> None:
        nonlocal left
        if not left:
            raise InterruptedError
        left -= 1
        await fill()

    return stopping


def test_what_is_moved_comes_in_the_order_of_time_with_all_it_had(kafka: EmbeddedKafka, prefix: str) -> None:
    """Over partitions and topics: one behind another would be late in the new set. Keys, headers, tombstones go along."""
    to = f"{prefix}p4."

    async def main() -> None:
        config = await make(kafka, prefix, 2)
        async with producer(kafka) as sender:
            for number in range(40):
                kind = KINDS[number % 3]
                value = None if number == 5 else view(number)
                await sender.send_and_wait(
                    config.topic(INPUTS[kind]),
                    value,
                    key=None if number == 7 else b"s1",
                    headers=[("n", b"%d" % number)],
                    partition=number % 2,
                )
        asked = Growth(to, 4, 1.0)
        old, target = await grow.read_old_set(config, asked), grow.target_of(config, asked)
        await topics.copy(config, target.settings, 4)
        order: list[int] = []
        async with Mover(config, target, dict.fromkeys(old.inputs, 0), LetterSize()) as mover:
            take = mover._piece

            def noting() -> Any:
                for source, record in take():
                    order.append(record.timestamp)
                    yield source, record

            mover._piece = noting  # type: ignore[method-assign]
            await mover.move(lambda _done, _every: None)
        assert order == sorted(order)
        found = {}
        for kind in KINDS:
            for number in range(4):
                for each in await everything(kafka, target.settings.topic(INPUTS[kind]), number):
                    found[int(headers(each)["n"])] = (kind, number, each.key, each.value is None)
        assert sorted(found) == list(range(40))
        assert found[5] == (KINDS[2], partition_of("s1", 4), b"s1", True)
        assert {number for n, (_, number, _, _) in found.items() if n != 7} == {partition_of("s1", 4)}
        assert found[7][2] is None

    asyncio.run(main())


def test_the_new_topics_have_the_settings_of_the_old_ones(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, 2)
        target = new(config, f"{prefix}p3.")
        made = await topics.copy(config, target, 3)
        assert {topic.partitions for topic in made} == {3}
        old, now = await topics.configs(config), await topics.configs(target)
        assert old == now
        with pytest.raises(UsageError, match=r"live\.views has 3.* already"):
            await grow.plan(config, Growth(f"{prefix}p3.", 4, 1.0))
        with pytest.raises(UsageError, match="must have more"):
            await grow.plan(config, Growth(f"{prefix}p2.", 2, 1.0))
        with pytest.raises(UsageError, match="a prefix of its own"):
            await grow.plan(config, Growth(prefix, 3, 1.0))

    asyncio.run(main())


def test_a_set_that_nobody_has_counted_is_moved_whole(kafka: EmbeddedKafka, prefix: str) -> None:
    """Its topics never had the same number of partitions: no worker has begun."""
    to = f"{prefix}p3."

    async def main() -> None:
        config = await make(kafka, prefix, 2)
        await add_partitions(kafka, {config.topic(INPUTS[Kind.VIEWS]): 3})
        for number in range(3):
            await send(kafka, config.topic(INPUTS[Kind.VIEWS]), [(b"s1", view(number))], number)
        found = await takeover.execute(config, Growth(to, 3, 0.5), lambda _: None)
        assert (found.done, found.moved_records, found.closed) == (True, 3, [0, 1])
        async with worker(new(config, to)) as other:
            await until(lambda: other.counted == 3, "it counts")

    asyncio.run(main())


def test_what_nobody_can_read_becomes_dead_letters_and_what_is_damaged_is_named(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    to = f"{prefix}p3."

    async def main() -> None:
        config = await make(kafka, prefix, 2)
        topic = config.topic(INPUTS[Kind.VIEWS])
        await send_views(kafka, config, range(2))
        async with producer(kafka) as sender:
            await sender.send_and_wait(topic, view(2), key=b"s1", headers=[("", b"")] * 1001, partition=0)
            plain = b"".join(record(number, b"s1", view(3 + number)) for number in range(3))
            await send_raw(sender, topic, batch(checksummed(plain, right=False), 3, LZ4), 3)
        await send_views(kafka, config, range(6, 8))
        await send_batches(kafka, config, [range(8, 10)], partition=1)
        damage(kafka, topic, 0, partition=1)
        words = command(config, "--partitions", "3", "--to-prefix", to, "--quiet", "1s", "--execute", "--json")

        failed = await asyncio.to_thread(
            subprocess.run, words, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert failed.returncode == 1
        assert f"{topic}, partition 1: offsets 0 to 1 cannot be read" in failed.stderr
        damage(kafka, topic, 0, partition=1)  # the same bits once more: it is mended
        done = await asyncio.to_thread(
            subprocess.run, words, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 3, done.stderr
        (found,) = json.loads(done.stdout)
        assert found["done"]
        target = new(config, to)
        moved = [each for number in range(3) for each in await everything(kafka, topic_of(target), number)]
        assert len(moved) == 6
        letters = [each for number in range(3) for each in await everything(kafka, target.topic(DEAD_LETTERS), number)]
        told = {
            (headers(each)["liveshop-reason"], headers(each)["liveshop-origin"].rpartition(b"/")[0]) for each in letters
        }
        assert told == {
            (b"too_many_headers", f"{topic}/0/2".encode()),
            (b"unreadable", f"{topic}/0/3-5".encode()),
        }

    asyncio.run(main())


def topic_of(config: Settings) -> str:
    return config.topic(INPUTS[Kind.VIEWS])
