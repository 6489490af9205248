"""Small worlds for the laws: logs of three topics, schedules of how a worker might have read them, and a driver.

A world is drawn by hypothesis as plain data, so that a counterexample shrinks to something a person can read and can be
kept as an @example.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hypothesis import strategies as st

from stream.core.alerts.rules import Rules as AlertRules
from stream.core.framing import first_needed
from stream.core.policy import Policy, WindowSpec
from stream.core.shard import Shard
from stream.model.alerts import Alert
from stream.model.names import KINDS, Kind, Outcome, Reason
from stream.model.results import DeadLetter, Outputs
from tests.recount import LogRecord, Rules

T0 = 1_700_000_000_000
SECOND = 1000

POLICY = Policy(
    windows=(WindowSpec("10s", 10 * SECOND, 10 * SECOND), WindowSpec("30s", 30 * SECOND, 10 * SECOND)),
    delay_ms=2 * SECOND,
    lateness_ms=20 * SECOND,
    max_future_ms=5 * SECOND,
    state_retention_ms=10_000 * SECOND,
    session_end_after_ms=40 * SECOND,
    end_grace_ms=5 * SECOND,
    totals_every_ms=5 * SECOND,
    max_ids=2,
    checkpoint_span=3,
)
"""Everything short, so that a few dozen events pass every age; only retention is out of reach."""


def rules_of(policy: Policy) -> Rules:
    return Rules(
        windows=tuple((spec.name, spec.size_ms, spec.slide_ms) for spec in policy.windows),
        delay_ms=policy.delay_ms,
        lateness_ms=policy.lateness_ms,
        max_future_ms=policy.max_future_ms,
        currency=policy.currency,
        max_value=policy.max_value,
        max_ids=policy.max_ids,
        session_keep_ms=policy.session_keep_ms,
        late_totals_ms=policy.late_totals_ms,
        max_new_sessions=policy.max_new_sessions,
        max_sessions=policy.max_sessions,
        max_checkout_keys=policy.max_checkout_keys,
        max_pane_events=policy.max_pane_events,
    )


@dataclass(frozen=True)
class Happening:
    """One record of a topic. ``after``: ms of broker time since the record before; ``ago``: event time before that."""

    what: str
    after: int = 0
    ago: int = 0
    session: int = 0
    id: int | None = None
    ref: int = 0
    amount: int = 100


VIEW_ACTIONS = (
    "enter",
    "product_click",
    "product_click",
    "product_click",
    "product_impression",
    "heartbeat",
    "like",
    "impression",
    "add_to_cart",
    "share",
    "follow",
    "leave",
    "gift",
    "pin",
    "unpin",
    "start",
    "end",
)
STATUSES = ("initiated", "cod", "submitted", "paid", "paid_cod", "failed", "cancelled", "refunded")
FAULTS = ("tombstone", "garbage", "misplaced_key", "no_session")

Log = tuple[Happening, ...]


@dataclass(frozen=True)
class World:
    views: Log = ()
    comments: Log = ()
    checkouts: Log = ()

    def records(self) -> dict[Kind, list[LogRecord]]:
        logs = {Kind.VIEWS: self.views, Kind.COMMENTS: self.comments, Kind.CHECKOUTS: self.checkouts}
        return {kind: list(_records(kind, log)) for kind, log in logs.items()}


def _records(kind: Kind, log: Log) -> Iterable[LogRecord]:
    now = T0
    for offset, happening in enumerate(log):
        now += happening.after
        key, value = _content(kind, happening, offset, now - happening.ago)
        yield LogRecord(str(kind), 0, offset, now, key, value)


def _content(kind: Kind, happening: Happening, offset: int, time: int) -> tuple[bytes, bytes | None]:
    key = f"s{happening.session}".encode()
    if happening.what == "tombstone":
        return key, None
    if happening.what == "garbage":
        return key, b'{"event_id":'
    value = _event(kind, happening, offset, time)
    if happening.what == "no_session":
        del value["session_id"]
    return (b"elsewhere" if happening.what == "misplaced_key" else key), json.dumps(value).encode()


def _event(kind: Kind, happening: Happening, offset: int, time: int) -> dict[str, Any]:
    ref = happening.ref
    value: dict[str, Any] = {
        "event_id": f"e{offset if happening.id is None else happening.id}",
        "event_time": time,
        "session_id": f"s{happening.session}",
        "seller_id": f"seller{ref % 3}",
        "viewer_id": f"v{ref}",
        "platform": ("tiktok_shop", "shopee", "kiosk", "")[ref % 4],
    }
    if ref % 2:
        value |= {"creator_id": f"c{ref}", "affiliate_id": f"a{ref}", "source": ("for_you", "moon", "ads")[ref % 3]}
    return value | {Kind.VIEWS: _view, Kind.COMMENTS: _comment, Kind.CHECKOUTS: _checkout}[kind](happening)


def _view(happening: Happening) -> dict[str, Any]:
    action = happening.what if happening.what in VIEW_ACTIONS else "enter"
    value: dict[str, Any] = {"action": action, "product_id": f"p{happening.ref}"}
    if happening.amount % 2:
        value |= {"count": happening.amount, "watch_ms": happening.amount, "concurrent_viewers": happening.amount}
    if happening.amount % 3:
        value["gift_value"] = happening.amount
    if happening.amount % 4 > 1:  # of a product in its turn another, in any action
        value["product_name"] = ("", "kaos", "Kopi \N{HOT BEVERAGE}", "kaos")[happening.amount % 4]
    if happening.amount > 3:
        value["basket_number"] = happening.amount
    if happening.ref % 2 == 0:  # of a start; of any other action it is ignored
        value |= {"title": f"Obral {happening.amount % 3}", "creator_name": "Kak Dewi" if happening.amount % 2 else ""}
    if happening.ref % 3 == 0:
        value["seller_name"] = ("Toko \N{FIRE}", "Toko")[happening.amount % 2]
    return value


def _comment(_happening: Happening) -> dict[str, Any]:
    return {"text": "halo kak"}


def _checkout(happening: Happening) -> dict[str, Any]:
    what = happening.what if happening.what in STATUSES else "paid"
    status = {"cod": "initiated", "paid_cod": "paid"}.get(what, what)
    item = {"product_id": f"p{happening.ref}", "quantity": 2, "unit_price_minor": happening.amount}
    return {
        "checkout_id": f"k{happening.ref}",
        "status": status,
        "is_cod": what in ("cod", "paid_cod"),
        "attempt": happening.amount % 2,
        "amount_minor": happening.amount,
        "currency": "USD" if happening.amount % 5 == 0 else "IDR",
        "items": [item, {**item, "local": True}, {**item, "product_id": f"q{happening.ref}", "local": False}][
            : happening.ref % 4
        ],
        "discount_minor": (None, 0, happening.amount)[happening.ref % 3],
    }


def _log(actions: tuple[str, ...], size: int, sessions: tuple[int, ...] = (0, 0, 0, 1)) -> st.SearchStrategy[Log]:
    happening = st.builds(
        Happening,
        what=st.sampled_from((*actions * 4, *FAULTS)),
        after=st.sampled_from((0, 1, 500, 3000, 7000, 11_000, 29_000)),
        ago=st.sampled_from((0, 0, 1, 700, 2500, 9000, 15_000, 19_000, 21_999, 22_000, 26_000, 45_000, -1000, -6000)),
        session=st.sampled_from(sessions),
        id=st.one_of(st.none(), st.integers(0, 2)),
        ref=st.integers(0, 5),
        amount=st.integers(0, 7),
    )
    return st.lists(happening, max_size=size).map(tuple)


worlds = st.builds(
    World,
    views=_log(VIEW_ACTIONS, 20),
    comments=_log(("comment",), 8),
    checkouts=_log(STATUSES, 12),
)

MANY: Final = (0, 1, 2, 3, 4)
crowded_worlds = st.builds(
    World, views=_log(VIEW_ACTIONS, 20, MANY), comments=_log(("comment",), 8, MANY), checkouts=_log(STATUSES, 12, MANY)
)
"""With more sessions than `bounds` let in."""

bounds = st.fixed_dictionaries(
    {
        "max_new_sessions": st.integers(1, 3),
        "max_sessions": st.integers(1, 4),
        "max_checkout_keys": st.integers(1, 4),
        "max_pane_events": st.integers(1, 4),
        "session_keep_ms": st.sampled_from((0, 25 * SECOND, 60 * SECOND, 1000 * SECOND)),
        "late_totals_ms": st.sampled_from((0, 30 * SECOND, 60 * SECOND, 1000 * SECOND)),
    }
)
"""Of sessions, checkouts and events of a pane: small ones, as changes of a policy."""


# -- a schedule: how a worker might have read a world

Step = tuple[str, int]
"""("views" | "comments" | "checkouts", batch size), ("work", steps), ("checkpoint" | "crash", 0), ("exclude", topic),
("only", topic): the others are silent, ("quiet", 20 s past the newest clock), ("settle", 0): all that is due is done,
("caught_up", topic): from now on it counts as caught up, or not any more."""

steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.sampled_from([str(kind) for kind in KINDS]), st.integers(1, 6)),
    st.tuples(st.just("work"), st.integers(1, 5)),
    st.tuples(
        st.sampled_from(
            ("settle", "settle", "settle", "only", "checkpoint", "crash", "exclude", "quiet", "caught_up", "caught_up")
        ),
        st.integers(0, 2),
    ),
)
schedules = st.lists(steps, max_size=40).map(tuple)

ONE_GO: tuple[Step, ...] = ()
"""Every topic in one batch, one after another, no checkpoint before the end."""


@dataclass
class Told:
    """Everything a run gave away, as a reader of the topics sees it."""

    windows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Last revision by key."""
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    dead: dict[tuple[str, int, int], Reason] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    not_on_time: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    watermarks: list[int | None] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    scoped: bool = False
    """Totals may come into the scope at a later revision."""

    def take(self, outputs: Outputs) -> None:
        for key, value in outputs.windows:
            self._take_revision(self.windows, key.decode(), json.loads(value))
        for key, value in outputs.sessions:
            self._take_revision(self.sessions, key.decode(), json.loads(value))
        self.alerts += outputs.alerts
        for letter in outputs.dead_letters:
            self._take_dead(letter)
        for (kind, outcome), number in outputs.tally.outcomes.items():
            self.outcomes[str(kind), str(outcome)] += number
        tally = outputs.tally
        self.not_on_time.update({str(kind): number for kind, number in tally.not_on_time.items()})
        self.totals.update(
            views=tally.views,
            product_clicks=tally.product_clicks,
            comments=tally.comments,
            orders_paid=tally.orders_paid,
        )

    def _take_revision(self, into: dict[str, dict[str, Any]], key: str, value: dict[str, Any]) -> None:
        before = into.get(key, {"revision": 0})["revision"]
        right = value["revision"] > before if self.scoped else value["revision"] == before + 1
        assert right, f"{key}: revision {value['revision']} after {before}"
        into[key] = value

    def _take_dead(self, letter: DeadLetter) -> None:
        place = (str(letter.kind), 0, letter.record.offset)
        assert place not in self.dead, f"{place} is dead twice"
        self.dead[place] = letter.reason

    def comparable(self) -> dict[str, Any]:
        """What is a function of the logs: everything but revision, generation, reason, status and run."""
        return {
            "windows": without(self.windows, "run", "revision", "generation", "reason"),
            "sessions": without(self.sessions, "run", "revision", "generation", "status"),
            "dead": {place: str(reason) for place, reason in self.dead.items()},
            "outcomes": {place: number for place, number in self.outcomes.items() if number},
            "not_on_time": {kind: number for kind, number in self.not_on_time.items() if number},
        }


