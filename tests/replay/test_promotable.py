"""Which sessions are promoted: whole ones that have ended and differ."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from stream.core.policy import MINUTE, Policy, WindowSpec
from stream.replay.promotable import Both, Session, Standing, by_session, standing
from stream.replay.results import LastResults, Wanted
from tests.replay.test_plan import a_plan

PLAN = a_plan(policy=replace(Policy(), windows=(WindowSpec("1m", MINUTE, MINUTE),)).deciding())
WANTED = Wanted.of(PLAN)


def results(*values: dict[str, Any]) -> LastResults:
    found = LastResults(WANTED)
    for value in values:
        found.add(value.pop("key").encode(), msgspec.json.encode(value))
    return found


def window(start: int = 60_000, session: str = "s", **more: Any) -> dict[str, Any]:
    head = {
        "session_id": session,
        "window": "1m",
        "start": start,
        "end": start + 60_000,
        "generation": 0,
        "run": "live",
    }
    return {"key": f"{session}/1m/{start}", **head, "revision": 1, "counts": {"views": 1}, **more}


def totals(session: str = "s", **more: Any) -> dict[str, Any]:
    head = {"session_id": session, "generation": 0, "run": "live", "revision": 1, "status": "ended"}
    return {"key": session, **head, "first_event": 70_000, "last_event": 90_000, "counts": {"views": 1}, **more}


def session_of(live: list[dict[str, Any]], replay: list[dict[str, Any]]) -> Session:
    """Windows and totals of both."""

    def parted(values: list[dict[str, Any]]) -> tuple[LastResults, LastResults]:
        return results(*(v for v in values if "window" in v)), results(*(v for v in values if "window" not in v))

    (live_windows, live_totals), (windows, whole) = parted(live), parted(replay)
    [found] = by_session(Both((live_windows, windows), (live_totals, whole))).values()
    return found


MORE: dict[str, Any] = {"counts": {"views": 2}}


@pytest.mark.parametrize(
    ("live", "replay", "expected"),
    [
        ([window(), totals()], [window(run="r", revision=7), totals(run="r")], Standing.EQUAL),
        ([window(), totals()], [window(**MORE), totals(**MORE)], Standing.PROMOTED),
        ([window(), totals()], [window(**MORE), totals()], Standing.PROMOTED),
        ([window(), window(120_000), totals()], [window(), totals()], Standing.PROMOTED),
        ([], [window(), totals()], Standing.PROMOTED),
        ([window(), totals()], [], Standing.PROMOTED),
        ([window(), totals(status="open")], [window(**MORE), totals()], Standing.OPEN),
        ([window(), totals(first_event=59_999)], [window(**MORE), totals()], Standing.PARTIAL),
        ([window(), totals()], [window(**MORE), totals(last_event=180_000)], Standing.PARTIAL),
        ([window()], [window(**MORE)], Standing.PARTIAL),
    ],
)
def test_whole_sessions_that_have_ended_and_differ_are_promoted(
    live: list[dict[str, Any]], replay: list[dict[str, Any]], expected: Standing
) -> None:
    assert standing(session_of([dict(each) for each in live], [dict(each) for each in replay]), PLAN, None) is expected


def test_a_session_of_which_a_window_reaches_beyond_the_range_is_partial() -> None:
    """That window is not counted by the replay, and would stay as it is beside the others."""
    plan = a_plan(policy=replace(Policy(), windows=(WindowSpec("2m", 2 * MINUTE, MINUTE),)).deciding())
    inside = totals(first_event=120_000, last_event=119_999)
    assert (
        standing(session_of([window(), dict(inside)], [window(**MORE), dict(inside)]), plan, None) is Standing.PROMOTED
    )
    for span in ({"first_event": 119_999}, {"last_event": 120_000}):
        found = session_of([window(), totals(**{**inside, **span})], [window(**MORE), totals(**{**inside, **span})])
        assert standing(found, plan, None) is Standing.PARTIAL


def test_what_retention_may_have_deleted_is_not_taken_for_nothing() -> None:
    found = session_of([], [window(), totals()])
    assert standing(found, PLAN, PLAN.from_ms + 1) is Standing.EXPIRED
    assert standing(found, PLAN, PLAN.from_ms) is Standing.PROMOTED
