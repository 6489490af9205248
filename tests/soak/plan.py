"""What a soak is like, and what it found."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from tests.chaos.profile import Profile

FILLED_AFTER: Final = 620.0
"""Seconds until no more panes are held than are dropped: 5 min window + 5 min lateness + 10 s delay."""
JUDGED: Final = 300.0
"""Seconds of memory that are needed to say whether it is flat."""
GROWTH: Final = 0.10
"""Share of its mean by which the memory may have grown from the end of filling to the end of the soak."""
MINUTE: Final = 60.0


@dataclass(frozen=True)
class Plan:
    """Seconds; events a second. The first worker is spared, the others take turns."""

    seconds: float = 1800.0
    rate: int = 12_000
    sessions: int = 500
    workers: int = 3
    every: float = 60.0
    """From one fault to the next."""
    asleep: float = 12.0
    """For which a worker is stopped: longer than its session timeout."""
    after: float = 30.0
    """For which a fault may show in the latency after its end: a session timeout, an open transaction, a recovery."""
    seed: int = 1
    settings: dict[str, str] = field(default_factory=lambda: {"idle_after": "2s"})

    @property
    def profile(self) -> Profile:
        return Profile(self.seed, settings=self.settings, asleep=(self.asleep, self.asleep))


class Sample(NamedTuple):
    """``at`` in seconds since the start; MB of the spared worker, and of all; shards that the spared one holds."""

    at: float
    spared: float
    every: float
    shards: int


@dataclass
class Outcome:
    """Latencies in seconds, of all records and of those far from any fault; memory in MB."""

    sent: int = 0
    late_by: float = 0.0
    """Of the sender, at worst."""
    faults: Counter[str] = field(default_factory=Counter)
    calm: list[float] = field(default_factory=list)
    every: list[float] = field(default_factory=list)
    memory: list[Sample] = field(default_factory=list)
    windows: int = 0
    sessions: int = 0
    letters: int = 0
    settled: float = 0.0
    exits: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float | None:
        """Of the spared worker's memory, as a share of its mean, once it is filled. None: too short to say.

        Fitted as base + shards x each + minutes x slope: of four shards among three workers it holds one or two, as the
        group deals them out. A leak of 1 MB a minute is 20 MB in the two thirds of half an hour that are judged.
        """
        rows = [row for row in self.memory if row.at >= max(FILLED_AFTER, self.memory[-1].at / 3)]
        if not rows or rows[-1].at - rows[0].at < JUDGED:
            return None
        minutes = list(_minutes(rows))
        sizes = [size for _, _, size in minutes]
        terms = [(1, shards, minute) for minute, shards, _ in minutes]
        slope = float(np.linalg.lstsq(np.array(terms), np.array(sizes), rcond=None)[0][2])
        return slope * (minutes[-1][0] - minutes[0][0]) / float(np.mean(sizes))

    @property
    def good(self) -> bool:
        return not self.differences and not self.exits and (self.growth or 0.0) <= GROWTH

    def lines(self) -> list[str]:
        """The report."""
        faults = " ".join(f"{name}={number}" for name, number in sorted(self.faults.items()))
        verdict = f"{len(self.differences)} DIFFERENCES" if self.differences else "no difference to what was sent"
        written = f"{self.windows:,} windows, {self.sessions:,} totals, {self.letters:,} dead letters"
        return [
            f"{self.sent:,} events; {faults}; the sender was late by {self.late_by:.1f} s at worst",
            self._latency(),
            self._memory(),
            f"{written}, all settled after {self.settled:.0f} s: {verdict}",
            *(f"  {each}" for each in self.differences),
            *(f"  BAD EXIT: {each}" for each in self.exits),
        ]

    def _latency(self) -> str:
        calm = f"p50 {_shown(self.calm[0])}, p99 {_shown(self.calm[1])} apart from faults"
        every = f"p50 {_shown(self.every[0])}, p99 {_shown(self.every[1])}, worst {_shown(self.every[2])} with them"
        return f"from append to commit: {calm}; {every}"

    def _memory(self) -> str:
        growth = self.growth
        last, most = self.memory[-1], max(row.spared for row in self.memory)
        text = f"memory of the spared worker {last.spared:.0f} MB with {last.shards} shards, at most {most:.0f}"
        text += f", of all {max(row.every for row in self.memory):.0f}"
        if growth is None:
            return f"{text}; too short to say whether it is flat"
        verdict = "flat" if growth <= GROWTH else "IT GROWS"
        return f"{text}; {growth:+.1%} since it was filled, the number of shards aside: {verdict}"


def _shown(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds:.2f} s"


def _minutes(rows: list[Sample]) -> Iterator[tuple[int, int, float]]:
    """Number, shards held most of the time, and the median memory with just these: a takeover and its end are no growth."""
    by_minute: dict[int, list[Sample]] = {}
    for row in rows:
        by_minute.setdefault(int(row.at // MINUTE), []).append(row)
    for minute, its in by_minute.items():
        ((shards, _),) = Counter(row.shards for row in its).most_common(1)
        yield minute, shards, float(np.median([row.spared for row in its if row.shards == shards]))
