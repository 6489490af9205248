"""How fast is read: never faster than asked for, and nearly as fast."""

import asyncio

import pytest

from stream.model.results import Record
from stream.replay.file_source import FileRecord
from stream.replay.pacing import STEP, Pace, Speed
from tests.replay.tools import START


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds <= STEP
        self.now += seconds


def some(number: int, size: int = 50) -> list[Record]:
    return [FileRecord(offset, START, None, bytes(size)) for offset in range(number)]


@pytest.mark.parametrize(("records", "size", "expected"), [(100, None, 100), (None, 5_000, 100), (1000, 5_000, 100)])
def test_so_many_a_second(records: float | None, size: float | None, expected: int) -> None:
    clock = Clock()
    pace = Pace(records, size, now=clock.read, sleep=clock.sleep)
    read = 0

    async def run() -> int:
        nonlocal read
        while clock.now < 110:
            room = await pace.room()
            assert room is not None
            pace.spend(some(room))
            read += room
        return read

    assert 0.9 * expected * 10 <= asyncio.run(run()) <= 1.1 * expected * 10


def test_without_bounds_nobody_waits() -> None:
    pace = Pace()
    pace.spend(some(10_000))
    assert asyncio.run(pace.room()) is None


def test_event_time_passes_so_many_times_as_fast() -> None:
    clock = Clock()
    speed = Speed(10, START, now=clock.read)
    rates = {"views": 50, "comments": 2}
    """Records that make a second of event time."""
    at = dict.fromkeys(rates, START)
    while clock.now < 130:
        for name, room in speed.room(dict(at)).items():
            at[name] += room * 1000 // rates[name]
            speed.spend(name, room)
        clock.now += 0.01
    for name in rates:
        assert 270_000 <= at[name] - START <= 330_000, name


def test_the_lead_in_and_a_topic_without_a_clock_are_read() -> None:
    speed = Speed(1, START)
    assert speed.room({"views": START - 10, "comments": None}).keys() == {"views", "comments"}
    assert speed.room({"views": START + 10, "comments": None}).keys() >= {"comments"}
