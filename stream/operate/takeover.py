"""A new set of topics with more partitions takes over from an old one, and every event is counted once.

The old set is counted to where its workers have got, the new one has the rest. What a run does follows from what is there,
so it may be ended at any time and run again; when all is done it changes nothing.

1. The new topics are made, with the settings of the old ones.
2. People let producers write to them. Meanwhile workers count the old set to its end. Where partitions were added to it,
   nothing is counted there any more, and this comes last.
3. The old shards are closed: what is open is written, and their states say where the rest goes.
4. What is not counted there, also in partitions that no shard reads, is moved to the new set.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Final

from stream.config import Settings
from stream.core.deadletters import LETTER_BYTES, LetterSize
from stream.model.names import DEAD_LETTERS, INPUTS
from stream.operate import closing
from stream.operate.grow import Growth, OldSet, Plan, new_topics, plan, read_old_set, target_of, worker_command
from stream.operate.moving import Mover, Target
from stream.operate.shards import reading
from stream.sessions import topics

LOOK_EVERY: Final = 1.0
TELL_EVERY: Final = 10.0
"""Seconds."""
Say = Callable[[str], None]


async def execute(settings: Settings, asked: Growth, say: Say) -> Plan:
    """Does it, as far as it is not done. Waits until producers have left the old set; returns when all is moved.

    ``say`` hears what is done now, and what people are to do.
    """
    old = await read_old_set(settings, asked)
    target = target_of(settings, asked)
    await new_topics(target)
    await topics.copy(settings, target.settings, asked.partitions)
    await new_topics(target)
    say(f"{asked.to_prefix}live.* are there, with {asked.partitions} partitions each")
    if not old.added and not old.closed:
        _let_switch(target, say)
        await _drain(old, asked, say)
    await _close(old, asked, say)
    moved = await _move(await read_old_set(settings, asked), target, asked, say)
    say("looking for sessions with events in both sets")
    found = await plan(settings, asked)
    return replace(found, moved_records=moved.records, moved_letters=moved.letters)


def _let_switch(target: Target, say: Say) -> None:
    inputs = ", ".join(map(target.settings.topic, INPUTS.values()))
    say(f"let producers write to {inputs} now, and start workers there: {worker_command(target.settings)}")


async def _drain(old: OldSet, asked: Growth, say: Say) -> None:
    """Until nothing has come to the old set for a while, and workers have counted it or count nothing at all."""
    say("waiting until producers have left the old set and its workers have counted it")
    watch = _Quiet(asked.quiet)
    async with reading(old.settings, old.inputs) as reader:
        while True:
            ends = await reader.end_offsets(old.inputs)
            positions = (await read_old_set(old.settings, asked)).positions
            left = sum(max(0, end - positions.get(tp, 0)) for tp, end in ends.items())
            came, counted = watch.since("records", ends), watch.since("positions", positions)
            if came >= asked.quiet and (not left or counted >= asked.quiet):
                return
            watch.tell(say, f"the newest record in the old set came {came:.0f} s ago, {left:,} are to be counted")
            await asyncio.sleep(LOOK_EVERY)


async def _close(old: OldSet, asked: Growth, say: Say) -> None:
    for context in await closing.contexts(old.settings, old.counted, asked.to_prefix):
        await closing.close(context)
        say(f"partition {context.partition} of the old set is closed: all that was counted there is written")


async def _move(old: OldSet, target: Target, asked: Growth, say: Say) -> Mover:
    """Until nothing is left. Where partitions were added producers leave only now: until nothing has come for a while."""
    letters = LetterSize.of(await topics.max_bytes(target.settings, DEAD_LETTERS) or LETTER_BYTES)
    starts = {tp: old.positions.get(tp, 0) for tp in old.inputs}
    watch = _Quiet(asked.quiet if old.added else 0.0)
    async with Mover(old.settings, target, starts, letters) as mover:
        for turn in count():
            await mover.move(lambda done, every: watch.tell(say, f"moved {done:,} of {every:,} offsets"))
            quiet = watch.since("moved", mover.records + mover.letters)
            if quiet >= watch.seconds and not mover.is_open:
                return mover
            if not turn and old.added:
                say(f"{mover.records:,} records are moved; what still comes to the old set follows")
                _let_switch(target, say)
            waits = "a transaction is open there" if mover.is_open else f"nothing has come there for {quiet:.0f} s"
            watch.tell(say, f"{mover.records:,} records are moved from the old set; {waits}")
            await asyncio.sleep(LOOK_EVERY)
    raise AssertionError  # it is counted without end


class _Quiet:
    """For how long things have not changed; and what to tell of it now and then."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last: dict[str, tuple[object, float]] = {}
        self._told = -TELL_EVERY

    def since(self, name: str, now_is: object) -> float:
        """Seconds since it was something else."""
        now = asyncio.get_running_loop().time()
        before, when = self._last.get(name, (now_is, now))
        if before != now_is:
            when = now
        self._last[name] = now_is, when
        return now - when

    def tell(self, say: Say, text: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told >= TELL_EVERY:
            self._told = now
            say(text)
