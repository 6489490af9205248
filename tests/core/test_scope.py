"""A run of its own, and a part of the results: the same values but for the run, and of them those of the part."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.counts import NEVER, Counts
from stream.core.scope import Scope
from stream.core.shard import Shard
from stream.model.alerts import Alert, Severity, Status
from stream.model.names import KINDS
from tests.core.alerts.test_alerting import COMPILED
from tests.core.test_shard import T0, Room
from tests.core.worlds import POLICY, Driver, Step, Told, World, schedules, without, worlds
from tests.examples import examples

MINUTE = 60_000
SESSIONS = (frozenset[bytes](), frozenset({b"s0"}), frozenset({b"s0", b"s1"}), frozenset({b"other"}))


def told(world: World, schedule: tuple[Step, ...], **options: Any) -> Told:
    return Driver(world, POLICY, COMPILED, **options).run(schedule)


def runs(values: dict[str, dict[str, Any]]) -> set[str]:
    return {value["run"] for value in values.values()}


@settings(max_examples=examples(60))
@given(worlds, schedules)
def test_a_run_of_another_name_writes_the_same_but_its_name(world: World, schedule: tuple[Step, ...]) -> None:
    live, other = told(world, schedule), told(world, schedule, run="friday")
    assert runs(other.windows) | runs(other.sessions) | {alert.run for alert in other.alerts} <= {"friday"}
    assert without(other.windows, "run") == without(live.windows, "run")
    assert without(other.sessions, "run") == without(live.sessions, "run")
    assert [(alert.key(), alert.at, alert.status) for alert in other.alerts] == [
        (alert.key(), alert.at, alert.status) for alert in live.alerts
    ]
    assert (other.dead, other.outcomes) == (live.dead, live.outcomes)


@settings(max_examples=examples(60))
@given(worlds, schedules, st.integers(-2, 4), st.integers(0, 4), st.sampled_from(SESSIONS))
def test_of_a_scope_all_is_written_that_is_in_it_and_nothing_else(
    world: World, schedule: tuple[Step, ...], begin: int, length: int, sessions: frozenset[bytes]
) -> None:
    scope = Scope(T0 + begin * MINUTE, T0 + (begin + length) * MINUTE, sessions)
    whole, part = told(world, schedule), told(world, schedule, scope=scope)
    assert part.windows == {
        key: value
        for key, value in whole.windows.items()
        if scope.from_ms <= value["start"] and value["end"] <= scope.to_ms and wanted(scope, value)
    }
    assert part.sessions == {
        key: value for key, value in whole.sessions.items() if wanted(scope, value) and lives(scope, value)
    }
    assert part.alerts == [
        alert for alert in whole.alerts if scope.from_ms < alert.at <= scope.to_ms and of(scope, alert)
    ]
    assert (part.dead, part.outcomes) == (whole.dead, whole.outcomes), "what is counted does not depend on it"


def wanted(scope: Scope, value: dict[str, Any]) -> bool:
    return not scope.sessions or value["session_id"].encode() in scope.sessions


def of(scope: Scope, alert: Alert) -> bool:
    named = not scope.sessions or alert.session_id.encode() in scope.sessions
    return named and scope.from_ms < alert.at <= scope.to_ms


def lives(scope: Scope, value: dict[str, Any]) -> bool:
    if not wanted(scope, value) or "first_event" not in value:
        return wanted(scope, value)
    return bool(value["first_event"] < scope.to_ms and value["last_event"] >= scope.from_ms)


@settings(max_examples=examples(20))
@given(worlds, schedules)
def test_sellers_are_those_that_the_results_name(world: World, schedule: tuple[Step, ...]) -> None:
    whole = told(world, schedule)
    sellers = sorted({value["seller_id"] for value in whole.windows.values() if "seller_id" in value})[:1]
    part = told(world, schedule, scope=Scope(0, 2**62, sellers=frozenset([*sellers, "nobody"])))
    assert part.windows == {key: value for key, value in whole.windows.items() if value.get("seller_id") in sellers}
    assert {alert.seller_id for alert in part.alerts} <= {*sellers, "nobody"}


def test_a_live_shard_has_no_scope() -> None:
    assert Shard(POLICY).run == "live"
    assert Shard(POLICY).scope is None


def counts(first: int, last: int, seller: str = "a") -> Counts:
    found = Counts()
    found.first_event, found.last_event, found.seller = first, last, seller
    return found


def alert(at: int, seller: str = "a", session: str = "s") -> Alert:
    return Alert(
        alert="x", session_id=session, seller_id=seller, status=Status.FIRING, severity=Severity.PAGE, since=0, at=at,
        run="live", summary="", runbook="", values={}, id="0" * 16,
    )  # fmt: skip


def test_a_window_is_wholly_inside_totals_overlap_and_an_alert_is_of_a_slide_that_ends_inside() -> None:
    scope = Scope(100, 200)
    assert [scope.has_window(*span) for span in ((100, 200), (99, 150), (150, 201), (120, 130))] == [
        *(True, False, False, True),
    ]
    spans = ((0, 99), (0, 100), (199, 500), (200, 500), (NEVER, NEVER), (NEVER, 50))
    assert [scope.has_totals(b"s", counts(*span)) for span in spans] == [False, True, True, False, True, True]
    assert [scope.has_alert(alert(at)) for at in (100, 101, 200, 201)] == [False, True, True, False]


def test_a_scope_is_of_all_sessions_and_sellers_or_of_those_named() -> None:
    scope = Scope(100, 200, frozenset({b"s"}), frozenset({"a"}))
    pairs = [(key, seller) for key in (b"s", b"t") for seller in ("a", "b")]
    assert [scope.has(*pair) for pair in pairs] == [True, True, True, False]
    assert [scope.has_totals(key, counts(100, 150, seller)) for key, seller in pairs] == [True, True, True, False]
    alerts = [scope.has_alert(alert(150, seller, key.decode())) for key, seller in pairs]
    assert alerts == [True, True, True, False]
    assert all(Scope(100, 200).has(*pair) for pair in pairs)


def test_of_one_session_windows_and_totals_are_written_and_of_others_none() -> None:
    room = Room(scope=Scope(T0, T0 + 10 * MINUTE, frozenset({b"s1"})))
    for session in ("s1", "s2"):
        for minute in (0, 5):
            for kind in KINDS:
                room.see(kind, T0 + minute * MINUTE, session_id=session, checkout_id=f"{session}/{minute}")
    room.settle()
    assert {key.split("/")[0] for key in room.windows} == {"s1"}
    assert {value["session_id"] for value in room.sessions} == {"s1"}
