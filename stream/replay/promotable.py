"""Which sessions of a replay can be promoted, and the records that do it. Pure.

The unit is a whole session that has ended: all its windows in the range of the replay, tombstones for those of which the
replay has none, and its totals. One that an end of the range cuts is never promoted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from stream.core.policy import WindowSpec
from stream.core.promotions import packed_totals
from stream.core.shard import Shard
from stream.model.names import KINDS
from stream.model.promotions import (
    NOTHING,
    Change,
    Manifest,
    Totals,
    TotalsChange,
    WindowChange,
    id_of,
    promotion_id,
    records_of,
)
from stream.replay.compare import changes, is_partial
from stream.replay.plan import Plan
from stream.replay.results import Head, LastResults, Result


class Standing(StrEnum):
    """What is to become of a session."""

    PROMOTED = "promoted"
    EQUAL = "equal"
    """Nothing differs: there is nothing to promote."""
    PARTIAL = "partial"
    """An end of the range cuts it, or one of its windows."""
    OPEN = "open"
    """It has not ended."""
    EXPIRED = "expired"
    """What was counted live may have been deleted by retention."""


@dataclass(slots=True)
class Session:
    """What there is of one session. Windows by key."""

    session_id: str
    live: dict[bytes, Result] = field(default_factory=dict)
    replay: dict[bytes, Result] = field(default_factory=dict)
    live_totals: Result | None = None
    replay_totals: Result | None = None

    @property
    def size(self) -> int:
        """How many windows are written."""
        return len(self.live.keys() | self.replay.keys())


class Both(msgspec.Struct, frozen=True):
    """The last results of one partition, live and of the replay."""

    windows: tuple[LastResults, LastResults]
    totals: tuple[LastResults, LastResults]


_value: Final = msgspec.json.Decoder(dict[str, Any]).decode


def by_session(both: Both) -> dict[str, Session]:
    """All sessions of which there is anything."""
    found: defaultdict[str, Session] = defaultdict(lambda: Session(""))
    for place, results in enumerate(both.windows):
        for key, result in results.results.items():
            session = found[result.head.session_id]
            (session.replay if place else session.live)[key] = result
    for place, results in enumerate(both.totals):
        for result in results.results.values():
            session = found[result.head.session_id]
            if place:
                session.replay_totals = result
            else:
                session.live_totals = result
    for session_id, session in found.items():
        session.session_id = session_id
    return dict(sorted(found.items()))


def standing(session: Session, plan: Plan, kept_from: int | None) -> Standing:
    """``kept_from``: see `LastResults`."""
    totals = [each for each in (session.live_totals, session.replay_totals) if each is not None]
    heads = [each.head for each in totals]
    if not heads or is_partial(plan.from_ms, plan.to_ms, heads) or not all(_has_windows(plan, head) for head in heads):
        return Standing.PARTIAL
    if any(_value(each.value).get("status") != "ended" for each in totals):
        return Standing.OPEN
    if kept_from is not None and kept_from > plan.from_ms and session.live_totals is None:
        return Standing.EXPIRED
    pairs = [(session.live.get(key), session.replay.get(key)) for key in session.live.keys() | session.replay.keys()]
    pairs.append((session.live_totals, session.replay_totals))
    return Standing.PROMOTED if any(_differ(*pair) for pair in pairs) else Standing.EQUAL


def _has_windows(plan: Plan, head: Head) -> bool:
    """Whether all windows of a session are in the range, also those that reach beyond its first and last event."""
    specs = [WindowSpec(*each) for each in plan.policy["windows"]]
    return all(
        plan.has_window(spec.first_end(head.first_event) - spec.size_ms, spec.last_end(head.last_event))
        for spec in specs
    )


def _differ(live: Result | None, replay: Result | None) -> bool:
    if live is None or replay is None:
        return live is not replay
    return bool(changes(_value(live.value), _value(replay.value)))


def promoting(session: Session, plan: Plan, live: Shard, replay: Shard, **who: Any) -> list[tuple[bytes, bytes]]:
    """The records that promote it. The shards are restored from the states, live and of the replay, and stay as they are.
    ``who``: by and reason.
    """
    key = session.session_id.encode()
    past = live.sessions.past(key)
    compared = id_of(past.promoted) if past is not None else ""
    head: dict[str, Any] = {
        "promotion": promotion_id(plan.id, session.session_id, live.generation, compared),
        "session_id": session.session_id,
    }
    totals = TotalsChange(
        **head,
        before=_totals(live, key, session.live_totals),
        after=_totals(replay, key, session.replay_totals),
    )
    manifest = Manifest(
        **head,
        replay=plan.id,
        **who,
        ends={str(kind): replay.positions.get(kind, 0) for kind in KINDS},
        generation=live.generation,
        compared=compared,
    )
    return records_of([*_windows(head, session), totals], manifest)


def _totals(shard: Shard, key: bytes, result: Result | None) -> Totals:
    return packed_totals(shard.sessions, shard.rows, key, None if result is None else result.value)


def _windows(head: dict[str, Any], session: Session) -> Iterator[WindowChange]:
    for key in sorted(session.live.keys() | session.replay.keys()):
        old, new = session.live.get(key), session.replay.get(key)
        of = (new or old or _nothing()).head
        yield WindowChange(**head, window=of.window, start=of.start, end=of.end, before=_raw(old), after=_raw(new))


def _nothing() -> Result:
    raise AssertionError  # one of the two is there


def _raw(result: Result | None) -> msgspec.Raw:
    return NOTHING if result is None else msgspec.Raw(result.value)


def undoing(records: Iterable[Change], manifest: Manifest, live: Shard, **who: Any) -> list[tuple[bytes, bytes]]:
    """The records that put back what was there before a promotion. ``who``: by and reason."""
    compared = manifest.promotion
    session_id, generation = manifest.session_id, live.generation
    promotion = promotion_id(manifest.replay, session_id, generation, compared, undo=True)
    turned = [
        msgspec.structs.replace(each, promotion=promotion, before=each.after, after=each.before) for each in records
    ]
    undo = msgspec.structs.replace(
        manifest, promotion=promotion, undo=True, generation=generation, compared=compared, **who
    )
    return records_of(turned, undo)
