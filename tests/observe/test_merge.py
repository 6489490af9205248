"""One page of several: the sum of its parts, and never a step back."""

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from stream.config import Settings
from stream.kafka.metrics_hooks import Activity
from stream.model.names import Kind
from stream.model.results import SessionView, ShardView
from stream.observe import catalog
from stream.observe.merge import RULES, Merge, Page, read
from stream.observe.metrics import Metrics
from tests.observe.views import session, tally, view
from tests.support import PATIENCE

Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def page_of(metrics: Metrics) -> Page:
    return read(generate_latest(metrics.registry).decode())


def numbers(families: Iterable[Family]) -> Numbers:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith(catalog.PREFIX)
    }


def counter(values: Mapping[str, float]) -> Page:
    lines = [f'done_total{{what="{what}"}} {value!r}' for what, value in values.items()]
    return read("\n".join(["# TYPE done_total counter", *lines, ""]))


def sums(merge: Merge) -> dict[str, float]:
    return {sample.labels["what"]: sample.value for family in merge.families([]) for sample in family.samples}


# Counters

AMOUNTS = st.one_of(st.integers(0, 10**9).map(float), st.floats(0, 1e6))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(0, 3), st.sampled_from("ab"), AMOUNTS),
        st.tuples(st.just("look"), st.sets(st.integers(0, 3))),
        st.tuples(st.just("restart"), st.integers(0, 3)),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_merged_counter_never_goes_back_and_is_the_sum_of_what_was_seen(steps: list[Any]) -> None:
    merge = Merge(0)
    lives = dict.fromkeys(range(4), 1)
    counted: dict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    seen: dict[tuple[int, int], dict[str, float]] = {}
    before: dict[str, float] = {}
    for step in steps:
        match step:
            case ("count", process, what, amount):
                mine = counted[process, lives[process]]
                mine[what] = mine.get(what, 0.0) + amount
            case ("restart", process):
                lives[process] += 1
            case ("look", processes):
                for process in processes:
                    seen[process, lives[process]] = dict(counted[process, lives[process]])
                    merge.note(process, lives[process], counter(seen[process, lives[process]]))
        now = sums(merge)
        assert all(now[what] >= value for what, value in before.items())
        before = now
        expected: dict[str, float] = defaultdict(float)
        for values in seen.values():
            for what, value in values.items():
                expected[what] += value
        assert now == pytest.approx(dict(expected))


def test_a_page_of_an_earlier_life_that_comes_late_changes_nothing() -> None:
    merge = Merge(0)
    merge.note(0, 1, counter({"a": 5}))
    merge.note(0, 2, counter({"a": 1}))
    merge.note(0, 1, counter({"a": 7}))
    assert sums(merge) == {"a": 6}


def test_what_a_process_counted_stays_though_it_does_not_answer() -> None:
    merge = Merge(0)
    merge.note(0, 1, counter({"a": 5}))
    merge.note(1, 1, counter({"b": 2}))
    assert sums(merge) == {"a": 5, "b": 2}


def test_the_last_digit_does_not_go_back_either() -> None:
    """0.1 + 0.4 + 0.1, rounded once, is more by one digit than added one by one."""
    merge = Merge(0)
    for process, value in enumerate((0.1, 0.4, 0.1)):
        merge.note(process, 1, counter({"a": value}))
    before = sums(merge)["a"]
    for process in range(3):
        merge.note(process, 2, counter({"a": 0.0}))
    assert sums(merge)["a"] == before


# All of it: two processes together show what one that has all shards would show


@st.composite
def shard_views(draw: st.DrawFn) -> list[ShardView]:
    """Of a few shards, each with sessions of its own."""
    views = []
    for shard in range(draw(st.integers(0, 4))):
        sessions = [
            _session(draw, f"{shard}-{number}") for number in range(draw(st.integers(0, 5)))
        ]  # a shard hands out as many as are shown
        rest = _session(draw, "") if draw(st.booleans()) else None
        held = len(sessions) + (draw(st.integers(1, 9)) if rest else 0)
        views.append(view(*sessions, rest=rest, sessions_held=held, dedupe_ids=draw(st.integers(0, 99))))
    return views


def _session(draw: st.DrawFn, name: str) -> SessionView:
    events, gmv = draw(st.integers(0, 3)), draw(st.dictionaries(st.sampled_from(["IDR", "USD"]), st.integers(0, 9**9)))
    seller = draw(st.sampled_from(["", "s1", "s2"])) if name else ""
    return session(name, events, views=draw(st.integers(0, 99)), gmv_minor=gmv, seller_id=seller)


