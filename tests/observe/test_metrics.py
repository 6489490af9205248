"""What Prometheus reads: names, labels from the start, and which numbers move when."""

import io
import json
import os
import platform
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

import stream
from stream.cli import scrape, table
from stream.config import Settings
from stream.kafka.metrics_hooks import Activity, MetricsHooks
from stream.model.events import PLATFORMS
from stream.model.names import KINDS, Closed, Kind, Outcome, Reason
from stream.model.results import Tally
from stream.observe import catalog, merge
from stream.observe.health import REASONS, Health
from stream.observe.metrics import Metrics
from stream.observe.sessions import together
from stream.observe.shares import SharePolicy
from stream.observe.store import Cells
from tests.observe.views import session, tally, view
from tests.support import PATIENCE


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(Settings(topic_prefix="x."), clock=lambda: 1_700_000_060.25)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def names(metrics: Metrics) -> set[str]:
    return {family.name for family in metrics.registry.collect()}


def busy(metrics: Metrics) -> Metrics:
    """Everything has happened at least once."""
    metrics.rules([("stalled", "info")])
    metrics.assigned(frozenset({0, 1}))
    metrics.shard(0, view(session("7301", 50), rest=session("", 1)))
    metrics.shard(1, view(session("7302", 60, gmv_minor={"IDR": 1, "USD": 2})))
    metrics.lag(0, Kind.VIEWS, 12, 3.5)
    metrics.committed(0, tally(), 0.012)
    metrics.latency(Kind.VIEWS, 0.7, 100)
    metrics.emit_delay(0.4)
    metrics.transaction_failed(0, "ProducerFenced")
    metrics.rebalanced(2.0)
    metrics.recovered(0, 0.3, 1000)
    metrics.activity(Activity.DECODE, 0.25)
    metrics.loop_lag(0.002)
    metrics.full_collection(0.03)
    metrics.buffered(5_000_000)
    metrics.hidden(0, Kind.VIEWS, 3.0)
    metrics.partitions(2)
    return metrics


def test_it_is_a_watch(metrics: Metrics) -> None:
    hooks: MetricsHooks = metrics
    assert hooks is metrics


def test_every_name_is_declared_and_every_declared_one_is_served(metrics: Metrics) -> None:
    declared = {metric.name.removesuffix("_total") for metric in catalog.CATALOG}
    assert len(declared) == len(catalog.CATALOG)
    served = {name for name in names(busy(metrics)) if name.startswith("liveshop_")}
    assert served == declared
    assert {name for name in names(metrics) if not name.startswith(("process_", "python_gc_"))} == declared
    assert {f"python_gc_{name}" for name in ("collections", "objects_collected", "objects_uncollectable")} <= names(
        metrics
    )


def test_alerts_are_shown_from_the_start_move_at_a_checkpoint_and_follow_the_rules(metrics: Metrics) -> None:
    stalled = {"alert": "stalled"}
    metrics.rules([("stalled", "info")])
    metrics.assigned(frozenset({0, 1}))
    assert value(metrics, "liveshop_alerts_firing", severity="info", **stalled) == 0
    assert value(metrics, "liveshop_alert_transitions_total", status="resolved", **stalled) == 0
    assert value(metrics, "liveshop_alert_evaluation_errors_total", **stalled) == 0
    for partition in (0, 1):
        look = replace(
            view(session("7301", 50), rest=None), alerts={("stalled", "info"): (1, 2), ("old", "page"): (0, 1)}
        )
        metrics.shard(partition, look)
    told = Tally(transitions=Counter({("stalled", "firing"): 3}), evaluation_seconds=0.5)
    told.evaluations["stalled"], told.evaluation_errors["stalled"] = 7, 1
    metrics.committed(0, told, 0.01)
    assert value(metrics, "liveshop_alerts_pending", severity="info", **stalled) == 2
    assert value(metrics, "liveshop_alerts_firing", severity="info", **stalled) == 4
    assert value(metrics, "liveshop_alerts_firing", alert="old", severity="page") == 2
    assert value(metrics, "liveshop_alert_transitions_total", status="firing", **stalled) == 3
    assert value(metrics, "liveshop_alert_evaluations_total", **stalled) == 7
    assert value(metrics, "liveshop_alert_evaluation_errors_total", **stalled) == 1
    assert value(metrics, "liveshop_alert_evaluation_seconds_total") == 0.5


