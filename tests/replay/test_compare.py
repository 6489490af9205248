"""What a replay counted is compared with what was counted live: what differs, by how much, and what cannot be compared."""

import json
from collections.abc import Iterable
from typing import Any, Final

import pytest

from stream.replay.compare import (
    NOT_COMPARED,
    SESSIONS,
    Change,
    Comparison,
    Verdict,
    changes,
    is_partial,
    leaves,
    plain,
)
from stream.replay.results import GONE, Head, LastResults, Wanted
from tests.replay.test_results import totals, window
from tests.test_schemas import EXAMPLES, check

FROM, TO = 60_000, 180_000
WANTED: Final = Wanted(FROM, TO)


def results(records: Iterable[tuple[bytes, bytes]], kept_from: int | None = None) -> LastResults:
    found = LastResults(WANTED)
    for key, value in records:
        found.add(key, value)
    found.kept_from = kept_from
    return found


def compared(
    live: Iterable[tuple[bytes, bytes]],
    replay: Iterable[tuple[bytes, bytes]],
    kept_from: int | None = None,
    top: int = 20,
) -> Comparison:
    found = Comparison(FROM, TO, 1_000, top)
    found.add(results(live, kept_from), results(replay))
    return found


def counted(views: int, session: str = "7", start: int = FROM, **more: Any) -> tuple[bytes, bytes]:
    return window(session, start, counts={"views": views, "watch_ms": views * 1000}, **more)


def test_who_wrote_it_when_and_why_makes_no_difference() -> None:
    other: dict[str, Any] = {
        "run": "friday",
        "revision": 9,
        "generation": 0,
        "reason": "end_of_input",
        "status": "ended",
    }
    assert other.keys() == NOT_COMPARED
    found = compared([counted(3)], [counted(3, **other)])
    assert found.tallies["1m"] == {Verdict.EQUAL: 1}
    assert found.equal
    assert not found.largest


def test_a_change_says_what_and_by_how_much() -> None:
    live = {"counts": {"views": 3, "likes": 1}, "rates": {"ctr": 0.25}, "title": "a", "gmv_minor": {}}
    replay = {"counts": {"views": 5, "likes": 1}, "rates": {"ctr": 0.15}, "title": "b", "gmv_minor": {"IDR": 7}}
    assert changes(live, replay) == [
        Change("counts.views", 3, 5, 2),
        Change("rates.ctr", 0.25, 0.15, -0.1),
        Change("title", "a", "b"),
        Change("gmv_minor.IDR", 0, 7, 7),
    ]


def test_elements_of_lists_are_compared_by_their_ids_wherever_they_stand() -> None:
    one, two = {"product_id": "p1", "orders_paid": 2}, {"product_id": "p2", "orders_paid": 2}
    rest = {"rest": 3, "orders_paid": 1}
    live = {"products": [one, two, rest], "asked": [{"number": 2, "comments": 9}], "platforms": ["a"]}
    replay = {
        "products": [{**two, "orders_paid": 3}, one, {**rest, "rest": 2}, {"unnamed": True, "orders_paid": 4}],
        "asked": [{"number": 2, "comments": 8}],
        "platforms": ["b"],
    }
    assert [(each.name, each.difference) for each in changes(live, replay)] == [
        ("products[p2].orders_paid", 1),
        ("products[rest].rest", -1),
        ("asked[2].comments", -1),
        ("platforms[0]", None),
        ("products[unnamed].unnamed", None),
        ("products[unnamed].orders_paid", None),
    ]


def test_every_leaf_of_a_real_result_has_a_path_of_its_own() -> None:
    files = [file for file in EXAMPLES if file.parts[-3] in {"session-windows", "sessions"}]
    assert files
    for file in files:
        value = json.loads(file.read_text())
        paths = [path for path, _ in leaves(value)]
        assert len(set(paths)) == len(paths), file.name


def test_what_only_one_side_has() -> None:
    found = compared([counted(3), counted(4, start=120_000)], [counted(3), counted(5, "8")])
    assert found.tallies["1m"] == {Verdict.EQUAL: 1, Verdict.ONLY_LIVE: 1, Verdict.ONLY_REPLAY: 1}
    assert [(each.session_id, each.verdict, each.events) for each in found.largest] == [
        ("8", Verdict.ONLY_REPLAY, 5),
        ("7", Verdict.ONLY_LIVE, 4),
    ]
    assert not found.equal


