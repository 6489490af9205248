"""What need not be held as it is any more: quiet panes and sessions are packed, old panes dropped, ids forgotten."""

from typing import TYPE_CHECKING, Final

from stream.core.cooperative import Steps, pieces
from stream.core.panes import Row, windows_marked
from stream.core.state_keys import ids_bucket, pane_key, session_key
from stream.model.names import KINDS

if TYPE_CHECKING:
    from stream.core.shard_state import ShardState

PACK_AT: Final = 1024
"""Ids of a quiet pane worth packing."""
PAGES_AT_ONCE: Final = 16
"""Pages of sessions at rest packed at a time: some 1,000 sessions."""


def tidy(shard: "ShardState") -> Steps[None]:
    """All that is due. Records may be counted between two steps."""
    for piece in pieces(list(shard.rows.starts)):
        for start in piece:
            row = shard.rows[start]
            if start <= shard.drop_line:
                yield from _drop_panes(shard, row)
            elif shard.watermark is not None and start <= min(
                shard.watermark - shard.policy.pane_ms, shard.alerting.taken_in()
            ):
                yield from _pack_panes(row)
            yield from _tidy_ids(shard, row)
            if row.is_empty():
                del shard.rows[start]
        yield
    yield from _pack_sessions(shard)


def _drop_panes(shard: "ShardState", row: Row) -> Steps[None]:
    for key in [*row.panes, *row.packed, *row.marks]:
        pane = row.panes.get(key)
        if row.holds(key) and (pane is None or not pane.changed):
            _drop(shard, row, key)
            yield


def _drop(shard: "ShardState", row: Row, key: bytes) -> None:
    """Its figures stay in the session's totals."""
    counts, marks = row.take(key)
    shard.windows.marks -= len(windows_marked(marks))
    shard.log.drop(pane_key(row.start, key))
    if counts is not None:
        session = shard.sessions.held[key]
        session.absorb(counts, row.start)
        shard.stale[key] = session
        if session.ended:
            shard.sessions.quiet(session)


def _pack_panes(row: Row) -> Steps[None]:
    """Of a row whose time is over, stragglers aside. Each pane is let go of at once: 12,500 together take 40 ms to free."""
    quiet = [pane for pane in row.panes.values() if not pane.changed]
    while quiet:
        row.pack(quiet.pop())
        yield


def _pack_sessions(shard: "ShardState") -> Steps[None]:
    """A page a step, so many at a time that a checkpoint after a restart is no larger than others."""

    def in_panes(key: bytes) -> bool:
        return shard.rows.hold(key, shard.sessions.held[key].last_any)

    for _ in range(PAGES_AT_ONCE):
        packed = shard.sessions.pack(in_panes)
        if packed is None:
            break
        for session in packed:
            shard.stale.pop(session.key, None)
            shard.log.drop(session_key(session))
        yield
    if shard.sessions.pages.merge():
        yield


def _tidy_ids(shard: "ShardState", row: Row) -> Steps[None]:
    """Ids go when their own topic's clock says that any later copy is late; they are packed once it is past them."""
    end = row.start + shard.policy.pane_ms
    for kind in KINDS:
        ids, clock = row.ids_of(kind), shard.judge.clock(kind)
        if clock >= end + shard.policy.bound_ms:
            if len(ids) or ids.fresh:
                row.forget_ids(kind)
                shard.log.drop_bucket(ids_bucket(kind, row.start))
        elif clock >= end + shard.policy.delay_ms and ids.busy > PACK_AT:
            yield from ids.freeze()
