"""Promotions for the laws: a world is replayed under other settings, and the worker is told to take that instead."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stream.core.promotions import packed_totals
from stream.core.shard import Shard
from stream.model.names import KINDS, PROMOTED, SESSION_WINDOWS, SESSIONS
from stream.model.promotions import Manifest, TotalsChange, WindowChange, promotion_id, records_of
from stream.model.results import Outputs
from tests.core.worlds import T0, Driver, Step, World
from tests.recount import LogRecord


@dataclass
class Live:
    """What a reader of live.session-windows and live.sessions has in the end, with revisions that only rise."""

    windows: dict[str, bytes] = field(default_factory=dict)
    sessions: dict[str, bytes] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    revisions: dict[str, int] = field(default_factory=dict)

    def take(self, outputs: Outputs) -> None:
        for topic, into in ((SESSION_WINDOWS, self.windows), (SESSIONS, self.sessions)):
            for key, value in outputs.records[topic]:
                self._take(topic, into, key.decode(), value)
        self.verdicts += [json.loads(value) for _, value in outputs.promotions]

    def _take(self, topic: str, into: dict[str, bytes], key: str, value: bytes | None) -> None:
        if value is None:
            into.pop(key, None)
            return
        revision = json.loads(value)["revision"]
        assert revision > self.revisions.get(topic + key, 0), f"{key}: {revision} again"
        self.revisions[topic + key] = revision
        into[key] = value

    def outcomes(self) -> list[tuple[str, str]]:
        return [(verdict["outcome"], verdict["detail"]) for verdict in self.verdicts]

    def comparable(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """All but what says whose a result is."""
        return bare(self.windows), bare(self.sessions)


def bare(values: Mapping[str, bytes]) -> dict[str, Any]:
    ours = {"run", "revision", "generation", "reason", "status"}
    return {
        key: {name: each for name, each in json.loads(value).items() if name not in ours}
        for key, value in values.items()
    }


class Promoted(Driver):
    """A worker that reads promotions as well: `promotions` is its fourth log."""

    def __init__(self, world: World, *more: Any, **others: Any) -> None:
        super().__init__(world, *more, **others)
        self.live = Live()
        self.told.take = self.live.take  # type: ignore[method-assign]
        self.promotions: list[LogRecord] = []

    def step(self, name: str, number: int) -> None:
        if name != PROMOTED:
            super().step(name, number)
            return
        begin = self.shard.positions.get(PROMOTED, 0)
        self.shard.count(PROMOTED, *self.shard.decode(PROMOTED, self.promotions[begin : begin + number]))  # type: ignore[arg-type]

    def end(self) -> Any:
        for name in (*KINDS, PROMOTED):
            self.step(name, 10_000)
        for _ in range(5):
            self.settle()
        return self.live

    def promote(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in records:
            self.promotions.append(LogRecord(PROMOTED, 0, len(self.promotions), T0, key, value))


def replayed(world: World, *more: Any) -> Promoted:
    """The same records, counted elsewhere."""
    driver = Promoted(world, *more)
    driver.end()
    driver.shard.finish()
    for _ in range(3):
        driver.settle()
    return driver


def ends_of(driver: Driver) -> dict[str, int]:
    return {str(kind): len(driver.logs[kind]) for kind in KINDS}


def promotion(
    session: str, before: Live, live: Shard | None, after: Promoted, *, compared: str = "", **more: Any
) -> list[tuple[bytes, bytes]]:
    """The records that put what ``after`` has counted in the place of ``before``."""
    generation = more.pop("generation", 0)
    head: dict[str, Any] = {
        "promotion": promotion_id("r", session, generation, compared, undo=more.get("undo", False)),
        "session_id": session,
    }
    manifest = Manifest(
        **head,
        replay="r",
        ends=more.pop("ends", None) or ends_of(after),
        generation=generation,
        compared=compared,
        **more,
    )
    key = session.encode()
    return records_of([*_windows(head, before, after.live), _totals(head, key, before, live, after)], manifest)


def _windows(head: dict[str, Any], before: Live, after: Live) -> Iterable[WindowChange]:
    for key in sorted(before.windows.keys() | after.windows.keys()):
        if key.startswith(head["session_id"] + "/"):
            old, new = before.windows.get(key, b"null"), after.windows.get(key, b"null")
            value = json.loads(new if new != b"null" else old)
            yield WindowChange(
                **head,
                window=value["window"],
                start=value["start"],
                end=value["end"],
                before=msgspec.Raw(old),
                after=msgspec.Raw(new),
            )


def _totals(head: dict[str, Any], key: bytes, before: Live, live: Shard | None, after: Promoted) -> TotalsChange:
    session, shard = key.decode(), after.shard
    new = packed_totals(shard.sessions, shard.rows, key, after.live.sessions.get(session))
    if live is None:
        return TotalsChange(**head, after=new)
    old = packed_totals(live.sessions, live.rows, key, before.sessions.get(session))
    return TotalsChange(**head, before=old, after=new)


__all__ = ["Live", "Promoted", "Step", "bare", "ends_of", "promotion", "replayed"]
