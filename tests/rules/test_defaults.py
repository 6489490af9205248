"""The shipped rules: what they tell, that they are quiet on quiet streams, and that their words and runbook are there."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, takewhile
from math import sin
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from stream.core.alerts.figures import COUNTS, OWN, QUOTIENTS, RATIOS, wilson
from stream.core.alerts.rule_state import RuleState, judged
from stream.core.alerts.rules import CompiledRule, Rules
from stream.core.decode import decode_batch
from stream.core.policy import MINUTE, Policy
from stream.model.alerts import Alert, Status, alert_id
from stream.model.messages import Message
from stream.replay.backtest import Backtest
from stream.replay.file_source import batches
from stream.replay.incidents import Incident
from stream.rules.reading import load_rules, shipped_text
from stream.sandbox.traffic import Plan, Traffic
from tests.history import Minutes
from tests.replay.tools import START as T0
from tests.replay.tools import arriving
from tests.rules.shardplay import ShardPlayer

ROOT = Path(__file__).parents[2]
TRANSCRIPTS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "transcripts" / "default.yaml").read_text())
RULES = {each.rule.alert: each for each in load_rules("default", MINUTE)}
CASES = {"fires", "resolves", "just below", "too few", "interrupted"}


class Player:
    """One session under one rule."""

    def __init__(self, compiled: CompiledRule, minutes: list[dict[str, int]]) -> None:
        self.compiled = compiled
        self.history = Minutes(minutes)
        self.rule_state: RuleState | None = None
        self.judged = False
        self.held: list[int] = []
        self.told: list[str] = []
        self.summary = ""
        for end in range(1, len(minutes) + 1):
            self._judge(end)

    def _judge(self, end: int) -> None:
        self.history.end = end * MINUTE
        verdict = self.compiled.judge(self.history)
        assert verdict.error is None
        self.judged |= verdict.evaluated
        if verdict.holds:
            self.held.append(end)
        before = self.rule_state
        self.rule_state, status = judged(before, self.compiled.rule, self.history.end, holds=verdict.holds)
        if status is None:
            return
        rule_state = self.rule_state or before
        assert rule_state is not None
        self.told.append(f"{status} {end} since {rule_state.since // MINUTE}")
        if status is Status.FIRING:
            self.summary = self.compiled.summary(verdict.values)
            rule_state.fired = self._alert(rule_state.since, verdict.values)

    def _alert(self, since: int, values: dict[str, int | float]) -> Alert:
        rule = self.compiled.rule
        return Alert(
            alert=rule.alert,
            session_id="s",
            seller_id="seller",
            status=Status.FIRING,
            severity=rule.severity,
            since=since,
            at=self.history.end,
            run="live",
            summary=self.summary,
            runbook=rule.runbook,
            values=values,
            id="",
        )


def minutes_of(transcript: dict[str, Any]) -> Iterator[dict[str, int]]:
    counts: dict[str, int] = {}
    for minute in range(transcript["until"]):
        counts = transcript["minutes"].get(minute, counts)
        yield counts | {"events": sum(counts.values())}


def ends(text: str) -> list[int]:
    """``11, 13-15``"""
    spans = [part.split("-") for part in text.split(",")] if text != "never" else []
    return [end for span in spans for end in range(int(span[0]), int(span[-1]) + 1)]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=[f"{each['alert']}: {each['why']}" for each in TRANSCRIPTS])
def test_transcript(transcript: dict[str, Any]) -> None:
    player = Player(RULES[transcript["alert"]], list(minutes_of(transcript)))
    assert player.told == transcript["told"]
    assert player.held == ends(transcript["held"])
    assert player.judged is (transcript.get("judged") != "never")
    assert player.summary == transcript.get("summary", player.summary)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=[f"{each['alert']}: {each['why']}" for each in TRANSCRIPTS])
def test_a_shard_tells_the_same_of_the_same_as_events(transcript: dict[str, Any]) -> None:
    compiled = RULES[transcript["alert"]]
    alerts = ShardPlayer(Rules([compiled.rule], MINUTE), list(minutes_of(transcript))).alerts
    assert [f"{each.status} {each.at // MINUTE} since {each.since // MINUTE}" for each in alerts] == transcript["told"]
    assert {each.id for each in alerts} == {alert_id(compiled.rule.alert, "s", each.since) for each in alerts}
    assert not any(each.idle for each in alerts)
    if "summary" in transcript:
        assert alerts[0].summary == transcript["summary"]


@pytest.mark.parametrize("alert", RULES)
def test_every_rule_has_every_case(alert: str) -> None:
    assert {each["case"] for each in TRANSCRIPTS if each["alert"] == alert} == CASES


def test_a_transcript_that_is_wrong_fails() -> None:
    fires = next(each for each in TRANSCRIPTS if each["case"] == "fires")
    with pytest.raises(AssertionError):
        test_transcript(fires | {"told": []})


def test_the_alerts_are_those_an_operator_acts_on() -> None:
    """All of docs/alert-rules.md; `payment_drop` is its payment_rate, which falls also where nothing fails."""
    assert list(RULES) == [
        *("checkout_failures", "payment_drop", "conversion_drop"),
        *("comment_surge", "suspicious_views", "stalled_session", "cancellations"),
    ]


def test_the_head_of_the_file_names_every_figure() -> None:
    head = set(re.findall(r"[a-z_]+", shipped_text().partition("\nrules:")[0]))
    assert set(COUNTS) | set(RATIOS) | set(QUOTIENTS) | set(OWN.values()) <= head


@pytest.mark.parametrize("alert", RULES)
def test_every_rule_has_a_heading_in_the_runbook(alert: str) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "deploy" / "runbook.md").read_text(), re.MULTILINE)
    assert RULES[alert].rule.runbook in headings


@pytest.mark.parametrize(("hits", "trials"), [(9, 20), (33, 100), (267, 1000), (27, 80)])
def test_so_many_failures_are_proof(hits: int, trials: int) -> None:
    assert wilson(hits, trials)[0] > 0.24


@pytest.mark.parametrize("seconds", [1, 7, 60, 90, 300, 420, 3600])
def test_the_shipped_rules_suit_every_slide(seconds: int) -> None:
    """No choice of windows forbids alerts."""
    for each in load_rules("default", seconds * 1000):
        assert each.rule.window_ms % (seconds * 1000) == 0
        assert each.rule.window_ms >= RULES[each.rule.alert].rule.window_ms


# -- streams on which nothing is wrong

USUAL = {
    "impressions": 3.0,
    "views": 1.0,
    "heartbeats": 5.0,
    "product_clicks": 0.4,
    "likes": 0.5,
    "comments": 0.15,
    "orders_cancelled": 0.001,
    "orders_refunded": 0.0003,
}
"""Events by view; 0.04 checkouts."""


def some(rng: Random, mean: float) -> int:
    """Poisson."""
    return sum(1 for _ in takewhile(lambda time: time < mean, accumulate(iter(lambda: rng.expovariate(1), None))))


def usual_day(rng: Random, views: float) -> list[dict[str, int]]:
    """Six hours in which the room fills and empties; 7 % of the attempts fail, and payments come within four minutes."""
    tides = [views * (1 + 0.5 * sin(minute / 30)) for minute in range(360)]
    minutes = [Counter({name: some(rng, tide * share) for name, share in USUAL.items()}) for tide in tides]
    for minute, tide in enumerate(tides):
        for _ in range(some(rng, 0.04 * tide)):
            minutes[minute]["checkouts_initiated"] += 1
            ended, luck = minutes[min(minute + rng.choice((0, 0, 1, 3)), 359)], rng.random()
            if luck < 0.3:
                minutes[minute].update(("orders_paid", "cod_orders"))
            elif luck < 0.8:
                ended["checkouts_failed" if luck < 0.335 else "orders_paid"] += 1
    return [dict(each) for each in minutes]


@pytest.mark.parametrize("views", [0.2, 2, 10, 50, 200])
def test_nothing_is_told_of_a_usual_day(views: float) -> None:
    """By views a minute. A minute without an event is usual in the smallest."""
    minutes = usual_day(Random(7), views)
    assert {alert: told for alert, each in RULES.items() if (told := Player(each, minutes).told)} == {}


def stalled(messages: list[Message]) -> list[Incident]:
    policy = Policy()
    test = Backtest(policy, load_rules("default", policy.pane_ms))
    for partition, kind, records in batches(arriving(messages), 1):
        test.machine(partition).count(kind, records, decode_batch(kind, records, policy.max_value))
    found = test.report(messages[-1].at).alerts.incidents
    return [incident for incident in found if incident.alert == "stalled_session"]


def test_no_session_stalls_that_its_host_has_ended_in_simulated_traffic_and_those_that_say_nothing_do() -> None:
    """25 minutes, in which rooms close and others open."""
    messages = Traffic(Plan(rate=30, sessions=20, bad=0), T0).step(T0 + 25 * MINUTE)
    lifecycle = re.compile(rb'"action":"(?:start|end)"')
    silent = [message for message in messages if lifecycle.search(message.value or b"") is None]
    assert len(messages) - len(silent) > 20
    assert stalled(messages) == []
    assert len(stalled(silent)) > 5
