"""What is told of alerts, word by word, in which order, and what a rebuild tells."""

from dataclasses import replace

from stream.core.alerts.emitter import Emitter, Mute
from stream.core.alerts.history import History
from stream.core.alerts.rule_state import RuleState
from stream.core.alerts.rules import Rules
from stream.core.alerts.session_state import SessionState
from stream.core.policy import MINUTE
from stream.model.alerts import Alert, Severity, Status, alert_id
from stream.model.names import LIVE_RUN, Kind
from tests.core.alerts.test_on_air import BUSY, T0, Air, rule

FIRED = Alert(
    alert="many",
    session_id="s1",
    seller_id="seller9",
    status=Status.FIRING,
    severity=Severity.PAGE,
    since=T0 + MINUTE,
    at=T0 + 2 * MINUTE,
    run=LIVE_RUN,
    summary="2 views",
    runbook="look",
    values={"views": 2},
    id=alert_id("many", "s1", T0 + MINUTE),
)


def told_by(air: Air) -> list[Alert]:
    while air.shard.work(100):
        pass
    outputs = air.shard.collect()
    assert outputs is not None
    air.shard.committed(outputs.checkpoint, outputs.checkpoint)
    return outputs.alerts


def test_an_alert_says_when_it_began_to_hold_and_when_it_was_told_and_is_resolved_with_the_same_words() -> None:
    many = rule(
        "many", "w.views >= 2.0", for_ms=MINUTE, severity=Severity.PAGE, summary="{views:.0f} views", runbook="look"
    )
    air = Air(many)
    for minute in (0.5, 1.5):
        air.see(minute, "s1", "s1", seller_id="seller9")
    air.reach(2.2)
    assert told_by(air) == [FIRED]
    air.reach(3.2)
    assert told_by(air) == [replace(FIRED, status=Status.RESOLVED, at=T0 + 3 * MINUTE)]


def test_an_alert_with_money_says_how_many_digits_its_minor_unit_has() -> None:
    """81900000 is Rp 819.000: without the digits it is read 100 times too large."""
    sold = ("w.gmv_minor > 0.0", "w.gpm_minor > 0.0", "w.aov_minor > base.item_value_minor")
    air = Air(*(rule(f"money{place}", when, baseline_ms=MINUTE) for place, when in enumerate(sold)), BUSY)
    air.see(0.5, "s1", "s1")
    air.see(0.5, "s1", kind=Kind.CHECKOUTS, status="paid", amount_minor=81_900_000, items=[])
    air.reach(1.2)
    digits = {"money0": {"IDR": 2}, "money1": {"IDR": 2}, "money2": {"IDR": 2}, "busy": {}}
    assert {alert.alert: alert.minor_digits for alert in told_by(air)} == digits
    air.reach(2.2)
    resolved = [alert for alert in told_by(air) if alert.status is Status.RESOLVED]
    assert {alert.alert: alert.minor_digits for alert in resolved} == digits


def test_alerts_of_one_session_are_told_by_name_whatever_the_order_of_the_rules() -> None:
    air = Air(rule("c", "w.views >= 2.0"), replace(BUSY, alert="b"), rule("a", "w.views >= 1.0"))
    air.see(0.5, "s1", "s1", "s2", "s2")
    air.reach(1.2)
    assert air.told() == [f"{name} {session} firing 1" for session in ("s1", "s2") for name in "abc"]
    air.restart()  # without rules all are resolved
    air.reach(2.2)
    assert air.told() == [f"{name} {session} resolved 2" for session in ("s1", "s2") for name in "abc"]


def test_a_rule_for_others_hinders_none_that_follows_and_only_those_asked_are_counted() -> None:
    air = Air(
        rule("theirs", "w.views >= 1.0", sellers=frozenset({"nobody"})), BUSY, rule("odd", "w.views / w.comments > 1.0")
    )
    air.see(0.5, "s1", "s1", "s2")
    air.reach(1.2)
    assert air.told() == ["busy s1 firing 1"]
    assert air.tally.evaluations == {"busy": 2, "odd": 2}
    assert air.tally.evaluation_errors == {"odd": 2}
    air.reach(2.2)
    air.told()
    assert air.tally.evaluations["busy"] == 2 + 3, "the clock is on air too"


