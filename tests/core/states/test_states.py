"""A state of an earlier version is gone on with: what is told then is what that version told."""

import json
from typing import Any

import pytest

from tests.core.states.make import HERE, RULED, RULES, gone_on, kept
from tests.core.worlds import Driver, World
from tests.recount import LogRecord

FORMATS = sorted(path.stem for path in HERE.glob("*.state"))


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
