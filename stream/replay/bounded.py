"""The inputs of one shard of a replay: a part of each log, at the pace that was asked for (`kafka.log.Source`)."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from stream.kafka.inputs import Inputs
from stream.kafka.machine import Name
from stream.kafka.memory import Account
from stream.model.results import Record, part
from stream.replay.machine import ReplayShard
from stream.replay.pacing import Pace, Speed

WAIT: Final = 0.05
"""Seconds to wait for records that are there. Short: the end of a transaction moves on without waking anybody."""
STILL_SECONDS: Final = 30.0
"""A read that brings nothing and does not move for so long has lost its broker."""


class BoundedInputs:
    """Hands out what lies before ``ends``, of each topic until the machine wants no more of it."""

    def __init__(
        self, inputs: Inputs, ends: Mapping[Name, int], machine: ReplayShard, pace: Pace, speed: Speed | None = None
    ) -> None:
        self._inputs = inputs
        self._ends = ends
        self._machine = machine
        self._pace = pace
        self._speed = speed
        self._moved = time.monotonic()

    @property
    def account(self) -> Account:
        return self._inputs.account

    @account.setter
    def account(self, account: Account) -> None:
        self._inputs.account = account

    @property
    def positions(self) -> dict[Name, int]:
        """Behind a frozen end there is nothing."""
        return {name: min(position, self._end(name, position)) for name, position in self._inputs.positions.items()}

    @positions.setter
    def positions(self, positions: dict[Name, int]) -> None:
        self._inputs.positions = positions

    def _end(self, name: Name, position: int) -> int:
        """A position that a log has lost to retention may lie behind the end: it stays where it is."""
        return self._ends.get(name, position)

    @property
    def reader(self) -> Any:
        return self._inputs.reader

    @property
    def left(self) -> int:
        return self._inputs.left

    def unfinished(self) -> list[Name]:
        return self._inputs.unfinished()

    def seek(self, positions: Mapping[Name, int]) -> None:
        self._inputs.seek(positions)

    @property
    def is_at_end(self) -> bool:
        """All there is to hand out was handed out."""
        return not self.behind()

    async def fetch(self, names: Collection[Name], seconds: float, most: int) -> dict[Name, Sequence[Record]]:
        """Raises TimeoutError when the broker stays silent."""
        wanted = [name for name in names if self.lag(name)]
        if not wanted:
            self._moved = time.monotonic()
            await asyncio.sleep(0)
            return {}
        room = await self._pace.room()
        rooms = dict.fromkeys(wanted, most if room is None else min(most, room))
        if self._speed is not None and room != 0:
            allowed = self._speed.room(self._machine.clocks)
            rooms = {name: min(rooms[name], allowed[name]) for name in wanted if name in allowed}
        if not any(rooms.values()):
            self._moved = time.monotonic()
            await asyncio.sleep(WAIT)
            return {}
        batches = await self._fetch(rooms, min(seconds, WAIT))
        for name, records in batches.items():
            self._pace.spend(records)
            if self._speed is not None:
                self._speed.spend(name, len(records))
        return batches

    async def _fetch(self, rooms: Mapping[Name, int], seconds: float) -> dict[Name, Sequence[Record]]:
        """At most so many records of each topic. One fetch for all, but where each may have another number."""
        before = dict(self._inputs.positions)
        if self._speed is None:
            found = await self._inputs.fetch(list(rooms), seconds, max(rooms.values()))
        else:
            found = {}
            for name, most in rooms.items():
                found |= await self._inputs.fetch([name], seconds / len(rooms), most)
        self._watch(before)
        batches = {name: _before(records, self._ends[name]) for name, records in found.items()}
        return {name: records for name, records in batches.items() if records}

    def _watch(self, before: Mapping[Name, int]) -> None:
        now = time.monotonic()
        if self._inputs.positions != before:
            self._moved = now
        elif now - self._moved > STILL_SECONDS:
            raise TimeoutError(f"the inputs cannot be read beyond {before}")

    def lag(self, name: Name) -> int:
        if self._machine.is_over(name):
            return 0
        return max(0, self._ends[name] - self._inputs.positions[name])

    def hidden(self, name: Name) -> int | None:  # noqa: ARG002 - the end was a stable one
        return None

    def behind(self) -> list[Name]:
        return [name for name in self._ends if self.lag(name)]

    def caught_up(self, name: Name) -> bool:
        return not self.lag(name)


def _before(records: Sequence[Record], end: int) -> Sequence[Record]:
    """Those before an offset: what was appended since is no part of it."""
    return part(records, 0, bisect_left(records, end, key=lambda record: record.offset))
