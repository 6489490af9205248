"""What one checkpoint has to write: corrections, totals, and the state of what has changed.

Nothing else may be asked of the shard between two steps.
"""

from typing import TYPE_CHECKING, Final

from stream.core.checkpoint import checkpoint
from stream.core.cooperative import Steps, pieces
from stream.core.counts import NEVER
from stream.core.late import newest
from stream.core.render import session_value
from stream.core.state_keys import session_key
from stream.core.windows import LONG_AGO
from stream.model.names import LIVE_RUN
from stream.model.results import Outputs

if TYPE_CHECKING:
    from stream.core.panes import Pane
    from stream.core.session import Session
    from stream.core.shard_state import ShardState


TOTALS_BYTES: Final = 2 * 1024 * 1024
"""Totals of one checkpoint: most have 3 KB, but money in every currency makes some a hundred times as large."""
IN_BACKLOG: Final = 10
"""So many times fewer totals are written while a backlog is read: nobody acts on a running total of an hour ago."""


def collecting(shard: "ShardState", *, in_backlog: bool, held_at: int | None) -> Steps[Outputs | None]:
    """None when nothing has changed since the last. ``held_at``: corrections wait, and this is the time by which they do."""
    windows, judge, alerting = shard.windows, shard.judge, shard.alerting
    yield from _evaluate(shard)
    yield from windows.correct(judge.changed, shard.watermark, shard.newest, shard.drop_line, held_at)
    yield from _tell(shard)
    _end_gaps(shard)
    yield from _end_and_let_go(shard)
    most = shard.policy.totals_per_checkpoint
    sessions = yield from _write_totals(shard, max(1, most // IN_BACKLOG) if in_backlog else most)
    if not (shard.moved or sessions or windows.written or shard.stale or alerting.changed):
        return None
    state = yield from checkpoint(shard, judge.changed, windows.touched, shard.stale)
    for pane in judge.changed:
        pane.changed = False
    return Outputs(
        windows=windows.written,
        sessions=sessions,
        dead_letters=judge.dead,
        alerts=alerting.emitter.written,
        state=state,
        positions=dict(shard.positions),
        generation=shard.generation,
        checkpoint=shard.log.number,
        tally=judge.tally,
        newest_end=windows.newest_end if windows.newest_end != LONG_AGO else None,
    )


def _evaluate(shard: "ShardState") -> Steps[None]:
    """Alerts, of slides whose windows are all closed: both are in one transaction, or the windows in an earlier one.

    Those that are complete are judged in `Shard.work`; what comes after them waits until they are.
    """
    alerting, limit, complete = shard.alerting, shard.windows.closed_through(), shard.complete()
    wall_limit = LONG_AGO if shard.wall is None else shard.wall - shard.policy.delay_ms
    yield from alerting.amend(shard.judge.changed)
    if alerting.is_behind(shard.rows, min(limit, complete)):
        alerting.wait(shard.rows, complete)
    else:
        yield from alerting.evaluate(shard.rows, limit, wall_limit, complete)
    if alerting.speak(shard.positions, shard.watermark):
        shard.moved = True


def _tell(shard: "ShardState") -> Steps[None]:
    for piece in pieces(shard.judge.changed):
        for pane in piece:
            _tell_of(shard, pane)
        yield


def _tell_of(shard: "ShardState", pane: "Pane") -> None:
    """Tells the session and the metrics what the pane has counted since the last checkpoint."""
    session, untold = pane.session, pane.tell()
    if untold is not None:
        session.events += untold[0]
        if any(untold[1:]):  # most events are none of what is shown
            _show(shard, pane, untold[1:])
    last_event, label_at = newest(pane) if pane.late else (pane.last_event, pane.label_at)
    shard.sessions.moved(session, last_event, label_at)
    if session.stale:
        shard.stale[session.key] = session


def _show(shard: "ShardState", pane: "Pane", more: tuple[int, int, int, int]) -> None:
    session, tally = pane.session, shard.judge.tally
    views, clicks, comments, orders = more
    shard.sessions.show(session, more)
    tally.views += views
    tally.product_clicks += clicks
    tally.comments += comments
    if orders:
        tally.orders_paid += orders
        money = pane.untold_gmv()
        shard.sessions.show_money(session, money)
        tally.gmv_minor.update(money)


def _end_gaps(shard: "ShardState") -> None:
    for kind, until in list(shard.gaps.items()):
        if until is not None and shard.judge.clock(kind) >= until:
            del shard.gaps[kind]


def _end_and_let_go(shard: "ShardState") -> Steps[None]:
    watermark = LONG_AGO if shard.watermark is None else shard.watermark
    now = watermark if shard.wall is None else max(watermark, shard.wall - shard.policy.delay_ms)
    for session in shard.sessions.end(now):
        shard.stale[session.key] = session
        yield
    for session in shard.sessions.let_go(watermark):
        yield
        if shard.rows.hold(session.key, session.last_any):
            shard.sessions.keep(session, watermark + shard.policy.pane_ms)
            continue
        shard.sessions.forget(session, watermark)
        shard.stale.pop(session.key, None)
        shard.log.drop(session_key(session))
    yield from shard.sessions.let_go_at_rest(watermark)


def _write_totals(shard: "ShardState", most: int) -> Steps[list[tuple[bytes, bytes]]]:
    """Totals of changed sessions that are due, at most so many a checkpoint, the longest waiting first."""
    written: list[tuple[bytes, bytes]] = []
    quiet, size = shard.wall is not None, 0
    while len(written) < most and size < TOTALS_BYTES:
        session = shard.sessions.next_to_write(shard.watermark, everything=quiet)
        if session is None:
            woken = shard.sessions.wake_incomplete()
            shard.stale.update((each.key, each) for each in woken)
            if not woken:
                break
            continue
        written.append((session.key, _totals(shard, session)))
        size += len(written[-1][1])
        shard.stale[session.key] = session
        yield
    shard.judge.tally.session_records += len(written)
    return written


def _totals(shard: "ShardState", session: "Session") -> bytes:
    session.revision += 1
    session.written_events, session.written_ended = session.events, session.ended
    session.written_at = NEVER if shard.watermark is None else shard.watermark
    head = {
        "run": LIVE_RUN,
        "generation": shard.generation,
        "revision": session.revision,
        "status": "ended" if session.ended else "open",
    }
    return session_value(session.session_id, shard.totals_of(session), shard.policy.currency, head)
