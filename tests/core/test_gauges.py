"""Every gauge of a shard is held against a recount: from the raw records, and from what was written.

Windows close in many ways (by the watermark, by silence, by a correction, at the end of the input), and shards come back
from their state. After each of them what people see has to be what there is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from hypothesis import example, given, settings

from stream.core.alerts.rules import Rules
from stream.core.policy import DAY, HOUR, MINUTE, Policy
from stream.model.alerts import Alert, Status
from stream.model.names import KINDS, Kind
from stream.model.results import ShardView
from tests.core.alerts.test_alerting import COMPILED, FAR_ON, PLAIN_RULES, QUIETED, RULES, rule
from tests.core.test_laws import LAW
from tests.core.test_shard import T0, Room
from tests.core.worlds import (
    POLICY,
    Driver,
    Happening,
    Step,
    World,
    bounds,
    crowded_worlds,
    rules_of,
    schedules,
    worlds,
)
from tests.realert import standing
from tests.recount import Judge, LogRecord, Recounted, starts


class Lifecycle(NamedTuple):
    """Of one session: its last view or comment, start and end; -1 where there was none."""

    aired: int
    start: int
    end: int
    policy: Policy

    @property
    def is_closed(self) -> bool:
        return self.end > self.start and self.aired <= self.end + self.policy.session_end_after_ms

    def has_ended(self, now: int) -> bool:
        silent = self.aired < 0 or self.aired + self.policy.session_end_after_ms <= now
        return silent or (self.is_closed and self.end + self.policy.end_grace_ms <= now)

    def opens(self, before: "Lifecycle | None") -> bool:
        """Something later has come since: a view, a comment, a start or an end. Whether it has ended, `has_ended` says."""
        return before is None or self != before


class Recount:
    """What a shard holds that has read so much of each log."""

    def __init__(self, policy: Policy, logs: Mapping[Kind, Iterable[LogRecord]]) -> None:
        self.policy, rules = policy, rules_of(policy)
        self.judges = {kind: Judge(rules) for kind in KINDS}
        self.panes: set[tuple[str, int]] = set()
        self.events: Counter[tuple[str, int]] = Counter()
        """By session and start of the pane."""
        self.samples: dict[str, tuple[int, int]] = {}
        """By session: event time and concurrent viewers of the newest sample, of equals the largest."""
        self.aired_to: dict[str, int] = {}
        """By session: its last view or comment, -1 where there are only checkouts."""
        self.hosts: dict[str, tuple[int, int]] = {}
        """By session: its host's last start and end, -1 where there is none."""
        for kind, judge in self.judges.items():
            for record in logs[kind]:
                event, outcome = judge.judge(record, Recounted())
                if event is not None and outcome in ("counted", "total_only"):
                    self.aired_to.setdefault(event["session_id"], -1)
                if event is not None and outcome == "counted":
                    time = event["event_time"]
                    pane = event["session_id"], time - time % rules.pane_ms
                    self.panes.add(pane)
                    self.events[pane] += 1
                    viewers = event.get("concurrent_viewers")
                    if viewers is not None and event.get("action") not in ("start", "end"):
                        newest = self.samples.get(event["session_id"], (-1, -1))
                        self.samples[event["session_id"]] = max(newest, (time, viewers))
                    action = event.get("action")
                    start, end = self.hosts.get(event["session_id"], (-1, -1))
                    if action in ("start", "end"):
                        moved = (max(start, time), end) if action == "start" else (start, max(end, time))
                        self.hosts[event["session_id"]] = moved
                    if kind is not Kind.CHECKOUTS and action != "end":
                        self.aired_to[event["session_id"]] = max(self.aired_to[event["session_id"]], time)

    def lifecycle(self) -> dict[str, "Lifecycle"]:
        return {
            session: Lifecycle(aired, *self.hosts.get(session, (-1, -1)), self.policy)
            for session, aired in self.aired_to.items()
        }

    def windows(self) -> Iterator[tuple[str, str]]:
        """Name and key of those that hold an event."""
        for spec in self.policy.windows:
            keys = {(s, start) for s, pane in self.panes for start in starts(pane, spec.size_ms, spec.slide_ms)}
            yield from ((spec.name, f"{session}/{spec.name}/{start}") for session, start in keys)

    @property
    def clocks(self) -> dict[Kind, int | None]:
        return {kind: None if judge.clock < 0 else judge.clock for kind, judge in self.judges.items()}

    @property
    def known_clocks(self) -> list[int]:
        return [clock for clock in self.clocks.values() if clock is not None]

    def recent_since(self, dropped: int) -> int:
        """Panes that begin later are of the newest two minutes, and still held."""
        return max(dropped, max(self.known_clocks, default=0) - 2 * MINUTE)

    def recent_events(self, dropped: int) -> int:
        since = self.recent_since(dropped)
        return sum(number for (_, start), number in self.events.items() if start > since)

    def viewers(self, dropped: int) -> dict[str, int]:
        """Of the sessions with a recent sample."""
        since, pane_ms = self.recent_since(dropped), self.policy.pane_ms
        newest = self.samples.items()
        return {session: viewers for session, (time, viewers) in newest if time - time % pane_ms > since}

    def far_behind(self) -> set[Kind]:
        newest = max(self.known_clocks, default=0)
        return {kind for kind, clock in self.clocks.items() if clock is None or newest - clock > self.policy.bound_ms}

    @property
    def final(self) -> int:
        """Panes that start here or earlier are needed no more: pane start + longest + delay + lateness <= every clock."""
        clocks = self.known_clocks
        slowest = min(clocks) if len(clocks) == len(KINDS) else -(2**62)
        return slowest - self.policy.longest_ms - self.policy.bound_ms

    def ids(self) -> int:
        lasts = self.policy.pane_ms + self.policy.bound_ms
        return sum(
            len(ids) for judge in self.judges.values() for pane, ids in judge.ids.items() if judge.clock < pane + lasts
        )

    def checkout_keys(self) -> int:
        judge = self.judges[Kind.CHECKOUTS]
        return sum(number for minute, number in judge.noted.items() if (minute + 1) * 60_000 + DAY > judge.clock)

    def known(self) -> dict[Kind, int]:
        return {kind: sum(map(judge.knows, judge.latest_pane)) for kind, judge in self.judges.items()}