def process(views: Mapping[int, ShardView]) -> Metrics:
    metrics = Metrics(Settings(top_sessions=5), clock=lambda: 1_700_000_060.0)
    metrics.assigned(frozenset(views))
    for partition, each in views.items():
        metrics.shard(partition, each)
        metrics.lag(partition, Kind.VIEWS, 10 + partition, 0.5)
        metrics.committed(partition, tally(), 0.25)
        metrics.latency(Kind.VIEWS, 0.5, 100)
        metrics.activity(Activity.COUNT, 0.25)
    return metrics


@settings(max_examples=40)  # 30 ms each
@given(shard_views(), st.sets(st.integers(0, 3)))
def test_two_processes_show_what_one_with_all_shards_shows(views: list[ShardView], first: set[int]) -> None:
    every = dict(enumerate(views))
    parts = [
        {number: each for number, each in every.items() if (number in first) is wanted} for wanted in (True, False)
    ]
    merge = Merge(5)
    pages = [page_of(process(part)) for part in parts]
    for number, page in enumerate(pages):
        merge.note(number, 1, page)
    assert numbers(merge.families(pages)) == pytest.approx(numbers(process(every).registry.collect()), rel=1e-14)


def test_the_busiest_of_all_are_shown_and_the_rest_is_summed() -> None:
    merge = Merge(2)
    pages = []
    for number, names in enumerate((("a", "b", "c"), ("d", "e", "f"))):
        metrics = Metrics(Settings(top_sessions=2))
        metrics.assigned(frozenset({number}))
        busiest = [session(name, 10 * (3 - place) + number, seller_id=f"of-{name}") for place, name in enumerate(names)]
        metrics.shard(number, view(*busiest, sessions_held=3))
        pages.append(page_of(metrics))
        merge.note(number, 1, pages[-1])
    seen = numbers(merge.families(pages))
    shown = {dict(labels)["session_id"]: n for (name, labels), n in seen.items() if name == "liveshop_session_views"}
    assert shown == {"a": 10, "d": 10, "_other": 40}
    sellers = {labels for name, labels in seen if name == "liveshop_session_info"}
    assert {dict(labels)["session_id"]: dict(labels)["seller_id"] for labels in sellers} == {"a": "of-a", "d": "of-d"}
    assert seen["liveshop_sessions_truncated", ()] == 4


def test_a_partition_that_changes_hands_is_not_shown_twice() -> None:
    merge = Merge(5)
    pages = [page_of(process({3: view(state_bytes=size)})) for size in (100, 70)]
    for number, page in enumerate(pages):
        merge.note(number, 1, page)
    seen = numbers(merge.families(pages))
    assert seen["liveshop_state_bytes", (("partition", "3"),)] == 100
    assert seen["liveshop_lag_records", (("partition", "3"), ("topic", "live.views"))] == 13


def test_gauges_of_a_process_that_does_not_answer_are_not_shown() -> None:
    merge = Merge(5)
    gone, there = page_of(process({0: view()})), page_of(process({1: view()}))
    merge.note(0, 1, gone)
    merge.note(1, 1, there)
    seen = numbers(merge.families([there]))
    assert ("liveshop_state_bytes", (("partition", "0"),)) not in seen
    assert seen["liveshop_state_bytes", (("partition", "1"),)] == 4096
    assert seen["liveshop_views_total", ()] == 80


def test_every_gauge_of_a_process_has_a_rule() -> None:
    text = generate_latest(process({0: view(session("a", 1))}).registry).decode()
    gauges = {family.name for family in text_string_to_metric_families(text) if family.type == "gauge"}
    assert gauges <= RULES.keys()


def test_what_is_no_page_of_metrics_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        read("<html>\n")


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=20).filter(lambda text: text != "_other"))
def test_any_session_id_survives(name: str) -> None:
    page = page_of(process({0: view(session(name, 5))}))
    merge = Merge(5)
    merge.note(0, 1, page)
    again = read(exposed(merge.families([page])).decode())
    shown = {
        dict(series.labels)["session_id"]
        for shape, values in again.families.items()
        if shape.name == "liveshop_session_views"
        for series in values
    }
    assert shown == {name, "_other"}


class _Families(Collector):
    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> list[Family]:
        return self._families


def exposed(families: list[Family]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry)


@pytest.mark.parametrize("answering", [0, 1, 2])
def test_promtool_finds_nothing(answering: int) -> None:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing (Debian package prometheus)")
    merge = Merge(5)
    pages = [page_of(process({number: view(session(f"s{number}", 3))})) for number in range(2)]
    for number, page in enumerate(pages):
        merge.note(number, 1, page)
    text = exposed(merge.families(pages[:answering]))
    done = subprocess.run([found, "check", "metrics"], input=text, capture_output=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