def test_what_was_told_is_counted_by_name_and_status() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1", "s1", "s2", "s2")
    air.see(1.5, "s1", "s1")
    air.reach(2.2)
    while air.shard.work(100):
        pass
    outputs = air.shard.collect()
    assert outputs is not None
    assert outputs.tally.transitions == {("busy", "firing"): 2, ("busy", "resolved"): 1}
    assert outputs.tally.evaluation_errors == {}


def test_a_rebuild_resolves_what_fires_no_more_and_tells_what_nobody_knew_of() -> None:
    """Never before the time at which it was told to fire, and as decided: nothing was silent."""
    known, new = FIRED, replace(FIRED, alert="new", id="1" * 16)
    late, gone = (replace(FIRED, alert=name, id=name * 16, at=at, idle=True) for name, at in (("l", 900), ("g", 100)))
    state = SessionState(b"s1", History(0, MINUTE))
    state.rule_states = {
        "many": RuleState(0, fired=known),
        "new": RuleState(0, fired=new),
        "pending": RuleState(0),
    }
    emitter = Emitter("IDR")
    emitter.mute = Mute({Kind.VIEWS: 1}, {alert.key(): alert for alert in (known, late, gone)})
    emitter.unmute([state], 500)
    assert emitter.written == [
        replace(late, status=Status.RESOLVED, at=900, idle=False),
        replace(gone, status=Status.RESOLVED, at=500, idle=False),
        new,
    ]
    assert emitter.mute is None


def test_while_a_rebuild_is_silent_nothing_is_written_nor_counted() -> None:
    air = Air(BUSY)
    air.shard.alerting.be_silent({Kind.VIEWS: 100}, [])
    air.see(0.5, "s1", "s1")
    air.reach(1.2)
    assert told_by(air) == []
    assert air.shard.alerting.session_states[b"s1"].rule_states["busy"].fired is not None
    assert air.shard.alerting.emitter.tally.transitions == {}


def test_a_rebuild_that_is_interrupted_is_silent_until_the_same_ends_and_knows_what_was_told() -> None:
    air = Air(BUSY)
    silent = Mute({Kind.VIEWS: 100, Kind.COMMENTS: 7}, {FIRED.key(): FIRED})
    air.shard.alerting.be_silent(silent.ends, [FIRED])
    air.see(0.5, "s1")
    assert air.told() == []
    air.restart(BUSY)
    assert air.shard.alerting.emitter.mute == silent


def test_a_rule_may_be_for_some_sessions_or_for_those_of_a_platform() -> None:
    air = Air(
        rule("named", "w.views >= 1.0", sessions=frozenset({"s1"})),
        rule("shop", "w.views >= 1.0", platforms=frozenset({"lazada"})),
    )
    air.see(0.5, "s1", platform="shopee")
    air.see(0.5, "s2", platform="lazada")
    air.reach(1.2)
    assert air.told() == ["named s1 firing 1", "shop s2 firing 1"]


def test_a_session_is_kept_anew_only_when_it_stands_otherwise() -> None:
    state = SessionState(b"s1", History(0, MINUTE))
    emitter = Emitter("IDR")
    calm, stirred = Rules([BUSY], MINUTE), Rules([rule("calm", "w.views < 1.0")], MINUTE)
    assert not emitter.ask(calm, state, MINUTE, idle=False)
    assert emitter.ask(stirred, state, MINUTE, idle=False), "it begins to fire"
    assert emitter.ask(calm, state, 2 * MINUTE, idle=False), "its rule is gone"
    assert not emitter.ask(calm, state, 3 * MINUTE, idle=False)
    assert [alert.status for alert in emitter.written] == [Status.FIRING, Status.RESOLVED]


def test_a_rebuild_that_waits_for_a_slide_makes_no_checkpoint_of_nothing() -> None:
    air = Air(BUSY)
    air.shard.alerting.be_silent({Kind.VIEWS: 1}, [])
    air.see(0.5, "s1", "s1")
    air.reach(1.2)
    assert air.checkpoint() == []
    assert air.checkpoint() is None
    assert air.shard.alerting.emitter.mute is not None
    assert air.told() == ["busy s1 firing 1"]