class InputSample(Driver):
    """After each checkpoint what can be recounted of it, and more once the shard has done what is due."""

    known: dict[str, tuple[Lifecycle, bool]]
    """By session, after the last checkpoint: what was counted of it, and whether it is open."""
    kept: dict[str, tuple[Lifecycle, bool]]
    """As in the state."""

    def run_looked(self, schedule: tuple[Step, ...]) -> None:
        self.known, self.kept = {}, {}
        for name, number in schedule:
            self.step(name, number)
            if name == "crash":
                self.known = dict(self.kept)
                self.look_at_windows()
        self.end()
        self.settle()

    def checkpoint(self) -> bool:
        written = super().checkpoint()
        self._end_sessions()
        self.look_at_windows()
        return written

    def settle(self) -> None:
        super().settle()
        while self.shard.work(100):  # what the last checkpoint has made final is dropped
            pass
        self.look_at_all()

    def _recount(self) -> Recount:
        return Recount(self.policy, {kind: log[: self.shard.positions.get(kind, 0)] for kind, log in self.logs.items()})

    def _end_sessions(self) -> None:
        shard, never = self.shard, -(2**62)
        wall = never if shard.event_time.wall is None else shard.event_time.wall - self.policy.delay_ms
        now = max(wall, never if shard.watermark is None else shard.watermark)
        for session, lifecycle in self._recount().lifecycle().items():
            before, was_open = self.known.get(session, (None, False))
            is_open = (was_open or lifecycle.opens(before)) and not lifecycle.has_ended(now)
            self.known[session] = lifecycle, is_open
        self.kept = dict(self.known)

    def look_at_windows(self) -> None:
        """A window is open while it holds an event and was never written."""
        recounted, view = self._recount(), self.shard.view(1)
        unwritten = Counter(name for name, key in recounted.windows() if key not in self.told.windows)
        assert view.windows_open == {spec.name: unwritten[spec.name] for spec in self.policy.windows}
        assert view.known == recounted.known()
        assert view.clocks == recounted.clocks
        assert view.left_out <= recounted.far_behind()
        assert (view.watermark or 0) <= max(recounted.known_clocks, default=self.policy.delay_ms) - self.policy.delay_ms
        if len(recounted.known_clocks) == len(KINDS):
            assert (view.watermark or 0) >= min(recounted.known_clocks) - self.policy.delay_ms

    def look_at_all(self) -> None:
        self.look_at_windows()
        recounted, view = self._recount(), self.shard.view(1)
        assert view.dedupe_ids == recounted.ids()
        self._look_at_what_is_recent(recounted)
        assert view.checkout_keys == recounted.checkout_keys()
        firing = Counter((alert.alert, str(alert.severity)) for alert in self._firing())
        assert {labels: fired for labels, (_, fired) in view.alerts.items() if fired} == firing
        if self.policy.session_keep_ms < DAY:
            return  # what is let go, and when, tests/core/test_shard.py says
        assert view.sessions_open == sum(is_open for _, is_open in self.known.values())
        assert view.sessions_held == len(recounted.aired_to)
        self._look_at_what_is_held(recounted, view)

    def _look_at_what_is_held(self, recounted: Recount, view: ShardView) -> None:
        dropped = self.shard.drop_line
        assert view.panes == sum(start > dropped for _, start in recounted.panes)
        assert view.windows_closed_held == sum(value["start"] > dropped for value in self.told.windows.values())
        if self.shard.windows.first_waiting() > dropped and not view.left_out:
            assert view.panes <= sum(start > recounted.final for _, start in recounted.panes)

    def _look_at_what_is_recent(self, recounted: Recount) -> None:
        dropped = self.shard.drop_line
        view, few = self.shard.view(100), self.shard.view(1)
        events, viewers = recounted.recent_events(dropped), recounted.viewers(dropped)
        assert sum(view.platforms.values()) == sum(each.events for each in view.busiest) == events
        assert {each.session_id: each.viewers for each in view.busiest if each.viewers is not None} == viewers
        assert view.viewers == sum(viewers.values())
        listed = [*few.busiest, *([few.rest] if few.rest else [])]
        assert sum(each.viewers or 0 for each in listed) == view.viewers

    def _firing(self) -> list[Alert]:
        newest = {alert.key(): alert for alert in self.told.alerts}
        return [alert for alert in newest.values() if alert.status is Status.FIRING]


