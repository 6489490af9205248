"""A state of an earlier version is gone on with, in its own format until it is upgraded: what is told then is what that
version told. One of a later version that counts more is refused by name.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from stream import __version__
from stream.core.alerts.session_state import unpack_session_state
from stream.core.checkpoint import read_meta
from stream.core.figures import COLUMN, NAMES, UNNAMED_FIGURES
from stream.core.framing import VERSION, LaterStateError, StateError
from stream.core.pages import Pages
from stream.core.policy import MINUTE
from stream.core.shard import Shard
from stream.core.state_format import Meta
from stream.core.statelog import Restored, StateLog
from tests.core.states.make import HERE, RULED, RULES, Kept, Told, gone_on, kept, until_kept
from tests.core.worlds import T0, Driver, World, rules_of
from tests.realert import CLOSING, on_time
from tests.recount import LogRecord

FORMATS: Final = sorted(path.stem for path in HERE.glob("*.state"))
ROOT: Final = Path(__file__).parents[3]
SECONDS: Final = 300
"""Until it is given up, on a machine that does much else."""
MOST_ALERTS: Final = 40
"""Of 80 there are more than that of sessions that viewers kept on air."""
MENDED: Final = {"local_share"}
"""Its formula has changed: cross-border items, which earlier versions did not count, are in its denominator too."""


def driver_of(name: str, *, upgrades: bool = False) -> tuple[Driver, Any]:
    """At the end of what the version wrote."""
    held = kept(name)
    driver = Driver(World(), RULED, RULES, upgrades=upgrades)
    driver.logs = {kind: [LogRecord(str(kind), 0, *record) for record in held.logs[str(kind)]] for kind in driver.logs}
    driver.state = list(held.state)
    driver.now_ms = 3000 * len(held.state)
    return driver, held


def within(told: Any, found: Any, where: str) -> None:
    """All that was told is found; figures that were not known then may stand beside it."""
    if isinstance(told, dict):
        assert isinstance(found, dict), where
        for name, value in told.items():
            if name in MENDED:
                continue
            assert name in found, f"{where}.{name}"
            within(value, found[name], f"{where}.{name}")
    elif isinstance(told, list):
        assert len(told) == len(found), where
        for place, (each, other) in enumerate(zip(told, found, strict=True)):
            within(each, other, f"{where}[{place}]")
    else:
        assert told == found, where


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("upgrades", [False, True])
def test_a_state_of_before_is_gone_on_with(name: str, upgrades: bool) -> None:
    driver, told = driver_of(name, upgrades=upgrades)
    as_told(gone_on(driver), told)


def alerts_as_told(alerts: Sequence[str | bytes], told: Kept) -> None:
    """But for sessions that checkouts had put or kept on air: only views and comments do now. These versions said nothing
    of the digits of money.
    """
    others = by_checkouts(told)

    def of_viewers(told: Sequence[str | bytes]) -> list[Any]:
        found = [alert for alert in map(json.loads, told) if alert["session_id"] not in others]
        return [{name: value for name, value in alert.items() if name != "minor_digits"} for alert in found]

    assert of_viewers(alerts) == of_viewers(told.alerts)
    assert len(of_viewers(told.alerts)) > MOST_ALERTS


def by_checkouts(held: Kept) -> set[str]:
    """Sessions that were on air at the end of a slide, and would not be by views and comments alone."""
    records = [LogRecord(kind, 0, *record) for kind, log in held.logs.items() for record in log]
    found = set()
    for name, events in on_time(records, rules_of(RULED)).items():
        viewed = [event["event_time"] for kind, event in events if kind != "checkouts"]
        every = [event["event_time"] for _, event in events if event.get("status") not in CLOSING]
        ends = range(T0 // RULED.pane_ms * RULED.pane_ms, max(every, default=0) + MINUTE, RULED.pane_ms)
        if any(_on_air(every, end) and not _on_air(viewed, end) for end in ends):
            found.add(name)
    return found


def _on_air(times: list[int], end: int) -> bool:
    return max((time for time in times if time < end), default=-MINUTE) + RULED.session_end_after_ms > end


def results_as_told(windows: Mapping[str, str | bytes], sessions: Mapping[str, str | bytes], told: Kept) -> None:
    """How often totals were written is no function of the logs."""
    for key, value in told.windows.items():
        within(json.loads(value), json.loads(windows[key]), key)
    for key, value in told.sessions.items():
        within(json.loads(value) | {"revision": ...}, json.loads(sessions[key]) | {"revision": ...}, key)


def as_told(found: Told, told: Kept) -> None:
    windows, sessions, alerts, dead = found
    assert (windows.keys(), sessions.keys(), dead) == (told.windows.keys(), told.sessions.keys(), told.dead)
    results_as_told(windows, sessions, told)
    alerts_as_told(alerts, told)


def newest_meta(state: list[tuple[int, bytes]]) -> Meta:
    _, content = StateLog.restore(state, RULED.checkpoint_span)
    return read_meta(content)


def later(*command: str) -> Any:
    """What a later version does, which counts five figures more."""
    program = [sys.executable, "-m", "tests.core.states.later", *command]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(SECONDS + 20)
@pytest.mark.parametrize("name", FORMATS)
def test_figures_that_came_later_begin_at_nothing(name: str) -> None:
    told = kept(name)
    windows, sessions, alerts, dead, held = later("continue", name)
    assert windows.keys() == told.windows.keys()
    assert dead == [list(each) for each in told.dead]
    results_as_told(windows, sessions, told)
    alerts_as_told(alerts, told)
    counted = [figures for session, figures in held.items() if session != "alerts"]
    assert [0, -1, {}, 0, None] in counted, "of a session that was over"
    assert any(waves and tips == {"IDR": 5 * waves} and wavers for waves, _, tips, _, wavers in counted)


@pytest.mark.timeout(SECONDS + 20)
def test_one_figure_more_makes_a_slide_too_long_for_a_size_of_one_byte_and_is_kept_for_versions_that_know_it() -> None:
    now = len(COLUMN)
    figures, is_restored, stored = later("slide", str(now))
    assert figures == now + 2
    assert is_restored
    assert stored == ["list", "bytes"]


@pytest.mark.timeout(SECONDS + 20)
def test_a_state_with_figures_that_this_version_does_not_know_is_refused_with_their_names() -> None:
    held, records = later("write")
    events, waves, tips = held["alerts"]
    assert 0 < events == waves
    assert tips == 5 * waves
    state = [(offset, base64.b64decode(value)) for offset, value in records]
    refusal = (
        f"it holds figures that liveshop {__version__} does not know: waves, height, tips, guests, wavers; "
        "liveshop 99.0 wrote it"
    )
    with pytest.raises(LaterStateError) as error:
        newest_meta(state)
    assert str(error.value) == refusal
    with pytest.raises(LaterStateError) as error:
        Shard.restore(RULED, state, rules=RULES)
    assert str(error.value) == refusal


# -- the way back

Money = dict[str, int]


class Packed3(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Counts as format 3 has them: its last version reads these, and no others."""

    head: int
    views: int
    product_clicks: int
    comments: int
    orders_paid: int
    last_event: int
    label_at: int
    gmv: Money
    rest: list[Any]
    item_value: Money
    local_item_value: Money
    viewers: bytes | None
    buyers: bytes | None
    sources: Any
    breakdowns: tuple[Any, Any, Any, Any]
    incomplete: bool
    late: tuple[list[int], list[Any], tuple[Money, Money, Money], int, int] | None


