"""Who is judged, when, and what becomes of alerts at the edges: silence, the end, rules that come and go, restarts."""

import json
from itertools import count
from typing import Any

import pytest

from stream.core.alerts.rules import Rules
from stream.core.framing import first_needed
from stream.core.policy import MINUTE, Policy
from stream.core.shard import Shard
from stream.model.alerts import Rule, Severity
from stream.model.money import MAX_SUM
from stream.model.names import KINDS, Kind
from stream.model.results import Tally
from tests.core.test_decode import CHECKOUT, COMMENT, VIEW
from tests.recount import LogRecord

T0 = 1_700_000_000_000 // MINUTE * MINUTE
BASES = {Kind.VIEWS: VIEW, Kind.COMMENTS: COMMENT, Kind.CHECKOUTS: CHECKOUT}
POLICY = Policy()


def rule(alert: str, when: str, **more: Any) -> Rule:
    usual: dict[str, Any] = {"window_ms": MINUTE, "severity": Severity.INFO, "summary": "", "runbook": "none"}
    return Rule(alert=alert, when=when, **(usual | more))


BUSY = rule("busy", "w.views >= 2.0")
STALLED = rule(
    "stalled", "w.seconds_since_last_event >= 45.0", baseline_ms=20 * MINUTE, for_ms=MINUTE, min={"base.views": 1}
)


