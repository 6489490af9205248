"""One budget for all shards: nobody goes beyond it but in turn, and everybody gets on."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.config import Settings
from stream.kafka.memory import MB, Account, Memory
from stream.model.names import INPUTS, KINDS, SESSIONS, Outcome
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.worker import make_worker
from tests.hostile.test_memory import event, write
from tests.kafka import tools
from tests.kafka.tools import BASE, everything, make_topics, newest, settings, until
from tests.live import eventually

NUMBER = 400


def test_what_shards_unpack_fits_the_room_together() -> None:
    memory = Memory(20)
    one, other = Account(memory), Account(memory)
    assert one.takes(6)
    assert other.may_unpack()
    assert not other.takes(5), "beyond 10, the half"
    assert other.needs_turn
    assert not other.may_unpack(), "who knows that there is no room does not try again"
    assert one.takes(4)
    assert memory.is_full
    one.close()
    assert memory.unpacked == 0


def test_in_its_turn_a_shard_unpacks_one_batch_of_any_size_or_some_that_fit() -> None:
    memory = Memory(20)
    one, other = Account(memory), Account(memory)
    assert one.takes(10)
    other.begin_turn()
    assert other.may_unpack()
    assert other.takes(100)
    assert not other.may_unpack()
    other.set(0)
    assert other.takes(4)
    assert other.may_unpack()
    assert not other.takes(7)
    other.end_turn()
    assert other.needs_turn
    one.close()
    assert not other.needs_turn


@given(st.integers(16 * MB, 2**40), st.integers(1, 1000))
def test_results_and_fetches_are_parts_of_the_whole_within_reason(size: int, shards: int) -> None:
    memory = Memory(size)
    memory.shards = shards
    assert MB <= memory.results <= 16 * MB
    assert 64 * 1024 <= memory.fetch <= MB
    assert memory.results <= max(MB, size // 4 // shards)
    assert memory.fetch * 3 * shards <= max(64 * 1024 * 3 * shards, size // 8)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_sum_is_what_the_shards_hold(sizes: list[int], chance: random.Random) -> None:
    memory = Memory(100)
    accounts = [Account(memory) for _ in range(3)]
    held: Counter[int] = Counter()
    for size in sizes:
        which = chance.randrange(3)
        if chance.random() < 0.3:
            held[which] = 0
            accounts[which].set(0)
        elif accounts[which].may_unpack() and accounts[which].takes(size):
            held[which] += size
        assert memory.unpacked == held.total() <= memory.room


@pytest.mark.kafka
def test_without_any_room_shards_read_in_turn_and_nothing_is_lost_or_counted_twice(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Topics that have to wait for each other all the time, and a batch of each spans much of the log."""

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, 2)
        for partition in range(2):
            for kind in KINDS:
                session = f"{kind}-{partition}"
                events = [(session, event(kind, at, BASE + at * 500, session, 10)) for at in range(NUMBER)]
                batches = [events[: NUMBER // 2], events[NUMBER // 2 :]]
                await write(kafka, config.topic(INPUTS[kind]), partition, batches)
        memory = tools.Memory()
        worker = make_worker(config, memory, memory, rebuild=False)
        monkeypatch.setattr(worker, "_memory", Memory(0))
        running = asyncio.ensure_future(worker.run())
        try:
            await until(lambda: memory.read >= 2 * 3 * NUMBER, "all are read")
            assert set(memory.outcomes) == {(kind, Outcome.COUNTED) for kind in KINDS}
            assert set(memory.outcomes.values()) == {2 * NUMBER}
            expected = {f"{kind}-{partition}": NUMBER for kind in ("views", "comments") for partition in range(2)}

            async def settled() -> bool:
                return await totals(config) == expected

            await eventually("the totals are those of all events", settled)
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def totals(config: Settings) -> dict[str, int]:
        """Views or comments of each session that has any."""
        found: dict[str, int] = {}
        for partition in range(2):
            for key, value in newest(await everything(kafka, config.topic(SESSIONS), partition)).items():
                found[key.decode()] = value["counts"]["views"] + value["counts"]["comments"]
        return {name: number for name, number in found.items() if number}

    asyncio.run(main())
