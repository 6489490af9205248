"""Logins that end after two seconds, for twenty: connections are renewed again and again, and nothing piles up."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.secured import SecuredKafka
from tests.soak.logins import EVERY, SPARE, Outcome, Sample, config_for, soak


@pytest.mark.kafka
@pytest.mark.filterwarnings("ignore:unclosed resource:ResourceWarning")
def test_renewed_connections_are_gone(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    """A connection that takes its leave may be open when the loop ends: uvloop warns, and never returns from an error."""
    assert kafka.running
    secured = SecuredKafka(tmp_path)
    with secured.kafka:
        outcome = uvloop.run(soak(secured, config_for(secured, prefix), EVERY, print))
        secured.kafka.kill()  # nobody needs what it would still put in order
    assert outcome.renewed >= 10
    assert outcome.grown == {}
    assert all(sample.connections < 60 for sample in outcome.samples)
    assert outcome.counted == outcome.sent


def sampled(growth: Callable[[int], dict[str, int]], resident: Callable[[int], float] = lambda _: 100.0) -> Outcome:
    """Three minutes, four renewals a second."""
    samples = [Sample(60 * n, Counter(growth(n)), resident(n)) for n in range(13)]
    return Outcome(samples, sent=10, counted=10)


def test_what_each_renewal_leaves_behind_is_found() -> None:
    outcome = sampled(lambda n: {"ssl.SSLObject": 20 + 60 * n, "uvloop.loop.UVTimer": 30})
    assert outcome.grown == {"ssl.SSLObject": 720}
    assert not outcome.good


def test_what_comes_and_goes_is_no_growth() -> None:
    assert sampled(lambda n: {"ssl.SSLObject": 20 + n % 2 * SPARE}).good


def test_memory_that_grows_beside_it_is_found() -> None:
    assert not sampled(lambda _: {}, lambda n: 100.0 + 3 * n).good
    assert sampled(lambda _: {}, lambda n: 100.0 + 3 * min(n, 6)).good