def test_what_retention_has_deleted_live_is_told_from_what_was_never_there() -> None:
    """The oldest record that is left was written at 122,000; events may be a second ahead of the broker's clock."""
    replay = [counted(1, start=60_000), counted(1, "8", start=62_999), counted(1, "9", start=63_000)]
    found = compared([], replay, kept_from=122_000)
    assert found.tallies["1m"] == {Verdict.LIVE_EXPIRED: 2, Verdict.ONLY_REPLAY: 1}
    assert not found.equal
    gone = compared([], replay, kept_from=GONE)
    assert gone.tallies["1m"] == {Verdict.LIVE_EXPIRED: 3}
    assert not gone.equal, "nothing could be compared"


def test_an_expired_window_beside_equal_ones_is_no_difference() -> None:
    assert compared([counted(1, start=120_000)], [counted(1), counted(1, start=120_000)], kept_from=130_000).equal


def test_nothing_on_either_side_is_no_difference() -> None:
    assert compared([], []).equal


@pytest.mark.parametrize(
    ("first", "end", "partial"),
    [(FROM, TO - 1, False), (FROM - 1, TO - 1, True), (FROM, TO, True), (-1, -1, True), (70_000, 80_000, False)],
)
def test_a_session_that_an_end_of_the_range_cuts_is_partial(first: int, end: int, *, partial: bool) -> None:
    head = Head("7", 0, 1, "live", first_event=first, last_event=end)
    assert is_partial(FROM, TO, [head]) is partial
    inside = Head("7", 0, 1, "r", first_event=FROM, last_event=TO - 1)
    assert is_partial(FROM, TO, [inside, head]) is partial, "one of the two knows it"


def test_totals_are_compared_unless_they_are_partial() -> None:
    inside = {"first_event": FROM, "last_event": TO - 1, "counts": {"views": 3}}
    live = [totals("7", **inside), totals("8", **inside), totals("9", **inside | {"last_event": TO})]
    replay = [totals("7", **inside), totals("8", **inside | {"counts": {"views": 1}}), totals("9", **inside)]
    found = compared(live, replay)
    assert found.tallies[SESSIONS] == {Verdict.EQUAL: 1, Verdict.CHANGED: 1, Verdict.PARTIAL: 1}
    assert [(each.session_id, each.window, each.start, each.end) for each in found.largest] == [("8", "", FROM, TO - 1)]


def test_the_largest_are_kept_by_events_and_not_by_milliseconds_watched() -> None:
    live = [counted(10, str(number)) for number in range(9)]
    replay = [counted(10 + number, str(number)) for number in range(8)] + [
        window("8", FROM, counts={"views": 10, "watch_ms": 1})
    ]
    found = compared(live, replay, top=3)
    assert [(each.session_id, each.events) for each in found.largest] == [("7", 7), ("6", 6), ("5", 5)]
    assert found.tallies["1m"] == {Verdict.EQUAL: 1, Verdict.CHANGED: 8}, "all of them are counted"


def test_sums_say_what_all_of_it_comes_to() -> None:
    live = [counted(3, gmv_minor={"IDR": 10}), counted(4, "8")]
    found = compared(live, [counted(3, gmv_minor={"IDR": 25}), counted(6, "9")])
    assert plain(found)["sums"]["1m"] == [
        {"name": "counts.views", "live": 7, "replay": 9, "difference": 2},
        {"name": "counts.watch_ms", "live": 7000, "replay": 9000, "difference": 2000},
        {"name": "gmv_minor.IDR", "live": 10, "replay": 25, "difference": 15},
    ]


def test_results_of_the_replay_that_lost_input_are_counted() -> None:
    assert compared([counted(3)], [counted(3, incomplete=True)]).incomplete["1m"] == 1


def test_the_json_has_the_schema_it_is_said_to_have() -> None:
    inside = {"first_event": FROM, "last_event": TO - 1, "counts": {"views": 3}}
    found = compared([counted(3), totals("7", **inside)], [counted(4, title="t", incomplete=True)])
    check("replay-diff", {"id": "friday", **plain(found)})
