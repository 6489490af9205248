"""The outputs held against what a flow has made: every window, every total, every dead letter, and no revision twice.

Outputs are folded while they are read, so that half an hour of them fits into memory.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, Self

import orjson

from tests.bench.flow import MINUTE, NAMES, Flow
from tests.outputs import OUTPUTS, Follower

SIZES: Final = {"1m": 1, "5m": 5}
"""Minutes of the windows that are compared: the default ones, which slide by a minute."""
SHOWN: Final = 5
LOOK_EVERY: Final = 0.5

Key = tuple[str, str, int]
"""Session, window, start."""


class Newest(NamedTuple):
    revision: int
    sums: list[int]


class Verdict:
    """Follows the outputs of a worker of the default windows that has counted nothing but this flow."""

    def __init__(self, brokers: str, prefix: str, partitions: int, flow: Flow) -> None:
        self.windows: dict[Key, Newest] = {}
        self.sessions: dict[str, Newest] = {}
        self.letters: Counter[str] = Counter()
        self._faults: list[str] = []
        self._flow = flow
        self._follower = Follower(brokers, [prefix + name for name in OUTPUTS], partitions)

    async def __aenter__(self) -> Self:
        await self._follower.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._follower.__aexit__()

    async def settle(self, seconds: float) -> list[str]:
        """What is wrong when nothing more should come; it may take so long until that is nothing."""
        deadline = time.monotonic() + seconds
        while True:
            await self.look()
            faults = self.faults()
            if not faults or time.monotonic() > deadline:
                return faults
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Takes in what is committed by now."""
        self.take(await self._follower.more())

    def take(self, records: Iterable[Any]) -> None:
        for record in records:
            if record.topic.endswith("live.dead-letters"):
                self.letters[dict(record.headers)["liveshop-reason"].decode()] += 1
                continue
            if record.topic.endswith("live.alerts"):
                continue
            value = orjson.loads(record.value)
            newest = Newest(value["revision"], _sums(value))
            if record.topic.endswith("live.sessions"):
                self._next(f"session {record.key.decode()}", self.sessions.get(value["session_id"]), newest)
                self.sessions[value["session_id"]] = newest
            else:
                key = (value["session_id"], value["window"], value["start"])
                self._next(f"window {record.key.decode()}", self.windows.get(key), newest)
                self.windows[key] = newest

    def _next(self, what: str, before: Newest | None, now: Newest) -> None:
        expected = 1 if before is None else before.revision + 1
        if now.revision != expected:
            self._faults.append(f"{what}: revision {now.revision} follows {expected - 1}")

    def faults(self) -> list[str]:
        """The first of them, and how many more. Empty: everything is exactly what was made."""
        found = [*self._faults, *self._differences()]
        more = len(found) - SHOWN
        return found[:SHOWN] + ([f"and {more:,} more"] if more > 0 else [])

    def _differences(self) -> Iterator[str]:
        windows, sessions = _expected(self._flow)
        yield from _compare("window", windows, self.windows)
        yield from _compare("session", sessions, self.sessions)
        letters = {"late": self._flow.outcomes["late"], "invalid_json": self._flow.outcomes["rejected"]}
        if self.letters != Counter(letters):
            yield f"dead letters: {dict(self.letters)} instead of {letters}"


def _sums(value: dict[str, Any]) -> list[int]:
    counts = value["counts"]
    return [counts[name] for name in NAMES[:-1]] + [value["gmv_minor"].get("IDR", 0)]


def _expected(flow: Flow) -> tuple[dict[Key, list[int]], dict[str, list[int]]]:
    windows: dict[Key, list[int]] = {}
    sessions: dict[str, list[int]] = {}
    for session, minute, sums in flow.expected():
        _add(sessions, session, sums)
        for name, size in SIZES.items():
            for back in range(size):
                _add(windows, (session, name, minute - back * MINUTE), sums)
    return windows, sessions


def _add(into: dict[Any, list[int]], key: Any, sums: list[int]) -> None:
    before = into.get(key)
    into[key] = sums if before is None else [mine + more for mine, more in zip(before, sums, strict=True)]


def _compare(what: str, expected: dict[Any, list[int]], found: dict[Any, Newest]) -> Iterator[str]:
    for key, sums in expected.items():
        newest = found.get(key)
        if newest is None:
            yield f"{what} {key} is missing"
        elif newest.sums != sums:
            named = zip(NAMES, newest.sums, sums, strict=True)
            yield f"{what} {key}: " + ", ".join(
                f"{name} {is_} instead of {due}" for name, is_, due in named if is_ != due
            )
    for key in found.keys() - expected.keys():
        if any(found[key].sums):  # events that add to none of these counts make windows as well
            yield f"{what} {key} should not be there"
