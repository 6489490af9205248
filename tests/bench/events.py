"""Events for the benchmarks: 95 % views, 4 % comments, 1 % checkouts, of about 200 bytes; and what they must add up to."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from stream.model.names import Kind
from tests.live import Outgoing

ACTIONS: Final = {  # per thousand views
    "heartbeat": 400,
    "enter": 170,
    "product_impression": 140,
    "like": 110,
    "product_click": 80,
    "leave": 60,
    "impression": 20,
    "add_to_cart": 10,
    "follow": 6,
    "share": 4,
}
SOURCES: Final = ("for_you", "for_you", "following", "search", "live_feed", "affiliate_link")
TEXTS: Final = ("keep kak", "spill no 3", "ready size M?", "bagus banget", "ongkir ke Medan berapa?", "co ya kak")
JITTER_MS: Final = 1500
REPEATED: Final = 0.01
"""Share of exact repeats."""


Uniform = Callable[[], float]


@dataclass
class Expected:
    """What was made, by session and all told."""

    records: Counter[Kind] = field(default_factory=Counter)
    repeats: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(session id, name of a count) -> number; ``gmv`` is the money, ``comments`` and so on as in the contract."""


class Maker:
    """Events from ``start_ms`` on, spread evenly over ``span_ms``. The same seed makes the same events."""

    def __init__(self, number: int, sessions: int, start_ms: int, span_ms: int, seed: int = 1) -> None:
        self.expected = Expected()
        self._number = number
        self._start, self._span = start_ms, span_ms
        rng = self._rng = Random(seed)
        self._sessions = [f"74{rng.randrange(10**16):016}" for _ in range(sessions)]
        self._viewers = [f"{rng.getrandbits(64):016x}" for _ in range(sessions * 60)]
        self._actions = rng.choices(list(ACTIONS), list(ACTIONS.values()), k=4096)

    def __iter__(self) -> Iterator[Outgoing]:
        random = self._rng.random
        step = self._span / self._number
        recent: list[Outgoing] = []
        for number in range(self._number):
            luck = random()
            if luck < REPEATED and len(recent) > 100:
                made = recent[int(random() * 100)]
                self.expected.repeats += 1
            else:
                time = self._start + int(number * step - random() * JITTER_MS)
                made = self._make(number, time, random)
                recent.append(made)
                if len(recent) > 400:
                    del recent[:300]
            self.expected.records[Kind(made.kind)] += 1
            yield made

    def _make(self, number: int, time: int, random: Uniform) -> Outgoing:
        session = self._sessions[int(random() * len(self._sessions))]
        viewer = self._viewers[int(random() * len(self._viewers))]
        head = (
            f'{{"event_id":"{number:012x}","event_time":{time},"session_id":"{session}","seller_id":"s{session[-2:]}",'
            f'"creator_id":"c{session[-3:]}","viewer_id":"{viewer}","platform":"tiktok_shop",'
        )
        kind = random()
        if kind < 0.95:
            rest = self._view(number, session, random)
            return Outgoing(Kind.VIEWS, session.encode(), (head + rest).encode())
        if kind < 0.99:
            self.expected.counts[session, "comments"] += 1
            return Outgoing(Kind.COMMENTS, session.encode(), f'{head}"text":"{TEXTS[number % len(TEXTS)]}"}}'.encode())
        return Outgoing(Kind.CHECKOUTS, session.encode(), (head + self._checkout(number, session, random)).encode())

    def _view(self, number: int, session: str, random: Uniform) -> str:
        action = self._actions[number & 4095]
        counts = self.expected.counts
        if action == "heartbeat":
            counts[session, "watch_ms"] += 15_000
            return f'"action":"heartbeat","watch_ms":15000,"concurrent_viewers":{int(random() * 900)}}}'
        if action == "enter":
            counts[session, "views"] += 1
            return f'"action":"enter","source":"{SOURCES[int(random() * 6)]}"}}'
        if action == "product_click":
            counts[session, "product_clicks"] += 1
            affiliate = f',"affiliate_id":"a{number % 40}"' if random() < 0.2 else ""
            return f'"action":"product_click","source":"for_you","product_id":"p{int(random() * 30)}"{affiliate}}}'
        if action == "like":
            counts[session, "likes"] += 5
            return '"action":"like","count":5}'
        return f'"action":"{action}","product_id":"p{int(random() * 30)}"}}'

    def _checkout(self, number: int, session: str, random: Uniform) -> str:
        status = "paid" if random() < 0.6 else "initiated"
        amount = 100_000 * (1 + number % 90)
        if status == "paid":
            self.expected.counts[session, "orders_paid"] += 1
            self.expected.counts[session, "gmv"] += amount
        else:
            self.expected.counts[session, "checkouts_initiated"] += 1
        items = f'[{{"product_id":"p{number % 30}","quantity":1,"unit_price_minor":{amount}}}]'
        return (
            f'"source":"for_you","checkout_id":"k{number}","status":"{status}","amount_minor":{amount},'
            f'"currency":"IDR","items":{items}}}'
        )
