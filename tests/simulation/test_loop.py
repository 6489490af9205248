"""The physics of the simulated world: time that jumps, processes that stand still or are gone, requests that arrive."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.simulation.cluster import Cluster
from tests.simulation.loop import Loop, Process, StalledError
from tests.simulation.wire import Weather, Wire

done: list[str] = []


@pytest.fixture
def loop() -> Loop:
    done.clear()
    return Loop()


def play(loop: Loop, scene: Coroutine[Any, Any, None]) -> None:
    try:
        loop.run_until_complete(loop.create_task(scene))
    finally:
        loop.end()


def test_an_hour_passes_at_once(loop: Loop) -> None:
    play(loop, asyncio.sleep(3600))
    assert loop.now == 3600


def test_waiting_for_nothing_is_an_error(loop: Loop) -> None:
    async def scene() -> None:
        await loop.create_future()

    with pytest.raises(StalledError):
        play(loop, scene())


async def work(wire: Wire) -> None:
    try:
        await wire.ask("write", lambda: done.append("written"))
        done.append("answered")
        await asyncio.sleep(1)
        done.append("slept")
    finally:
        done.append("cleaned up")


def test_what_a_killed_process_has_sent_arrives_and_nothing_else_of_it_happens(loop: Loop) -> None:
    wire = Wire(Cluster(loop, 0.0), Weather("calm"))
    process = Process("p")

    async def scene() -> None:
        loop.start(process, work(wire))
        await asyncio.sleep(0)
        process.kill()
        await asyncio.sleep(5)
        assert done == ["written"]

    play(loop, scene())


def test_a_process_that_wakes_up_goes_on_where_it_stood(loop: Loop) -> None:
    wire = Wire(Cluster(loop, 0.0), Weather("calm"))
    process = Process("p")

    async def late() -> None:
        loop.call_later(0.0001, done.append, "timer")
        await work(wire)

    async def scene() -> None:
        loop.start(process, late())
        await asyncio.sleep(0)
        process.freeze()
        await asyncio.sleep(5)
        assert done == ["written"]
        loop.wake(process)
        await asyncio.sleep(0.5)
        assert done == ["written", "timer", "answered"]
        await asyncio.sleep(1)
        assert done[3:] == ["slept", "cleaned up"]

    play(loop, scene())


def test_a_trap_springs_before_the_step_it_was_set_for(loop: Loop) -> None:
    process = Process("p")

    async def count() -> None:
        for number in range(10):
            done.append(str(number))
            await asyncio.sleep(0)

    async def scene() -> None:
        process.fuse, process.trap = 4, process.kill
        loop.start(process, count())
        await asyncio.sleep(1)
        assert done == ["0", "1", "2"]

    play(loop, scene())


def test_a_request_may_be_done_though_its_sender_was_told_otherwise() -> None:
    """Over many of them, every combination of done and told occurs."""
    seen = set()
    for seed in range(200):
        loop = Loop()
        wire = Wire(Cluster(loop, 0.0), Weather(f"storm {seed}", rough=1.0))
        done.clear()

        async def scene(wire: Wire = wire) -> None:
            try:
                await wire.ask("init", lambda: done.append("done"))
                told = "done"
            except Exception as error:  # noqa: BLE001 - of whatever kind
                told = type(error).__name__
            await asyncio.sleep(0)
            at_once = bool(done)
            await asyncio.sleep(5)
            seen.add((told == "done", at_once, bool(done)))

        play(loop, scene())
    assert seen == {(True, True, True), (False, True, True), (False, False, True), (False, False, False)}
