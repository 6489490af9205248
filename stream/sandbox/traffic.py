"""The traffic simulator: the same seed and start give the same messages, byte for byte. No clock and no I/O in here.

Visitors of a broadcast come, stay, look, click, talk, buy and go, at rates that depend on the host. Broadcast and action
are drawn for every event; what follows from it (a payment after a checkout, a repeat) waits in a heap until
its time. Measured: see tests/sandbox/test_traffic.py.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from random import Random
from typing import Final

from stream.model.messages import Message
from stream.sandbox import catalog
from stream.sandbox.broadcast import Broadcast, Visit
from stream.sandbox.buying import Buying
from stream.sandbox.faults import DELAYS, delays, spoil

TICK_MS: Final = 100
SECOND_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """What traffic is asked for. Shares are of all events; outages are (from, to) in ms since the start."""

    seed: int = 1
    rate: float = 400.0
    """Events a second, over all kinds: about 95 % views, 4 % comments, 1 % checkouts."""
    sessions: int = 40
    """Broadcasts on air at any time; one that ends is followed by another."""
    bad: float = 0.002
    duplicates: float = 0.01
    outages: tuple[tuple[int, int], ...] = ()


class Traffic:
    """Endless traffic from ``start_ms`` on. ``step(until)`` gives what has arrived by ``until``, in that order."""

    def __init__(self, plan: Plan, start_ms: int) -> None:
        self.plan = plan
        self.now = start_ms
        self.sequence = 0
        self.rng = Random(plan.seed)  # noqa: S311 - a simulation
        self.tag = f"{self.rng.getrandbits(24):06x}{start_ms:x}-"
        """Begins every event id, so that two runs never share one."""
        self._start_ms = start_ms
        self._secret = self.rng.randbytes(16)
        self._delays = delays(self.rng)
        self._hosts = catalog.hosts(self.rng, min(300, max(10, plan.sessions)))
        self._said = catalog.comments(self.rng)
        self._heap: list[tuple[int, int, Callable[[int], Message | None]]] = []
        self._waiting = 0
        self._opened = 0
        self._buying = Buying(self)
        self._broadcasts = [self._open_broadcast(start_ms, at_start=True) for _ in range(plan.sessions)]
        self._weights: list[float] = []
        self._weighed = -1
        self._owed = 0.0

    def batches(self) -> Iterator[tuple[int, list[Message]]]:
        """For ever: the end of each tick, and what arrived in it."""
        while True:
            until = self.now + TICK_MS
            yield until, self.step(until)

    def step(self, until: int) -> list[Message]:
        """What arrives in the whole ticks that end by ``until``, sorted by arrival.

        Ticks begin at the start, so what comes does not depend on how it is asked for.
        """
        messages: list[Message] = []
        while self.now + TICK_MS <= until:
            messages += self._tick(self.now + TICK_MS)
        return messages

    def in_outage(self, at: int) -> bool:
        """Whether payments fail at that time."""
        return any(begin <= at - self._start_ms < end for begin, end in self.plan.outages)

    def later(self, at: int, happen: Callable[[int], Message | None]) -> None:
        """Let something happen at a time to come. It may give a message."""
        self._waiting += 1
        heapq.heappush(self._heap, (at, self._waiting, happen))

    def event_id(self) -> str:
        self.sequence += 1
        return f"{self.tag}{self.sequence:x}"

    def _tick(self, until: int) -> list[Message]:
        if self.now // SECOND_MS != self._weighed:
            self._weigh()
        out: list[Message] = []
        self._owed += self.plan.rate * (until - self.now) / 1000
        number = int(self._owed * self.rng.uniform(0.8, 1.2) + self.rng.random())
        self._fill(out, number, until)
        due = self._due(until)
        self._owed -= len(out) + sum(message.fault is None for message in due)
        if due:
            out += due
            out.sort(key=itemgetter(0))
        self.now = until
        return out

    def _fill(self, out: list[Message], number: int, until: int) -> None:
        """Draw broadcasts and actions. Everything hot is here and in the broadcast."""
        rng, table = self.rng, self._delays
        bits, uniform = rng.getrandbits, rng.random
        duplicates, bad = self.plan.duplicates, self.plan.duplicates + self.plan.bad
        step = (until - self.now) / max(number, 1)
        at: float = self.now
        for broadcast in rng.choices(self._broadcasts, cum_weights=self._weights, k=number):
            arrival = int(at)
            at += step
            action = broadcast.table[bits(12)]
            message = broadcast.happen(action, arrival, arrival - table[bits(14)])
            if message is None:  # a checkout begins: its messages come from Buying
                message = self._buying.begin(broadcast, arrival)
            luck = uniform()
            if luck < bad:
                if luck >= duplicates:
                    message = spoil(message, rng)
                else:
                    self._repeat(message)
            out.append(message)

    def _due(self, until: int) -> list[Message]:
        """What waited for this tick: payments, repeats, broadcasts that end."""
        found = []
        heap = self._heap
        while heap and heap[0][0] < until:
            at, _, happen = heapq.heappop(heap)
            message = happen(at)
            if message is not None:
                found.append(message)
        return found

    def _repeat(self, message: Message) -> None:
        """At-least-once delivery: the same bytes again, soon, seldom after up to half a minute."""
        lag = 5 + int(self.rng.expovariate(1 / (12_000 if self.rng.random() < 0.1 else 900)))  # noqa: PLR2004
        self.later(message.at + lag, lambda at: message._replace(at=at))

    def delayed(self, at: int) -> int:
        """An event time for a message that arrives at ``at``."""
        return at - self._delays[self.rng.getrandbits(DELAYS.bit_length() - 1)]

    def visitor(self) -> Visit:
        """Somebody comes. Returning viewers have the same id; there are some 200 for each broadcast."""
        rng = self.rng
        source = self._sources[rng.getrandbits(8)]
        affiliate = f',"affiliate_id":"a{rng.randrange(40)}"' if source == "affiliate_link" else ""
        viewer = catalog.viewer_id(rng.randrange(200 * self.plan.sessions + 2000), self._secret)
        shown = f',"source":"{source}"' if source else ""
        return Visit(f'"viewer_id":"{viewer}"{shown}{affiliate}')

    _sources: Final = [source for source, share in catalog.SOURCES.items() for _ in range(round(share * 2.5))][:252] + [
        ""
    ] * 6

    def comment(self) -> str:
        return self._said[int(self.rng.random() * len(self._said))]

    def _open_broadcast(self, at: int, *, at_start: bool = False) -> Broadcast:
        rng = self.rng
        self._opened += 1
        session_id = str((at // 1000 << 32) + (self._opened << 12) + rng.getrandbits(12))
        broadcast = Broadcast(self, session_id, rng.choice(self._hosts), at if not at_start else at - 120_000)
        lasts = 120_000 + int(rng.expovariate(1 / 1_500_000))
        self.later(
            at, lambda now: broadcast.lifecycle(now, "start")
        )  # also of those that were on air before: as of now
        self.later(
            at + (int(rng.random() * lasts) + 20_000 if at_start else lasts), lambda now: self._follow(broadcast, now)
        )
        return broadcast

    def _follow(self, broadcast: Broadcast, at: int) -> Message:
        """One broadcast ends, and its host says so; another host goes on air."""
        self._broadcasts[self._broadcasts.index(broadcast)] = self._open_broadcast(at)
        self._weighed = -1
        return broadcast.lifecycle(at, "end")

    def _weigh(self) -> None:
        """Once a second: how much happens in each broadcast, surges included."""
        self._weighed = self.now // SECOND_MS
        self._weights = list(accumulate(broadcast.weight(self.now) for broadcast in self._broadcasts))
