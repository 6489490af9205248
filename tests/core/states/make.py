"""Writes a state with this version, and what this version tells when it goes on with it, for later versions to go on with.

``python -m tests.core.states.make format3`` has made ``format3.state`` at commit a1677ac, the last that wrote format 3.
A file that is there is never made again: the version that could is gone.
"""

import sys
import zlib
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from stream.core.alerts.rules import Rules
from stream.core.policy import Policy
from stream.model.alerts import Rule, Severity
from stream.model.names import KINDS, Kind
from stream.model.results import Outputs
from tests.core.worlds import POLICY, SECOND, STATUSES, VIEW_ACTIONS, Driver, Happening, World, replace

HERE: Final = Path(__file__).parent
RULED: Final[Policy] = replace(POLICY, session_keep_ms=1000 * SECOND, late_totals_ms=0)
"""Without late orders: the versions of before knew none."""


def _rule(alert: str, when: str, **more: Any) -> Rule:
    usual: dict[str, Any] = {"window_ms": 20 * SECOND, "severity": Severity.TICKET, "runbook": "none"}
    return Rule(alert=alert, when=when, **(usual | more))


RULES: Final = Rules(
    [
        _rule("clicks", "w.product_clicks >= 2.0 && w.ctor < 0.9", summary="{product_clicks:.0f} of {views:.0f}"),
        _rule(
            "stalled", "w.seconds_since_last_event >= 15.0 && base.events > 1.0", baseline_ms=60 * SECOND, summary=""
        ),
        _rule("money", "w.gmv_minor > base.gmv_minor", baseline_ms=40 * SECOND, summary="{gmv_minor:.0f}"),
        _rule("surge", "w.comments > median.comments", baseline_ms=60 * SECOND, summary="{events:.0f}"),
    ],
    RULED.pane_ms,
)
"""Their histories go back over what was written before."""
READ: Final = {Kind.VIEWS: 420, Kind.COMMENTS: 90, Kind.CHECKOUTS: 120}
"""Records read before the state is kept; as many again follow."""


class Kept(msgspec.Struct):
    """What the file holds."""

    logs: dict[str, list[tuple[int, int, bytes | None, bytes | None]]]
    """By topic: offset, timestamp, key and value of each record."""
    state: list[tuple[int, bytes]]
    """Offset and value of the records of live.state."""
    windows: dict[str, bytes]
    sessions: dict[str, bytes]
    """The last value of each key that the version wrote when it went on."""
    alerts: list[bytes]
    dead: list[tuple[str, int, str]]


def world() -> World:
    random = Random(13)

    def log(actions: tuple[str, ...], number: int, after: int) -> tuple[Happening, ...]:
        return tuple(
            Happening(
                random.choice(actions),
                after=random.randrange(after),
                ago=random.choice((0, 0, 0, 0, 1500, 3000, 9000, 19_000, 30_000)),
                session=random.choice((0, 0, 0, 1, 2, place * 60 // (2 * number) + 3)),
                ref=random.randrange(6),
                amount=random.randrange(8),
            )
            for place in range(2 * number)
        )

    return World(
        log(VIEW_ACTIONS, READ[Kind.VIEWS], 600),
        log(("comment",), READ[Kind.COMMENTS], 2800),
        log((*STATUSES, "paid", "paid"), READ[Kind.CHECKOUTS], 2100),
    )


def until_kept() -> Driver:
    """A worker that has read half of the world, in bits, with its checkpoints in the log."""
    driver = Driver(world(), RULED, RULES)
    for _ in range(10):
        for kind in KINDS:
            driver.step(kind, READ[kind] // 10)
        driver.step("work", 200)
        driver.step("checkpoint", 0)
    return driver


Told = tuple[dict[str, bytes], dict[str, bytes], list[bytes], list[tuple[str, int, str]]]
"""Last windows and sessions by key, alerts, dead letters."""


def gone_on(driver: Driver, rounds: int = 10, *, to_the_end: bool = True) -> Told:
    """Restores the state and reads on, in all ten rounds or only in some of them."""
    windows: dict[str, bytes] = {}
    sessions: dict[str, bytes] = {}
    alerts: list[bytes] = []
    dead: list[tuple[str, int, str]] = []

    def take(outputs: Outputs) -> None:
        windows.update((key.decode(), value) for key, value in outputs.windows)
        sessions.update((key.decode(), value) for key, value in outputs.sessions)
        alerts.extend(alert.value() for alert in outputs.alerts)
        dead.extend((str(each.kind), each.record.offset, str(each.reason)) for each in outputs.dead_letters)

    driver.told.take = take  # type: ignore[method-assign]
    driver.crash()
    for _ in range(rounds):
        for kind in KINDS:
            driver.step(kind, READ[kind] // 10)
        driver.step("settle", 0)
        driver.step("crash", 0)
    if to_the_end:
        driver.end()
    return windows, sessions, alerts, sorted(dead)


def main(name: str) -> None:
    path = HERE / f"{name}.state"
    driver = until_kept()
    state = list(driver.state)
    logs = {
        str(kind): [(each.offset, each.timestamp, each.key, each.value) for each in log]
        for kind, log in driver.logs.items()
    }
    kept = Kept(logs, state, *gone_on(driver))
    with path.open("xb") as file:
        file.write(zlib.compress(msgspec.msgpack.encode(kept), 9))


def kept(name: str) -> Kept:
    return msgspec.msgpack.decode(zlib.decompress((HERE / f"{name}.state").read_bytes()), type=Kept)


if __name__ == "__main__":
    main(sys.argv[1])
