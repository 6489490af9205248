"""The machine of a backtest decides as the live shard does, which does all else besides."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stream.core.alerts.rules import Rules
from stream.core.decode import decode_batch
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.model.alerts import Alert
from stream.model.messages import Message
from stream.model.names import KINDS, Kind, Outcome
from stream.replay.alert_machine import AlertMachine
from stream.replay.file_source import FileRecord, batches
from stream.rules.reading import SHIPPED, load_rules
from stream.sandbox.traffic import Plan, Traffic
from tests.replay.tools import START as TOOLS_START
from tests.replay.tools import arriving, event

START = 1_760_000_040_000
MINUTE = 60_000
MINUTES = 18
POLICY = Policy(session_end_after_ms=3 * MINUTE)
QUICK = str(Path(__file__).with_name("rules.yaml"))


def traffic(seed: int) -> list[Message]:
    plan = Plan(
        seed=seed, rate=30, sessions=6, bad=0.02, outages=((5 * MINUTE, 9 * MINUTE), (12 * MINUTE, 13 * MINUTE))
    )
    return Traffic(plan, START).step(START + MINUTES * MINUTE)


def live(messages: Sequence[Message], rules: Rules, partitions: int) -> tuple[list[Alert], int]:
    """What live shards decide, with a checkpoint now and then, and how many events they count."""
    shards = [Shard(POLICY, rules=rules) for _ in range(partitions)]
    told: list[Alert] = []
    counted = 0
    for number, (partition, kind, records) in enumerate(batches(arriving(messages), partitions)):
        shards[partition].read(kind, records)
        if number % 100 == 0:
            told += [alert for shard in shards for alert in checkpointed(shard)]
        counted += len(records)
    for shard in shards:
        shard.finish()
        told += checkpointed(shard)
    return told, counted


def checkpointed(shard: Shard) -> list[Alert]:
    while shard.work(100):
        pass
    outputs = shard.collect()
    if outputs is None:
        return []
    shard.committed(outputs.checkpoint, 0)
    return outputs.alerts


def tried(messages: Sequence[Message], rule_sets: Sequence[Rules], partitions: int) -> list[AlertMachine]:
    machines = [AlertMachine(POLICY, rule_sets) for _ in range(partitions)]
    for partition, kind, records in batches(arriving(messages), partitions):
        machines[partition].count(kind, records, decode_batch(kind, records, POLICY.max_value))
    for machine in machines:
        machine.finish(START + 2 * MINUTES * MINUTE)
    return machines


def alike(alerts: Sequence[Alert]) -> list[Alert]:
    """In one order, and without what an AlertMachine does not know: whether it was decided on a silent shard."""
    return sorted(
        (replace(alert, idle=False) for alert in alerts), key=lambda alert: (alert.at, alert.key(), alert.status)
    )


@pytest.mark.parametrize(("seed", "partitions"), [(1, 1), (2, 3), (3, 1)])
def test_a_trial_decides_what_the_live_shard_decides(seed: int, partitions: int) -> None:
    quick, shipped = load_rules(QUICK, POLICY.pane_ms), load_rules(SHIPPED, POLICY.pane_ms)
    messages = traffic(seed)
    machines = tried(messages, [quick, shipped], partitions)
    for number, rules in enumerate((quick, shipped)):
        decided = [alert for machine in machines for alert in machine.decisions[number]]
        assert alike(decided) == alike(live(messages, rules, partitions)[0])
    fired = {alert.alert for machine in machines for alert in machine.decisions[0]}
    assert fired == {each.rule.alert for each in quick}, "each of the quick rules has something to say"


def test_every_record_has_an_outcome_and_what_is_refused_a_reason() -> None:
    messages = traffic(4)
    [machine] = tried(messages, [load_rules(QUICK, POLICY.pane_ms)], 1)
    assert machine.outcomes.total() == len(messages)
    assert machine.outcomes[Outcome.DUPLICATE] > 0
    assert machine.rejected.total() == machine.outcomes[Outcome.REJECTED] + machine.outcomes[Outcome.LATE] > 0
    assert machine.first is not None
    assert START - 15 * MINUTE < machine.first <= START, "events that come late may be older than all others"


def test_what_no_alert_needs_any_more_is_forgotten() -> None:
    machine = AlertMachine(POLICY, [load_rules(QUICK, POLICY.pane_ms)])
    most = 0
    for _, kind, records in batches(arriving(traffic(5)), 1):
        machine.count(kind, records, decode_batch(kind, records, POLICY.max_value))
        most = max(most, machine.panes)
    assert all(machine.clocks[kind] is not None for kind in KINDS)
    assert 0 < most < 6 * 4 * 2, "some sessions, of the slides that are still open"


def test_a_checkout_of_long_before_makes_its_repeat_known_and_counts_for_nothing() -> None:
    """A shop sends a paid order again, under a new event id, two hours later."""
    hour = 3_600_000
    machine = AlertMachine(POLICY, [load_rules(QUICK, POLICY.pane_ms)])
    for number, time in ((1, 0), (2, 2 * hour), (3, 2 * hour + 1)):
        value = event(Kind.CHECKOUTS, number, time, checkout_id="again" if number < 3 else "new")
        record = FileRecord(number, TOOLS_START + time, b"7", value)
        events = decode_batch(Kind.CHECKOUTS, [record], POLICY.max_value)
        (machine.remember if number == 1 else machine.count)(Kind.CHECKOUTS, [record], events)
        assert machine.panes == (number == 3), "only the new order is in a pane"
    assert machine.outcomes == {Outcome.COUNTED: 2, Outcome.DUPLICATE: 1}


def test_what_is_counted_after_what_was_only_remembered_is_in_a_pane_of_its_own() -> None:
    machine = AlertMachine(POLICY, [load_rules(QUICK, POLICY.pane_ms)])
    for number, take in enumerate((machine.remember, machine.count)):
        record = FileRecord(number, TOOLS_START, b"7", event(Kind.VIEWS, number, 0))
        take(Kind.VIEWS, [record], decode_batch(Kind.VIEWS, [record], POLICY.max_value))
        assert machine.panes == number
    assert machine.outcomes == {Outcome.COUNTED: 2}


def test_each_rule_is_counted_as_it_is_asked_and_when_it_cannot_tell() -> None:
    """Division by an absent figure is an error of the rule that divides, and of no other."""
    quick = load_rules(QUICK, POLICY.pane_ms)
    dividing = replace(quick[0].rule, alert="dividing", min={}, when="1.0 / w.checkouts_failed > 100.0", summary="")
    rules = Rules([dividing, *(each.rule for each in quick)], POLICY.pane_ms)
    [machine] = tried(traffic(6), [rules, quick], 1)
    assert machine.errors[0]["dividing"] > 0
    assert set(machine.errors[0]) == {"dividing"}
    assert (
        machine.evaluations[0]["dividing"] == machine.evaluations[0]["surge"] == machine.evaluations[1]["surge"] > 100
    )
    assert [alert for alert in machine.decisions[0] if alert.alert != "dividing"] == machine.decisions[1]