REST3, SUMS3, MOMENTS3, COLUMN3, NAMED3 = 25, 20, 7, 23, 4
"""Lengths of the arrays in it, of a slide in the history of alerts, and of a session's named ids."""


def check_counts(packed: bytes) -> bool:
    """Whether some of it came late."""
    counts = msgspec.msgpack.decode(packed, type=Packed3)
    assert len(counts.rest) == REST3
    assert counts.late is None or (len(counts.late[0]), len(counts.late[1])) == (SUMS3, MOMENTS3)
    return counts.late is not None


def check_session(packed: bytes) -> None:
    base, named, *_ = msgspec.msgpack.decode(packed)
    if base is not None:
        check_counts(base)
    assert len(named) == NAMED3


def restored(state: list[tuple[int, bytes]]) -> Restored:
    return StateLog.restore(state[-RULED.checkpoint_span :], RULED.checkpoint_span)[1]


def test_a_state_of_format_3_stays_one_that_its_version_can_read() -> None:
    driver, _ = driver_of("format3")
    before = len(driver.state)
    gone_on(driver, 7, to_the_end=False)
    assert {value[0] for _, value in driver.state[before:]} == {3}
    items = restored(driver.state).items
    late = 0
    for key, value in items.items():
        match key[:1]:
            case b"p":
                packed = msgspec.msgpack.decode(value)[1]
                late += bool(packed) and check_counts(packed)
            case b"s":
                check_session(value)
            case b"r":
                for resting in Pages().restore({0: value}, lambda *_: False):
                    check_session(resting.data)
            case _:
                columns = unpack_session_state(key[1:], value).history.columns(0)
                assert {len(column) for column in columns} <= {0, COLUMN3}
    assert late
    assert {key[:1] for key in items} == {b"p", b"s", b"r", b"a"}