def test_every_label_set_that_can_be_known_is_there_from_the_start(metrics: Metrics) -> None:
    for kind in KINDS:
        assert value(metrics, "liveshop_event_latency_seconds_count", type=kind) == 0
        for outcome in Outcome:
            assert value(metrics, "liveshop_events_total", type=kind, outcome=outcome) == 0
    for reason in Reason:
        for kind in KINDS:
            assert value(metrics, "liveshop_dead_letters_total", topic=f"x.live.{kind}", reason=reason) == 0
    for kind in KINDS:
        assert value(metrics, "liveshop_events_not_on_time_total", type=kind) == 0
    for window in ("1m", "5m"):
        assert value(metrics, "liveshop_windows_open", window=window) == 0
        for closed in Closed:
            assert value(metrics, "liveshop_windows_total", window=window, reason=closed) == 0
    for activity in Activity:
        assert value(metrics, "liveshop_activity_seconds_total", activity=activity) == 0
    assert value(metrics, "liveshop_gmv_minor_total", currency="IDR") == 0
    assert value(metrics, "liveshop_transaction_failures_total", error="ProducerFenced") == 0


def test_every_reason_and_platform_is_there_from_the_start(metrics: Metrics) -> None:
    assert {value(metrics, "liveshop_unready", reason=reason) for reason in REASONS} == {0}
    platforms = [*PLATFORMS, "other"]
    assert {value(metrics, "liveshop_platform_events_recent", platform=platform) for platform in platforms} == {0}


def test_every_family_without_labels_has_a_sample_from_the_start(metrics: Metrics) -> None:
    for family in metrics.registry.collect():
        unlabelled = [metric for metric in catalog.CATALOG if metric.name.removesuffix("_total") == family.name]
        if unlabelled and not unlabelled[0].labels:
            assert family.samples, family.name


def test_of_a_shard_that_is_down_nothing_is_shown_that_may_be_wrong(metrics: Metrics) -> None:
    metrics.assigned(frozenset({0, 1}))
    views = {"topic": "x.live.views", "partition": "0"}
    for partition in (0, 1):
        metrics.shard(partition, view(session("7301", 50)))
        metrics.lag(partition, Kind.VIEWS, 12, 3.5)
    metrics.ended(0)
    assert value(metrics, "liveshop_lag_records", **views) is None
    assert value(metrics, "liveshop_windows_open", window="1m") == 6, "it stands still, as it was looked at last"
    metrics.lag(0, Kind.VIEWS, 20, None)
    assert value(metrics, "liveshop_lag_records", **views) == 20
    assert value(metrics, "liveshop_lag_seconds", **views) is None
    metrics.refused(0)
    assert value(metrics, "liveshop_state_refused", partition="0") == 1
    assert value(metrics, "liveshop_lag_records", **views) is None
    assert value(metrics, "liveshop_dedupe_ids", partition="0") is None
    assert value(metrics, "liveshop_windows_open", window="1m") == 3
    assert value(metrics, "liveshop_lag_records", topic="x.live.views", partition="1") == 12


