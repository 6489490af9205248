"""What alerts keep of sessions and let go of again, what they show of those that stand, and what is past for them."""

from stream.core.policy import MINUTE
from stream.core.shard import Shard
from stream.model.alerts import Severity
from stream.model.names import KINDS, Kind
from tests.core.alerts.test_on_air import BUSY, STALLED, T0, Air, rule


def test_a_session_that_goes_off_air_is_let_go_of_in_the_state_though_nothing_else_happens() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1")
    for minute in (16, 17.5):  # its totals have ended, and a slide later it is off air
        air.shard.quiet(T0 + int(minute * MINUTE))
        assert air.told() == []
    air.restart(BUSY)
    assert air.shard.alerting.session_states == {}


def test_what_comes_to_slides_that_were_passed_over_while_nobody_was_on_air_fires_nothing() -> None:
    air = Air(rule("many", "w.comments >= 2.0"))
    for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
        air.shard.exclude(kind)
    air.see(20, "s2")
    assert air.told() == []
    air.see(10, "s1", "s1", kind=Kind.COMMENTS)
    air.reach(21.2)
    assert air.told() == []
    assert b"s1" in air.shard.alerting.session_states, "it is on air, and what it did is history"


def test_no_more_slides_are_kept_than_a_rule_may_ask_for() -> None:
    air = Air(rule("calm", "base.views < 0.0", window_ms=2 * MINUTE, baseline_ms=3 * MINUTE))
    for minute in range(12):
        air.see(minute + 0.5, "s1")
        air.reach(minute + 1.2)
        assert air.told() == []
        history = air.shard.alerting.session_states[b"s1"].history
        assert len(history) == min(minute + 1, 5)


def test_alerts_that_stand_are_shown_by_name_and_severity_and_every_rule_is() -> None:
    slow = rule("slow", "w.views >= 1.0", for_ms=10 * MINUTE, severity=Severity.TICKET)
    able = rule("able", "w.views >= 2.0", severity=Severity.PAGE)
    air = Air(BUSY, slow, able, STALLED)
    air.see(0.5, "s1", "s1", "s2")
    air.reach(1.2)
    air.told()
    alerting = air.shard.alerting
    assert alerting.firing_for(b"s1") == (("able", "page"), ("busy", "info"))
    assert alerting.firing_for(b"s2") == alerting.firing_for(b"nobody") == ()
    assert alerting.pending_and_firing() == {
        ("busy", "info"): (0, 1),
        ("slow", "ticket"): (2, 0),
        ("able", "page"): (0, 1),
        ("stalled", "info"): (0, 0),
    }
    air.restart(rule("able", "w.views >= 2.0", severity=Severity.TICKET))
    assert air.shard.alerting.pending_and_firing() == {
        ("able", "ticket"): (0, 0),
        ("able", "page"): (0, 1),  # as it was told
        ("busy", "info"): (0, 1),
        ("slow", ""): (2, 0),
    }


def is_silent(air: Air) -> bool:
    return air.shard.alerting.emitter.mute is not None


def test_a_rebuild_that_has_nothing_to_tell_is_over_and_the_state_says_so() -> None:
    air = Air(BUSY)
    air.shard.alerting.be_silent(dict.fromkeys(KINDS, 1), [])
    air.see(0.5, "s1")
    assert air.told() == []
    assert is_silent(air), "of two topics nothing was read yet"
    for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
        air.see(1.2, "clock", kind=kind)
    air.see(1.2, "clock")
    assert air.told() == []
    assert not is_silent(air)
    air.restart(BUSY)
    assert not is_silent(air)


def test_a_shard_that_was_restarted_without_rules_has_judged_nothing_and_knows_all_that_panes_hold() -> None:
    air = Air()
    air.shard = Shard(air.policy)
    for minute in (0.5, 1.5):
        air.see(minute, *["s1"] * 5)
    air.reach(2.2)
    assert air.told() == []
    air.restart(asleep=True)
    air.reach(2.3)
    assert air.told() == []
    more = rule("more", "w.views >= base.views", baseline_ms=5 * MINUTE, min={"base.views": 10})
    air.restart(more)
    air.see(2.5, *["s1"] * 12)
    air.reach(3.2)
    assert air.told() == ["more s1 firing 3"]


def test_what_a_topic_brings_that_was_left_out_is_history_of_those_on_air_then() -> None:
    """Of one on air since long, however old it is; of others while they would still be on air, to the millisecond."""
    air = Air(rule("talk", "base.comments >= 1.0", baseline_ms=30 * MINUTE))

    def leave_out() -> None:
        for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
            air.shard.exclude(kind)

    for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
        air.see(0.1, "clock", kind=kind)
    leave_out()
    for minute in range(0, 21, 4):
        air.see(minute + 0.2, "s1")
    assert air.told() == []
    assert air.shard.alerting.through == T0 + 20 * MINUTE
    assert air.shard.alerting.taken_in() == T0 + 19 * MINUTE, "where the slide starts that was judged last"
    air.see(0.5, "s1", kind=Kind.COMMENTS)
    air.see(5, "s8", kind=Kind.COMMENTS)
    air.see(5.1, "s9", kind=Kind.COMMENTS)
    assert air.told() == []
    assert sorted(air.shard.alerting.session_states) == [b"s1", b"s9"]
    leave_out()
    air.see(21.2, "s1")
    assert air.told() == ["talk s1 firing 21?"]


def test_a_late_event_in_a_slide_that_was_complete_to_the_millisecond_is_no_history_of_the_next_broadcast() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1")
    air.reach(1 + 10_000 / MINUTE)
    assert air.told() == []
    assert air.shard.alerting.complete == T0 + MINUTE
    for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
        air.shard.exclude(kind)
    air.see(20.5, "s1")
    air.see(21.2, "clock")
    assert air.told() == []
    air.see(0.4, "s1", kind=Kind.COMMENTS)
    assert air.told() == []
    assert air.shard.rows[T0].events(b"s1") == 2
    assert air.shard.alerting.session_states[b"s1"].history.begun == T0 + 20 * MINUTE
