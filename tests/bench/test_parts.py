"""Every part of the bench at a tiny scale, so that it still runs when it is wanted. No time is judged."""

import signal

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.bench import alerting, catchup, closing, core, holding, latency, replaying, sizes, spread, strangers, worker


def test_core() -> None:
    assert core.measure(1500, 20, 1).us("decode", "judge and count") > 0


def test_spread() -> None:
    found = spread.measure(80, 1500, 1)
    assert found.count > 0
    assert found.checkpoint > 0


def test_closing() -> None:
    found = closing.measure(20, rate=50, seconds=140)
    assert set(found.windows) == {"1m", "5m"}
    assert all(us > 0 for us in (*found.windows.values(), found.corrected, found.total, found.checkpoint))
    assert set(found.longest) == {"count", f"work({closing.CLOSE_AT_ONCE})", "work(1)", "a step of collecting"}


def test_alerts() -> None:
    found = alerting.measure(20, 600, 2)
    assert found.events == 1200
    assert min(found.decode, found.without, found.rules) > 0


def test_made_up_sessions_cost_little_for_as_long_as_they_are_held() -> None:
    """Ten times what they may; before they were packed it was 1,800 B of memory and 257 KB of state a day."""
    found = strangers.measure(5000)
    assert found.at_rest < 1500
    assert found.state < 100_000


@pytest.mark.kafka
def test_backtests(kafka: EmbeddedKafka) -> None:
    for found in alerting.backtests(kafka, 2000, 10).values():
        assert found.counted == 2000
        assert found.a_core > 0


@pytest.mark.kafka
def test_worker(kafka: EmbeddedKafka) -> None:
    found = worker.measure(kafka, 2000, 10)
    assert found.faults == []
    assert found.cpu > 0


@pytest.mark.kafka
def test_latency(kafka: EmbeddedKafka) -> None:
    found = latency.measure(kafka, 20, 400, 1.5, 2.0)
    assert found.faults == []
    assert 0 < found.p50 <= found.p99 <= found.worst
    assert found.records > 0


@pytest.mark.kafka
def test_catchup(kafka: EmbeddedKafka) -> None:
    (found,) = catchup.measure(kafka, 10, 400, 5.0, [1]).values()
    assert found.faults == []
    assert found.records == 2000


@pytest.mark.kafka
def test_holding(kafka: EmbeddedKafka) -> None:
    plan = holding.Plan(20, 300, 4.0, 0.3, 1.5, signal.SIGTERM)  # after a kill it would take the session timeout
    found = holding.measure(kafka, plan)
    assert found.faults == []
    assert found.steady > 0
    assert found.stalls["computed"]
    assert 0 < found.first <= found.all


@pytest.mark.kafka
def test_sizes(kafka: EmbeddedKafka) -> None:
    found = sizes.measure(kafka, 10, sizes.Pace(rate=400, warm=2.0, lasts=3.0))
    assert found.events > 0
    assert {"live.views", "live.comments", "live.checkouts", "live.state"} <= found.grown.keys()
    assert found.an_event("live.views", "live.comments", "live.checkouts") > 0
    assert found.memory > 0


@pytest.mark.kafka
def test_replay(kafka: EmbeddedKafka) -> None:
    found = replaying.measure(kafka, 3000, 20)
    assert found.records == found.sent > 0
    assert found.windows > 0