def test_business_totals_move_when_a_checkpoint_commits(metrics: Metrics) -> None:
    metrics.assigned(frozenset({0}))
    metrics.shard(0, view(session("7301", 50)))
    assert value(metrics, "liveshop_views_total") == 0
    for _ in range(2):
        metrics.committed(0, tally(), 0.012)
    expected = {
        "liveshop_views_total": 80,
        "liveshop_product_clicks_total": 24,
        "liveshop_comments_total": 10,
        "liveshop_orders_paid_total": 4,
        "liveshop_session_records_total": 6,
        "liveshop_misplaced_keys_total": 2,
        "liveshop_totals_frozen_total": 2,
        "liveshop_lost_offsets_total": 14,
        "liveshop_conversion_ratio_count": 4,
        "liveshop_checkpoint_duration_seconds_count": 2,
    }
    assert {name: value(metrics, name) for name in expected} == expected
    assert value(metrics, "liveshop_gmv_minor_total", currency="USD") == 2 * 1999
    assert value(metrics, "liveshop_source_views_total", source="for_you") == 60
    assert value(metrics, "liveshop_source_views_total", source="push") == 0
    assert value(metrics, "liveshop_source_orders_total", source="for_you") == 4
    assert value(metrics, "liveshop_events_total", type="views", outcome="rejected") == 20
    assert value(metrics, "liveshop_dead_letters_total", topic="x.live.views", reason="missing_field") == 20
    assert value(metrics, "liveshop_events_not_on_time_total", type="views") == 8
    assert value(metrics, "liveshop_windows_total", window="5m", reason="correction") == 2
    assert value(metrics, "liveshop_checkpoint_timestamp_seconds", partition="0") == 1_700_000_060.25


def test_promotions_are_counted_by_outcome_and_those_that_wait_are_shown() -> None:
    metrics = Metrics(Settings())
    assert value(metrics, "liveshop_promotions_total", outcome="refused") == 0
    metrics.committed(0, replace(tally(), promotions=Counter(applied=3, refused=1)), 0.1)
    assert value(metrics, "liveshop_promotions_total", outcome="applied") == 3
    assert value(metrics, "liveshop_promotions_total", outcome="refused") == 1
    metrics.assigned(frozenset({0, 1}))
    metrics.shard(0, view(promotions_waiting=2))
    metrics.shard(1, view(promotions_waiting=1))
    assert value(metrics, "liveshop_promotions_waiting") == 3


def test_a_committed_tally_is_told_on() -> None:
    told = Tally()
    metrics = Metrics(Settings(), also=lambda tally: told.outcomes.update(tally.outcomes))
    metrics.committed(3, tally(), 0.01)
    assert told.outcomes == tally().outcomes


def test_a_refused_state_is_shown_until_it_is_restored(metrics: Metrics) -> None:
    metrics.assigned(frozenset({0, 1}))
    metrics.refused(1)
    shown = [value(metrics, "liveshop_state_refused", partition=partition) for partition in ("0", "1")]
    assert shown == [0, 1]
    metrics.recovered(1, 0.3, 1000)
    assert value(metrics, "liveshop_state_refused", partition="1") == 0


def test_gauges_of_the_shards(metrics: Metrics) -> None:
    busy(metrics)
    assert value(metrics, "liveshop_watermark_timestamp_seconds", partition="0") == 1_700_000_000.5
    assert value(metrics, "liveshop_lag_records", topic="x.live.views", partition="0") == 12
    assert value(metrics, "liveshop_lag_seconds", topic="x.live.views", partition="0") == 3.5
    assert value(metrics, "liveshop_windows_open", window="5m") == 8
    assert value(metrics, "liveshop_windows_closed_held") == 12
    assert value(metrics, "liveshop_sessions_open") == 4
    assert value(metrics, "liveshop_sessions_held") == 10
    assert value(metrics, "liveshop_state_bytes", partition="1") == 4096
    assert value(metrics, "liveshop_dedupe_ids", partition="1") == 100
    assert value(metrics, "liveshop_checkout_keys", partition="1") == 8
    assert value(metrics, "liveshop_known_sessions", type="comments", partition="1") == 3
    assert value(metrics, "liveshop_max_sessions") == 200_000
    assert value(metrics, "liveshop_sessions_gone", partition="1") == 9
    assert value(metrics, "liveshop_partitions") == 2
    assert value(metrics, "liveshop_shards_assigned") == 2
    assert value(metrics, "liveshop_concurrent_viewers") == 600
    assert value(metrics, "liveshop_session_concurrent_viewers", session_id="7301") == 70
    assert value(metrics, "liveshop_platform_events_recent", platform="shopee") == 80
    assert value(metrics, "liveshop_bound_used_ratio", bound="pane_events", partition="1") == 0.5
    assert value(metrics, "liveshop_shard_idle", partition="1") == 0
    metrics.shard(1, view(left_out=frozenset({Kind.COMMENTS}), idle=True))
    assert value(metrics, "liveshop_shard_idle", partition="1") == 1
    for partition, topic, expected in (("0", "comments", 0), ("1", "comments", 1), ("1", "views", 0)):
        assert value(metrics, "liveshop_topic_left_out", topic=f"x.live.{topic}", partition=partition) == expected


