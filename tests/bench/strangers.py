"""What made-up sessions cost: memory at the height of a flood and at rest, and bytes of state a day; one event each.

One shard, pure, with the shipped alert rules, in a process of its own: a second process is restored from what the first
has written, so that its memory is that of the sessions alone and not of the flood.
"""

import gc
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.core.framing import first_needed
from stream.core.policy import DAY, MINUTE, SECOND, Policy
from stream.core.shard import Shard
from stream.kafka.memory import RESULTS
from stream.model.names import KINDS, Kind
from stream.model.results import Outputs
from stream.rules.reading import SHIPPED, load_rules
from tests.bench import processes
from tests.bench.core import BATCH, Record
from tests.bench.report import Options, against, alone, say

STRANGERS: Final = 50_000
START_MS: Final = 1_700_000_040_000
TICK: Final = 10 * SECOND
"""Event time between two checkpoints until all is at rest."""
FLOOD: Final = 3 * MINUTE
"""They come within so long."""
EXTRA: Final = 25 * MINUTE
"""From then until all have ended; their totals, 200 a checkpoint, take longer."""
SETTLE: Final = 50
AT_REST_BYTES: Final = 200.0
STATE_KB: Final = 60.0
CALM: Final = 2 * 60
"""Checkpoints, one a second, that are averaged: two whole turns."""
GIVE_UP: Final = 3000
"""Checkpoints until all must be at rest."""


@dataclass(frozen=True)
class Measured:
    """For each stranger. ``peak`` and ``at_rest`` are bytes of memory, ``state`` bytes a day."""

    peak: float
    at_rest: float
    state: float


def show(_: Options) -> bool:
    say(f"{STRANGERS:,} made-up sessions of one event each, in one shard of the pure core:")
    with alone():
        found = measure(STRANGERS)
    at_rest = against(found.at_rest, AT_REST_BYTES, "B", ".0f")
    say(f"  memory for each: {found.peak:.0f} B at the height of the flood, at rest for a day {at_rest}")
    say(f"  live.state for each: {against(found.state / 1000, STATE_KB, 'KB', '.0f')} a day")
    return True


def measure(strangers: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="liveshop-bench-") as folder:
        file = str(Path(folder) / "state")
        peak, state = _ask("flood", file, str(strangers))
        (at_rest,) = _ask("restore", file)
    return Measured(peak / strangers, at_rest / strangers, state / strangers)


def _ask(*arguments: str) -> list[float]:
    command = [sys.executable, "-m", "tests.bench.strangers", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)
    return found


class _Flood:
    def __init__(self) -> None:
        policy = Policy()
        self.shard = Shard(policy, rules=load_rules(SHIPPED, policy.pane_ms))
        self.state: list[tuple[int, bytes]] = []
        self._offsets = dict.fromkeys(KINDS, 0)
        self.now = START_MS

    def come(self, kind: Kind, sessions: Iterable[str]) -> None:
        """One event of each."""
        records = list(self._records(kind, sessions))
        for at in range(0, len(records), BATCH):
            self.shard.read(kind, records[at : at + BATCH])

    def _records(self, kind: Kind, sessions: Iterable[str]) -> Iterator[Record]:
        for session in sessions:
            offset = self._offsets[kind]
            self._offsets[kind] += 1
            event = {"event_id": f"e{offset}", "event_time": self.now, "session_id": session, "seller_id": "s9"}
            event |= {"viewer_id": f"v{offset}", "platform": "shopee"} | _MORE[kind] | {"checkout_id": f"k{offset}"}
            yield Record(offset, self.now, session.encode(), json.dumps(event).encode())

    def tick(self, ms: int) -> int:
        """A checkpoint, as a worker makes it; bytes of state."""
        self.now += ms
        for kind in KINDS:
            self.come(kind, ["honest"])
        size = 0
        while self.shard.work(SETTLE):
            if self.shard.waiting_bytes > max(RESULTS):
                size += self._take(self.shard.collect())
        return size + self._take(self.shard.collect())

    def _take(self, outputs: Outputs | None) -> int:
        if outputs is None:
            return 0
        offset = self.state[-1][0] + 2 if self.state else 0
        self.state += [(offset + place, value) for place, (_, value) in enumerate(outputs.state)]
        self.shard.committed(outputs.checkpoint, offset)
        self.state = self.state[-4 * self.shard.policy.checkpoint_span :]
        return sum(len(value) for _, value in outputs.state)


_MORE: Final[dict[Kind, dict[str, object]]] = {
    Kind.VIEWS: {"action": "enter"},
    Kind.COMMENTS: {"text": "halo"},
    Kind.CHECKOUTS: {"status": "initiated", "amount_minor": 5, "currency": "IDR", "items": []},
}


def flood(file: str, strangers: int) -> list[float]:
    """Bytes of memory at the height, and of state a day, for all of them; the state goes into the file."""
    room = _Flood()
    room.tick(SECOND)
    before, ticks, first = processes.rss_mb(os.getpid()), FLOOD // TICK, 0
    for tick in range(ticks):
        last = strangers * (tick + 1) // ticks
        room.come(Kind.VIEWS, (f"{number * 0x9E3779B97F4A7C15 % 2**64:x}" for number in range(first, last)))
        first = last
        room.tick(TICK)
    _let_rest(room, strangers)
    state = sum(room.tick(SECOND) for _ in range(CALM)) * DAY / (CALM * SECOND)
    start = first_needed(room.state[-1][1], room.state[-1][0])
    Path(file).write_bytes(pickle.dumps([record for record in room.state if record[0] >= start]))
    return [(processes.peak_mb(os.getpid()) - before) * processes.MB, state]


def _let_rest(room: _Flood, strangers: int) -> None:
    for _ in range(GIVE_UP):
        room.tick(TICK)
        if room.now > START_MS + EXTRA and len(room.shard.sessions.held) < strangers / 100:
            return
    raise AssertionError(f"{len(room.shard.sessions.held)} sessions are not at rest")


def restore(file: str) -> list[float]:
    """Bytes of memory of a shard that is made of the state."""
    records = pickle.loads(Path(file).read_bytes())  # what this program has written
    gc.collect()
    before = processes.rss_mb(os.getpid())
    shard = Shard.restore(Policy(), records)
    gc.collect()
    grown = processes.rss_mb(os.getpid()) - before
    assert len(shard.sessions) > 1
    return [grown * processes.MB]


if __name__ == "__main__":
    found = flood(sys.argv[2], int(sys.argv[3])) if sys.argv[1] == "flood" else restore(sys.argv[2])
    sys.stdout.write(json.dumps(found))