def form(state: list[tuple[int, bytes]]) -> tuple[int, list[str]]:
    """The number and the figures of the newest checkpoint."""
    return state[-1][1][0], newest_meta(state).figures


def test_a_state_is_upgraded_on_demand_though_nothing_comes_and_a_new_one_is_of_the_newest_format() -> None:
    driver, _ = driver_of("format3")
    driver.crash()
    assert driver.shard.kept_format is not None
    assert driver.shard.kept_format.startswith("3, without gifts, gift_value, discounted_orders, ")
    assert not driver.checkpoint()
    driver.shard.upgrade()
    assert driver.checkpoint()
    assert form(driver.state) == (VERSION, NAMES)
    assert form(until_kept().state) == (VERSION, NAMES)
    driver.crash()
    assert driver.shard.kept_format is None, "there is no way back"


@pytest.mark.timeout(SECONDS + 20)
@pytest.mark.parametrize("name", FORMATS)
def test_a_version_goes_on_with_what_a_later_one_has_kept_in_its_format(name: str) -> None:
    """The release is rolled back: all that was told by both together is what the first version told by itself."""
    windows, sessions, alerts, dead, records = later("keep", name)
    driver, told = driver_of(name)
    before = form(driver.state)
    driver.state = [(offset, base64.b64decode(value)) for offset, value in records]
    assert form(driver.state) == (before[0], before[1] or list(UNNAMED_FIGURES))
    assert newest_meta(driver.state).version == "99.0"
    driver.now_ms = 3000 * len(driver.state)
    found = gone_on(driver, 5)
    earlier = [{key: value.encode() for key, value in each.items()} for each in (windows, sessions)]
    dead = sorted([*(tuple(each) for each in dead), *found[3]])
    as_told((earlier[0] | found[0], earlier[1] | found[1], [each.encode() for each in alerts] + found[2], dead), told)


# -- names


def test_figures_in_another_order_are_refused() -> None:
    meta = newest_meta(kept("format3").state)
    meta.figures = [NAMES[1], NAMES[0], *NAMES[2:]]
    with pytest.raises(StateError, match=r"^it holds its figures in another order .*: views for impressions$"):
        read_meta(Restored(msgspec.msgpack.encode(meta)))


def test_a_checkpoint_names_its_figures_and_the_version_that_wrote_it() -> None:
    assert newest_meta(kept("format3").state).figures == []
    meta = newest_meta(until_kept().state)
    assert (meta.figures, meta.version) == (NAMES, __version__)
