"""Records of live.state that are no state of ours, or damaged: restored, or refused with StateError."""

import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from random import Random
from typing import Final

from stream.core.framing import StateError, check, checksum, first_needed
from stream.core.shard import Shard
from stream.model.names import KINDS
from tests.core.worlds import POLICY, Driver, Happening, World
from tests.fuzz.damage import damaged
from tests.fuzz.target import Bound

CHECKPOINTS: Final = 4


@cache
def states() -> Sequence[Sequence[tuple[int, bytes]]]:
    """Of small shards that have seen everything, at the end of some of their checkpoints."""
    random = Random(1)
    found = []
    for _ in range(3):
        driver = Driver(World(*(tuple(_happening(random) for _ in range(30)) for _ in KINDS)))
        for _ in range(CHECKPOINTS):
            for kind in KINDS:
                driver.step(kind, 8)
            driver.step("settle", 0)
            driver.checkpoint()
            start = first_needed(driver.state[-1][1], driver.state[-1][0])
            found.append([record for record in driver.state if record[0] >= start])
    return found


def _happening(random: Random) -> Happening:
    return Happening(
        what=random.choice(("enter", "product_click", "comment", "paid", "failed", "refunded", "cod")),
        after=random.choice((0, 1, 500, 3000, 7000)),
        ago=random.choice((0, 0, 700, 2500, 9000)),
        session=random.randrange(3),
        ref=random.randrange(6),
        amount=random.randrange(8),
    )


def make(random: Random) -> bytes:
    """One of those, with damage."""
    records = [(offset, bytes(value)) for offset, value in random.choice(states())]
    place = random.randrange(len(records))
    offset, value = records[place]
    records[place] = offset, damaged(random, value)
    if random.random() < 0.1:
        del records[random.randrange(len(records))]
    return b"".join(struct.pack(">qI", offset, len(value)) + value for offset, value in records)


def parsed(data: bytes) -> list[tuple[int, bytes]]:
    records, at = [], 0
    while at + 12 <= len(data):
        offset, size = struct.unpack_from(">qI", data, at)
        records.append((offset, data[at + 12 : at + 12 + size]))
        at += 12 + size
    return records


def run(data: bytes) -> None:
    """Restored and no more: what is damaged so that it still fits goes unseen where no checksum vouches for it."""
    records = parsed(data)
    if not records:
        return
    for offset, value in records:
        with suppress(StateError):
            check(value + b"x", offset, checksum(value))
            raise AssertionError("a checksum that fits other bytes")
    with suppress(StateError):
        first_needed(records[-1][1], records[-1][0])
        Shard.restore(POLICY, records)


BOUND: Final = Bound(seconds=2.0)