class Air:
    """A shard, and what it tells of alerts: (alert, session, status, minute, and a ``?`` for an idle decision)."""

    def __init__(self, *rules: Rule, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.shard = Shard(policy, rules=Rules(rules, policy.pane_ms))
        self.state: list[tuple[int, bytes]] = []
        self.tally = Tally()
        self.values: list[dict[str, Any]] = []
        """Of alerts of the session s1."""

    def see(self, minute: float, *sessions: str, kind: Kind = Kind.VIEWS, **fields: Any) -> None:
        for session in sessions:
            offset = self.shard.positions.get(kind, 0)
            time = T0 + int(minute * MINUTE)
            value = BASES[kind] | {"event_id": f"e{offset}", "event_time": time, "session_id": session}
            if kind is Kind.CHECKOUTS:
                value |= {"checkout_id": f"k{offset}"}
            record = LogRecord(str(kind), 0, offset, time, session.encode(), json.dumps(value | fields).encode())
            self.shard.read(kind, [record])

    def reach(self, minute: float) -> None:
        for kind in KINDS:
            self.see(minute, "clock", kind=kind)

    def told(self) -> list[str]:
        """Since this was asked last."""
        found: list[str] = []
        while True:
            while self.shard.work(100):
                pass
            told = self.checkpoint()
            if told is None:
                return found
            found += told

    def checkpoint(self) -> list[str] | None:
        """What it tells, without what was only due; None without one."""
        outputs = self.shard.collect()
        if outputs is None:
            return None
        offset = self.state[-1][0] + 2 if self.state else 0
        self.state += [(offset + place, value) for place, (_, value) in enumerate(outputs.state)]
        self.shard.committed(outputs.checkpoint, offset)
        self.tally.evaluations.update(outputs.tally.evaluations)
        self.tally.evaluation_errors.update(outputs.tally.evaluation_errors)
        self.values += [alert.values for alert in outputs.alerts if alert.session_id == "s1"]
        return [
            f"{alert.alert} {alert.session_id} {alert.status} {(alert.at - T0) / MINUTE:g}{'?' * alert.idle}"
            for alert in outputs.alerts
            if alert.session_id != "clock"
        ]

    def restart(self, *rules: Rule, asleep: bool = False) -> None:
        start = first_needed(self.state[-1][1], self.state[-1][0])
        records = [record for record in self.state if record[0] >= start]
        given = None if asleep else Rules(rules, self.policy.pane_ms)
        self.shard = Shard.restore(self.policy, records, rules=given)


def test_a_session_that_falls_silent_is_noticed_though_it_has_no_window_and_resolved_when_it_goes_off_air() -> None:
    air = Air(STALLED)
    air.see(0.5, "s1")
    air.reach(2.2)
    assert air.told() == []  # 90 s at the end of the second slide: pending
    air.reach(3.2)
    assert air.told() == ["stalled s1 firing 3"]
    air.reach(15.2)
    assert air.told() == []
    air.reach(20)
    assert air.told() == ["stalled s1 resolved 16"], "its last event is 15 minutes ago at the end of that slide"
    assert set(air.shard.alerting.session_states) == {b"clock"}


def test_a_slide_is_judged_when_every_topic_has_passed_its_end_by_the_delay() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1", "s1")
    air.see(1.2, "clock")
    assert air.told() == []
    air.see(1.2, "clock", kind=Kind.COMMENTS)
    air.see(1.16, "clock", kind=Kind.CHECKOUTS)
    assert air.told() == []
    air.see(1.17, "clock", kind=Kind.CHECKOUTS)
    assert air.told() == ["busy s1 firing 1"]


def test_what_came_late_is_counted_and_alerts_know_nothing_of_it() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1")
    air.see(0.9, "clock")
    air.see(0.6, "s1")  # 18 s behind its topic
    air.reach(1.2)
    assert air.told() == []
    assert air.shard.rows[T0].events(b"s1") == 2
    air.see(0.95, "s1", kind=Kind.COMMENTS)
    air.see(1.1, "s1", "s1")
    air.see(0.7, "s1", "s1", "s1")
    air.reach(2.2)
    assert air.told() == ["busy s1 firing 2"]


def test_a_silent_shard_decides_by_the_wall_clock_and_says_so() -> None:
    air = Air(STALLED)
    air.see(0.5, "s1")
    air.see(0.5, "clock", kind=Kind.COMMENTS)
    for minute in (1, 2, 3, 4):
        air.shard.quiet(T0 + minute * MINUTE + POLICY.delay_ms - 1)
        assert air.told() == (["stalled s1 firing 3?"] if minute == 4 else [])
    air.shard.quiet(T0 + 60 * MINUTE)
    assert air.told() == ["stalled s1 resolved 16?"]
    air.see(0.6, "s1", kind=Kind.COMMENTS)
    assert air.told() == []


def test_what_was_decided_without_a_topic_says_so_and_what_it_brings_is_history_and_fires_nothing() -> None:
    surge = rule("surge", "w.comments > 2.0 * base.comments", baseline_ms=5 * MINUTE)
    air = Air(BUSY, surge)
    for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
        air.shard.exclude(kind)
    air.see(0.5, "s1", "s1")
    air.see(1.2, "clock")
    assert air.told() == ["busy s1 firing 1?"]
    for number in range(5):
        air.see(0.5 + number / 100, "s1", kind=Kind.COMMENTS)
    air.reach(2.2)
    assert air.told() == ["busy s1 resolved 2"]
    air.see(2.5, *["s1"] * 9, kind=Kind.COMMENTS)
    air.reach(3.2)
    assert air.told() == [], "nine are not more than twice the five that came when their slide was past"
    air.see(3.5, *["s1"] * 29, kind=Kind.COMMENTS)
    air.reach(4.2)
    assert air.told() == ["surge s1 firing 4"]


def test_a_session_that_comes_back_after_its_end_begins_anew() -> None:
    air = Air(rule("back", "w.views > base.views", baseline_ms=60 * MINUTE, min={"base.minutes": 1}))
    air.see(0.5, *["s1"] * 5)
    air.reach(20)
    assert air.told() == []
    air.see(20.5, "s1")
    air.reach(21.2)
    assert air.told() == []
    air.see(21.5, "s1", "s1")
    air.reach(22.2)
    assert air.told() == ["back s1 firing 22"], "against the one view since it came back, not the five before"


def test_a_cancelled_order_keeps_nobody_on_air_and_begins_no_broadcast() -> None:
    air = Air(rule("undone", "w.orders_cancelled >= 1.0"))
    air.see(0.5, "s1", kind=Kind.CHECKOUTS, status="cancelled")
    air.see(0.5, "s2")
    air.see(14.5, "s1", "s2", kind=Kind.CHECKOUTS, status="cancelled")
    air.see(16.5, "s1", "s2", kind=Kind.CHECKOUTS, status="cancelled")
    air.reach(30)
    assert air.told() == ["undone s2 firing 15", "undone s2 resolved 16"]


def test_checkouts_put_nobody_on_air_and_keep_nobody_there() -> None:
    """A bank transfer is paid hours later, when nobody is there to be alerted for."""
    air = Air(rule("paid", "w.orders_paid >= 1.0"))
    air.see(0.5, "s1", kind=Kind.CHECKOUTS, status="paid")
    air.see(0.5, "s2")
    air.see(14.5, "s1", "s2", kind=Kind.CHECKOUTS, status="paid")
    air.see(16.5, "s1", "s2", kind=Kind.CHECKOUTS, status="paid")
    air.reach(30)
    assert air.told() == ["paid s2 firing 15", "paid s2 resolved 16"]


@pytest.mark.parametrize("restarts", [False, True])
def test_after_an_end_no_rule_fires_and_stragglers_put_nobody_on_air_again_but_a_start_does(restarts: bool) -> None:
    air = Air(STALLED, BUSY)

    def told(minute: float) -> list[str]:
        air.reach(minute)
        found = air.told()
        if restarts:
            air.restart(STALLED, BUSY)
        return found

    air.see(0.5, "s1", "s1", "s2", "s2")
    assert told(1.2) == ["busy s1 firing 1", "busy s2 firing 1"]
    air.see(1.5, "s1", "s1", "s2", "s2")
    air.see(1.6, "s1", action="end")
    assert told(2.2) == ["busy s1 resolved 2"], "in the slide in which it ends"
    air.see(2.5, "s1", "s1", "s1")
    assert told(3.2) == ["busy s2 resolved 3"]
    assert told(5.2) == ["stalled s2 firing 4"], "silence after an end is no trouble"
    air.see(6.5, "s1", action="start")
    air.see(6.6, "s1", "s1")
    assert told(7.2) == ["busy s1 firing 7"]
    assert told(8.2) == ["busy s1 resolved 8"]
    assert told(10.2) == ["stalled s1 firing 9"], "it goes by its views since then"


def test_what_an_end_resolved_is_not_resolved_again_whenever_it_is_kept_and_restored() -> None:
    """A checkpoint between a slide that is taken in and its judging kept the alert as firing."""
    air = Air(BUSY)
    air.see(0.5, "s1", "s1")
    air.reach(1.2)
    assert air.told() == ["busy s1 firing 1"]
    air.see(1.6, "s1", action="end")
    air.reach(2.2)
    found: list[str] = []
    while air.shard.work(1):
        found += air.checkpoint() or []
    found += air.told()
    air.restart(BUSY)
    air.reach(4.2)
    assert found + air.told() == ["busy s1 resolved 2"]


def amended(*events: tuple[float, Kind, str]) -> Air:
    """Comments alone are waited for; the views that were left out come when slides up to 12 are judged."""
    air = Air(rule("chat", "w.comments >= 1.0"))
    for number in range(1, 12):
        air.see(number + 0.5, "s1", kind=Kind.COMMENTS)
    for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
        air.see(12.2, "clock", kind=kind)
    air.shard.exclude(Kind.VIEWS)
    assert air.told()[0] == "chat s1 firing 2?"
    for minute, kind, action in events:
        air.see(minute, "s1", kind=kind, **({"action": action} if kind is Kind.VIEWS else {}))
    air.reach(13.2)
    return air


def test_an_end_of_a_topic_that_was_left_out_counts_though_its_slide_is_forgotten() -> None:
    air = amended((8.5, Kind.VIEWS, "end"))
    assert air.told() == ["chat s1 resolved 13"]
    air.restart(rule("chat", "w.comments >= 1.0"))
    air.reach(14.2)
    assert air.told() == []


def test_a_broadcast_that_began_anew_while_its_views_were_left_out_keeps_what_it_did_since() -> None:
    air = amended((2.5, Kind.VIEWS, "end"), (4.5, Kind.VIEWS, "start"))
    air.told()
    history = air.shard.alerting.session_states[b"s1"].history
    assert (history.begun - T0) // MINUTE == 4
    assert (history.end - T0) // MINUTE >= 12


def test_an_end_that_was_left_out_keeps_its_session_off_the_air_also_before_it_is_known() -> None:
    for order in ((4.02, "end"), (3.95, "enter")), ((3.95, "enter"), (4.02, "end")):
        air = Air(rule("chat", "w.comments >= 1.0"))
        for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
            air.see(8.2, "clock", kind=kind)
        air.see(1.5, "clock", kind=Kind.COMMENTS)
        air.shard.exclude(Kind.VIEWS)
        air.told()
        for minute, action in order:
            air.see(minute, "s1", action=action)
        air.see(8.5, "s1", kind=Kind.COMMENTS)
        air.reach(9.2)
        assert air.told() == [], order


def test_an_end_that_comes_too_late_for_alerts_ends_the_session_and_changes_no_alert() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1", "s1")
    air.see(1.0, "clock")
    air.see(0.6, "s1", action="end")
    air.see(1.5, "s1", "s1")
    air.reach(2.2)
    assert air.told() == ["busy s1 firing 1"]
    assert air.shard.sessions.held[b"s1"].end_to == T0 + 36_000


def test_nobody_is_looked_for_where_nobody_is_on_air() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1", "s1")
    air.reach(1.2)
    air.told()
    before = air.tally.evaluations["busy"]
    air.reach(1_000_000)
    air.told()
    assert air.tally.evaluations["busy"] - before < 40, "two years are passed over, from one pane to the next"


def test_a_rule_that_is_gone_after_a_restart_resolves_what_it_had_firing_and_a_new_one_begins() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1", "s1")
    air.reach(1.2)
    assert air.told() == ["busy s1 firing 1"]
    air.restart(rule("calm", "w.views == 0.0"))
    air.reach(2.2)
    assert air.told() == ["busy s1 resolved 2", "calm s1 firing 2"]
    air.restart()
    air.reach(3.2)
    assert air.told() == ["calm s1 resolved 3"]
    assert air.shard.alerting.session_states == {}


def test_without_rules_what_the_state_says_of_alerts_stays_as_it_is() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1", "s1")
    air.reach(1.2)
    assert air.told() == ["busy s1 firing 1"]
    air.restart(asleep=True)
    air.see(1.5, "s1")
    assert air.told() == []
    air.restart(BUSY)
    assert air.told() == []
    air.reach(2.2)
    assert air.told() == ["busy s1 resolved 2"]


def test_rules_where_there_were_none_begin_at_the_next_slide_and_know_what_the_panes_hold() -> None:
    air = Air()
    air.see(0.5, *["s1"] * 5)
    air.see(1.5, *["s1"] * 5)
    air.reach(2.2)
    assert air.told() == []
    more = rule("more", "w.views >= base.views", baseline_ms=5 * MINUTE, min={"base.views": 10})
    air.shard.alerting.use(Rules([BUSY, more], POLICY.pane_ms))
    assert air.told() == [], "nothing fires for what is past"
    air.see(2.5, *["s1"] * 12)
    air.reach(3.2)
    assert air.told() == ["busy s1 firing 3", "more s1 firing 3"]


def test_a_state_in_which_nobody_looked_for_alerts_fires_nothing_for_what_is_past_but_knows_it() -> None:
    """As those of earlier versions are."""
    air = Air(BUSY)
    air.shard = Shard(POLICY)
    air.see(0.5, *["s1"] * 5)
    air.see(1.5, *["s1"] * 5)
    air.reach(2.2)
    assert air.told() == []
    air.restart(BUSY, rule("more", "w.views >= base.views", baseline_ms=5 * MINUTE, min={"base.views": 10}))
    assert air.told() == []
    air.see(2.5, *["s1"] * 12)
    air.reach(3.2)
    assert air.told() == ["busy s1 firing 3", "more s1 firing 3"]


def test_an_alert_is_for_the_sessions_that_its_rule_names_as_long_as_they_are_that_sellers() -> None:
    air = Air(rule("mine", "w.views >= 1.0", sellers=frozenset({"s9"}), window_ms=5 * MINUTE))
    air.see(0.5, "s1", seller_id="s9")
    air.see(0.5, "s2", seller_id="s8")
    air.reach(1.2)
    assert air.told() == ["mine s1 firing 1"]
    air.see(1.5, "s1", seller_id="s8")
    air.reach(2.2)
    assert air.told() == ["mine s1 resolved 2"]


def test_a_condition_that_cannot_be_told_is_counted_and_stops_no_other() -> None:
    air = Air(rule("broken", "w.views / w.comments > 1.0"), BUSY)
    air.see(0.5, "s1", "s1")
    air.reach(1.2)
    assert air.told() == ["busy s1 firing 1"]
    assert air.tally.evaluation_errors["broken"] >= 1
    assert air.tally.evaluation_errors["busy"] == 0


@pytest.mark.parametrize("restart", [False, True])
def test_sums_beyond_64_bits_are_kept_and_saturate(restart: bool) -> None:
    money = rule("money", "w.gmv_minor > 1.0", window_ms=2 * MINUTE)
    air = Air(money)
    air.see(0.5, "s1")
    for minute in (0.5, 1.5):
        air.see(minute, "s1", kind=Kind.CHECKOUTS, status="paid", amount_minor=10**13, items=[])
    air.reach(2.05)
    pane = air.shard.rows[T0].panes[b"s1"]
    pane.gmv["IDR"] = 2 * MAX_SUM
    air.shard.rows[T0 + MINUTE].panes[b"s1"].gmv["IDR"] = MAX_SUM - 1
    air.told()
    if restart:
        air.restart(money)
    air.reach(3.2)
    air.told()
    assert air.values[-1]["gmv_minor"] == MAX_SUM


def test_no_pane_is_dropped_before_its_slide_is_judged_wherever_a_checkpoint_comes() -> None:
    """One topic is far ahead, so that by retention panes may go of which alerts have not heard yet."""
    for steps in count():
        air = Air(BUSY)
        for minute in range(6):
            air.see(minute + 0.5, "s1", *["s1"] * (minute == 4))
        for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
            air.see(2.2, "clock", kind=kind)
        air.see(180, "clock")
        more = air.shard.work(steps)
        assert [*(air.checkpoint() or ()), *air.told()] == ["busy s1 firing 5?", "busy s1 resolved 6?"], steps
        if not more:
            break
    assert steps > 10


def test_a_slide_that_is_complete_to_the_millisecond_is_not_judged_as_idle() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1", "s1")
    air.reach(1 + 10_000 / MINUTE)
    assert air.shard.event_time.complete == T0 + MINUTE
    assert air.told() == ["busy s1 firing 1"]


def test_rules_that_come_to_a_shard_without_are_used_from_then_on() -> None:
    air = Air()
    air.shard = Shard(POLICY)
    air.shard.alerting.use(Rules([BUSY], POLICY.pane_ms))
    air.see(0.5, "s1", "s1")
    air.reach(1.2)
    assert air.told() == ["busy s1 firing 1"]


def test_seconds_of_judging_are_added_up() -> None:
    air = Air()
    ticks = count()
    air.shard = Shard(POLICY, rules=Rules([BUSY], POLICY.pane_ms), stopwatch=lambda: float(next(ticks)))
    air.see(0.5, *(f"s{number}" for number in range(20)))
    air.reach(2.2)
    while air.shard.work(100):
        pass
    outputs = air.shard.collect()
    assert outputs is not None
    assert outputs.tally.evaluation_seconds * 2 == next(ticks)
    assert outputs.tally.evaluation_seconds > 3


def test_a_session_that_goes_off_air_in_the_checkpoint_in_which_it_came_is_not_kept() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1", "s1")
    air.reach(30)
    assert air.told() == ["busy s1 firing 1", "busy s1 resolved 2"]
    air.restart(BUSY)
    assert b"s1" not in air.shard.alerting.session_states


def test_a_rebuild_tells_only_what_differs_and_only_when_it_has_passed_where_the_inputs_ended() -> None:
    """`s1` fires as it did before; `s2` fired and does no more; `s3` fires, and nobody was told."""
    before = Air(BUSY)
    before.see(0.5, "s1", "s1", "s2", "s2")
    before.reach(1.2)
    while before.shard.work(100):
        pass
    outputs = before.shard.collect()
    assert outputs is not None
    assert {alert.session_id for alert in outputs.alerts} == {"s1", "s2"}

    air = Air(BUSY)
    air.shard.alerting.be_silent(dict.fromkeys(KINDS, 3), outputs.alerts)
    air.see(0.5, "s1", "s1", "s3", "s3")
    for _ in range(2):
        air.see(1.2, "clock", kind=Kind.COMMENTS)
        air.see(1.2, "clock", kind=Kind.CHECKOUTS)
    air.see(1.2, "clock")
    assert air.told() == []
    for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
        air.see(1.2, "clock", kind=kind)
    assert sorted(air.told()) == ["busy s2 resolved 1", "busy s3 firing 1"]


def test_a_rebuild_is_silent_until_the_slide_that_ends_at_the_watermark_is_judged() -> None:
    def play(air: Air, minute: float, *sessions: str) -> None:
        air.see(minute - 0.5, *sessions)
        air.reach(minute + 10_000 / MINUTE)

    before = Air(BUSY)
    for air in (before, rebuilt := Air(BUSY)):
        if air is rebuilt:
            fired = before.shard.alerting.session_states[b"s1"].rule_states["busy"].fired
            assert fired is not None
            rebuilt.shard.alerting.be_silent(dict(before.shard.positions), [fired])
        play(air, 0, "s1")
        assert air.told() == []
        play(air, 1, "s1", "s1")
        assert air.shard.watermark == T0 + MINUTE
        told = [*(air.checkpoint() or ()), *air.told()]  # the first checkpoint comes before the slide is judged
        assert told == (["busy s1 firing 1"] if air is before else [])
    assert rebuilt.shard.alerting.emitter.mute is None


def test_a_state_that_is_stored_while_slides_wait_says_up_to_where_everything_is_in() -> None:
    for steps in count():
        air = Air(BUSY)
        air.see(0.5, "s1", "s1")
        air.reach(3.2)
        more = air.shard.work(steps)
        air.checkpoint()
        assert air.shard.alerting.complete == air.shard.event_time.complete, steps
        air.restart(BUSY)
        assert air.shard.alerting.complete == air.shard.event_time.complete, steps
        if not more:
            break
    assert steps > 3
