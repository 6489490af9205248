"""A replay writes what a worker has written of the range, and counts the same records wherever it was interrupted."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.scope import Scope
from stream.core.windows import FAR_AHEAD
from stream.model.names import KINDS, Closed, Kind, Reason
from stream.model.results import Record
from stream.replay.file_source import FileRecord
from stream.replay.machine import ReplayShard
from tests.core.alerts.test_alerting import COMPILED
from tests.core.test_shard import T0
from tests.core.worlds import POLICY, Driver, Step, Told, World, schedules, without, worlds
from tests.examples import examples
from tests.replay.tools import START, event

MINUTE = 60_000
spans = st.tuples(st.integers(-2, 4), st.integers(1, 4)).map(
    lambda span: Scope(T0 + span[0] * MINUTE, T0 + sum(span) * MINUTE)
)


def replayed(world: World, scope: Scope, schedule: tuple[Step, ...] = ()) -> Told:
    driver = Driver(world, POLICY, COMPILED, made=ReplayShard, scope=scope, run="friday")
    return driver.run(schedule)


def bare(values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return without(values, "run", "reason", "revision", "generation")


@settings(max_examples=examples(100))
@given(worlds, schedules, schedules, spans)
def test_windows_of_an_untouched_range_are_those_of_the_worker(
    world: World, live: tuple[Step, ...], schedule: tuple[Step, ...], scope: Scope
) -> None:
    told = Driver(world, POLICY, COMPILED).run(live)
    expected = {key: value for key, value in told.windows.items() if scope.has_window(value["start"], value["end"])}
    found = replayed(world, scope, schedule)
    assert bare(found.windows) == bare(expected)
    assert found.alerts == [] or {alert.run for alert in found.alerts} == {"friday"}
    assert found.dead.items() <= told.dead.items()


@settings(max_examples=examples(100))
@given(worlds, schedules, spans)
def test_wherever_it_is_interrupted_it_counts_the_same_records(
    world: World, schedule: tuple[Step, ...], scope: Scope
) -> None:
    undisturbed, found = replayed(world, scope), replayed(world, scope, schedule)
    assert found.comparable() == undisturbed.comparable()


def shard(scope: Scope) -> ReplayShard:
    return ReplayShard(POLICY, scope=scope, run="friday")


def views(*times: int, offset: int = 0) -> list[Record]:
    return [
        FileRecord(offset + number, START + time, b"7", event(Kind.VIEWS, offset + number, time))
        for number, time in enumerate(times)
    ]


def test_the_record_that_brings_the_clock_to_the_end_is_the_last_one_counted() -> None:
    made = shard(Scope(START, START + MINUTE))
    beyond = MINUTE + POLICY.bound_ms
    made.read(Kind.VIEWS, views(0, beyond - 1, beyond, 3, beyond + 1))
    assert made.is_over(Kind.VIEWS)
    assert made.positions[Kind.VIEWS] == 3
    made.read(Kind.VIEWS, views(beyond + 5, offset=5))
    assert made.positions[Kind.VIEWS] == 3
    assert not made.is_over(Kind.CHECKOUTS)


def test_checkouts_are_read_on_for_late_orders() -> None:
    made = shard(Scope(START, START + MINUTE))
    for minutes, over in (
        (1, False),
        (POLICY.session_keep_ms // MINUTE, False),
        (POLICY.session_keep_ms // MINUTE + 1, True),
    ):
        time = minutes * MINUTE
        made.read(Kind.CHECKOUTS, [FileRecord(0, START + time, b"7", event(Kind.CHECKOUTS, minutes, time))])
        assert made.is_over(Kind.CHECKOUTS) == over


def test_dead_letters_of_the_lead_in_and_of_behind_are_left_out() -> None:
    made = shard(Scope(START + MINUTE, START + 2 * MINUTE))
    beyond = 2 * MINUTE + POLICY.bound_ms
    bad = [b"{", b"{}", b"[]"]
    rows: list[Record] = []
    for at, value in zip((0, MINUTE, beyond), bad, strict=True):
        rows += views(at, offset=len(rows))
        rows.append(FileRecord(len(rows), START + at, b"7", value))
    made.read(Kind.VIEWS, rows)
    outputs = made.collect()
    assert outputs is not None
    assert [letter.record.offset for letter in outputs.dead_letters] == [3]


def test_letters_of_others_are_left_out_where_sessions_or_sellers_are_named() -> None:
    def letters(**named: Any) -> list[int]:
        made = shard(Scope(START, START + MINUTE, **named))
        future = POLICY.max_future_ms + 1
        rows: list[Record] = [
            *views(0),
            FileRecord(1, START, b"7", event(Kind.VIEWS, 1, future)),
            FileRecord(2, START, b"8", event(Kind.VIEWS, 2, future, session_id="8", seller_id="s2")),
            FileRecord(3, START, b"9", b"{"),
        ]
        made.read(Kind.VIEWS, rows)
        outputs = made.collect()
        assert outputs is not None
        assert outputs.tally.reasons()[Reason.FUTURE] == 2
        return [letter.record.offset for letter in outputs.dead_letters]

    assert letters() == [1, 2, 3]
    assert letters(sessions=frozenset({b"7"})) == [1]
    assert letters(sellers=frozenset({"s2"})) == [2]
    assert letters(sessions=frozenset({b"9"}), sellers=frozenset({"s1"})) == [1, 3]


def test_no_wall_clock_closes_anything_and_the_end_of_the_input_does() -> None:
    made = shard(Scope(START // MINUTE * MINUTE, START + 10 * MINUTE))
    made.read(Kind.VIEWS, views(0))
    for kind in KINDS:
        made.exclude(kind)
    made.quiet(START + 60 * MINUTE)
    while made.work(100):
        pass
    outputs = made.collect()
    assert outputs is not None
    assert not outputs.windows
    made.committed(outputs.checkpoint, 0)
    made.finish()
    while made.work(100):
        pass
    outputs = made.collect()
    assert outputs is not None
    assert {reason for (_, reason) in outputs.tally.windows} == {Closed.END_OF_INPUT}
    assert made.event_time.wall == FAR_AHEAD