def test_a_shard_ages_only_while_it_has_something_to_commit() -> None:
    clock = Clock()
    metrics = Metrics(Settings(), clock=clock, monotonic=clock)

    def age() -> float | None:
        return value(metrics, "liveshop_uncommitted_seconds", partition="0")

    metrics.assigned(frozenset({0}))
    clock.now = 100.0
    assert age() == 0, "it has nothing yet"
    metrics.pending(0, something=True)
    clock.now = 130.0
    metrics.pending(0, something=True)
    assert age() == 30
    metrics.committed(0, Tally(), 0.1)
    clock.now = 1000.0
    assert age() == 0, "idle for a long time: nothing is due"
    metrics.pending(0, something=True)
    metrics.pending(0, something=False)
    clock.now = 2000.0
    assert age() == 0, "what was read made nothing to commit"


def test_a_shard_that_begins_again_and_again_and_never_commits_does_not_look_idle_or_new() -> None:
    clock = Clock()
    metrics = Metrics(Settings(), clock=clock, monotonic=clock)
    metrics.assigned(frozenset({0}))
    for _ in range(10):
        metrics.recovered(0, 0.1, 5)
        assert value(metrics, "liveshop_shard_running", partition="0") == 1
        metrics.pending(0, something=True)
        metrics.stuck(0, 4.0)
        clock.now += 10
        metrics.ended(0)
        assert value(metrics, "liveshop_shard_running", partition="0") == 0
        assert value(metrics, "liveshop_stuck_seconds", partition="0") == 0
    assert value(metrics, "liveshop_uncommitted_seconds", partition="0") == 100
    metrics.refused(0)
    assert value(metrics, "liveshop_uncommitted_seconds", partition="0") == 0, "that is an alert of its own"
    assert value(metrics, "liveshop_shard_running", partition="0") == 0


def test_what_only_brokers_can_tell_is_forgotten_while_none_answers(metrics: Metrics) -> None:
    busy(metrics)
    labels = {"topic": "x.live.views", "partition": "0"}
    metrics.brokers(3)
    metrics.stuck(0, 20.0)
    assert value(metrics, "liveshop_upstream_transaction_seconds", **labels) == 3
    metrics.brokers(0)
    metrics.hidden(0, Kind.VIEWS, 4.0)
    assert value(metrics, "liveshop_upstream_transaction_seconds", **labels) is None
    assert value(metrics, "liveshop_stuck_seconds", partition="0") == 0


def test_ready_is_what_readyz_says() -> None:
    health = Health(SharePolicy())
    metrics = Metrics(Settings(), unready=health.reasons)
    assert value(metrics, "liveshop_ready") == 0
    assert value(metrics, "liveshop_unready", reason="starting") == 1
    health.assigned(frozenset({0}))
    assert value(metrics, "liveshop_unready", reason="starting") == 0
    assert value(metrics, "liveshop_unready", reason="restoring") == 1
    health.recovered(0)
    assert value(metrics, "liveshop_ready") == 1
    assert value(metrics, "liveshop_unready", reason="restoring") == 0


def test_workers_with_the_same_settings_say_the_same_hash_and_no_secret_is_in_it() -> None:
    def said(**settings: Any) -> str:
        metrics = Metrics(Settings(brokers="kafka:9092", **settings))
        (family,) = (each for each in metrics.registry.collect() if each.name == "liveshop_build_info")
        return family.samples[0].labels["settings"]

    assert said() == said(http_port=1, http_host="::") == said(sasl_password="secret")
    assert said() != said(delay="20s")
    assert said() != said(group="another")


