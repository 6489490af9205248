"""Traffic by the wall clock: simulated or recorded messages go to a sink when their time has come."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Protocol

from stream.model.messages import Message
from stream.model.names import INPUTS
from stream.sandbox.traffic import TICK_MS, Traffic

AT_ONCE_MS: Final = 1000
"""Most traffic that is made between two sends, however far behind: memory stays bounded."""
CHUNK: Final = 5000


class Sink(Protocol):
    """Where messages go: Kafka, or a file."""

    async def send(self, messages: list[Message], /) -> None: ...


@dataclass(slots=True)
class Sent:
    """What was sent so far."""

    messages: int = 0
    topics: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    bad_lines: int = 0
    began: float = field(default_factory=time.monotonic)
    behind_ms: int = 0
    """How far the traffic is behind the wall clock."""

    def note(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.messages += 1
            self.topics[INPUTS[message.kind]] += 1
            if message.fault is not None:
                self.faults[str(message.fault)] += 1

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


async def simulate(traffic: Traffic, sink: Sink, sent: Sent, stop: asyncio.Event, length_ms: int | None) -> None:
    """Send simulated traffic as time goes by, until ``stop``, or until ``length_ms`` of it are sent."""
    start = traffic.now
    end = None if length_ms is None else start + length_ms // TICK_MS * TICK_MS
    while not stop.is_set() and (end is None or traffic.now < end):
        wall = start + int(sent.seconds * 1000)
        target = min(wall, traffic.now + AT_ONCE_MS, end or wall)
        messages = traffic.step(target)
        await sink.send(messages)
        sent.note(messages)
        sent.behind_ms = max(0, wall - traffic.now - TICK_MS)
        await _until(sent.began + (traffic.now + TICK_MS - start) / 1000, stop)


async def write(traffic: Traffic, sink: Sink, sent: Sent, stop: asyncio.Event, length_ms: int) -> None:
    """Send ``length_ms`` of simulated traffic as fast as it is made."""
    end = traffic.now + length_ms // TICK_MS * TICK_MS
    while not stop.is_set() and traffic.now < end:
        messages = traffic.step(min(end, traffic.now + AT_ONCE_MS))
        await sink.send(messages)
        sent.note(messages)
        await asyncio.sleep(0)


async def play(
    recorded: Iterator[Message | str],
    sink: Sink,
    sent: Sent,
    stop: asyncio.Event,
    *,
    speed: float,
    complain: Callable[[str], None],
) -> None:
    """Send recorded messages at ``speed`` times the pace they arrived in; 0 is as fast as it goes.

    Lines that are no messages are counted and complained about.
    """
    first: int | None = None
    for messages in _chunks(recorded, sent, complain):
        if stop.is_set():
            return
        first = messages[0].at if first is None else first
        if speed:
            await _until(sent.began + (messages[0].at - first) / 1000 / speed, stop)
        await sink.send(messages)
        sent.note(messages)
        await asyncio.sleep(0)


def _chunks(recorded: Iterator[Message | str], sent: Sent, complain: Callable[[str], None]) -> Iterator[list[Message]]:
    """Messages that may go together: neighbours of one tick, and not too many."""

    def good() -> Iterator[Message]:
        for each in recorded:
            if isinstance(each, Message):
                yield each
            else:
                sent.bad_lines += 1
                complain(each)

    for _, group in groupby(enumerate(good()), key=lambda pair: (pair[1].at // TICK_MS, pair[0] // CHUNK)):
        yield [message for _, message in group]


async def _until(moment: float, stop: asyncio.Event) -> None:
    """Sleep until a moment of the monotonic clock, or until stopped."""
    wait = moment - time.monotonic()
    if wait <= 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(wait):
            await stop.wait()
    except TimeoutError:
        return
