"""A state of an earlier version is gone on with: what is told then is what that version told. One of a later version that
counts more is refused by name.
"""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from stream import __version__
from stream.core.checkpoint import read_meta
from stream.core.figures import NAMES
from stream.core.framing import LaterStateError, StateError
from stream.core.shard import Shard
from stream.core.state_format import Meta
from stream.core.statelog import Restored, StateLog
from tests.core.states.make import HERE, RULED, RULES, gone_on, kept, until_kept
from tests.core.worlds import Driver, World
from tests.recount import LogRecord

FORMATS: Final = sorted(path.stem for path in HERE.glob("*.state"))
ROOT: Final = Path(__file__).parents[3]
SECONDS: Final = 300
"""Until it is given up, on a machine that does much else."""
MENDED: Final = {"local_share"}
"""Its formula has changed: cross-border items, which earlier versions did not count, are in its denominator too."""


def driver_of(name: str) -> tuple[Driver, Any]:
    """At the end of what the version wrote."""
    held = kept(name)
    driver = Driver(World(), RULED, RULES)
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
def test_a_state_of_before_is_gone_on_with(name: str) -> None:
    driver, told = driver_of(name)
    windows, sessions, alerts, dead = gone_on(driver)
    assert (windows.keys(), sessions.keys(), dead) == (told.windows.keys(), told.sessions.keys(), told.dead)
    for key, value in (told.windows | told.sessions).items():
        within(json.loads(value), json.loads((windows | sessions)[key]), key)
    assert alerts == told.alerts


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
    for key, value in (told.windows | told.sessions).items():
        within(json.loads(value), json.loads((windows | sessions)[key]), key)
    assert alerts == [each.decode() for each in told.alerts]
    counted = [figures for session, figures in held.items() if session != "alerts"]
    assert [0, -1, {}, 0, None] in counted, "of a session that was over"
    assert any(waves and tips == {"IDR": 5 * waves} and wavers for waves, _, tips, _, wavers in counted)


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


def test_figures_in_another_order_are_refused() -> None:
    meta = newest_meta(kept("format3").state)
    meta.figures = [NAMES[1], NAMES[0], *NAMES[2:]]
    with pytest.raises(StateError, match=r"^it holds its figures in another order .*: views for impressions$"):
        read_meta(Restored(msgspec.msgpack.encode(meta)))


def test_a_checkpoint_names_its_figures_and_the_version_that_wrote_it() -> None:
    assert newest_meta(kept("format3").state).figures == []
    meta = newest_meta(until_kept().state)
    assert (meta.figures, meta.version) == (NAMES, __version__)
