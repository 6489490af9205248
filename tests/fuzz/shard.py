"""A whole shard that sees the most extreme events that are valid, in any order, with crashes: nothing overflows or raises.

The input is a program: each event a few bytes, decisions between them.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from stream.core.framing import first_needed
from stream.core.policy import HOUR, Policy, WindowSpec
from stream.core.shard import Shard
from stream.model.names import KINDS, Kind
from stream.rules.reading import SHIPPED, load_rules
from tests.fuzz.target import Bound, Input
from tests.fuzz.values import EVENTS
from tests.recount import LogRecord

MINUTE: Final = 60_000
T0: Final = 1_700_000_000_000 - 1_700_000_000_000 % HOUR
POLICY: Final = Policy(
    windows=(WindowSpec("1m", MINUTE, MINUTE), WindowSpec("5m", 5 * MINUTE, MINUTE)), checkpoint_span=3, max_ids=3
)
RULES: Final = load_rules(SHIPPED, MINUTE)
STEPS: Final = (0, 1, 1000, 30_000, MINUTE, 5 * MINUTE, HOUR, 20 * HOUR, -1000, -MINUTE, -HOUR)
FAR: Final = (0, 1, 10**11, 10**11 + 1, 10**12, 2**42)
"""Event times."""
LARGE: Final = (0, 1, 2, 10**6, 86_400_000, 10**9, 2**31, 10**13, 10**15, 2**53, 2**62, 2**63 - 1)
FIGURES: Final = {
    Kind.VIEWS: ("count", "gift_value", "watch_ms", "concurrent_viewers"),
    Kind.COMMENTS: (),
    Kind.CHECKOUTS: ("amount_minor", "discount_minor", "attempt"),
}
CHOICES: Final[dict[Kind, dict[str, tuple[Any, ...]]]] = {
    Kind.VIEWS: {
        "action": (
            "enter",
            "product_click",
            "start",
            "end",
            "like",
            "heartbeat",
            "leave",
            "gift",
            "pin",
            "add_to_cart",
        ),
        "product_name": (None, "", "Kaos", "Kopi \N{HOT BEVERAGE}", "x" * 200, '\x00\\"'),
        "basket_number": (None, 1, 2, 10**6, 10**6 + 1),
        "title": (None, "", "Obral", "Obral \N{FIRE}", "x" * 200, "x" * 201),
        "seller_name": (None, "Toko", "é" * 200),
    },
    Kind.COMMENTS: {},
    Kind.CHECKOUTS: {
        "status": ("initiated", "submitted", "paid", "failed", "cancelled", "refunded"),
        "currency": ("IDR", "USD", "KWD", "JPY"),
        "is_cod": (True, False),
    },
}


def make(random: Random) -> bytes:
    return random.randbytes(random.choice((10, 50, 200, 1000)))


class Play:
    """A shard, and the bytes that say what happens to it."""

    def __init__(self, data: bytes) -> None:
        self.given = Input(data)
        self.shard = Shard(POLICY, rules=RULES)
        self.now = T0
        self.state: list[tuple[int, bytes]] = []

    def see(self) -> None:
        kind = KINDS[self.given.byte() % len(KINDS)]
        value: dict[str, Any] = EVENTS[kind] | self._choices(kind)
        offset = self.shard.positions.get(kind, 0)
        value["event_id"] = f"e{offset if self.given.byte() % 8 else 1}"
        value["session_id"] = f"s{self.given.byte() % 3}"
        value["event_time"] = self._time()
        record = LogRecord(str(kind), 0, offset, self.now, value["session_id"].encode(), json.dumps(value).encode())
        self.shard.read(kind, [record])

    def _time(self) -> int:
        far = self.given.byte()
        if far % 8 == 0:
            return FAR[far // 8 % len(FAR)]
        return max(0, self.now + STEPS[far % len(STEPS)])

    def _choices(self, kind: Kind) -> dict[str, Any]:
        found: dict[str, Any] = {name: LARGE[self.given.byte() % len(LARGE)] for name in FIGURES[kind]}
        found |= {name: some[self.given.byte() % len(some)] for name, some in CHOICES[kind].items()}
        if kind is Kind.CHECKOUTS:
            found["checkout_id"] = f"k{self.given.byte()}"
            quantity, price = (LARGE[self.given.byte() % len(LARGE)] for _ in range(2))
            found["items"] = [
                {"product_id": f"p{self.given.byte() % 5}", "quantity": quantity, "unit_price_minor": price}
            ]
        return found

    def burst(self) -> None:
        """The same a few hundred times, under new ids."""
        for _ in range(self.given.byte()):
            self.see()

    def pass_time(self) -> None:
        self.now += max(0, STEPS[self.given.byte() % len(STEPS)])

    def work(self) -> None:
        while self.shard.work(100):
            pass

    def look(self) -> None:
        view = self.shard.view(2)
        assert view is not None

    def exclude(self) -> None:
        self.shard.exclude(KINDS[self.given.byte() % len(KINDS)])

    def quiet(self) -> None:
        self.shard.quiet(self.now)

    def checkpoint(self) -> None:
        outputs = self.shard.collect()
        if outputs is None:
            return
        for _, value in (*outputs.windows, *outputs.sessions):
            json.loads(value)
        offset = self.state[-1][0] + 2 if self.state else 0
        self.state += [(offset + place, value) for place, (_, value) in enumerate(outputs.state)]
        self.shard.committed(outputs.checkpoint, offset)

    def crash(self) -> None:
        if self.state:
            start = first_needed(self.state[-1][1], self.state[-1][0])
            records = [record for record in self.state if record[0] >= start]
            self.shard = Shard.restore(POLICY, records, rules=RULES)


ACTS: Final[tuple[Callable[[Play], None], ...]] = (
    *(Play.see, Play.see, Play.see, Play.see, Play.burst, Play.pass_time, Play.pass_time),
    *(Play.work, Play.look, Play.exclude, Play.quiet, Play.checkpoint, Play.crash),
)


def run(data: bytes) -> None:
    play = Play(data)
    for _ in range(min(200, len(data))):
        ACTS[play.given.byte() % len(ACTS)](play)
    play.shard.finish()
    play.work()
    play.checkpoint()
    play.look()


BOUND: Final = Bound(seconds=20.0)