CLOSED_BY_SILENCE = World(
    views=(
        Happening("enter"),
        Happening("enter", after=500),
        Happening("enter", session=1),
        Happening("enter", ago=700),
    )
)
"""What comes for a window afterwards is a correction where the session's was written, and opens the window of another."""
SILENCE = (("views", 1), ("only", 0), ("quiet", 2), ("settle", 0), ("views", 1), ("checkpoint", 0))
OTHERS = (("views", 1), ("checkpoint", 0), ("quiet", 2), ("settle", 0), ("crash", 0), ("views", 1), ("settle", 0))


@settings(LAW, max_examples=LAW.max_examples // 2)
@given(worlds, schedules)
@example(CLOSED_BY_SILENCE, (*SILENCE, *OTHERS))
def test_every_gauge_is_as_recounted_after_whatever_has_closed_windows(
    world: World, schedule: tuple[Step, ...]
) -> None:
    InputSample(world, POLICY, COMPILED).run_looked(schedule)


@settings(LAW, max_examples=LAW.max_examples // 4)
@given(crowded_worlds, schedules, bounds)
def test_every_gauge_is_as_recounted_where_there_is_no_room(
    world: World, schedule: tuple[Step, ...], few: dict[str, int]
) -> None:
    InputSample(world, replace(POLICY, **few)).run_looked(schedule)  # type: ignore[arg-type]  # only numbers


SILENT_FOR_A_WHILE = World(
    views=(*(Happening("enter"),) * 3, *(Happening("enter", after=7000, session=3),) * 6),
    comments=(FAR_ON,),
    checkouts=(FAR_ON,),
)
"""A slide in which a session is silent, and another until that fires."""
ONE_AT_A_TIME = (("comments", 1), ("checkouts", 1), *(("views", 1),) * 9)


@settings(LAW, max_examples=LAW.max_examples // 4)
@given(worlds, schedules)
@example(SILENT_FOR_A_WHILE, ONE_AT_A_TIME)
def test_alerts_pending_and_firing_are_those_of_the_second_opinion(world: World, schedule: tuple[Step, ...]) -> None:
    """While no topic is left out: what is decided then is no function of the logs."""
    driver = Driver(world, POLICY, COMPILED)
    for name, number in schedule:
        if name not in QUIETED:
            driver.step(name, number)
            driver.settle()
            shard = driver.shard
            read = [each for kind in KINDS for each in driver.logs[kind][: shard.positions.get(kind, 0)]]
            until = -1 if shard.watermark is None else shard.watermark
            expected = standing(read, rules_of(POLICY), POLICY.session_end_after_ms, PLAIN_RULES, until)
            view = shard.view(100)
            shown = {alert: counts for (alert, _), counts in view.alerts.items()}
            by_session = Counter(alert for each in view.busiest for alert, _ in each.firing)
            assert all(number <= expected[alert, "firing"] for alert, number in by_session.items())
            assert shown == {
                each.alert: (expected[each.alert, "pending"], expected[each.alert, "firing"]) for each in RULES
            }


def test_windows_closed_by_silence_are_closed_and_stay_so_when_something_comes_to_them() -> None:
    room = Room()
    room.see(Kind.VIEWS, T0)
    room.settle()
    assert room.shard.view(1).windows_open == {"1m": 1, "5m": 5}
    room.shard.quiet(T0 + 2 * MINUTE)
    room.settle()
    assert room.shard.view(1).windows_open == {"1m": 0, "5m": 4}, "those that the wall clock has not passed"
    room.see(Kind.VIEWS, T0 + 1)
    assert room.shard.view(1).windows_open == {"1m": 0, "5m": 4}, "what they will have next is a correction"
    room.see(Kind.VIEWS, T0 + 2, session_id="another")
    assert room.shard.view(1).windows_open == {"1m": 1, "5m": 9}
    room.crash()
    assert room.shard.view(1).windows_open == {"1m": 0, "5m": 4}, "what it had counted since is counted again"
    room.shard.finish()
    room.settle()
    assert room.shard.view(1).windows_open == {"1m": 0, "5m": 0}


def test_what_retention_closes_and_drops_is_neither_open_nor_held() -> None:
    """One topic has fallen silent without being left out: the newest clock says what is over."""
    room = Room()
    for kind in (Kind.VIEWS, Kind.COMMENTS):
        room.see(kind, T0)
    room.settle()
    view = room.shard.view(1)
    assert (view.windows_open, view.windows_closed_held, view.panes) == ({"1m": 1, "5m": 5}, 0, 1)
    room.see(Kind.VIEWS, T0 + 2 * HOUR)
    room.settle()
    room.settle()
    view = room.shard.view(1)
    assert (view.windows_open, view.windows_closed_held, view.panes) == ({"1m": 1, "5m": 5}, 0, 1), "those of the view"
    assert len(room.windows) == 6
    assert (view.dedupe_ids, view.watermark) == (2, None), "the ids of a topic go by its own clock"


def test_checkout_keys_and_let_go_sessions_are_those_still_held_also_where_none_is_swept_away() -> None:
    room = Room()
    for minute in (0, 60):
        room.see(Kind.CHECKOUTS, T0 + minute * MINUTE, checkout_id=f"k{minute}", session_id=f"s{minute}")
    assert room.shard.view(1).checkout_keys == 2
    room.see(Kind.CHECKOUTS, T0 + DAY + 30 * MINUTE, checkout_id="later")
    assert room.shard.view(1).checkout_keys == 2, "the first is over"
    room.see(Kind.CHECKOUTS, T0 + 3 * DAY, checkout_id="much later")
    for hour in (1, 2):
        for kind in KINDS:
            room.see(kind, T0 + 3 * DAY + hour * HOUR, checkout_id="the end")
        room.settle()
    view = room.shard.view(1)
    assert (view.checkout_keys, view.sessions_held) == (2, 1)
    assert view.sessions_gone == 2
    room.crash()
    assert room.shard.view(1).sessions_gone == 2
    for kind in KINDS:
        room.see(kind, T0 + 200 * DAY, checkout_id="months later")
    room.settle()
    assert (room.shard.view(1).sessions_gone, len(room.shard.sessions.gone)) == (0, 2), "none was swept away"


def test_concurrent_viewers_are_the_newest_sample_of_each_session_while_it_is_recent() -> None:
    room = Room()
    for second, viewers in ((0, 100), (20, 300), (10, 500)):
        room.see(Kind.VIEWS, T0 + second * 1000, action="heartbeat", concurrent_viewers=viewers)
    room.see(Kind.VIEWS, T0 + 1000, action="heartbeat", concurrent_viewers=7, session_id="another")
    room.see(Kind.COMMENTS, T0, session_id="no sample")
    view = room.shard.view(10)
    assert view.viewers == 307
    assert {each.session_id: each.viewers for each in view.busiest} == {"s1": 300, "another": 7, "no sample": None}
    room.settle()
    room.crash()
    assert room.shard.view(10).viewers == 307, "packed or not"
    room.see(Kind.COMMENTS, T0 + 3 * MINUTE)
    assert room.shard.view(10).viewers == 0


def test_the_busiest_have_the_seller_of_their_newest_pane_and_the_alerts_that_fire_for_them() -> None:
    asked = (rule("busy", "w.events > 1.0", window_ms=MINUTE), rule("idle", "w.events < 1.0", window_ms=MINUTE))
    room = Room(rules=Rules(asked, MINUTE))
    for second, seller in ((0, "s1"), (1, "s1"), (61, "s2"), (62, "s2")):
        room.see(Kind.VIEWS, T0 + second * 1000, seller_id=seller)
    room.see(Kind.VIEWS, T0 + 62_000, session_id="late", seller_id="s9")
    for kind in KINDS:
        room.see(kind, T0 + MINUTE + 30_000, session_id="clock", seller_id="s3")
    room.settle()
    view = room.shard.view(10)
    assert {each.session_id: each.seller_id for each in view.busiest} == {"s1": "s2", "late": "s9", "clock": "s3"}
    busy = (("busy", "ticket"),)
    assert {each.session_id: each.firing for each in view.busiest} == {"s1": busy, "late": (), "clock": ()}
    room.crash()
    again = room.shard.view(10)
    assert {(each.session_id, each.seller_id, each.firing) for each in again.busiest} == {
        (each.session_id, each.seller_id, each.firing) for each in view.busiest
    }


def test_events_of_a_platform_are_shown_also_while_they_come_late_and_are_gone_when_it_is_silent() -> None:
    room = Room()
    for number, platform in enumerate(("shopee", "shopee", "lazada", "kiosk")):
        room.see(Kind.VIEWS, T0 + number, platform=platform, session_id=platform)
    assert room.shard.view(1).platforms == {"shopee": 2, "lazada": 1, "other": 1}
    room.see(Kind.VIEWS, T0 + 70_000, platform="shopee", session_id="shopee")
    room.see(Kind.VIEWS, T0 + 40_000, platform="blibli", session_id="blibli")
    assert room.shard.view(1).platforms["blibli"] == 1, "too late for alerts"
    room.settle()
    room.crash()
    assert room.shard.view(1).platforms == {"shopee": 3, "lazada": 1, "other": 1, "blibli": 1}
    room.see(Kind.VIEWS, T0 + 3 * MINUTE, platform="shopee", session_id="shopee")
    assert room.shard.view(1).platforms == {"shopee": 1}, "that alone is of the newest two minutes"


def test_how_much_of_each_bound_is_used() -> None:
    room = Room(replace(POLICY, max_sessions=10, max_pane_events=20, max_checkout_keys=4, max_gone_sessions=5))
    for number in range(5):
        room.see(Kind.VIEWS, T0 + number, session_id=f"s{number % 2}")
    room.see(Kind.CHECKOUTS, T0, checkout_id="k")
    assert room.shard.view(1).bounds == {
        "sessions": 0.2,
        "pane_events": 0.25,
        "checkout_keys": 0.25,
        "gone_sessions": 0.0,
    }


def test_the_money_of_those_shown_by_name_is_not_shown_with_the_rest() -> None:
    room = Room()
    for number, amount in enumerate((70, 5, 6)):
        for _ in range(3 - number):
            room.see(Kind.VIEWS, T0, session_id=f"s{number}")
        room.see(Kind.CHECKOUTS, T0, session_id=f"s{number}", checkout_id=f"k{number}", amount_minor=amount)
    room.settle()
    view = room.shard.view(1)
    assert [(seen.session_id, seen.gmv_minor) for seen in view.busiest] == [("s0", {"IDR": 70})]
    assert view.rest is not None
    assert (view.rest.gmv_minor, view.rest.orders_paid, view.rest.views) == ({"IDR": 11}, 2, 3)
    assert (view.busiest[0].events, view.rest.events) == (4, 5)


def test_the_busiest_are_shown_with_what_their_hosts_call_them() -> None:
    room = Room()
    room.only(Kind.VIEWS)
    room.see(Kind.VIEWS, T0, action="start", title="Obral", seller_name="Toko")
    room.settle()
    [seen] = room.shard.view(1).busiest
    assert (seen.session_id, seen.title, seen.seller_name) == ("s1", "Obral", "Toko")


def test_a_shard_is_idle_while_its_topics_are_silent() -> None:
    room = Room()
    room.see(Kind.VIEWS, T0)
    assert not room.shard.view(1).idle
    room.shard.quiet(T0 + MINUTE)
    assert room.shard.view(1).idle
    room.see(Kind.VIEWS, T0 + 1)
    assert not room.shard.view(1).idle