def test_the_build_says_which_hot_path_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_native, core in ((True, "native"), (False, "interpreted")):
        monkeypatch.setattr("stream.observe.metrics.NATIVE", is_native)
        metrics = Metrics(Settings(brokers="kafka:9092"))
        (family,) = (each for each in metrics.registry.collect() if each.name == "liveshop_build_info")
        labels = family.samples[0].labels
        assert (labels["native"], labels["core"]) == (str(is_native).lower(), core)
        assert labels["version"] == stream.__version__
        assert labels["python"] == platform.python_version()


def test_no_watermark_before_the_first_record(metrics: Metrics) -> None:
    metrics.assigned(frozenset({0}))
    metrics.shard(0, view(watermark=None))
    assert value(metrics, "liveshop_watermark_timestamp_seconds", partition="0") is None


def test_series_of_a_shard_disappear_with_it_and_late_words_do_not_bring_them_back(metrics: Metrics) -> None:
    busy(metrics)
    metrics.assigned(frozenset({1}))
    metrics.shard(0, view(session("7301", 50)))
    metrics.lag(0, Kind.VIEWS, 1, 1.0)
    metrics.committed(0, tally(), 0.01)
    text = generate_latest(metrics.registry).decode()
    assert 'partition="0"' not in text
    assert 'partition="1"' in text
    assert 'session_id="7301"' not in text
    assert value(metrics, "liveshop_sessions_open") == 2


def test_a_shard_that_stays_keeps_its_series(metrics: Metrics) -> None:
    busy(metrics)
    metrics.assigned(frozenset({0, 1, 2}))
    assert value(metrics, "liveshop_lag_records", topic="x.live.views", partition="0") == 12


def test_a_clock_behind_the_brokers_counts_as_no_latency(metrics: Metrics) -> None:
    metrics.latency(Kind.COMMENTS, -0.5, 7)
    assert value(metrics, "liveshop_event_latency_seconds_bucket", type="comments", le="0.05") == 7
    assert value(metrics, "liveshop_event_latency_seconds_sum", type="comments") == 0


def test_the_goal_of_latency_is_a_bound_of_its_buckets() -> None:
    assert {0.7, 1.5} <= set(catalog.EVENT_LATENCY.buckets)


def test_there_are_no_created_series(metrics: Metrics) -> None:
    assert b"_created" not in generate_latest(busy(metrics).registry)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50))))
def test_a_histogram_of_weights_counts_like_one_of_single_observations(seen: list[tuple[float, int]]) -> None:
    cells = Cells((0.5, 1.0, 10.0))
    for number, count in seen:
        cells.add(number, count)
    expected = [sum(count for number, count in seen if number <= bound) for bound in (0.5, 1.0, 10.0, float("inf"))]
    assert [count for _, count in cells.cumulative()] == expected


# The busiest sessions


def test_the_busiest_of_all_shards_are_shown_and_the_rest_is_summed() -> None:
    metrics = Metrics(Settings(top_sessions=2))
    metrics.assigned(frozenset({0, 1}))
    metrics.shard(0, view(session("a", 5), session("b", 3), rest=session("", 1, views=100), sessions_held=4))
    metrics.shard(1, view(session("c", 4), session("d", 3), rest=None, sessions_held=2))
    shown = {
        sample.labels["session_id"]: sample.value
        for family in metrics.registry.collect()
        if family.name == "liveshop_session_views"
        for sample in family.samples
    }
    assert shown == {"a": 10, "c": 10, "_other": 120}
    assert value(metrics, "liveshop_session_gmv_minor", session_id="_other", currency="IDR") == 3 * 5_350_000
    assert value(metrics, "liveshop_sessions_truncated") == 4


def test_a_session_that_is_shown_has_its_seller_and_its_alerts_and_the_others_are_a_number() -> None:
    metrics = Metrics(Settings(top_sessions=1))
    metrics.assigned(frozenset({0}))
    metrics.rules([("busy", "page"), ("rich", "info")])
    fires = (("busy", "page"),)
    called = {"title": 'Obral "XL"', "seller_name": "Toko"}
    rows = [session("a", 5, seller_id="s1", firing=fires, **called), session("b", 3, seller_id="s2", firing=fires)]
    metrics.shard(0, view(*rows, alerts={("busy", "page"): (1, 4), ("rich", "info"): (2, 0)}))
    lines = generate_latest(metrics.registry).decode().splitlines()
    assert [line for line in lines if line.startswith(("liveshop_session_info", "liveshop_session_alerts"))] == [
        r'liveshop_session_info{seller_id="s1",seller_name="Toko",session_id="a",title="Obral \"XL\""} 1.0',
        'liveshop_session_alerts_firing{alert="busy",session_id="a",severity="page"} 1.0',
        'liveshop_session_alerts_firing{alert="busy",session_id="_other",severity="page"} 3.0',
    ]


