"""The traffic of the long measurements is what it says it is, by the independent recount; and the verdict can fail."""

from collections import Counter
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner

from stream.model.names import KINDS
from tests.bench.flow import NAMES, Flow, Made
from tests.bench.pipe import Appended
from tests.bench.report import against
from tests.bench.verdict import Verdict
from tests.bench.visible import Visible, percentiles
from tests.recount import LogRecord, Recounted, recount

START = 1_700_000_000_000
PARTITIONS = 2


def logged(flow: Flow, made: list[Made]) -> list[LogRecord]:
    """As the pipe would have put them on the broker."""
    place, offsets = DefaultPartitioner(), Counter[tuple[str, int]]()
    numbers = list(range(PARTITIONS))
    records = []
    for kind, session, value in made:
        partition = place(flow.keys[session], numbers, numbers)
        at = offsets[kind, partition]
        offsets[kind, partition] += 1
        records.append(LogRecord(kind, partition, at, START + 10**9, flow.keys[session], value))
    return records


@pytest.fixture(scope="module")
def made() -> tuple[Flow, Recounted]:
    """Enough that every oddity is in it, and so long that the recount can see it."""
    flow = Flow(20, START, seed=3)
    records = [each for _ in range(60) for each in flow.make(400, 2000)]
    return flow, recount(logged(flow, records))


def test_every_oddity_is_made(made: tuple[Flow, Recounted]) -> None:
    assert all(made[0].outcomes[name] > 0 for name in ("counted", "duplicate", "late", "rejected"))
    assert all(made[0].kinds[kind] > 100 for kind in KINDS)


def test_the_recount_finds_the_outcomes_that_were_made(made: tuple[Flow, Recounted]) -> None:
    flow, recounted = made
    outcomes: Counter[str] = Counter()
    for (_, outcome), number in recounted.outcomes.items():
        outcomes[outcome] += number
    assert outcomes == flow.outcomes


def sums(value: dict[str, Any]) -> list[int]:
    return [value["counts"][name] for name in NAMES[:-1]] + [value["gmv_minor"].get("IDR", 0)]


def test_the_recount_finds_the_sums_that_were_made(made: tuple[Flow, Recounted]) -> None:
    flow, recounted = made
    found = {
        (value["session_id"], value["start"]): sums(value)
        for value in recounted.windows.values()
        if value["window"] == "1m" and any(sums(value))
    }
    assert found == {(session, start): each for session, start, each in flow.expected()}


def test_the_same_seed_makes_the_same_events() -> None:
    assert Flow(5, START, seed=4).make(300, 1000) == Flow(5, START, seed=4).make(300, 1000)


# -- the verdict


class Written(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Offline(Verdict):
    """Told what is written, instead of reading it."""

    def __init__(self, flow: Flow) -> None:
        self.windows, self.sessions = {}, {}
        self.letters = Counter()
        self._faults = []
        self._flow = flow


def written(recounted: Recounted, letters: bool = True) -> list[Written]:
    """Outputs that are just right."""
    found = [
        Written(topic, key.encode(), orjson.dumps({"revision": 1, **value}))
        for topic, values in (("live.session-windows", recounted.windows), ("live.sessions", recounted.sessions))
        for key, value in values.items()
    ]
    if letters:
        reasons = recounted.dead.values()
        found += [Written("live.dead-letters", b"", b"", (("liveshop-reason", each.encode()),)) for each in reasons]
    return found


def faults(flow: Flow, records: list[Written]) -> list[str]:
    verdict = Offline(flow)
    verdict.take(records)
    return verdict.faults()


def test_the_right_outputs_have_no_fault(made: tuple[Flow, Recounted]) -> None:
    assert faults(made[0], written(made[1])) == []


def test_a_window_that_is_missing_is_found(made: tuple[Flow, Recounted]) -> None:
    outputs = [each for each in written(made[1]) if each.topic == "live.session-windows"]
    assert any("is missing" in each for each in faults(made[0], outputs[1:]))


def test_a_window_that_has_too_much_is_found(made: tuple[Flow, Recounted]) -> None:
    first, *others = written(made[1])
    value = orjson.loads(first.value)
    value["counts"]["likes"] += 5
    (found,) = faults(made[0], [first._replace(value=orjson.dumps(value)), *others])
    assert "likes" in found


def test_a_result_that_is_written_twice_is_found(made: tuple[Flow, Recounted]) -> None:
    outputs = written(made[1])
    (found,) = faults(made[0], [outputs[0], *outputs])
    assert "revision 1 follows 1" in found


def test_dead_letters_that_are_missing_are_found(made: tuple[Flow, Recounted]) -> None:
    (found,) = faults(made[0], written(made[1], letters=False))
    assert "dead letters" in found


# -- latencies


def test_a_record_is_visible_when_the_checkpoint_says_so() -> None:
    visible = Visible()
    at = visible._looked
    visible.appended(Appended(("t", 0), 0, 10, round(at * 1000)))
    visible.committed({("t", 0): 4}, {0: at + 0.5}, at + 0.6)
    visible.committed({("t", 0): 10}, {0: at + 0.5}, at + 0.9)  # its checkpoint is not shown yet: now, at the latest
    assert [(round(seconds, 1), number) for _, seconds, number in visible.found] == [(0.5, 4), (0.9, 6)]
    assert [round(each, 1) for each in percentiles(visible.found, 0.3, 0.5, 1.0)] == [0.5, 0.9, 0.9]


def test_a_goal_is_met_or_missed() -> None:
    assert against(0.7, 0.7, "s") == "0.70 s (goal 0.7 s: met)"
    assert against(71, 50, "ms", ".0f") == "71 ms (goal 50 ms: MISSED)"