def without(values: dict[str, dict[str, Any]], *names: str) -> dict[str, dict[str, Any]]:
    return {key: {name: v for name, v in value.items() if name not in names} for key, value in values.items()}


class Driver:
    """A worker in miniature: reads a world by a schedule; a crash loses all since the last checkpoint."""

    def __init__(
        self,
        world: World,
        policy: Policy = POLICY,
        rules: AlertRules | None = None,
        *,
        upgrades: bool = False,
        made: type[Shard] = Shard,
        **options: Any,
    ) -> None:
        """``options``: more of a shard, which is one of ``made``."""
        self.policy = policy
        self.made = made
        self.options = {"rules": rules, **options}
        self.upgrades = upgrades
        """Whether it writes a state of an earlier version in the newest format."""
        self.logs = world.records()
        self.told = Told(scoped=options.get("scope") is not None)
        self.shard = self._small(made(policy, **self.options))
        self.state: list[tuple[int, bytes]] = []
        self.caught_up: set[Kind] = set()
        self.now_ms = 0

    def run(self, schedule: Sequence[Step]) -> Told:
        for name, number in schedule:
            self.step(name, number)
        return self.end()

    def end(self) -> Told:
        for kind in KINDS:
            self.step(kind, len(self.logs[kind]))
        self.shard.finish()
        while self.shard.work(1000):
            pass
        while self.checkpoint():
            pass
        return self.told

    def step(self, name: str, number: int) -> None:
        if name in self.logs:
            self._read(Kind(name), number)
        elif name == "work":
            self.shard.work(number)
        elif name == "checkpoint":
            self.checkpoint()
        elif name == "crash":
            self.crash()
        elif name == "exclude":
            self.shard.exclude(KINDS[number])
        elif name == "only":
            for kind in set(KINDS) - {KINDS[number]}:
                self.shard.exclude(kind)
        elif name == "settle":
            self.settle()
        elif name == "caught_up":
            self.caught_up ^= {KINDS[number]}
            self.shard.keep_up(self.caught_up)
        else:
            self.shard.quiet((self.shard.newest or T0) + number * 20 * SECOND)
        self.told.watermarks.append(self.shard.watermark)

    def _read(self, kind: Kind, number: int) -> None:
        position = self.shard.positions.get(kind, 0)
        self.shard.read(kind, self.logs[kind][position : position + number])

    def checkpoint(self) -> bool:
        self.now_ms += 3 * SECOND  # so that corrections wait for some checkpoints while a topic is left out
        outputs = self.shard.collect(now_ms=self.now_ms)
        if outputs is None:
            return False
        self.told.take(outputs)
        offset = self.state[-1][0] + 2 if self.state else 0  # a transaction's end takes an offset too
        self.state += [(offset + place, value) for place, (_, value) in enumerate(outputs.state)]
        self.shard.committed(outputs.checkpoint, offset)
        return True

    def settle(self) -> None:
        """Closes, writes and drops whatever is due."""
        for _ in range(2):
            while self.shard.work(100):
                pass
            self.checkpoint()

    def crash(self) -> None:
        """Comes back from what is in the log, reading no more of it than it needs."""
        if not self.state:
            self.shard = self._small(self.made(self.policy, **self.options))
            return
        offset, newest = self.state[-1]
        start = first_needed(newest, offset)
        needed = [record for record in self.state if record[0] >= start]
        self.shard = self._small(self.made.restore(self.policy, needed, **self.options))
        if self.upgrades:
            self.shard.upgrade()

    @staticmethod
    def _small(shard: Shard) -> Shard:
        """Few sessions are enough for a page."""
        shard.sessions.pages.size = 2
        return shard


def tell(world: World, schedule: Sequence[Step] = ONE_GO, policy: Policy = POLICY) -> Told:
    return Driver(world, policy).run(schedule)


def records_read(world: World) -> int:
    return len(world.views) + len(world.comments) + len(world.checkouts)


__all__ = [
    "POLICY",
    "T0",
    "Driver",
    "Happening",
    "Outcome",
    "World",
    "bounds",
    "crowded_worlds",
    "replace",
    "rules_of",
    "schedules",
    "tell",
    "worlds",
]