def test_ties_are_broken_by_id() -> None:
    shown, _ = together([view(session("b", 3), session("a", 3)), view(session("c", 3))], 2)
    assert [each.session_id for each in shown] == ["a", "b"]


def test_a_session_on_two_shards_is_one_series() -> None:
    shown, other = together([view(session("a", 3)), view(session("a", 4))], 5)
    assert [(each.session_id, each.events, each.views) for each in shown] == [("a", 7, 20)]
    assert other.views == 0


def test_a_session_that_calls_itself_other_does_not_cost_the_scrape() -> None:
    shown, other = together([view(session("_other", 9), session("a", 1))], 5)
    assert [each.session_id for each in shown] == ["a"]
    assert other.events == 9


def test_top_zero_shows_no_session_of_its_own() -> None:
    metrics = busy(Metrics(Settings(top_sessions=0)))
    assert 'session_id="7301"' not in generate_latest(metrics.registry).decode()
    assert value(metrics, "liveshop_session_events_recent", session_id="_other") == 111


@pytest.mark.parametrize("minor", [2**53 + 1, 2**63 - 1, 2**64, 10**30])
def test_money_beyond_64_bits_is_a_double_and_can_be_shown(minor: int) -> None:
    metrics = Metrics(Settings())
    metrics.assigned(frozenset({0}))
    largest = session("s", 2, gmv_minor={"IDR": minor}, views=minor)
    metrics.shard(0, view(largest, rest=session("_other", 1, gmv_minor={"IDR": minor})))
    for _ in range(2):
        metrics.committed(0, replace(tally(), gmv_minor=Counter({"IDR": minor})), 0.1)
    assert value(metrics, "liveshop_gmv_minor_total", currency="IDR") == 2 * minor
    look = scrape.parse([generate_latest(metrics.registry).decode()] * 2, 0.0, 0.0)
    shown = json.loads(orjson.dumps(table.as_dict(look, 1.0)))
    assert shown["sessions"][0]["gmv_minor"] == {"IDR": min(2 * int(float(minor)), 2**63 - 1)}
    Console(file=io.StringIO()).print(table.render(look, 1.0, 1))


@given(st.text(min_size=1, max_size=20).filter(lambda text: text != "_other"))
@example("a\u2028b\x85c\x1cd")
@example('x"} 5\\n# TYPE y gauge\n\\')
@example("\u202e[red]")
def test_any_session_id_survives_the_exposition(session_id: str) -> None:
    metrics = Metrics(Settings())
    metrics.assigned(frozenset({0}))
    metrics.shard(0, view(session(session_id, 5)))
    text = generate_latest(metrics.registry).decode()
    shown = {
        sample.labels["session_id"]
        for family in text_string_to_metric_families(text)
        if family.name == "liveshop_session_views"
        for sample in family.samples
    }
    assert shown == {session_id, "_other"}
    assert {row.session_id for row in scrape.parse([text], 0.0, 0.0).rows.values()} == shown
    merged = merge.Merge(20)
    merged.note(0, 1, merge.read(text))
    views = next(family for family in merged.families([merge.read(text)]) if family.name == "liveshop_session_views")
    assert {sample.labels["session_id"] for sample in views.samples} == shown


# The real checker


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        assert not os.environ.get("CI"), "promtool is missing: apt-get install prometheus"
        pytest.skip("promtool is missing (Debian package prometheus)")
    return found


@pytest.mark.parametrize("state", ["fresh", "busy"])
def test_promtool_finds_nothing(promtool: str, state: str, metrics: Metrics) -> None:
    exposition = generate_latest((busy(metrics) if state == "busy" else metrics).registry)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=exposition, capture_output=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
