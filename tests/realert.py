"""The second opinion on alerts: what live.alerts must say, worked out from the raw logs in the plainest way.

Written from docs/architecture.md ("Alerts") and docs/topics.md. Like the recount beside it, it imports nothing of
`stream`; it keeps every event, and looks at all of them again for every slide. What a rule's condition is, the caller
says in Python.

An alert's life is that of one broadcast: a session that went off air and comes back begins anew. Decisions that were made
while a topic was left out are no function of the logs, so callers arrange for that not to happen.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from tests.recount import COUNTING, COUNTS, KINDS, PLATFORMS, Event, Judge, LogRecord, Recounted, Rules, Tally, capped

Arrived = tuple[str, Event]  # kind and event
CLOSING = ("cancelled", "refunded")  # they are not counted as events of a session


@dataclass(frozen=True)
class Look:
    """What may be seen of a session at the end of a slide."""

    events: list[Arrived]  # on time, before the end
    begun: int  # start of the first slide
    end: int
    rules: Rules
    window_ms: int
    baseline_ms: int
    known: dict[tuple[int, int], dict[str, int]]  # spans counted before: what is on time never changes

    @property
    def w(self) -> dict[str, int]:
        return self.counts(self.end - self.window_ms, self.end)

    @property
    def base(self) -> dict[str, int]:
        start = self.end - self.window_ms
        return self.counts(max(self.begun, start - self.baseline_ms), start)

    @property
    def silent_ms(self) -> int:
        return self.end - last_of(self.events)

    def medians(self, name: str) -> list[int]:
        """Of the windows before this one, as far as the baseline and the session reach."""
        start = self.end - self.window_ms
        oldest = max(self.begun, start - self.baseline_ms)
        starts = range(start - self.window_ms, oldest - 1, -self.window_ms)
        return sorted(self.counts(each, each + self.window_ms)[name] for each in starts)

    def counts(self, start: int, end: int) -> dict[str, int]:
        if (start, end) not in self.known:
            self.known[start, end] = self.counted(start, end)
        return self.known[start, end]

    def counted(self, start: int, end: int) -> dict[str, int]:
        tally = Tally()
        heartbeats = events = 0
        for kind, event in self.events:
            if start <= event["event_time"] < end:
                COUNTING[kind](tally, event, self.rules.max_ids)
                events += 1
                heartbeats += event.get("action") == "heartbeat"
        return {
            **{name: capped(tally.counts[name]) for name in COUNTS},
            "heartbeats": heartbeats,
            "gmv_minor": capped(tally.gmv.get(self.rules.currency, 0)),
            "item_value_minor": capped(tally.item_value.get(self.rules.currency, 0)),
            "local_item_value_minor": capped(tally.local_item_value.get(self.rules.currency, 0)),
            "cross_border_item_value_minor": capped(tally.cross_border_item_value.get(self.rules.currency, 0)),
            "discount_minor": capped(tally.discount.get(self.rules.currency, 0)),
            "events": events,
        }


@dataclass(frozen=True)
class PlainRule:
    """A rule: its spans, and its condition as a Python function."""

    alert: str
    holds: Callable[[Look], bool]
    window_ms: int
    baseline_ms: int = 0
    for_ms: int = 0
    keep_ms: int = 0
    sellers: frozenset[str] = frozenset()
    platforms: frozenset[str] = frozenset()

    def concerns(self, seller: str, platform: str) -> bool:
        return (not self.sellers or seller in self.sellers) and (not self.platforms or platform in self.platforms)


@dataclass(frozen=True, order=True)
class Told:
    """What of an alert is compared."""

    at: int
    alert: str
    session_id: str
    status: str
    since: int
    seller_id: str


def told_of(value: dict[str, Any]) -> Told:
    return Told(**{name: value[name] for name in Told.__dataclass_fields__})


def realert(
    records: Iterable[LogRecord], rules: Rules, end_after_ms: int, plain_rules: Iterable[PlainRule]
) -> list[Told]:
    """Everything that must be told, in the order of its slides."""
    plain_rules = list(plain_rules)
    sessions = on_time(records, rules)
    broadcasts = [Broadcast(name, events, rules, end_after_ms, plain_rules) for name, events in sessions.items()]
    return sorted(told for broadcast in broadcasts for told in broadcast.told())


def standing(
    records: Iterable[LogRecord], rules: Rules, end_after_ms: int, plain_rules: Iterable[PlainRule], until: int
) -> Counter[tuple[str, str]]:
    """How many are pending and firing after the slides that end then or earlier: (alert, "pending" or "firing")."""
    plain_rules, found = list(plain_rules), Counter[tuple[str, str]]()
    for name, events in on_time(records, rules).items():
        broadcast = Broadcast(name, events, rules, end_after_ms, plain_rules)
        list(broadcast.told(until))
        found.update((each, "firing" if was["seller"] else "pending") for each, was in broadcast.standing.items())
    return found


def on_time(records: Iterable[LogRecord], rules: Rules) -> dict[str, list[Arrived]]:
    """Counted events that were not behind their own topic's clock by the delay, by session.

    Without a delay, one that is at the clock itself is not behind.
    """
    sessions: defaultdict[str, list[Arrived]] = defaultdict(list)
    ordered = sorted(records, key=lambda record: (KINDS.index(record.kind), record.partition, record.offset))
    for _, log in groupby(ordered, key=lambda record: (record.kind, record.partition)):
        judge = Judge(rules)
        for record in log:
            event, outcome = judge.judge(record, Recounted())
            if event is not None and outcome == "counted" and judge.is_on_time(event):
                sessions[event["session_id"]].append((record.kind, event))
    return sessions


def last_of(events: Iterable[Arrived]) -> int:
    times = [event["event_time"] for _, event in events if event.get("status") not in CLOSING]
    return max(times, default=-1)


class Broadcast:
    """One session, of which each stretch on air is judged by itself."""

    def __init__(
        self, name: str, events: list[Arrived], rules: Rules, end_after_ms: int, plain_rules: list[PlainRule]
    ) -> None:
        self.name = name
        self.events = events
        self.rules = rules
        self.end_after_ms = end_after_ms
        self.plain_rules = plain_rules
        self.standing: dict[str, dict[str, Any]] = {}  # pending without a seller, firing with one

    def told(self, until: int = 2**62) -> Iterator[Told]:
        since = -(2**62)
        while (opening := self.opening(since)) is not None:
            known: dict[tuple[int, int], dict[str, int]] = {}
            begun = since = opening // self.rules.pane_ms * self.rules.pane_ms
            began = False
            while True:
                since += self.rules.pane_ms
                if since > until:
                    return
                on_air = self.is_on_air(since)
                if on_air or began:
                    seen = [(kind, event) for kind, event in self.events if begun <= event["event_time"] < since]
                    look = Look(seen, begun, since, self.rules, 0, 0, known)
                    yield from self.slide(look, self.plain_rules if on_air else [])
                if not on_air:
                    break
                began = True

    def opening(self, since: int) -> int | None:
        """The first view or comment from then on: checkouts open no session."""
        return min((time for time in self.aired() if time >= since), default=None)

    def aired(self) -> list[int]:
        """Event times of views and comments. That its host has ended it is no sign of life."""
        return [
            event["event_time"] for kind, event in self.events if kind != "checkouts" and event.get("action") != "end"
        ]

    def is_on_air(self, end: int) -> bool:
        """By what was on time before the end of a slide: viewed lately, and not closed by its host."""
        aired = max((time for time in self.aired() if time < end), default=-1)
        starts, ends = (
            [event["event_time"] for _, event in self.events if event.get("action") == action]
            for action in ("start", "end")
        )
        closed = max((time for time in ends if time < end), default=-1)
        if closed > max((time for time in starts if time < end), default=-1) and aired <= closed + self.end_after_ms:
            return False
        return aired + self.end_after_ms > end

    def slide(self, look: Look, plain_rules: list[PlainRule]) -> Iterator[Told]:
        seller, platform = labels(look.events)
        asked = set()
        for rule in plain_rules:
            if rule.concerns(seller, platform):
                asked.add(rule.alert)
                holds = rule.holds(replace(look, window_ms=rule.window_ms, baseline_ms=rule.baseline_ms))
                yield from self.step(rule, seller, look.end, holds=holds)
        for alert in set(self.standing) - asked:
            yield from self.resolve(alert, look.end)

    def step(self, rule: PlainRule, seller: str, end: int, *, holds: bool) -> Iterator[Told]:
        if holds:
            self.standing.setdefault(rule.alert, {"since": end, "seller": None, "calm": None})
        was = self.standing.get(rule.alert)
        if was is None:
            return
        was["calm"] = None if holds else end if was["calm"] is None else was["calm"]
        if was["seller"] is None and holds and end - was["since"] >= rule.for_ms:
            was["seller"] = seller
            yield Told(end, rule.alert, self.name, "firing", was["since"], seller)
        elif not holds and (was["seller"] is None or end - was["calm"] >= rule.keep_ms):
            yield from self.resolve(rule.alert, end)

    def resolve(self, alert: str, end: int) -> Iterator[Told]:
        was = self.standing.pop(alert)
        if was["seller"] is not None:
            yield Told(end, alert, self.name, "resolved", was["since"], was["seller"])


def labels(seen: list[Arrived]) -> tuple[str, str]:
    def newest(texts: Callable[[Event], str]) -> str:
        return max((event["event_time"], texts(event)) for _, event in seen)[1]

    return (
        newest(lambda event: str(event["seller_id"])),
        newest(lambda event: event["platform"] if event["platform"] in PLATFORMS else "other"),
    )
