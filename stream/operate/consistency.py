"""What a state says it has written, against what was written: pure, from a restored shard and the newest records.

A record newer than the state's is no fault while a worker goes on (``still``: it does not).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from stream.core.counts import total
from stream.core.ids import TimedHashes
from stream.core.panes import Row, windows_marked
from stream.core.render import Value, money, window_value
from stream.core.session import Session
from stream.core.shard import Shard
from stream.model.names import Kind
from stream.operate.show import totals_value

Newest = Mapping[bytes, Value]
"""The newest record of each key that was found, as JSON."""
SAMPLED: Final = 1000
"""Windows of a shard that are counted again from their panes; of all others only the revision is compared."""


def written_sessions(shard: Shard) -> dict[bytes, Session]:
    """Sessions whose newest totals in live.sessions are the state's own, by key there."""
    return {session.key: session for session in shard.sessions.each() if session.revision and not session.frozen}


def written_windows(shard: Shard) -> dict[bytes, tuple[Row, bytes, int]]:
    """Closed windows still held, by key in live.session-windows: the row they begin with, session's key, their kind."""
    names = [spec.name for spec in shard.policy.windows]
    return {
        f"{key.decode()}/{names[kind]}/{start}".encode(): (row, key, kind)
        for start, row in shard.rows.items()
        for key, marks in row.marks.items()
        for kind in windows_marked(marks)
    }


def sessions(shard: Shard, newest: Newest, *, still: bool, all_read: bool) -> Iterator[str]:
    """What is wrong with the totals, one text each."""
    for key, session in written_sessions(shard).items():
        where = f"session {session.session_id}: live.sessions"
        record = newest.get(key)
        if record is None:
            if all_read:
                yield f"{where} has no record, the state has written revision {session.revision}"
            continue
        wrong = _revision(shard, record, session.revision, still=still)
        if wrong:
            yield f"{where} {wrong}"
        elif record["revision"] == session.revision and not session.changed:
            now = orjson.loads(totals_value(shard, session))
            yield from (f"{where} differs from the state in {name}" for name in _different(shard, record, now))


def windows(shard: Shard, newest: Newest, *, still: bool, all_read: bool) -> Iterator[str]:
    """What is wrong with the windows, one text each."""
    held = written_windows(shard)
    every = max(1, len(held) // SAMPLED)
    for place, (key, (row, session, kind)) in enumerate(held.items()):
        where = f"window {key.decode()}: live.session-windows"
        record = newest.get(key)
        revision, _ = row.mark(session, kind)
        if record is None:
            if all_read:
                yield f"{where} has no record, the state has written revision {revision}"
            continue
        wrong = _revision(shard, record, revision, still=still)
        if wrong:
            yield f"{where} {wrong}"
        elif record["revision"] == revision and place % every == 0:
            now = _window(shard, row, session, kind, record)
            if now is not None:
                yield from (f"{where} differs from the state in {name}" for name in _different(shard, record, now))


def _revision(shard: Shard, record: Value, revision: int, *, still: bool) -> str | None:
    if "revision" not in record:
        return "is no result of liveshop: somebody else writes there"
    found, ours = (record.get("generation", 0), record["revision"]), (shard.generation, revision)
    if found < ours or (still and found > ours):
        return f"has generation {found[0]}, revision {found[1]}; the state has written {ours[0]}, {ours[1]}"
    return None


def _window(shard: Shard, first: Row, key: bytes, kind: int, record: Value) -> Value | None:
    """The window counted from its panes; None when something was counted since it was written."""
    spec = shard.policy.windows[kind]
    revision, events = first.mark(key, kind)
    starts = range(first.start, first.start + spec.size_ms, shard.policy.pane_ms)
    rows = [shard.rows[start] for start in starts if start in shard.rows]
    panes = [pane for row in rows if (pane := row.counts(key)) is not None]
    if sum(pane.events for pane in panes) != events:
        return None
    head = {
        "run": record.get("run"),
        "generation": shard.generation,
        "window": spec.name,
        "start": first.start,
        "end": first.start + spec.size_ms,
        "revision": revision,
        "reason": record.get("reason"),
    }
    value: Value = orjson.loads(window_value(key.decode(), total(panes), shard.policy.currency, head))
    return value


def _different(shard: Shard, record: Value, now: Value) -> list[str]:
    """The fields of the record that are otherwise now; fields that a newer version adds are none, nor is what the state
    does not keep.
    """
    unsure = shard.format.unsure
    record, now = _without(record, unsure), _without(now, unsure)
    return sorted(name for name, value in record.items() if now.get(name) != value)


def _without(value: Any, names: set[str]) -> Any:
    if not names or not isinstance(value, dict):
        return value
    return {name: _without(each, names) for name, each in value.items() if name not in names}


def different(one: Shard, other: Shard) -> list[str]:
    """In what two shards differ that should be the same; empty when in nothing."""
    ours, theirs = _fingerprint(one), _fingerprint(other)
    return [name for name, value in ours.items() if theirs[name] != value]


def _fingerprint(shard: Shard) -> dict[str, Any]:
    """What decides what the shard does next, in comparable form. (The drop line moves after a checkpoint is made.)"""
    return {
        "owner": shard.owner,
        "generation": shard.generation,
        "positions": shard.positions,
        "clocks": dict(shard.clocks),
        "watermark": shard.watermark,
        "windows closed": shard.windows.horizon,
        "gaps": shard.gaps,
        "sessions": {session.key: _session(shard, session) for session in shard.sessions.each()},
        "panes": {
            (start, key): (pane.events, pane.label_at, money(pane.gmv))
            for start, row in shard.rows.items()
            for key in row.panes.keys() | row.packed.keys()
            if (pane := row.counts(key)) is not None
        },
        "windows written": {start: row.marks for start, row in shard.rows.items() if row.marks},
        "event ids": {
            start: [len(ids) for ids in row.ids] for start, row in shard.rows.items() if any(map(len, row.ids))
        },
        "checkout keys": _held(shard.judge.checkout_keys, shard.clocks[Kind.CHECKOUTS]),
        "sessions known": {kind: known.number(shard.judge.clock(kind)) for kind, known in shard.judge.known.items()},
        "sessions let go": _held(shard.sessions.gone, shard.watermark),
    }


def _held(hashes: TimedHashes, now: int | None) -> int:
    """How many are held at a time; those that are not may be swept away or not."""
    return len(hashes) if now is None else hashes.number_held(now)


def _session(shard: Shard, session: Session) -> tuple[Any, ...]:
    written = (session.written_events, session.written_ended, session.written_at)
    return totals_value(shard, session), session.ended, session.frozen, session.revision, *written
