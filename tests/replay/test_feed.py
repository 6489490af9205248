"""Three bounded topics are fed in step in event time, whoever is read first, and each to its end."""

from collections.abc import Mapping, Sequence
from random import Random

import pytest

from stream.core.alignment import SLACK_MS
from stream.core.policy import Policy
from stream.model.names import KINDS, Kind
from stream.model.results import Record, Records, part
from stream.replay.feed import Feed
from stream.replay.file_source import FileRecord
from tests.replay.tools import START, Remembering, records

NEVER_OVER = 2**62


def run(logs: Mapping[Kind, Sequence[Record]], until: int = NEVER_OVER, seed: int = 1) -> Remembering:
    """Reads what the feed wants, a random piece of a random topic at a time, until it wants no more."""
    machine, rng = Remembering(), Random(seed)
    feed = Feed(Policy(), machine, until)
    at = dict.fromkeys(KINDS, 0)
    for _ in range(10_000):
        for kind in KINDS:
            if at[kind] == len(logs[kind]):
                feed.over(kind)
        wanted = feed.wanted()
        if not wanted:
            return machine
        kind = rng.choice(sorted(wanted))
        end = min(len(logs[kind]), at[kind] + rng.randint(1, feed.at_once))
        feed.put(kind, part(logs[kind], at[kind], end))
        at[kind] = end
    raise AssertionError("the feed has no end")


@pytest.mark.parametrize("seed", range(5))
def test_every_record_comes_once_in_order_and_no_topic_runs_ahead(seed: int) -> None:
    every = 3_600_000
    logs = {
        Kind.VIEWS: records(Kind.VIEWS, range(0, every, 1_000)),
        Kind.COMMENTS: records(Kind.COMMENTS, range(0, every, 60_000)),
        Kind.CHECKOUTS: records(Kind.CHECKOUTS, range(0, every, 600_000)),
    }
    machine = run(logs, seed=seed)
    for kind in KINDS:
        assert machine.offsets(kind) == list(range(len(logs[kind])))
    assert machine.spread <= 600_000 + SLACK_MS, "at most the gap between two checkouts"


def test_a_topic_that_begins_late_or_has_nothing_holds_nobody_back() -> None:
    logs = {
        Kind.VIEWS: records(Kind.VIEWS, range(0, 100_000, 1_000)),
        Kind.COMMENTS: records(Kind.COMMENTS, ()),
        Kind.CHECKOUTS: records(Kind.CHECKOUTS, (90_000,)),
    }
    machine = run(logs)
    assert len(machine.counted) == 101
    assert set(machine.excluded) == set(KINDS)


def test_a_topic_is_read_until_its_clock_has_come_far_enough() -> None:
    logs = {kind: records(kind, range(0, 2_000_000, 100)) for kind in KINDS}
    machine = run(logs, until=START + 500_000)
    for kind in KINDS:
        assert 5_000 < len(machine.offsets(kind)) < 6_000
    assert machine.excluded == [], "there is more of them: none is left out of the watermark"


def test_what_cannot_be_read_keeps_nobody_waiting() -> None:
    bad = Records((FileRecord(number, START, b"7", b"no JSON") for number in range(1000)), START)
    logs = {Kind.VIEWS: records(Kind.VIEWS, range(0, 50_000, 10)), Kind.COMMENTS: bad, Kind.CHECKOUTS: ()}
    assert len(run(logs).counted) == 6_000
